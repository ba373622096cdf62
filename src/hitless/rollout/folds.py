"""How each event changes the state; `evolve` folds one in.

Rules. What was decided stands in the event, so nothing is decided here, and there is no clock. An event that is folded
twice changes nothing; one that comes too late (of another stage, of a rollout that has ended) does not either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import reduce
from typing import Any

from hitless.rollout.events import (
    ChecksFinished,
    DatabaseAnswered,
    Event,
    InstanceFailed,
    InstanceGone,
    InstanceOrdered,
    InstanceRetired,
    PreflightFinished,
    RollbackStarted,
    RolloutFinished,
    RolloutPaused,
    RolloutResumed,
    RolloutStarted,
    RulingGiven,
    ServiceEvent,
    ServiceFound,
    StageEntered,
    StageProgressed,
    StagePromoted,
    StageSettled,
    StageUnsettled,
    TrafficRouted,
    VersionAdopted,
)
from hitless.rollout.spec import InstanceId, ServiceSpec, Version
from hitless.rollout.stage import StageRecord
from hitless.rollout.state import Ordered, Outcome, Rollout, RolloutPhase, ServiceState
from hitless.rollout.world import FAILURE_WINDOW, Failures
from hitless.schema.release import DatabaseReport, Verdict, stands_at


def evolve(state: ServiceState, event: ServiceEvent) -> ServiceState:
    """Fold one event into the state."""
    return _FOLDS[type(event)](state, event)


def _started(state: ServiceState, event: RolloutStarted) -> ServiceState:
    if event.number <= state.rollouts:
        return state
    used = {state.stable, state.previous, *(one.version for one in state.instances.values())}
    rollout = Rollout(
        id=event.rollout,
        strategy=event.strategy,
        baseline=event.baseline,
        candidate=event.candidate,
        baseline_spec=event.baseline_spec,
        spec_before=state.specs.get(event.candidate),
        plan=event.plan,
        started_at=event.at,
        actor=event.actor,
        reason=event.reason,
        skipped_preflight=event.skipped_preflight,
        database=_known_of_schema(state) if event.strategy == "undo" else None,
        record=StageRecord(entered_at=event.at),
    )
    return replace(
        state,
        phase=RolloutPhase.ADVANCING,
        is_found=False,
        rollout=rollout,
        rollouts=event.number,
        desired=event.plan.stages[0].desired,
        limits=event.plan.limits,
        specs={
            **{version: spec for version, spec in state.specs.items() if version in used},
            event.candidate: event.spec,
        },
        failures={version: some for version, some in state.failures.items() if version in used - {event.candidate}},
        keep_alives_s={version: some for version, some in state.keep_alives_s.items() if version in used},
    )


def _known_of_schema(state: ServiceState) -> DatabaseReport | None:
    """Return what an undo meets: it asks nothing of the database."""
    return DatabaseReport(verdict=Verdict.READY, changes=state.changes) if state.changes else None


def _entered(state: ServiceState, event: StageEntered) -> ServiceState:
    rollout = _running(state)
    if rollout is None or event.stage <= rollout.stage:
        return state
    moved = replace(rollout, stage=event.stage, record=StageRecord(entered_at=event.at))
    return replace(state, rollout=moved, desired=moved.current_stage.desired)


def _settled(state: ServiceState, event: StageSettled) -> ServiceState:
    rollout = _running(state)
    if rollout is None or event.stage != rollout.stage:
        return state
    settled_at, unsettled_at = rollout.record.settled_at or event.at, rollout.record.unsettled_at
    if unsettled_at is not None:
        settled_at += event.at - unsettled_at  # what the new version did not serve, it was not held for
    return _with_record(state, rollout, settled_at=settled_at, unsettled_at=None)


def _unsettled(state: ServiceState, event: StageUnsettled) -> ServiceState:
    rollout = _running(state)
    if rollout is None or event.stage != rollout.stage or rollout.record.unsettled_at is not None:
        return state
    return _with_record(state, rollout, unsettled_at=event.at)


def _progressed(state: ServiceState, event: StageProgressed) -> ServiceState:
    rollout = _running(state)
    if rollout is None or event.stage != rollout.stage or event.progress <= rollout.record.progress:
        return state
    return _with_record(state, rollout, progress=event.progress, progressed_at=event.at)


def _checked(state: ServiceState, event: ChecksFinished) -> ServiceState:
    rollout = _running(state)
    if rollout is None or event.stage != rollout.stage:
        return state
    return _with_record(state, rollout, checks_passed=not event.problems)


def _examined(state: ServiceState, event: PreflightFinished) -> ServiceState:
    rollout = _running(state)
    if rollout is None or event.stage != rollout.stage or state.phase is RolloutPhase.ROLLING_BACK:
        return state
    measured = event.report.keep_alive_s
    others = {version: some for version, some in state.keep_alives_s.items() if version != rollout.candidate}
    keep_alives_s = others if measured is None else {**others, rollout.candidate: measured}
    state = replace(state, keep_alives_s=keep_alives_s)
    return _with_record(state, replace(rollout, preflight=event.report), checks_passed=event.report.passed)


def _answered(state: ServiceState, event: DatabaseAnswered) -> ServiceState:
    rollout = _running(state)
    if rollout is None or event.stage != rollout.stage or state.phase is RolloutPhase.ROLLING_BACK:
        return state
    changes = reduce(stands_at, event.report.changes, state.changes)
    state = replace(state, changes=changes)
    return _with_record(state, replace(rollout, database=event.report), checks_passed=event.report.passed)


def _ruled(state: ServiceState, event: RulingGiven) -> ServiceState:
    rollout = _running(state)
    if rollout is None or event.stage != rollout.stage or state.phase is RolloutPhase.ROLLING_BACK:
        return state
    return replace(state, rollout=replace(rollout, ruling=event.ruling))


def _promoted(state: ServiceState, event: StagePromoted) -> ServiceState:
    rollout = _running(state)
    if rollout is None or event.stage != rollout.stage:
        return state
    return _with_record(state, rollout, promoted=True)


def _paused(state: ServiceState, _: RolloutPaused) -> ServiceState:
    return replace(state, phase=RolloutPhase.PAUSED) if state.phase is RolloutPhase.ADVANCING else state


def _resumed(state: ServiceState, _: RolloutResumed) -> ServiceState:
    return replace(state, phase=RolloutPhase.ADVANCING) if state.phase is RolloutPhase.PAUSED else state


def _turned_back(state: ServiceState, event: RollbackStarted) -> ServiceState:
    rollout = _running(state)
    if rollout is None or state.phase is RolloutPhase.ROLLING_BACK:
        return state
    return replace(
        state,
        phase=RolloutPhase.ROLLING_BACK,
        rollout=replace(rollout, cause=event.cause, record=StageRecord(entered_at=event.at)),
        specs=_with_spec(state.specs, rollout.baseline, rollout.baseline_spec),
        desired=event.desired,
        limits=event.limits,
    )


def _with_spec(
    specs: Mapping[Version, ServiceSpec], version: Version | None, spec: ServiceSpec | None
) -> Mapping[Version, ServiceSpec]:
    return specs if version is None or spec is None else {**specs, version: spec}


def _finished(state: ServiceState, event: RolloutFinished) -> ServiceState:
    rollout = _running(state)
    if rollout is None or rollout.id != event.rollout:
        return state
    ended = replace(rollout, outcome=event.outcome, finished_at=event.at, cause=event.cause or rollout.cause)
    state = replace(state, rollout=ended, phase=RolloutPhase.IDLE)
    if event.outcome is not Outcome.COMPLETED:
        specs = _with_spec(state.specs, rollout.candidate, rollout.spec_before)
        return replace(state, specs=_with_spec(specs, rollout.baseline, rollout.baseline_spec))
    is_undo = rollout.strategy == "undo"
    if rollout.candidate == state.stable:
        return replace(state, settings_before=None if is_undo else rollout.baseline_spec)
    previous = None if is_undo else state.stable
    return replace(state, stable=rollout.candidate, previous=previous, settings_before=None)


def _ordered(state: ServiceState, event: InstanceOrdered) -> ServiceState:
    if event.number <= state.named:
        return state
    one = Ordered(version=event.version, region=event.region)
    return replace(state, instances={**state.instances, event.instance: one}, named=event.number)


def _failed(state: ServiceState, event: InstanceFailed) -> ServiceState:
    one = state.instances.get(event.instance)
    if one is None or one.is_failed:
        return state
    failures = _count(state.failures.get(one.version), event)
    state = replace(state, failures={**state.failures, one.version: failures})
    return _with_instance(state, event.instance, replace(one, is_failed=True))


def _count(before: Failures | None, event: InstanceFailed) -> Failures:
    if before is None or event.at - before.last_at > FAILURE_WINDOW:
        before = Failures(count=0, early=0, last_at=event.at)
    # four that die at once are one attempt: the next start must not wait as a fourth one would
    is_new_attempt = before.early == 0 or event.started_at is None or event.started_at >= before.last_at
    early = before.early + is_new_attempt if event.is_early else 0
    return Failures(count=before.count + (not event.is_lost), early=early, last_at=event.at)


def _retired(state: ServiceState, event: InstanceRetired) -> ServiceState:
    one = state.instances.get(event.instance)
    return _with_instance(state, event.instance, replace(one, is_retired=True)) if one else state


def _gone(state: ServiceState, event: InstanceGone) -> ServiceState:
    left = {name: one for name, one in state.instances.items() if name != event.instance}
    return replace(state, instances=left)


def _routed(state: ServiceState, event: TrafficRouted) -> ServiceState:
    if event.revision <= state.revision:
        return state
    return replace(state, tables={**state.tables, event.region: event.table}, revision=event.revision)


def _found(state: ServiceState, event: ServiceFound) -> ServiceState:
    if event.revision <= state.revision:
        return state
    return ServiceState(
        service=state.service,
        instances=event.instances,
        named=max(state.named, event.number),
        revision=event.revision,
        rollouts=state.rollouts,
        rollout=state.rollout,
        changes=state.changes,
        is_found=True,
    )


def _adopted(state: ServiceState, event: VersionAdopted) -> ServiceState:
    if not state.is_found:
        return state
    return replace(state, stable=event.version, specs={event.version: event.spec}, is_found=False)


def _running(state: ServiceState) -> Rollout | None:
    return None if state.phase is RolloutPhase.IDLE else state.rollout


def _with_record(state: ServiceState, rollout: Rollout, **changes: object) -> ServiceState:
    record = replace(rollout.record, **changes)  # type: ignore[arg-type]  # replace() cannot type its keywords
    return replace(state, rollout=replace(rollout, record=record))


def _with_instance(state: ServiceState, name: InstanceId, one: Ordered) -> ServiceState:
    return replace(state, instances={**state.instances, name: one})


_FOLDS: Mapping[type[Event], Callable[[ServiceState, Any], ServiceState]] = {
    RolloutStarted: _started,
    StageEntered: _entered,
    StageSettled: _settled,
    StageUnsettled: _unsettled,
    StageProgressed: _progressed,
    ChecksFinished: _checked,
    PreflightFinished: _examined,
    DatabaseAnswered: _answered,
    RulingGiven: _ruled,
    StagePromoted: _promoted,
    RolloutPaused: _paused,
    RolloutResumed: _resumed,
    RollbackStarted: _turned_back,
    RolloutFinished: _finished,
    InstanceOrdered: _ordered,
    InstanceFailed: _failed,
    InstanceRetired: _retired,
    InstanceGone: _gone,
    TrafficRouted: _routed,
    ServiceFound: _found,
    VersionAdopted: _adopted,
}
