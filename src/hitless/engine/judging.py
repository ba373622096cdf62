"""Who is judged: from when both versions of a rollout have traffic until it has ended or is on its way back.

A flip leaves nobody to compare with: where something is promised (`slo`), the new version is held against that.

An undo is not judged: the way back must not hang on a comparison with the version that a person found bad.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from hitless.analysis.ruling import Call, Judgement, Ruling, Why
from hitless.engine.case import Case
from hitless.engine.outside import Outside
from hitless.engine.shares import Shares
from hitless.rollout.spec import ALL_TRAFFIC_BP, SloSpec, Version
from hitless.rollout.state import Rollout, RolloutPhase, ServiceState
from hitless.rollout.world import Observation

NOT_MEASURED = Ruling(call=Call.HOLD, why=Why.NO_DATA, sentence="requests are not measured here")


@dataclass(slots=True, kw_only=True)
class Judging:
    """Follows one service's rollouts, one after the other.

    Attributes:
        on_ruling: told the call when a judge says something else than before.
    """

    outside: Outside
    on_ruling: Callable[[Call], None]
    _rollout_id: str | None = None
    _shares: Shares | None = None
    _clear_until: datetime | None = None
    _case: Case | None = None
    _task: asyncio.Task[None] | None = None
    _ending: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the case that is on."""
        return tuple(self._case.troubles.values()) if self._case is not None and self._task is not None else ()

    def follow(self, state: ServiceState, observed: Observation, *, begun: datetime) -> None:
        """Take in what one look saw, which had begun at `begun`; begin and end what is judged."""
        if not is_judged(state):
            self._end()
            return
        rollout = state.running
        if rollout.id != self._rollout_id:
            self._end()
            self._rollout_id, self._case, self._clear_until = rollout.id, None, None
            self._shares = Shares(canary=rollout.candidate)
        assert self._shares is not None
        self._shares.note(observed, begun=begun)
        if observed.routing and not _carries(rollout.candidate, observed):
            self._clear_until = begun
        if self._case is None and is_seen(rollout, state.specs[rollout.candidate].slo, observed):
            self._begin(state, self._shares)
        if self._case is not None:
            self._case.next_share_bp = next_share_bp(rollout)

    def ruling(self, state: ServiceState, observed: Observation) -> Ruling | None:
        """Return what a decision about the rollout may rest on now; where no verdict is waited for, only ROLLBACK."""
        if not is_judged(state) or state.running.id != self._rollout_id:
            return None
        rollout = state.running
        waits = state.specs[rollout.candidate].analysis is not None
        if self.outside.metrics is None:
            return NOT_MEASURED if waits and has_traffic(rollout, observed) else None
        said = self._case.says(observed.now) if self._case is not None else None
        return said if waits or (said is not None and said.call is Call.ROLLBACK) else None

    def judgement(self, rollout: Rollout) -> Judgement | None:
        """Return the evidence of a rollout that is judged, or was the last one to be."""
        if self._case is None or rollout.id != self._rollout_id:
            return None
        return self._case.judgement if self._task is None else self._case.shows(self.outside.clock.now())

    async def close(self) -> None:
        """End what is on."""
        self._end()
        if self._ending:
            await asyncio.wait(self._ending)

    def _begin(self, state: ServiceState, shares: Shares) -> None:
        if self.outside.metrics is None:
            return
        self._case = Case(
            rollout=state.running,
            spec=state.specs[state.running.candidate],
            outside=self.outside,
            metrics=self.outside.metrics,
            shares=shares,
            clear_until=self._clear_until,
            on_ruling=self.on_ruling,
        )
        self._task = asyncio.create_task(self._case.run())

    def _end(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)


def is_judged(state: ServiceState) -> bool:
    """Tell whether a rollout is on whose versions are compared once both have traffic."""
    if state.phase not in {RolloutPhase.ADVANCING, RolloutPhase.PAUSED}:
        return False
    return state.running.compares and state.running.strategy != "undo"


def is_seen(rollout: Rollout, slo: SloSpec | None, observed: Observation) -> bool:
    """Tell whether there is something to judge: two versions side by side, or one that a promise was made for."""
    is_promised = slo is not None and slo.success_rate is not None
    if has_traffic(rollout, observed) or has_won(rollout, observed):
        return True
    return is_promised and _carries(rollout.candidate, observed)


def has_traffic(rollout: Rollout, observed: Observation) -> bool:
    """Tell whether both versions have a share in some region, by any table that may be in force."""
    baseline = rollout.baseline
    return any(
        baseline is not None and table.weight_bp(rollout.candidate) > 0 and table.weight_bp(baseline) > 0
        for view in observed.routing.values()
        for table in view.live()
    )


def has_won(rollout: Rollout, observed: Observation) -> bool:
    """Tell whether the new version got its traffic step by step and has all of it.

    Its judge, begun by an earlier controller, still holds it against the objective.
    """
    earlier = (world for stage in rollout.plan.stages[: rollout.stage] for world in stage.desired.values())
    was_beside = any(0 < world.weights.get(rollout.candidate, 0) < ALL_TRAFFIC_BP for world in earlier)
    return was_beside and _carries(rollout.candidate, observed)


def next_share_bp(rollout: Rollout) -> int:
    """Return the share that a verdict is asked for: the next step's, or all of the traffic."""
    judged = rollout.current_stage.judged
    return ALL_TRAFFIC_BP if judged is None else judged.next_share_bp


def _carries(version: Version, observed: Observation) -> bool:
    return any(table.weight_bp(version) for view in observed.routing.values() for table in view.live())
