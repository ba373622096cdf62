"""Metrics that a test decides: what users met, second by second."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace

from hitless.analysis.counts import Second
from hitless.ports import Clock

KEPT_S = 45 * 60

Told = Callable[[int], Second]
"""What was seen in a second, from its beginning in seconds since 1970."""


class FakeMetrics:
    """`hitless.ports.Metrics`: every second is without traffic, unless told otherwise.

    A second is whole `lag_s` after its end. What a test tells holds for seconds that nobody has been given yet.

    Attributes:
        silence: while set, every second is a gap for this reason.
        fault: raised instead of any answer.
        hangs: nothing is answered any more.
    """

    def __init__(self, clock: Clock, *, lag_s: float = 1.0) -> None:
        self._clock = clock
        self._lag_s = lag_s
        self._began_at = math.ceil(clock.now().timestamp())
        self._told: dict[str, Told] = {}
        self._seen: dict[str, list[Second]] = {}
        self.silence: str | None = None
        self.fault: Exception | None = None
        self.hangs = False

    def tell(self, service: str, told: Told) -> None:
        """Let a service's seconds be what `told` returns, from the next one on that nobody was given."""
        self._catch_up(service)
        self._told[service] = told

    def fall_silent(self, reason: str) -> None:
        """Let all seconds from now on be gaps, until `recover`."""
        self._catch_up_all()
        self.silence = reason

    def recover(self) -> None:
        """Let seconds from now on be seen again."""
        self._catch_up_all()
        self.silence = None

    async def seconds(self, service: str, *, after: int) -> tuple[Second, ...]:
        """Return whole seconds that began later than `after`, oldest first, each once."""
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        if self.fault is not None:
            raise self.fault
        return tuple(second for second in self._catch_up(service) if second.at > after)

    def _catch_up_all(self) -> None:
        for service in {*self._told, *self._seen}:
            self._catch_up(service)

    def _catch_up(self, service: str) -> list[Second]:
        seen = self._seen.setdefault(service, [])
        upcoming = seen[-1].at + 1 if seen else self._began_at
        whole_until = int(self._clock.now().timestamp() - self._lag_s)
        seen += [self._look(service, at) for at in range(upcoming, whole_until)]
        del seen[:-KEPT_S]
        return seen

    def _look(self, service: str, at: int) -> Second:
        told = self._told.get(service)
        second = replace(told(at), at=at) if told is not None else Second(at=at)
        if self.silence is None:
            return second
        return Second(at=at, usage=second.usage, gap=self.silence)
