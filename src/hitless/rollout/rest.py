"""When there is nothing to decide anew: what is seen is what was seen, and no moment has come that a rule waits for.

Theory. A step is a function of the state, of what is seen, and of time. Time enters it only by comparison with moments
that follow from the other two: the next start after failures, the ends of drains, the end of a hold, the deadline of a
stage, the end of the patience with its judge. So a step that decided nothing decides nothing again until one of these
comes or something else is seen.

Rule: whoever lets another rule compare with `now` adds its moment to `_moments`. The properties look for a forgotten
one: there every step that could be left out is taken all the same, and must decide nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from hitless.analysis.ruling import Ruling
from hitless.preflight.finding import PreflightReport
from hitless.rollout.hard_facts import all_requests_fail
from hitless.rollout.inputs import Observed
from hitless.rollout.spec import InstanceId, Region
from hitless.rollout.stage import Held, patience_ends_at
from hitless.rollout.state import RolloutPhase, ServiceState
from hitless.rollout.step import Step
from hitless.rollout.world import Instance, Observation, OpenRequests, RoutingView, Table
from hitless.schema.release import DatabaseReport

Sight = Mapping[Region, tuple[Table | None, Table | None, Mapping[InstanceId, OpenRequests]]]
"""What of the routing decides: the tables and who drains; how busy those in rotation are decides nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """A step that decided nothing.

    Attributes:
        since: when it was taken; a clock that was set back ends the rest.
        until: the first moment that a rule waits for; None = there is none.
    """

    state: ServiceState
    instances: tuple[Instance, ...]
    routing: Sight
    checks: tuple[str, ...] | None
    preflight: PreflightReport | None
    database: DatabaseReport | None
    ruling: Ruling | None
    since: datetime
    until: datetime | None

    def covers(self, state: ServiceState, seen: Observed) -> bool:
        """Tell whether a step would decide nothing again."""
        observed = seen.observation
        return (
            state is self.state
            and self.since <= observed.now
            and (self.until is None or observed.now < self.until)
            and observed.instances == self.instances
            and self._has_heard(seen)
            and _sight(observed) == self.routing
            and not _is_certain_to_fail(state, observed)
        )

    def _has_heard(self, seen: Observed) -> bool:
        """Tell whether every answer is what it was."""
        answers = (seen.checks, seen.preflight, seen.database, seen.ruling)
        return answers == (self.checks, self.preflight, self.database, self.ruling)


def rest_after(step: Step, seen: Observed) -> Rest | None:
    """Return the rest that a step leaves behind, None when it decided something."""
    if step.events or step.effects:
        return None
    observed = seen.observation
    return Rest(
        state=step.state,
        instances=observed.instances,
        routing=_sight(observed),
        checks=seen.checks,
        preflight=seen.preflight,
        database=seen.database,
        ruling=seen.ruling,
        since=observed.now,
        until=min((moment for moment in _moments(step.state, observed) if moment > observed.now), default=None),
    )


def _sight(observed: Observation) -> Sight:
    return {region: (view.acknowledged, view.pending, _drains(view)) for region, view in observed.routing.items()}


def _is_certain_to_fail(state: ServiceState, observed: Observation) -> bool:
    """Tell whether the proxy's counts decide: they grow with every request, and nearly always say nothing."""
    rollout = state.rollout
    if rollout is None or state.phase is RolloutPhase.IDLE:
        return False
    return all_requests_fail(observed, candidate=rollout.candidate, baseline=rollout.baseline) is not None


def _drains(view: RoutingView) -> Mapping[InstanceId, OpenRequests]:
    return {name: left for name, left in view.open_requests.items() if left.draining_since is not None}


def _moments(state: ServiceState, observed: Observation) -> Iterator[datetime]:
    yield from (failures.next_start_at for failures in state.failures.values())
    yield from _ends_of_drains(state, observed)
    rollout = state.rollout
    if rollout is None or state.phase is RolloutPhase.IDLE:
        return
    waiting, settled = rollout.record.waiting_since(), rollout.record.settled_at
    if waiting is not None:
        yield waiting + timedelta(seconds=rollout.current_stage.deadline_s)
    if settled is not None:
        holds = (one for one in rollout.current_stage.until if isinstance(one, Held))
        yield from (settled + timedelta(seconds=one.seconds) for one in holds)
    if (ends_at := patience_ends_at(rollout.current_stage, rollout.record)) is not None:
        yield ends_at


def _ends_of_drains(state: ServiceState, observed: Observation) -> Iterator[datetime]:
    drains = [left for view in observed.routing.values() for left in _drains(view).values()]
    promised = [spec.drain for spec in state.specs.values()] if drains else []
    if drains and state.limits is not None:
        promised.append(state.limits.drain)
    for since in {left.draining_since for left in drains if left.draining_since is not None}:
        for seconds in {seconds for one in promised for seconds in (one.requests_s, one.streams_s)}:
            yield since + timedelta(seconds=seconds)
