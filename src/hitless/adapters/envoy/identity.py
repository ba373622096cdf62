"""Processes told apart for certain, and how Envoy's is started so that no end of ours reaches it."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_CONNECT_WITHIN_S = 0.5
_THREADS, _STARTED = 17, 19  # proc(5): state is field 3, num_threads field 20, starttime field 22


@dataclass(frozen=True, slots=True)
class Identity:
    """One process for certain: its pid, and its start in kernel ticks since boot, which no step of the clock moves."""

    pid: int
    started_ticks: int

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Identify a process that runs now."""
        started = _started_ticks(pid)
        return None if started is None else cls(pid, started)

    def is_alive(self) -> bool:
        """Tell whether this very process still runs."""
        return _started_ticks(self.pid) == self.started_ticks

    def is_gone(self) -> bool:
        """Tell whether its last thread has ended too: until then its sockets and their names are taken."""
        fields = _stat(self.pid)
        if fields is None or int(fields[_STARTED]) != self.started_ticks:
            return True
        return fields[0] == "Z" and int(fields[_THREADS]) <= 1

    def send(self, number: signal.Signals) -> None:
        """Signal exactly this process, if it still runs: whoever is compared is whoever is hit (pidfd_open(2))."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if not self.is_gone():
                signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:  # it has ended in between
            pass
        finally:
            os.close(descriptor)

    @property
    def executable(self) -> Path:
        """The file it runs; it can be run again by this name even when it was deleted or replaced meanwhile."""
        return Path(f"/proc/{self.pid}/exe")

    @property
    def age_s(self) -> float:
        """How long ago it started."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.started_ticks / os.sysconf("SC_CLK_TCK")

    def arguments(self) -> tuple[str, ...]:
        """Return its command line; empty when it has ended."""
        try:
            return tuple(Path(f"/proc/{self.pid}/cmdline").read_text().split("\0")[:-1])
        except (FileNotFoundError, ProcessLookupError):
            return ()


def is_refused(path: Path) -> bool:
    """Tell whether for certain nobody listens on a Unix socket; one who does not accept in time may be frozen."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_CONNECT_WITHIN_S)
        try:
            client.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return True
        except OSError:
            return False
    return False


def listener_of(path: Path) -> Identity | None:
    """Identify the process that listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_CONNECT_WITHIN_S)  # a full backlog would block for ever
        try:
            client.connect(str(path))
        except OSError:  # no socket, or one that nobody listens on any more
            return None
        pid, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return Identity.of(pid)


_ORPHANED = 'log=$1; shift; (while kill -0 $$ 2>&-; do sleep 0.005; done; exec "$@") </dev/null >>"$log" 2>&1 & echo $!'
"""Run the command only once this shell is gone; say its pid."""


def spawn_orphan(argv: list[str], log: Path, *, inherited: tuple[int, ...] = ()) -> int:
    """Start Envoy as nobody's child, with these descriptors of ours open, and return its pid.

    With hot restart on, Envoy asks the kernel for SIGTERM at its parent's death (PR_SET_PDEATHSIG in its hot restart
    code), and the kernel means the very thread that started it. So the parent must be gone before Envoy begins: init is
    its parent then, and no end of ours reaches it.
    """
    shell = subprocess.run(  # noqa: S603 - our own words; the log's path and Envoy's arguments are passed, not pasted
        ["/bin/sh", "-c", _ORPHANED, "sh", str(log), *argv],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        pass_fds=inherited,
        check=True,
    )
    return int(shell.stdout)


def _started_ticks(pid: int) -> int | None:
    """Read when a process started; None when it has ended."""
    fields = _stat(pid)
    return None if fields is None or fields[0] == "Z" else int(fields[_STARTED])


def _stat(pid: int) -> list[str] | None:
    """Read what the kernel says of a process, from its state on; None when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
