"""Room, file systems and permissions, measured; and one real trial of everything that state needs of a disk."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from hitless.adapters.machine.mounts import mount_of, mounts
from hitless.doctor.measures import DiskSpace, FileSystem, StateDirectory

_TRIAL = ".hitless-doctor-"


def one_per_file_system(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return the first path on each file system; for what does not exist yet, where it will be made."""
    found: dict[int, Path] = {}
    for path in map(nearest, paths):
        found.setdefault(path.stat().st_dev, path)
    return tuple(found.values())


def nearest(path: Path) -> Path:
    """Return the directory itself, or the nearest one above it that exists."""
    return next(one for one in (path, *path.parents) if one.is_dir())


def disk_space(path: Path) -> DiskSpace:
    """Look at the room that this user may take."""
    found = os.statvfs(path)
    # file systems that make inodes as needed (btrfs) say 0 of 0
    return DiskSpace(
        path=str(path),
        free_bytes=found.f_bavail * found.f_frsize,
        free_inodes=found.f_favail if found.f_files else None,
    )


def file_system(path: Path) -> FileSystem:
    """Look at the mount, and try it."""
    mount = mount_of(path.resolve(), mounts())
    is_read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    return FileSystem(
        path=str(path),
        kind=mount.kind if mount else None,
        is_read_only=is_read_only,
        refused=None if is_read_only else _trial(path),
    )


def state_directory(path: Path) -> StateDirectory:
    """Look at owner and permissions."""
    user = os.geteuid()
    try:
        found = path.stat()
    except FileNotFoundError:
        is_writable = os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True)
        return StateDirectory(path=str(path), user=user, is_parent_writable=is_writable)
    return StateDirectory(path=str(path), user=user, owner=found.st_uid, mode=found.st_mode, is_directory=path.is_dir())


def _trial(path: Path) -> str | None:
    """Do what state and routing files need, in a folder that is removed; return the first step that fails."""
    step = "a folder cannot be made"
    try:
        with tempfile.TemporaryDirectory(prefix=_TRIAL, dir=path) as name:
            for step, act in _STEPS.items():  # noqa: B007 - the last one begun is what failed
                act(Path(name))
    except (OSError, sqlite3.Error) as error:
        return f"{step}: {getattr(error, 'strerror', None) or error}"
    return None


def _sync(folder: Path) -> None:
    with (folder / "draft").open("wb") as file:
        file.write(b"hitless")
        file.flush()
        os.fsync(file.fileno())


def _rename(folder: Path) -> None:
    (folder / "file").touch()
    (folder / "draft").rename(folder / "file")


def _lock(folder: Path) -> None:
    with (folder / "file").open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _store(folder: Path) -> None:
    with contextlib.closing(sqlite3.connect(folder / "trial.db", isolation_level=None)) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise sqlite3.OperationalError(f"SQLite stays in mode {mode}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE trial (one)")


_STEPS: dict[str, Callable[[Path], None]] = {
    "a file cannot be written and synced": _sync,
    "a file cannot be renamed over another": _rename,
    "a file cannot be locked": _lock,
    "SQLite's WAL does not work": _store,
}
