"""Which process is meant, and which belong to it.

* A pid alone names nothing: pids are used again. Pid and start time together name a process within one boot of the
  machine.
* The start time is the kernel's, in clock ticks since boot (proc(5), `/proc/<pid>/stat`, field 22). psutil converts
  it to wall clock, which moves when the clock is set.
* Signals go through a pidfd that was opened before the start time was compared: whoever is compared is whoever is
  signalled.
* An instance is a tree: its main process, the main process's group and session, and whatever still carries its mark
  in the environment (a child that made a session of its own). Processes may overwrite their environment (process
  titles), so neither sign is enough by itself.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MARK = "HITLESS_INCARNATION"
"""Environment variable that holds a value of its own for every start of every instance."""

_MARKED = f"{MARK}=".encode()
_GONE_STATES = "ZX"  # a zombie runs nothing; only its parent can take it away


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """One process of this boot; `start_ticks` are clock ticks since boot."""

    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStat:
    """What `/proc/<pid>/stat` says."""

    identity: ProcessIdentity
    state: str
    group: int
    session: int

    @property
    def is_gone(self) -> bool:
        """Whether it runs no more."""
        return self.state in _GONE_STATES


def parse_stat(line: str) -> ProcessStat:
    """Read one line of `/proc/<pid>/stat`; the command in parentheses may hold spaces and parentheses itself."""
    head, _, tail = line.rpartition(")")
    fields = tail.split()
    return ProcessStat(
        identity=ProcessIdentity(pid=int(head.split(" ", 1)[0]), start_ticks=int(fields[19])),
        state=fields[0],
        group=int(fields[2]),
        session=int(fields[3]),
    )


def read_stat(pid: int) -> ProcessStat | None:
    """Look at a process; None: there is none."""
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def boot_id() -> str:
    """Name this boot of the machine; pids and ticks of another one mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def ticks_now() -> float:
    """Return the present in clock ticks since boot, comparable with start times."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")


def open_process(identity: ProcessIdentity) -> int | None:
    """Return a pidfd for exactly this process, None when it is gone. The caller closes it."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    stat = read_stat(identity.pid)
    if stat is not None and stat.identity == identity:
        return descriptor
    os.close(descriptor)
    return None


def send_signal(identity: ProcessIdentity, number: signal.Signals) -> bool:
    """Signal exactly this process; return whether it was there."""
    descriptor = open_process(identity)
    if descriptor is None:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessTree:
    """All processes of one instance.

    Attributes:
        main: the main process; None = not of this boot, or never known.
        mark: the value of `MARK` in its environment.
        group_until_ticks: a process of main's group that started later than this may be a stranger who got main's pid
            after its end: infinite while main runs, minus infinite when the moment of its end is not known.
    """

    main: ProcessIdentity | None
    mark: str
    group_until_ticks: float = math.inf

    def running(self) -> tuple[ProcessIdentity, ...]:
        """List what still runs of it."""
        return tuple(stat.identity for stat in all_processes() if not stat.is_gone and self._has(stat))

    def _has(self, stat: ProcessStat) -> bool:
        if stat.identity.pid == os.getpid():
            return False
        return self._is_in_group(stat) or mark_of(stat.identity.pid) == self.mark

    def _is_in_group(self, stat: ProcessStat) -> bool:
        if self.main is None or self.main.pid not in (stat.group, stat.session):
            return False
        return (
            stat.identity == self.main or self.main.start_ticks <= stat.identity.start_ticks <= self.group_until_ticks
        )


def mark_of(pid: int) -> str | None:
    """Read the mark in a process's environment; None: it carries none, or it cannot be read."""
    # another user's process can be neither read nor signalled; one that has just ended has no environment
    with contextlib.suppress(PermissionError, FileNotFoundError, ProcessLookupError):
        for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if entry.startswith(_MARKED):
                return entry.removeprefix(_MARKED).decode(errors="replace")
    return None


def all_processes() -> Iterator[ProcessStat]:
    """Look at every process of the machine."""
    with os.scandir("/proc") as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdecimal()]
    return (stat for stat in map(read_stat, pids) if stat is not None)
