"""What is decided about a rollout when something is seen: it advances, waits, turns back, or has returned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from hitless.analysis.ruling import Call
from hitless.rollout.events import (
    ENGINE,
    ChecksFinished,
    DatabaseAnswered,
    PreflightFinished,
    RollbackStarted,
    RolloutFinished,
    RulingGiven,
    ServiceEvent,
    StageEntered,
    StageProgressed,
    StageSettled,
    StageUnsettled,
)
from hitless.rollout.hard_facts import all_requests_fail
from hitless.rollout.inputs import Observed
from hitless.rollout.spec import StrategyName, Undecided
from hitless.rollout.stage import (
    Drained,
    Ready,
    Routed,
    Stage,
    findings,
    is_released,
    is_settled,
    is_undecided,
    progress,
)
from hitless.rollout.state import Outcome, Rollout, RolloutPhase, ServiceState
from hitless.rollout.step import Decision, folded
from hitless.rollout.strategy import limits_of, stable_world
from hitless.rollout.world import Limits, Observation
from hitless.schema.release import Verdict


def advance(state: ServiceState, seen: Observed, now: datetime) -> Iterator[ServiceEvent]:
    """Enter the next stage, or complete, once everything is met that the present stage asks for."""
    settled = _is_settled(state, seen)
    watched = folded(state, _judge(state, seen, now, settled=settled))
    yield from watched.events
    state = watched.state
    if state.phase is not RolloutPhase.ADVANCING or not settled:
        return
    rollout = state.running
    if not is_released(rollout.current_stage, rollout.record, ruling=rollout.ruling, now=now):
        return
    if rollout.is_last_stage:
        cause = _what_stayed(rollout)
        yield RolloutFinished(at=now, rollout=rollout.id, outcome=Outcome.COMPLETED, cause=cause)
    else:
        yield StageEntered(at=now, stage=rollout.stage + 1)


def watch(state: ServiceState, seen: Observed, now: datetime) -> Iterator[ServiceEvent]:
    """Note how the stage settles, and turn back where that is certain to be right; a pause masks nothing."""
    yield from _judge(state, seen, now, settled=_is_settled(state, seen))


def return_home(state: ServiceState, seen: Observed, now: datetime) -> Iterator[ServiceEvent]:
    """End the rollout once the old version is alone again, or when that gets no further."""
    rollout, stage = state.running, way_back(state.running, state.desired)
    if is_settled(stage, observed=seen.observation, limits=state.limits_in_force):
        yield RolloutFinished(at=now, rollout=rollout.id, outcome=_outcome_of_return(rollout))
    elif _is_overdue(rollout, now):
        missing = _what_is_missing(stage, rollout, seen.observation, state.limits_in_force)
        cause = f"{rollout.cause}; and the way back got no further in {stage.deadline_s:g} s: {missing}"
        yield RolloutFinished(at=now, rollout=rollout.id, outcome=Outcome.FAILED, cause=cause)
    else:
        yield from _book_settling(rollout, stage, state, seen, now, settled=False)


def nothing(_state: ServiceState, _seen: Observed, _now: datetime) -> Decision:
    """Between rollouts nothing is decided about one."""
    return ()


def turn_back(state: ServiceState, now: datetime, *, cause: str, actor: str = ENGINE) -> RollbackStarted:
    """Decide on the way back: one more world, the old version alone."""
    rollout, limits = state.running, state.limits_in_force
    home_spec = rollout.baseline_spec
    if home_spec is not None:
        strategy = StrategyName(rollout.strategy) if rollout.strategy in set(StrategyName) else StrategyName.BLUE_GREEN
        limits = limits_of(home_spec, strategy, beside=limits.instances)
    desired = stable_world(home_spec, rollout.baseline, regions=tuple(state.desired), salt=rollout.id)
    return RollbackStarted(at=now, actor=actor, cause=cause, desired=desired, limits=limits)


def way_back(rollout: Rollout, desired: Mapping[Any, Any]) -> Stage:
    """Return the world of a rollback as a stage, so that one set of conditions judges both directions."""
    return Stage(
        name="only the old version",
        desired=desired,
        until=(Ready(), Routed(), Drained()),
        deadline_s=rollout.current_stage.deadline_s,
    )


def _judge(state: ServiceState, seen: Observed, now: datetime, *, settled: bool) -> Iterator[ServiceEvent]:
    rollout = state.running
    yield from _book_settling(rollout, rollout.current_stage, state, seen, now, settled=settled)
    if seen.checks is not None and rollout.record.checks_passed is None:
        yield ChecksFinished(at=now, stage=rollout.stage, problems=seen.checks)
    if seen.preflight is not None and rollout.record.checks_passed is None:
        yield PreflightFinished(at=now, stage=rollout.stage, report=seen.preflight)
    if seen.database is not None and rollout.record.checks_passed is None:
        yield DatabaseAnswered(at=now, stage=rollout.stage, report=seen.database)
    if seen.ruling is not None and rollout.compares and seen.ruling != rollout.ruling:
        yield RulingGiven(at=now, stage=rollout.stage, ruling=seen.ruling)
    cause = _cause_to_turn_back(state, seen, now, settled=settled)
    if cause:
        yield turn_back(state, now, cause=cause)


def _is_settled(state: ServiceState, seen: Observed) -> bool:
    return is_settled(state.running.current_stage, observed=seen.observation, limits=state.limits_in_force)


def _book_settling(
    rollout: Rollout, stage: Stage, state: ServiceState, seen: Observed, now: datetime, *, settled: bool
) -> Iterator[ServiceEvent]:
    record = rollout.record
    if settled and record.waiting_since() is not None:
        yield StageSettled(at=now, stage=rollout.stage)
    elif not settled and record.settled_at is not None and record.unsettled_at is None:
        yield StageUnsettled(at=now, stage=rollout.stage)
    elif not settled and record.settled_at is None:
        far = progress(stage, observed=seen.observation, limits=state.limits_in_force)
        if far > record.progress:
            yield StageProgressed(at=now, stage=rollout.stage, progress=far)


def _cause_to_turn_back(state: ServiceState, seen: Observed, now: datetime, *, settled: bool) -> str | None:
    return next(_causes_to_turn_back(state, seen, now, settled=settled), None)


def _causes_to_turn_back(state: ServiceState, seen: Observed, now: datetime, *, settled: bool) -> Iterator[str]:
    """Say what turns it back, hard facts first."""
    rollout = state.running
    yield from _failures(state, seen)
    if seen.preflight is not None and not seen.preflight.passed:
        yield f"refused by the preflight: {seen.preflight.cause}"
    if seen.database is not None and not seen.database.passed and not rollout.current_stage.may_stay:
        what = "refused for the database" if seen.database.verdict is Verdict.REFUSED else "the database is not ready"
        yield f"{what}: {seen.database.cause}"
    if seen.checks:
        yield f"checks failed: {'; '.join(seen.checks)}"
    if certain := all_requests_fail(seen.observation, candidate=rollout.candidate, baseline=rollout.baseline):
        yield certain
    if seen.ruling is not None and seen.ruling.call is Call.ROLLBACK and rollout.compares:
        yield seen.ruling.sentence
    if settled and state.phase is RolloutPhase.ADVANCING:  # while it is paused, a person looks after it
        yield from _end_of_patience(rollout, seen, now)
    if not settled and _is_overdue(rollout, now):
        stage = rollout.current_stage
        missing = _what_is_missing(stage, rollout, seen.observation, state.limits_in_force)
        yield f"stage `{stage.name}` got no further in {stage.deadline_s:g} s: {missing}"


def _failures(state: ServiceState, seen: Observed) -> Iterator[str]:
    candidate, limits = state.running.candidate, state.limits_in_force
    failures = state.failures.get(candidate)
    if failures is not None and failures.count >= limits.max_failures:
        listed = seen.observation.instances
        causes = [f"{one.id}: {one.cause}" for one in listed if one.version == candidate and one.cause]
        last = f"; last: {causes[-1]}" if causes else ""
        instances = "1 instance" if failures.count == 1 else f"{failures.count} instances"
        yield f"{instances} of {candidate} failed{last}"


def _end_of_patience(rollout: Rollout, seen: Observed, now: datetime) -> Iterator[str]:
    stage, ruling = rollout.current_stage, seen.ruling or rollout.ruling
    judged = stage.judged
    if judged is None or judged.undecided is not Undecided.ROLLBACK:
        return
    if is_undecided(stage, rollout.record, ruling=ruling, now=now):
        said = ruling.sentence if ruling is not None else "its judge has said nothing"
        yield f"stage `{stage.name}` is undecided {judged.patience_s:g} s after its time: {said}"


def _is_overdue(rollout: Rollout, now: datetime) -> bool:
    since = rollout.record.waiting_since()
    return since is not None and now - since >= timedelta(seconds=rollout.current_stage.deadline_s)


def _what_is_missing(stage: Stage, rollout: Rollout, observation: Observation, limits: Limits) -> str:
    judged = findings(stage, rollout.record, observed=observation, limits=limits)
    return "; ".join(one.detail for one in judged if not one.met)


def _what_stayed(rollout: Rollout) -> str | None:
    """Say what was left as it was, the version being in all the same."""
    asked = rollout.database
    if asked is None or asked.passed or not rollout.current_stage.may_stay:
        return None
    return f"the version is in, its schema is not switched: {asked.cause}"


def _outcome_of_return(rollout: Rollout) -> Outcome:
    if rollout.database is not None and not rollout.database.passed and not rollout.current_stage.may_stay:
        return Outcome.REFUSED if rollout.database.verdict is Verdict.REFUSED else Outcome.FAILED
    if rollout.preflight is not None and not rollout.preflight.passed:
        return Outcome.REFUSED
    return Outcome.ROLLED_BACK if rollout.baseline else Outcome.FAILED
