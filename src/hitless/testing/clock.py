"""Virtual time: a 24-hour hold passes in milliseconds, and the same test takes the same course every time.

Theory: tasks wait on the clock; nothing moves it but `advance` and `run_until`. Both go from sleeper to sleeper in the
order of their wake-up times (of equal ones: in the order in which they went to sleep), and let every task that woke run
until it waits again before time moves on.

Rule: work in threads is invisible to the event loop, so time would run away from it. Where the code under test uses
`asyncio.to_thread`, install `InlineExecutor` (or call `VirtualClock.run_threads_inline`).
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2030, 1, 1, tzinfo=UTC)

_MAX_TURNS = 100_000


class VirtualClock:
    """`hitless.ports.Clock` that a test owns."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._number = itertools.count()

    def now(self) -> datetime:
        """Return the present moment, aware, UTC."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until the test has moved the clock so far; zero lets others run."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + timedelta(seconds=seconds), next(self._number), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Move time forward, waking whoever's time has come, one after the other."""
        until = self._now + timedelta(seconds=seconds)
        await settle()
        while (next_at := self._next_at()) is not None and next_at <= until:
            await self._wake_next()
        self._now = max(self._now, until)
        await settle()

    async def run_until(self, condition: Callable[[], bool], *, within_s: float) -> None:
        """Move time from sleeper to sleeper until `condition` holds.

        Raises:
            TimeoutError: it does not hold within so many virtual seconds, or nobody sleeps any more.
        """
        deadline = self._now + timedelta(seconds=within_s)
        await settle()
        while not condition():
            next_at = self._next_at()
            if next_at is None or next_at > deadline:
                raise TimeoutError(f"not within {within_s:g} virtual seconds (now {self._now.isoformat()})")
            await self._wake_next()

    @staticmethod
    def run_threads_inline() -> None:
        """Make `asyncio.to_thread` of the running loop run at once, so that time waits for it."""
        asyncio.get_running_loop().set_default_executor(InlineExecutor())

    def _next_at(self) -> datetime | None:
        while self._sleepers and self._sleepers[0][2].done():  # cancelled meanwhile
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    async def _wake_next(self) -> None:
        wake_at, _, woken = heapq.heappop(self._sleepers)
        self._now = max(self._now, wake_at)
        woken.set_result(None)
        await settle()


class InlineExecutor(ThreadPoolExecutor):
    """An executor that runs its work in the calling thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `fn` now; the future is done when this returns."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits the future, as an executor does
            future.set_exception(error)
        return future


async def settle() -> None:
    """Let every other task of this loop run until all of them wait for something.

    Raises:
        RuntimeError: one of them never does.
    """
    ready = getattr(asyncio.get_running_loop(), "_ready", None)  # asyncio has no public way to ask
    if ready is None:
        raise RuntimeError("virtual time needs asyncio's own event loop")
    for _ in range(_MAX_TURNS):
        await asyncio.sleep(0)
        if not ready:
            return
    raise RuntimeError(f"a task still runs after {_MAX_TURNS} turns without waiting for the clock")
