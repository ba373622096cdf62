"""The control plane's Unix socket: one server at a time, only for its owner, at any path length.

Rules:

1. A server holds an exclusive `flock` on `<socket>.lock` for as long as it lives; the kernel drops it when the
   process ends in any way. So a held lock means a live control plane, and a socket file without a held lock is a
   left-over that may be removed. (Asking by `connect` instead leaves a gap in which two servers remove each other's
   socket.)
2. The socket has mode 0600 from the moment it exists: on Linux `bind` takes the mode from the descriptor, less the
   umask.
3. `sun_path` ends after 107 bytes. Longer paths are reached through `/proc/self/fd/<directory>/<name>`, which is
   short, needs no change of the working directory and no file of its own.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hitless.errors import Conflict

SOCKET_NAME = "hitless.sock"
SUN_PATH_BYTES = 107
OWNER_ONLY = 0o600
BACKLOG = 128


class ControlPlaneRunning(Conflict):
    """Another control plane works on this project."""

    code = "HL7010"

    def __init__(self, socket_path: Path, pid: str) -> None:
        super().__init__(
            "another control plane works on this project",
            evidence=(f"{socket_path} is served by process {pid or 'unknown'}",),
            hints=("hitless status", f"end it first: kill {pid}" if pid else "end it first"),
        )


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """Own `path` and listen on it; removed at the end.

    Raises:
        ControlPlaneRunning: another live process owns it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _ownership(path):
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            os.fchmod(server.fileno(), OWNER_ONLY)
            with _short(path) as short:
                server.bind(short)
            server.listen(BACKLOG)
            try:
                yield server
            finally:
                path.unlink(missing_ok=True)


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
def _ownership(path: Path) -> Iterator[None]:
    """Hold the lock beside `path`; the file says who holds it and is never removed (removing a lock file is a race)."""
    descriptor = os.open(_lock_of(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, OWNER_ONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ControlPlaneRunning(path, os.pread(descriptor, 32, 0).decode().strip()) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
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
