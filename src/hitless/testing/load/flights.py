"""Requests and streams under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine


class Flights:
    """Keeps hold of tasks; the first one that a fault of the generator itself ends is raised when all have landed."""

    def __init__(self, *, on_fault: Callable[[], None]) -> None:
        self._on_fault = on_fault
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault: BaseException | None = None

    def launch(self, flight: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Start a flight."""
        task = asyncio.get_running_loop().create_task(flight)
        self._tasks.add(task)
        task.add_done_callback(self._land)
        return task

    async def land(self, *, within_s: float) -> None:
        """Wait for all, then end those that are left.

        Raises:
            BaseException: what ended the first flight that failed by a fault of the generator.
        """
        await self.wait(within_s=within_s)
        await self.abandon()
        if self._fault is not None:
            raise self._fault

    async def wait(self, *, within_s: float) -> None:
        """Wait for all, at most so long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)

    async def abandon(self) -> None:
        """End all flights now."""
        left = tuple(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _land(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        problem = None if task.cancelled() else task.exception()
        if problem is not None and self._fault is None:
            self._fault = problem
            self._on_fault()
