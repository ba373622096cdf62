"""The name of a process that holds the lease: machine, pid and start, so that no other process ever has it."""

from __future__ import annotations

import socket

from hitless.adapters.processes.identity import read_stat


def holder_name(pid: int) -> str:
    """Name a process for certain: its start in kernel ticks since boot does not move when the clock is set.

    Raises:
        ProcessLookupError: there is none.
    """
    stat = read_stat(pid)
    if stat is None:
        raise ProcessLookupError(pid)
    return f"{socket.gethostname()}:{pid}:{stat.identity.start_ticks}"


def pid_of(holder: str) -> int | None:
    """Read the pid; None: it is of another machine."""
    host, _, pid = holder.rpartition(":")[0].rpartition(":")
    return int(pid) if host == socket.gethostname() and pid.isdecimal() else None


def is_alive(holder: str) -> bool | None:
    """Tell whether it lives; None: it is of another machine."""
    pid = pid_of(holder)
    if pid is None:
        return None
    stat = read_stat(pid)
    return stat is not None and not stat.is_gone and holder_name(pid) == holder
