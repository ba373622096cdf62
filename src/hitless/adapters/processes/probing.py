from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from hitless.adapters.processes.health import Answer, Health
from hitless.adapters.processes.probe import ask
from hitless.adapters.processes.witness import Witness
from hitless.rollout.spec import Address, HealthSpec
from hitless.rollout.world import Phase

PROBED = frozenset({Phase.STARTING, Phase.READY, Phase.UNREADY})
"""Phases in which an instance is asked."""

_FIRST_PAUSE_S = 0.05
_VOUCHED_PAUSE_S = 20.0
_VOUCHED = Answer(passed=True, detail="passes the proxy's health check")
_PAUSE_GROWTH = 1.25  # while it starts: readiness is seen within a fifth of the time that the start took


@dataclass(slots=True, kw_only=True)
class Probing:
    """Asks one instance for its health.

    Attributes:
        target: where it listens.
        spec: what is asked, and how often.
        start_deadline_s: until when it may be STARTING, monotonic.
        witness: what the proxy's health check says of it.
    """

    target: Address
    spec: HealthSpec
    start_deadline_s: float
    witness: Witness
    _ask_again_at: float = float("-inf")

    async def rounds(self, phase: Phase) -> AsyncGenerator[Health, None]:
        """Ask again and again, from `phase` on; yield what each round found, FAILED as the last."""
        health = Health(phase=phase)
        pause_s = _FIRST_PAUSE_S
        while True:
            health = await self._round(health)
            yield health
            if health.phase not in PROBED:
                return
            pause_s = self._next_pause_s(health, pause_s)
            await self.witness.pause(pause_s)

    async def _round(self, health: Health) -> Health:
        if self.witness.verdict is False:
            health = health.doubted(self.spec)
        ready, live = await self._ask(health)
        after = health.after(ready=ready, live=live, spec=self.spec)
        if after.phase is Phase.STARTING and not ready.is_ours and self._start_time_left_s() <= 0:
            cause = f"not ready within {self.spec.start_deadline_s:g} s: {self.spec.ready} last said: {ready.detail}"
            return replace(after, phase=Phase.FAILED, cause=cause)
        return after

    async def _ask(self, health: Health) -> tuple[Answer, Answer | None]:
        if health.phase is Phase.STARTING:
            timeout_s = min(self.spec.timeout_s, max(_FIRST_PAUSE_S, self._start_time_left_s()))
            return await ask(self.target, self.spec.ready, timeout_s=timeout_s), None
        if self.spec.live is None:
            return await self._ask_ready(health), None
        ready, live = await asyncio.gather(
            self._ask_ready(health), ask(self.target, self.spec.live, timeout_s=self.spec.timeout_s)
        )
        return ready, live

    async def _ask_ready(self, health: Health) -> Answer:
        now_s = time.monotonic()
        if self._is_vouched_for(health) and now_s < self._ask_again_at:
            return _VOUCHED
        self._ask_again_at = now_s + _VOUCHED_PAUSE_S
        return await ask(self.target, self.spec.ready, timeout_s=self.spec.timeout_s)

    def _is_vouched_for(self, health: Health) -> bool:
        """Tell whether the proxy finds what we found last: then asking again so soon tells nothing new."""
        return health.phase is Phase.READY and health.failed == 0 and self.witness.verdict is True

    def _next_pause_s(self, health: Health, last_s: float) -> float:
        if health.phase is Phase.STARTING:
            left_s = max(_FIRST_PAUSE_S, self._start_time_left_s())
            return min(last_s * _PAUSE_GROWTH, self.spec.interval_s, left_s)
        pause_s = self.spec.interval_s
        if self.spec.live is None and self._is_vouched_for(health):
            pause_s = max(pause_s, _VOUCHED_PAUSE_S)
        # instances that were adopted together drift apart
        return pause_s * random.uniform(0.95, 1.05)  # noqa: S311 - spread, not a secret

    def _start_time_left_s(self) -> float:
        return self.start_deadline_s - time.monotonic()
