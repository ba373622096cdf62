"""What probe answers mean, as a pure state machine; who asks them, and when, is elsewhere.

Rules:
    STARTING -> READY after `healthy_after` passed readiness probes in a row
    READY -> UNREADY after `unhealthy_after` failed ones in a row, and back after `healthy_after` passed ones
    READY, UNREADY -> FAILED after `unhealthy_after` failed liveness probes in a row
Liveness is not asked of an instance that was never ready: a slow start is the start deadline's business, not a reason
to end it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hitless.rollout.spec import HealthSpec
from hitless.rollout.world import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a probe found; `detail` is evidence for people.

    `is_ours`: it could not even be asked, for lack of descriptors, ports or memory here; that says nothing about it.
    """

    passed: bool
    detail: str
    is_ours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """An instance's phase and the answers in a row that speak for another one."""

    phase: Phase
    passed: int = 0
    failed: int = 0
    lost: int = 0
    cause: str | None = None

    def doubted(self, spec: HealthSpec) -> Health:
        """Take into account that somebody else has seen enough failures: one of ours confirms them."""
        return replace(self, failed=max(self.failed, spec.unhealthy_after - 1))

    def after(self, *, ready: Answer, live: Answer | None, spec: HealthSpec) -> Health:
        """Take one round of answers into account; `live` is None where liveness is not asked."""
        if ready.is_ours or (live is not None and live.is_ours):
            return self
        counted = replace(
            self,
            passed=self.passed + 1 if ready.passed else 0,
            failed=0 if ready.passed else self.failed + 1,
            lost=0 if live is None or live.passed else self.lost + 1,
        )
        if live is not None and counted.lost >= spec.unhealthy_after:
            cause = f"liveness lost: {spec.live} failed {counted.lost} times in a row, last: {live.detail}"
            return replace(counted, phase=Phase.FAILED, cause=cause)
        return _with_readiness(counted, ready, spec)


def _with_readiness(health: Health, ready: Answer, spec: HealthSpec) -> Health:
    if health.phase is not Phase.READY and health.passed >= spec.healthy_after:
        return replace(health, phase=Phase.READY, cause=None)
    if health.phase is Phase.READY and health.failed >= spec.unhealthy_after:
        cause = f"not ready: {spec.ready} failed {health.failed} times in a row, last: {ready.detail}"
        return replace(health, phase=Phase.UNREADY, cause=cause)
    return health
