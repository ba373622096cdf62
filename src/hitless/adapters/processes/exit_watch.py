from __future__ import annotations

import asyncio
import os
import select
import signal
from dataclasses import dataclass
from typing import Self

from hitless.adapters.processes.identity import ProcessIdentity, open_process, ticks_now


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitStatus:
    """How a process ended; both None: it was another controller's child, the kernel tells only the parent."""

    code: int | None = None
    signal: int | None = None

    def __str__(self) -> str:
        """Say it in words."""
        if self.signal is not None:
            return f"killed by signal {self.signal} ({_signal_name(self.signal)})"
        if self.code is not None:
            return f"exited with code {self.code}"
        return "exited (code unknown: an earlier controller started it)"


class ExitWatch:
    """Learns of a process's end from the kernel, child or not, and takes the zombie away if it was a child.

    Attributes:
        ended: done as soon as the process has ended.
        ended_ticks: when that was seen, clock ticks since boot.
    """

    def __init__(self, descriptor: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._descriptor: int | None = descriptor
        self.ended: asyncio.Future[ExitStatus] = self._loop.create_future()
        self.ended_ticks: float | None = None
        self._loop.add_reader(descriptor, self._on_end)
        if _is_over(descriptor):  # known before anybody asks the instance for its health
            self._on_end()

    @classmethod
    def open(cls, identity: ProcessIdentity) -> Self | None:
        """Watch exactly this process; None: it is gone, or its pid is somebody else's now."""
        descriptor = open_process(identity)
        return cls(descriptor) if descriptor is not None else None

    def close(self) -> None:
        """Watch no longer; the process lives on."""
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _on_end(self) -> None:
        assert self._descriptor is not None  # the reader is removed together with it
        self.ended_ticks = ticks_now()
        status = _reap(self._descriptor)
        self.close()
        if not self.ended.done():
            self.ended.set_result(status)


def _is_over(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _reap(descriptor: int) -> ExitStatus:
    try:
        result = os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG)
    except ChildProcessError:  # an adopted process is nobody's child here
        return ExitStatus()
    if result is None:
        return ExitStatus()
    return ExitStatus(code=result.si_status) if result.si_code == os.CLD_EXITED else ExitStatus(signal=result.si_status)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no names in the table
        return "real-time signal"
