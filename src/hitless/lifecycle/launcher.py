"""Owns SIGTERM in the server's place: starts the server, drains it, and passes SIGTERM on when nothing is open.

The server runs in a process group of its own, so that Ctrl-C in a terminal reaches the launcher alone and so that
everything the server started can be killed. Should the launcher itself be killed, the kernel sends the server SIGTERM.
As process 1 of a container the launcher also reaps what is orphaned.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Final

from hitless.lifecycle.board import ENVIRONMENT, Board, Cell, InFlight
from hitless.lifecycle.drain import Limits, Phase, Seen, next_phase

PASSED_ON: Final = frozenset(
    {signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU}
)
_OWNED: Final = PASSED_ON | {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
_IGNORED_BY_PYTHON: Final = (signal.SIGPIPE, signal.SIGXFSZ)
_LOOK_EVERY_S = 0.02
_PR_SET_PDEATHSIG = 1  # prctl(2)
_NOT_STARTED = 127  # what shells say
_SIGNALLED = 128  # plus the signal's number, as shells say it
_SAYS = {
    Phase.LEAVING: "readiness is off; waiting until load balancers have seen it",
    Phase.CLOSING: "finishing what is open, closing kept connections",
    Phase.CUTTING: "the deadline has passed; ending event streams and WebSockets",
    Phase.ENDING: "passing SIGTERM on",
}


class Launcher:
    """One server from start to end."""

    def __init__(self, command: list[str], limits: Limits) -> None:
        self._limits = limits
        self._board, path = Board.create()
        self._drain = Drain(self._board, limits)
        self._told_at: float | None = None  # when the server got SIGTERM
        self._is_killed = False
        signal.pthread_sigmask(signal.SIG_BLOCK, _OWNED)
        self._pid = _start(command, {**os.environ, ENVIRONMENT: path})

    def run(self) -> int:
        """Run until the server has ended; return the exit code: 0 after a drain that the server survived."""
        while True:
            number = self._next_signal()
            if number in PASSED_ON:
                os.kill(self._pid, number)
            elif number in {signal.SIGTERM, signal.SIGINT}:
                self._obey(number)
            elif number == signal.SIGCHLD and (status := self._reap()) is not None:
                return self._exit_code(os.waitstatus_to_exitcode(status))
            self._go_on()

    def _next_signal(self) -> int | None:
        """Wait for a signal; while nothing ends, without waking up."""
        if self._board.phase == Phase.SERVING:
            return signal.sigwait(_OWNED)
        found = signal.sigtimedwait(_OWNED, _LOOK_EVERY_S)
        return found.si_signo if found else None

    def _obey(self, number: int) -> None:
        """SIGTERM drains, SIGINT ends without a drain, a second one of either kills."""
        if self._board.phase > Phase.SERVING:
            self._kill("told a second time")
        elif number == signal.SIGINT or not self._board.workers():
            _say("passing SIGTERM on" if number == signal.SIGINT else f"no worker serves yet; {_SAYS[Phase.ENDING]}")
            self._board.phase = Phase.ENDING
        else:
            self._drain.begin()

    def _go_on(self) -> None:
        if self._board.phase == Phase.SERVING:
            return
        if self._board.phase < Phase.ENDING:
            self._drain.go_on()
        if self._board.phase == Phase.ENDING and self._told_at is None:
            self._told_at = time.monotonic()
            os.kill(self._pid, signal.SIGTERM)
        if self._told_at is not None and time.monotonic() - self._told_at >= self._limits.end_within_s:
            self._kill(f"the server did not end within {self._limits.end_within_s:g} s")

    def _kill(self, reason: str) -> None:
        if not self._is_killed:
            _say(f"{reason}; killing it{_cut(self._drain.in_flight)}")
            self._is_killed = True
            self._board.phase = Phase.ENDING
            self._kill_group()

    def _reap(self) -> int | None:
        """Reap whatever has ended; return the server's status if it is among them."""
        with suppress(ChildProcessError):
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if ended.si_pid == self._pid:
                    self._kill_group()  # before the pid is free: workers that outlived a master that crashed
                _, status = os.waitpid(ended.si_pid, 0)
                if ended.si_pid == self._pid:
                    return status
        return None

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)

    def _exit_code(self, code: int) -> int:
        """Return what the launcher ends with; a server may die of the SIGTERM that it was sent (uvicorn does)."""
        if code == -signal.SIGTERM and self._told_at is not None:
            return 0
        return code if code >= 0 else _SIGNALLED - code


class Drain:
    """A drain under way: looks at the board, asks which phase it is, writes it there."""

    def __init__(self, board: Board, limits: Limits) -> None:
        self._board = board
        self._limits = limits
        self._began_at = self._phase_at = self._arrived_at = 0.0
        self._refused = self._arrivals = 0

    @property
    def in_flight(self) -> InFlight:
        """What living workers have open."""
        return self._board.in_flight(self._board.workers())

    def begin(self) -> None:
        """Turn readiness off."""
        self._began_at = self._arrived_at = time.monotonic()
        self._refused, self._arrivals = self._board.total(Cell.REFUSED_PROBES), self._board.total(Cell.ARRIVALS)
        self._enter(Phase.LEAVING)

    def go_on(self) -> None:
        """Enter the phase that is next, if it is time."""
        phase = Phase(self._board.phase)
        found = next_phase(phase, self._see(), self._limits)
        if found is not phase:
            self._enter(found)

    def _see(self) -> Seen:
        now, arrivals = time.monotonic(), self._board.total(Cell.ARRIVALS)
        if arrivals != self._arrivals:
            self._arrivals, self._arrived_at = arrivals, now
        return Seen(
            elapsed_s=now - self._began_at,
            in_phase_s=now - self._phase_at,
            quiet_s=now - self._arrived_at,
            refused_probes=self._board.total(Cell.REFUSED_PROBES) - self._refused,
            in_flight=self.in_flight.total,
        )

    def _enter(self, phase: Phase) -> None:
        self._board.phase, self._phase_at = phase, time.monotonic()
        after_s = self._phase_at - self._began_at
        refused = self._board.total(Cell.REFUSED_PROBES) - self._refused
        _say(f"{after_s:.1f} s after SIGTERM: {_SAYS[phase]} ({_told(self.in_flight)}; probes refused: {refused})")


def _start(command: list[str], environment: dict[str, str]) -> int:
    """Start the server; return its pid."""
    libc = ctypes.CDLL(None)  # before the fork: afterwards as little as possible
    pid = os.fork()
    if pid:
        with suppress(PermissionError, ProcessLookupError):  # it has done so itself and runs already, or has ended
            os.setpgid(pid, pid)
        return pid
    try:
        os.setpgid(0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _OWNED)
        for number in _IGNORED_BY_PYTHON:  # what is ignored stays so across exec
            signal.signal(number, signal.SIG_DFL)
        os.execvpe(command[0], command, environment)  # noqa: S606 - the user's own command, without a shell
    except OSError as problem:
        _say(f"{command[0]}: {problem.strerror}")
    finally:
        os._exit(_NOT_STARTED)


def _told(found: InFlight) -> str:
    return (
        f"open: {found.requests} requests, {found.event_streams} event streams, {found.websockets} WebSockets"
        if found.total
        else "nothing open"
    )


def _cut(found: InFlight) -> str:
    return f"; cut: {_told(found)}" if found.total else ""


def _say(text: str) -> None:
    print(f"hitless.lifecycle: {text}", file=sys.stderr, flush=True)  # noqa: T201 - a command line prints
