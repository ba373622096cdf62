"""Liveness and readiness: warm-up, dependency checks, and the answer to a probe.

Functions may be plain or async. Each run has a thread of its own; what is awaitable is awaited where the application
lives: on its event loop under ASGI, in the thread under WSGI.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from hitless.lifecycle.board import Cell, Ledger, Warmth
from hitless.lifecycle.drain import Phase

log = logging.getLogger("hitless.lifecycle")

Function = Callable[[], object]
Await = Callable[[Awaitable[object]], object]
OK: Final = 200
SERVICE_UNAVAILABLE: Final = 503
_MILLISECONDS = 1_000

_RETRY_S = 1.0
_LONGEST_RETRY_S = 10.0
"""A warm-up that fails is tried again after 1, 2, 4, 8 and then every 10 s: a database that restarts takes seconds."""


class State(StrEnum):
    """What readiness says."""

    WARMING_UP = "warming up"
    WARM_UP_FAILED = "warm-up failed"
    READY = "ready"
    FAILING = "failing"  # a dependency check fails
    DRAINING = "draining"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A dependency check: it fails when it raises, returns False or takes too long.

    Attributes:
        run: a plain or async function.
        timeout_s: shorter than the second after which Kubernetes gives a probe up by default, so that the probe gets an
            answer with the name in it.
        cache_s: for so long after its end a success is told again, so that many probes ask the dependency once. A
            failure is not: a load balancer that waits for three failed probes shall have seen three failures.
    """

    run: Function
    timeout_s: float = 0.8
    cache_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended."""

    duration_s: float
    error: str | None = None
    problem: Exception | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        told = {"status": "failed" if self.error else "ok", "duration_ms": round(self.duration_s * _MILLISECONDS, 1)}
        return {**told, "error": self.error} if self.error else told


class Dependency:
    """A named check, never run twice at once, and its last result."""

    def __init__(self, name: str, check: Check, await_it: Await) -> None:
        self.name = name
        self.check = check
        self._await = await_it
        self._guard = threading.Lock()
        self._began_at = 0.0
        self._ended_at: float | None = None  # None: never, or not yet
        self._run: Future[Outcome] | None = None
        self._was_ok = True

    def ask(self) -> Future[Outcome]:
        """Return the run whose result counts now: one that is under way, one that is fresh enough, or a new one."""
        with self._guard:
            if self._run is None or self._is_stale():
                self._run, self._began_at, self._ended_at = Future(), time.monotonic(), None
                _in_thread(f"check {self.name}", self._perform, self._run)
            return self._run

    def outcome(self, run: Future[Outcome]) -> Outcome:
        """Return how a run ended, or that it takes too long."""
        took_s = time.monotonic() - self._began_at
        found = run.result() if run.done() else Outcome(duration_s=took_s, error=self._too_long)
        self._log_change(found)
        return found

    def _is_stale(self) -> bool:
        if self._ended_at is None or self._run is None or not self._run.done():
            return False
        return self._run.result().error is not None or time.monotonic() - self._ended_at >= self.check.cache_s

    @property
    def _too_long(self) -> str:
        return f"no answer within {self.check.timeout_s:g} s"

    def _perform(self, run: Future[Outcome]) -> None:
        found = _perform(self.check.run, self._await_in_time)
        if found.error is None and found.duration_s > self.check.timeout_s:
            found = Outcome(duration_s=found.duration_s, error=self._too_long)
        self._ended_at = time.monotonic()
        run.set_result(found)

    def _await_in_time(self, awaitable: Awaitable[object]) -> object:
        """Await with a time-out that cancels, so that the next run can begin; a plain function cannot be cancelled."""

        async def limited() -> object:
            async with asyncio.timeout(self.check.timeout_s):
                return await awaitable

        return self._await(limited())

    def _log_change(self, found: Outcome) -> None:
        is_ok = found.error is None
        if is_ok != self._was_ok:
            self._was_ok = is_ok
            log.log(logging.INFO if is_ok else logging.WARNING, "check %s: %s", self.name, found.error or "works again")


class Health:
    """One application's warm-up and checks, in this process."""

    def __init__(
        self, *, warm_up: Sequence[Function], checks: Mapping[str, Function | Check], ledger: Ledger, await_it: Await
    ) -> None:
        found = {name: one if isinstance(one, Check) else Check(run=one) for name, one in checks.items()}
        self._dependencies = [Dependency(name, check, await_it) for name, check in found.items()]
        self._functions = tuple(warm_up)
        self._ledger = ledger
        self._await = await_it
        self._warmed: list[tuple[str, Outcome]] = []
        self._guard = threading.Lock()
        self._begun_in: int | None = None

    def begin(self) -> None:
        """Begin the warm-up, once per process: one that was forked has caches and connections of its own."""
        if self._begun_in == os.getpid():
            return
        with self._guard:
            if self._begun_in == os.getpid():
                return
            self._begun_in, self._warmed = os.getpid(), []
        if self._functions:
            self._ledger.note_warmth(Warmth.WARMING)
            _in_thread("warm-up", self._warm_up)
        else:
            self._ledger.note_warmth(Warmth.WARM)

    @property
    def state(self) -> State:
        """What readiness says, checks aside.

        Until a probe was told yes: for all workers of the instance, of which each must be warm. From then on each
        worker speaks for itself, so that one that comes later (it was slow to start, or takes the place of another)
        is not told by the others.
        """
        if self._ledger.phase > Phase.SERVING:
            return State.DRAINING
        warmths = {self._ledger.warmth} if self._ledger.board.has_been_ready else self._ledger.warmths()
        if Warmth.FAILED in warmths:
            return State.WARM_UP_FAILED
        return State.WARMING_UP if Warmth.WARMING in warmths else State.READY

    def ask(self) -> Asked:
        """Begin what a probe needs; checks are for a worker that is warm: they may use what the warm-up made."""
        state = self.state
        runs = tuple((one, one.ask()) for one in self._dependencies) if state is State.READY else ()
        return Asked(state=state, runs=runs, timeout_s=max((one.check.timeout_s for one, _ in runs), default=0.0))

    def answer(self, asked: Asked) -> tuple[int, bytes]:
        """Return status and body of the answer to a readiness probe."""
        outcomes = {one.name: one.outcome(run) for one, run in asked.runs}
        state = self.state if asked.state is State.READY else asked.state  # what became ready since was not checked
        if state is State.READY and any(found.error for found in outcomes.values()):
            state = State.FAILING
        if state is State.DRAINING:
            self._ledger.add(Cell.REFUSED_PROBES, 1)
        if state is State.READY:
            self._ledger.board.note_ready()
        told = {
            "state": state,
            "in_flight": asdict(self._ledger.in_flight()),
            "warm_up": [{"name": name, **found.to_json()} for name, found in self._warmed],
            "checks": {name: found.to_json() for name, found in outcomes.items()},
        }
        return OK if state is State.READY else SERVICE_UNAVAILABLE, json.dumps(told).encode()

    def _warm_up(self) -> None:
        for position, function in enumerate(self._functions):
            pause_s = _RETRY_S
            while not self._has_warmed(position, function):
                self._ledger.note_warmth(Warmth.FAILED)
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_RETRY_S)
        self._ledger.note_warmth(Warmth.WARM)

    def _has_warmed(self, position: int, function: Function) -> bool:
        name, found = _name_of(function), _perform(function, self._await)
        self._warmed[position:] = [(name, found)]
        if found.error is not None:
            told = "warm-up %s failed: %s; this worker is not ready, and tries again"
            log.error(told, name, found.error, exc_info=found.problem)
        return found.error is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What readiness said when the probe came, and the runs that it waits for, at most so long."""

    state: State
    runs: tuple[tuple[Dependency, Future[Outcome]], ...]
    timeout_s: float

    @property
    def futures(self) -> list[Future[Outcome]]:
        """Those that are under way."""
        return [run for _, run in self.runs if not run.done()]


def _perform(function: Function, await_it: Await) -> Outcome:
    """Run a function of the application's; whatever it raises is its outcome."""
    began_at = time.monotonic()
    raised: Exception | None = None
    try:
        value = function()
        if inspect.isawaitable(value):
            value = await_it(value)
        error = "it returned False" if value is False else None
    except Exception as problem:  # noqa: BLE001 - the application's, told in the answer to the probe
        raised, error = problem, f"{type(problem).__name__}: {problem}".removesuffix(": ")
    return Outcome(duration_s=time.monotonic() - began_at, error=error, problem=raised)


def _name_of(function: Function) -> str:
    return getattr(function, "__name__", None) or repr(function)


def _in_thread(name: str, function: Callable[..., None], *arguments: object) -> None:
    """Run in a daemon thread of its own: one that hangs holds up neither the others nor the end of the process."""
    threading.Thread(name=f"hitless {name}", target=function, args=arguments, daemon=True).start()
