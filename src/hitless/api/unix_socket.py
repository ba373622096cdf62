"""The control plane's Unix socket: one server at a time, only for its owner, at any path length.

Rules:

1. A server holds an exclusive `flock` on `<socket>.lock` for as long as it lives; the kernel drops it when the
   process ends in any way. So a held lock means a live control plane, and a socket file without a held lock is a
   left-over that may be removed. (Asking by `connect` instead leaves a gap in which two servers remove each other's
   socket.)
   A controller that stands still (SIGSTOP) holds its lock; who has its lease takes its place, by a rename, and an
   owner removes only the very socket that it made.
2. Something else at the path, a program that listens there or no socket at all, is refused and left alone.
3. The socket has mode 0600 from the moment it exists: on Linux `bind` takes the mode from the descriptor, less the
   umask.
4. `sun_path` ends after 107 bytes. Longer paths are reached through `/proc/self/fd/<directory>/<name>`, which is
   short, needs no change of the working directory and no file of its own.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

from hitless.errors import Conflict, EnvironmentFault

SOCKET_NAME = "hitless.sock"
LOCK_NAME = f"{SOCKET_NAME}.lock"  # stays for ever, once a control plane has run
SUN_PATH_BYTES = 107
OWNER_ONLY = 0o600
BACKLOG = 128
_ASK_S = 1.0


class ControlPlaneRunning(Conflict):
    """Another control plane works on this project."""

    code = "HL7010"

    def __init__(self, socket_path: Path, pid: str) -> None:
        super().__init__(
            "another control plane works on this project",
            evidence=(f"{socket_path} is served by process {pid or 'unknown'}",),
            hints=("hitless status", f"end it first: kill {pid}" if pid else "end it first"),
        )


class SocketTaken(EnvironmentFault):
    """Something that is no control plane is where the control plane's socket belongs."""

    code = "HL6112"
    temporary: ClassVar[bool] = False

    def __init__(self, path: Path, what: str, hint: str) -> None:
        super().__init__(f"{path} is taken: {what}", evidence=("services that run go on",), hints=(hint, "hitless up"))


@contextmanager
def listening(path: Path, *, takes_over: bool = False) -> Iterator[socket.socket]:
    """Own `path` and listen on it; removed at the end.

    Args:
        path: where.
        takes_over: take the place of a control plane that still lives, because its lease was taken from it.

    Raises:
        ControlPlaneRunning: another live process owns it.
        SocketTaken: something that is no control plane is there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _ownership(path, takes_over=takes_over) as former:
        _refuse_strangers(path, former)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            os.fchmod(server.fileno(), OWNER_ONLY)
            with _short(draft) as short:
                server.bind(short)
            server.listen(BACKLOG)
            identity = draft.stat().st_ino
            draft.replace(path)
            try:
                yield server
            finally:
                with suppress(FileNotFoundError):
                    if path.stat().st_ino == identity:
                        path.unlink()


def _refuse_strangers(path: Path, former: str) -> None:
    """Leave alone what no control plane has put there.

    Raises:
        SocketTaken: names it.
    """
    if not path.exists():
        return
    if not path.is_socket():
        raise SocketTaken(path, "it is no socket", f"look at it, then put it elsewhere: ls -ld {path}")
    try:
        with connect(path, timeout_s=_ASK_S) as client:
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError:
        return  # nobody listens any more
    pid = struct.unpack("3i", credentials)[0]
    if str(pid) != former:
        raise SocketTaken(path, f"process {pid} listens there", f"see what it is and end it: ps -fp {pid}")


def connect(path: Path, *, timeout_s: float | None = None) -> socket.socket:
    """Connect to the control plane at `path`.

    Raises:
        OSError: nothing listens there.
    """
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.settimeout(timeout_s)
        with _short(path) as short:
            client.connect(short)
    except OSError:
        client.close()
        raise
    return client


@contextmanager
def _ownership(path: Path, *, takes_over: bool) -> Iterator[str]:
    """Hold the lock beside `path`; yield the pid of who held it last.

    The file says who holds it and is never removed (removing a lock file is a race).
    """
    descriptor = os.open(_lock_of(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, OWNER_ONLY)
    try:
        former = os.pread(descriptor, 32, 0).decode().strip()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not takes_over:
                raise ControlPlaneRunning(path, former) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield former
    finally:
        os.close(descriptor)


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Name `path` in a form that fits into `sun_path`, for as long as the context lasts."""
    if len(os.fsencode(path)) <= SUN_PATH_BYTES:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
