"""What the proxy's own health check says of an instance.

The proxy asks every instance that it routes to the very question that we ask, as often, and stops sending requests by
itself when the answer is no. While it says that an instance passes, asking it ourselves as well tells nothing new: we
do so seldom. When it says that one fails, we ask at once, and one failure of ours confirms it. When it says nothing
(it is down, the instance is not in its table, nobody has looked lately), we ask as often as is set.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

_REMEMBERED_S = 3.0


class Witness:
    """The verdict on one instance, and a way to wait for another one."""

    def __init__(self) -> None:
        self._passes: bool | None = None
        self._until = float("-inf")
        self._news = asyncio.Event()

    def hear(self, *, passes: bool | None) -> None:
        """Take in what was seen now; None = nothing is known."""
        if passes != self.verdict:
            self._news.set()
        self._passes, self._until = passes, time.monotonic() + _REMEMBERED_S

    @property
    def verdict(self) -> bool | None:
        """Whether the instance passes; None = not known, or not lately."""
        return self._passes if time.monotonic() < self._until else None

    async def pause(self, seconds: float) -> None:
        """Wait, at most until another verdict comes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()
