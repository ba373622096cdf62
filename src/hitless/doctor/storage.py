"""Judges of the disk: room, file system, state directory, sockets."""

from __future__ import annotations

import shlex
import stat

from hitless.doctor.finding import Finding, Findings, failed, ok, size, unknown, warning
from hitless.doctor.measures import DiskSpace, FileSystem, SocketPath, StateDirectory

LEAST_FREE_BYTES, USUAL_FREE_BYTES = 100 * 2**20, 1024 * 2**20
LEAST_FREE_INODES, USUAL_FREE_INODES = 1_000, 10_000

NETWORK_KINDS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "ocfs2", "gfs2"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.ceph-fuse", "fuse.rclone", "davfs", "fuse.davfs", "ncpfs"}
)
"""SQLite's WAL needs memory shared by all processes on the file: https://www.sqlite.org/wal.html#disadvantages."""


def disk_space(found: tuple[DiskSpace, ...]) -> Findings:
    """State and logs can grow."""
    return tuple(_room(one) for one in found)


def _room(one: DiskSpace) -> Finding:
    inodes = "" if one.free_inodes is None else f", {one.free_inodes} inodes"
    text = f"{size(one.free_bytes)}{inodes} free at {one.path}"
    path = shlex.quote(one.path)
    commands = (f"df -h {path}; df -i {path}", f"du -xsh {path}/* | sort -h | tail")
    free_inodes = USUAL_FREE_INODES if one.free_inodes is None else one.free_inodes
    if one.free_bytes < LEAST_FREE_BYTES or free_inodes < LEAST_FREE_INODES:
        return failed(f"{text}, at least {size(LEAST_FREE_BYTES)} and {LEAST_FREE_INODES} inodes are needed", *commands)
    if one.free_bytes < USUAL_FREE_BYTES or free_inodes < USUAL_FREE_INODES:
        return warning(f"{text}, {size(USUAL_FREE_BYTES)} and {USUAL_FREE_INODES} inodes give time to act", *commands)
    return ok(f"{text}, at least {size(LEAST_FREE_BYTES)} is needed")


def file_system(found: tuple[FileSystem, ...]) -> Findings:
    """What is written is written, and locks hold."""
    return tuple(_file_system(one) for one in found)


def _file_system(one: FileSystem) -> Finding:
    path = shlex.quote(one.path)
    mount = f"findmnt -T {path}"
    if one.is_read_only:
        return failed(
            f"{one.path} is mounted read-only", mount, f"sudo mount -o remount,rw $(findmnt -nfo TARGET -T {path})"
        )
    if one.kind in NETWORK_KINDS:
        text = f"{one.path} is on {one.kind}, a network file system: SQLite's WAL does not work there"
        return failed(text, mount, "mv PROJECT /a/local/disk   # the project must lie on a local disk")
    if one.refused is not None:
        return failed(f"{one.path}: {one.refused}", f"ls -ld {path}", mount)
    if one.kind is None:
        return unknown(f"the kind of {one.path}'s file system is not in /proc/self/mounts", mount)
    return ok(f"{one.path} is on {one.kind}: written, synced, renamed, locked")


def state_directory(found: StateDirectory) -> Findings:
    """It belongs to this user alone: it holds tokens and admin sockets."""
    return (_to_be_made(found) if found.mode is None else _permissions(found, found.mode),)


def _to_be_made(found: StateDirectory) -> Finding:
    if found.is_parent_writable:
        return ok(f"{found.path} is not there yet; hitless up makes it for this user alone")
    text = f"{found.path} is not there and cannot be made by this user"
    return failed(text, f"ls -ld {shlex.quote(found.path)}/..")


def _permissions(found: StateDirectory, mode: int) -> Finding:
    path, bits = shlex.quote(found.path), stat.S_IMODE(mode)
    if not found.is_directory:
        return failed(f"{found.path} is no directory", f"ls -ld {path}")
    if found.owner != found.user:
        text = f"{found.path} belongs to user {found.owner}, this is user {found.user}"
        return failed(text, f"sudo chown -R $USER {path}", f"sudo -u '#{found.owner}' hitless doctor")
    if bits & stat.S_IRWXU != stat.S_IRWXU:
        return failed(f"{found.path} has mode {bits:04o}, the owner needs 0700", f"chmod 700 {path}")
    if bits & (stat.S_IRWXG | stat.S_IRWXO):
        return warning(f"{found.path} has mode {bits:04o}, others may look in; 0700 is safe", f"chmod 700 {path}")
    return ok(f"{found.path} has mode {bits:04o} and belongs to this user")


def socket_path(found: SocketPath) -> Findings:
    """The kernel takes 107 bytes: unix(7)."""
    text = f"{found.length_bytes} bytes, at most {found.most_bytes}"
    if found.length_bytes <= found.most_bytes:
        return (ok(text),)
    move = "mv PROJECT /srv/NAME   # a shorter path needs no link"
    if found.link_refusal is not None:
        return (failed(f"{text} ({found.path}), and the short way is barred: {found.link_refusal}", move),)
    return (warning(f"{text} ({found.path}): reached by a link in the temporary directory", move),)
