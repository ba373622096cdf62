from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

import aiohttp

from hitless.adapters.processes.health import Answer, Health
from hitless.adapters.processes.http import ask, url_of
from hitless.rollout.spec import Address, HealthSpec
from hitless.rollout.world import Phase

PROBED = frozenset({Phase.STARTING, Phase.READY, Phase.UNREADY})
"""Phases in which an instance is asked."""

_FIRST_PAUSE_S = 0.05
_PAUSE_GROWTH = 1.25  # while it starts: readiness is seen within a fifth of the time that the start took


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing:
    """Asks one instance for its health.

    Attributes:
        target: where it listens.
        spec: what is asked, and how often.
        start_deadline_s: until when it may be STARTING, monotonic.
    """

    session: aiohttp.ClientSession
    target: Address
    spec: HealthSpec
    start_deadline_s: float

    async def rounds(self, phase: Phase) -> AsyncGenerator[Health, None]:
        """Ask again and again, from `phase` on; yield what each round found, FAILED as the last."""
        health = Health(phase=phase)
        pause_s = _FIRST_PAUSE_S
        while True:
            health = await self._round(health)
            yield health
            if health.phase not in PROBED:
                return
            pause_s = self._next_pause_s(health.phase, pause_s)
            await asyncio.sleep(pause_s)

    async def _round(self, health: Health) -> Health:
        ready, live = await self._ask(health.phase)
        after = health.after(ready=ready, live=live, spec=self.spec)
        if after.phase is Phase.STARTING and not ready.is_ours and self._start_time_left_s() <= 0:
            cause = f"not ready within {self.spec.start_deadline_s:g} s: {self.spec.ready} last said: {ready.detail}"
            return replace(after, phase=Phase.FAILED, cause=cause)
        return after

    async def _ask(self, phase: Phase) -> tuple[Answer, Answer | None]:
        if phase is Phase.STARTING:
            timeout_s = min(self.spec.timeout_s, max(_FIRST_PAUSE_S, self._start_time_left_s()))
            return await self._get(self.spec.ready, timeout_s), None
        if self.spec.live is None:
            return await self._get(self.spec.ready, self.spec.timeout_s), None
        ready, live = await asyncio.gather(
            self._get(self.spec.ready, self.spec.timeout_s), self._get(self.spec.live, self.spec.timeout_s)
        )
        return ready, live

    async def _get(self, path: str, timeout_s: float) -> Answer:
        return await ask(self.session, url_of(self.target, path), timeout_s=timeout_s)

    def _next_pause_s(self, phase: Phase, last_s: float) -> float:
        if phase is Phase.STARTING:
            left_s = max(_FIRST_PAUSE_S, self._start_time_left_s())
            return min(last_s * _PAUSE_GROWTH, self.spec.interval_s, left_s)
        # instances that were adopted together drift apart
        return self.spec.interval_s * random.uniform(0.95, 1.05)  # noqa: S311 - spread, not a secret

    def _start_time_left_s(self) -> float:
        return self.start_deadline_s - time.monotonic()
