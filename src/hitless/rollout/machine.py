"""The rollout machine: decides which world is desired next, and nothing else.

It never starts, routes or stops anything itself.

Theory. `step(state, input) -> events, new state, effects`. What comes in is a command of a person or an observation;
what is decided leaves as events, which the engine commits before any effect starts. `TRANSITIONS` names the handler
for every phase and every input, and every event that may come of it: the table is total, so no input is ever undefined;
the diagram in the docs is drawn from it, and the crash matrix kills the controller at each of its events.

Rules.
* A failing candidate turns the rollout back in every waiting phase; a pause or an approval never masks it.
* Turning back is one more world (the old version alone) and goes through `converge` like any other.
* A stage is left only when all its conditions hold at once; `promote` waives waiting, never readiness, routing, checks
  or the preflight.

To add an input: a dataclass in `inputs.py`, a column in `TRANSITIONS` (a test insists), a verb in the control plane.
To let a handler decide something else: name the event in `TRANSITIONS`; `Simulation` calls others a broken promise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from hitless.errors import (
    AlreadyRunning,
    NoRollout,
    NotAdopted,
    NotAllowedNow,
    NothingToUndo,
    RolloutInProgress,
    StageMoved,
)
from hitless.rollout.admission import refuse_to_end_sessions, standing_world
from hitless.rollout.converge import converge, is_same
from hitless.rollout.effects import Effect, Start, Stop
from hitless.rollout.events import (
    ENGINE,
    ChecksFinished,
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
    ServiceEvent,
    ServiceFound,
    StageEntered,
    StageProgressed,
    StagePromoted,
    StageSettled,
    StageUnsettled,
    TrafficRouted,
    VersionAdopted,
    evolve,
)
from hitless.rollout.hard_facts import all_requests_fail
from hitless.rollout.inputs import Abort, Command, Deploy, Observed, Pause, Promote, Resume, Undo
from hitless.rollout.spec import ALL_TRAFFIC_BP, ServiceSpec, StrategyName, Version
from hitless.rollout.stage import Drained, Plan, Ready, Routed, Stage, findings, is_released, is_settled, progress
from hitless.rollout.state import Ordered, Outcome, Rollout, RolloutPhase, ServiceState
from hitless.rollout.strategy import compile_return, compile_rollout, limits_of, stable_world
from hitless.rollout.world import EMPTY_TABLE, Instance, Limits, Observation, Phase

LASTED = timedelta(seconds=10)
"""An instance that failed sooner after its start did not last: the next start of its version waits longer."""


Decision = Iterable[ServiceEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step decided: `events` must be durable BEFORE any of `effects` starts."""

    state: ServiceState
    events: tuple[ServiceEvent, ...]
    effects: tuple[Effect, ...] = ()


def command(state: ServiceState, asked: Command, *, now: datetime) -> Step:
    """Decide on what a person asks.

    Raises:
        Refused: the command does not fit the phase; says what does.
    """
    return _commit(state, TRANSITIONS[state.phase][type(asked)].decide(state, asked, now))


def observe(state: ServiceState, seen: Observed) -> Step:
    """Decide on what was seen: book what happened, move the rollout, converge."""
    events: list[ServiceEvent] = []
    for decide in (_book_instances, TRANSITIONS[state.phase][Observed].decide):
        step = _commit(state, decide(state, seen, seen.observation.now))
        state, events = step.state, [*events, *step.events]
    effects = _effects(state, seen.observation)
    step = _commit(state, _book_effects(state, effects, seen.observation))
    return Step(state=step.state, events=(*events, *step.events), effects=effects)


def take_up(state: ServiceState, instances: Iterable[Instance], *, revision: int, now: datetime) -> Step:
    """Compare what a new controller finds with what its store remembers; where more is found, that is what counts.

    Every instance and every table is decided on in the store first. So one that the store does not know was decided on
    in a store that was lost, or after the backup that stands in its place: whatever the store wants is out of date.

    Args:
        state: as the store has it.
        instances: as the fleet lists them.
        revision: of the newest routing decision that the data plane was told of.
        now: the moment.
    """
    listed = {one.id: one for one in instances}
    alive = [one for one in listed.values() if one.phase not in {Phase.FAILED, Phase.STOPPING}]
    unknown = [one.id for one in alive if one.id not in state.instances]
    if not alive or (not unknown and revision <= state.revision):
        return Step(state=state, events=())
    facts = [f"instances {', '.join(unknown)}"] if unknown else []
    facts += [f"routing decision {revision}, its own last one is {state.revision}"] if revision > state.revision else []
    return _commit(state, _find(state, listed.values(), revision, now, why="; ".join(facts)))


def _find(
    state: ServiceState, listed: Iterable[Instance], revision: int, now: datetime, *, why: str
) -> Iterator[ServiceEvent]:
    if state.phase is not RolloutPhase.IDLE:
        rollout, cause = _rollout(state), "the store was replaced by an older one"
        yield RolloutFinished(at=now, rollout=rollout.id, outcome=Outcome.FAILED, cause=cause)
    instances = {one.id: Ordered(version=one.version, region=one.region) for one in listed}
    numbers = [int(name.rpartition("-")[2]) for name in instances]
    newest = max(revision, state.revision) + 1
    yield ServiceFound(at=now, why=why, instances=instances, number=max(numbers), revision=newest)


def _commit(state: ServiceState, decided: Decision) -> Step:
    events = tuple(decided)
    for event in events:
        state = evolve(state, event)
    return Step(state=state, events=events)


# Commands


def _deploy(state: ServiceState, asked: Deploy, now: datetime) -> Iterator[ServiceEvent]:
    if state.is_found:
        yield from _adopt(state, asked, now)
        return
    known = state.specs.get(asked.version)
    is_settings = asked.version == state.stable
    if known is not None:
        _refuse_same(state, asked, known, is_settings=is_settings)
    if not is_settings and not asked.skip_preflight:
        refuse_to_end_sessions(state, asked)
    salt = f"{asked.version}.{state.rollouts + 1}"
    plan = compile_rollout(
        asked.spec,
        strategy=asked.strategy,
        baseline=state.stable,
        candidate=asked.version,
        baseline_instances=state.specs[state.stable].instances if state.stable else None,
        salt=salt,
        standing=None if asked.skip_preflight else standing_world(state, salt=salt),
    )
    strategy = "settings" if is_settings else asked.strategy.value
    yield _start(state, asked, now, plan=plan, strategy=strategy, candidate=asked.version, spec=asked.spec)


def _adopt(state: ServiceState, asked: Deploy, now: datetime) -> Iterator[ServiceEvent]:
    """Keep a version that runs: nothing is started for it that is there, and its rollout has itself to return to."""
    counts = Counter(one.version for one in state.instances.values())
    if asked.version not in counts:
        raise NotAdopted(
            f"{state.service} runs, and the store does not know what was wanted of it: adopt what runs first",
            evidence=tuple(f"{version}: {count} instances" for version, count in counts.items()),
            hints=tuple(f"hitless deploy {state.service} --version {version}" for version in counts),
        )
    adopted = VersionAdopted(at=now, actor=asked.actor, version=asked.version, spec=asked.spec)
    yield adopted
    plan = compile_rollout(asked.spec, strategy=asked.strategy, baseline=asked.version, candidate=asked.version)
    state = evolve(state, adopted)
    yield _start(state, asked, now, plan=plan, strategy="adopt", candidate=asked.version, spec=asked.spec)


def _refuse_same(state: ServiceState, asked: Deploy, known: ServiceSpec, *, is_settings: bool) -> None:
    """Refuse to take processes of a name for something that they are not."""
    if is_settings and known == asked.spec:
        raise AlreadyRunning(
            f"{state.service} runs {asked.version} already",
            hints=("to deploy something else, give its version with --version", f"hitless status {state.service}"),
        )
    lives = is_settings or any(one.version == asked.version for one in state.instances.values())
    if lives and (known.run, known.health, known.traffic) != (asked.spec.run, asked.spec.health, asked.spec.traffic):
        raise AlreadyRunning(
            f"{state.service} has instances of {asked.version}, with other settings for `run`, `health` or `traffic`",
            hints=("new processes need a name of their own: deploy with another --version",),
        )


def _start(
    state: ServiceState,
    asked: Deploy | Undo,
    now: datetime,
    *,
    plan: Plan,
    strategy: str,
    candidate: Version,
    spec: ServiceSpec,
) -> RolloutStarted:
    number = state.rollouts + 1
    return RolloutStarted(
        at=now,
        actor=asked.actor,
        rollout=f"{state.service}-r{number}",
        number=number,
        strategy=strategy,
        baseline=state.stable,
        candidate=candidate,
        spec=spec,
        baseline_spec=state.specs.get(state.stable) if state.stable else None,
        plan=plan,
        reason=asked.reason,
        skipped_preflight=isinstance(asked, Deploy) and asked.skip_preflight and asked.spec.preflight is not None,
    )


def _deploy_over(state: ServiceState, asked: Deploy, now: datetime) -> Iterator[ServiceEvent]:
    rollout = _rollout(state)
    if not asked.supersede:
        raise RolloutInProgress(
            f"{state.service}: rollout {rollout.id} to {rollout.candidate} is going on",
            evidence=(
                f"stage {rollout.stage + 1} of {len(rollout.plan.stages)}: {rollout.current_stage.name}",
                f"begun by {rollout.actor} at {rollout.started_at.isoformat(timespec='seconds')}",
            ),
            hints=(
                f"wait for it: hitless rollout get {rollout.id} --watch",
                f"take its place: hitless deploy {state.service} --version {asked.version} --supersede",
                f"turn it back: hitless rollout abort {state.service}",
            ),
        )
    if asked.version == state.stable:
        raise NotAllowedNow(
            f"{asked.version} is the version that rollout {rollout.id} started from",
            hints=(f"return to it: hitless rollout abort {state.service}",),
        )
    is_done = _serves_everybody(state, rollout)
    causes = [rollout.cause, None if is_done else f"superseded by {asked.version}"]
    finished = RolloutFinished(
        at=now,
        actor=asked.actor,
        rollout=rollout.id,
        outcome=Outcome.COMPLETED if is_done else Outcome.SUPERSEDED,
        cause="; ".join(cause for cause in causes if cause) or None,
    )
    yield finished
    yield from _deploy(evolve(state, finished), asked, now)


def _serves_everybody(state: ServiceState, rollout: Rollout) -> bool:
    """Tell whether only leftovers of the old version are still to go: nobody is sent back then."""
    tables = state.tables.values()
    return (
        state.phase is not RolloutPhase.ROLLING_BACK
        and rollout.is_last_stage
        and bool(tables)
        and all(table.weight_bp(rollout.candidate) == ALL_TRAFFIC_BP for table in tables)
    )


def _promote(state: ServiceState, asked: Promote, now: datetime) -> Iterator[ServiceEvent]:
    rollout = _rollout(state)
    _refuse_other_stage(state, rollout, asked.stage)
    if asked.to_the_end:
        _refuse_unchecked(state, rollout)
    if state.phase is RolloutPhase.PAUSED:
        yield RolloutResumed(at=now, actor=asked.actor, reason=asked.reason)
    yield StagePromoted(at=now, actor=asked.actor, stage=rollout.stage, reason=asked.reason, expected=asked.stage)
    if asked.to_the_end and not rollout.is_last_stage:
        yield StageEntered(at=now, actor=asked.actor, stage=len(rollout.plan.stages) - 1)


def _refuse_other_stage(state: ServiceState, rollout: Rollout, stage: int | None) -> None:
    if stage in {None, rollout.stage}:
        return
    here = f"stage {rollout.stage + 1} of {len(rollout.plan.stages)}: {rollout.current_stage.name}"
    raise StageMoved(
        f"{state.service}: rollout {rollout.id} is not in the stage that was to be promoted",
        evidence=(f"asked for: stage {(stage or 0) + 1}", f"it is in {here}"),
        hints=(f"hitless rollout get {state.service}",),
    )


def _refuse_unchecked(state: ServiceState, rollout: Rollout) -> None:
    asks = [stage.name for stage in rollout.plan.stages[rollout.stage :] if stage.asks]
    if asks and not (asks == [rollout.current_stage.name] and rollout.record.checks_passed):
        raise NotAllowedNow(
            f"{state.service}: the checks of stage `{asks[0]}` have not passed",
            evidence=("promote waives waiting, never checks and never the preflight",),
            hints=(f"hitless rollout get {state.service} --watch",),
        )


def _pause(_state: ServiceState, asked: Pause, now: datetime) -> Iterator[ServiceEvent]:
    yield RolloutPaused(at=now, actor=asked.actor, reason=asked.reason)


def _resume(_state: ServiceState, asked: Resume, now: datetime) -> Iterator[ServiceEvent]:
    yield RolloutResumed(at=now, actor=asked.actor, reason=asked.reason)


def _abort(state: ServiceState, asked: Abort | Undo, now: datetime) -> Iterator[ServiceEvent]:
    cause = f"aborted by {asked.actor}" + (f": {asked.reason}" if asked.reason else "")
    yield _turn_back(state, now, cause=cause, actor=asked.actor)


def _undo(state: ServiceState, asked: Undo, now: datetime) -> Iterator[ServiceEvent]:
    target = state.stable if state.settings_before else state.previous
    if target is None or state.stable is None:
        raise NothingToUndo(
            f"{state.service}: no earlier version to return to",
            evidence=(f"running: {state.stable or 'nothing'}", "an undo is not undone: that would be a loop"),
            hints=(f"deploy one: hitless deploy {state.service} --version ...",),
        )
    salt = f"{target}.{state.rollouts + 1}"
    spec = state.settings_before or state.specs[target]
    plan = compile_return(spec, candidate=target, beside=state.specs[state.stable].instances, salt=salt)
    yield _start(state, asked, now, plan=plan, strategy="undo", candidate=target, spec=spec)


def _already(_state: ServiceState, _asked: Command, _now: datetime) -> Decision:
    return ()


def _no_rollout(state: ServiceState, asked: Command, _now: datetime) -> Decision:
    verb = type(asked).__name__.lower()
    raise NoRollout(
        f"{state.service}: nothing to {verb}, no rollout is going on",
        hints=(f"hitless status {state.service}", f"hitless rollout list {state.service}"),
    )


def _too_late(state: ServiceState, asked: Command, _now: datetime) -> Decision:
    verb = type(asked).__name__.lower()
    raise NotAllowedNow(
        f"{state.service}: cannot {verb}, rollout {_rollout(state).id} is rolling back",
        evidence=(_rollout(state).cause or "",),
        hints=(f"hitless rollout get {state.service} --watch",),
    )


# Observations


def _advance(state: ServiceState, seen: Observed, now: datetime) -> Iterator[ServiceEvent]:
    settled = _is_settled(state, seen)
    watched = _commit(state, _judge(state, seen, now, settled=settled))
    yield from watched.events
    state = watched.state
    if state.phase is not RolloutPhase.ADVANCING or not settled:
        return
    rollout = _rollout(state)
    if not is_released(rollout.current_stage, rollout.record, now=now):
        return
    if rollout.is_last_stage:
        yield RolloutFinished(at=now, rollout=rollout.id, outcome=Outcome.COMPLETED)
    else:
        yield StageEntered(at=now, stage=rollout.stage + 1)


def _watch(state: ServiceState, seen: Observed, now: datetime) -> Iterator[ServiceEvent]:
    yield from _judge(state, seen, now, settled=_is_settled(state, seen))


def _is_settled(state: ServiceState, seen: Observed) -> bool:
    return is_settled(_rollout(state).current_stage, observed=seen.observation, limits=_limits(state))


def _judge(state: ServiceState, seen: Observed, now: datetime, *, settled: bool) -> Iterator[ServiceEvent]:
    rollout = _rollout(state)
    yield from _book_settling(rollout, rollout.current_stage, state, seen, now, settled=settled)
    if seen.checks is not None and rollout.record.checks_passed is None:
        yield ChecksFinished(at=now, stage=rollout.stage, problems=seen.checks)
    if seen.preflight is not None and rollout.record.checks_passed is None:
        yield PreflightFinished(at=now, stage=rollout.stage, report=seen.preflight)
    cause = _cause_to_turn_back(state, seen, now, settled=settled)
    if cause:
        yield _turn_back(state, now, cause=cause)


def _book_settling(
    rollout: Rollout, stage: Stage, state: ServiceState, seen: Observed, now: datetime, *, settled: bool
) -> Iterator[ServiceEvent]:
    record = rollout.record
    if settled and record.waiting_since() is not None:
        yield StageSettled(at=now, stage=rollout.stage)
    elif not settled and record.settled_at is not None and record.unsettled_at is None:
        yield StageUnsettled(at=now, stage=rollout.stage)
    elif not settled and record.settled_at is None:
        far = progress(stage, observed=seen.observation, limits=_limits(state))
        if far > record.progress:
            yield StageProgressed(at=now, stage=rollout.stage, progress=far)


def _cause_to_turn_back(state: ServiceState, seen: Observed, now: datetime, *, settled: bool) -> str | None:
    rollout, limits = _rollout(state), _limits(state)
    failures = state.failures.get(rollout.candidate)
    if failures is not None and failures.count >= limits.max_failures:
        listed = seen.observation.instances
        causes = [f"{one.id}: {one.cause}" for one in listed if one.version == rollout.candidate and one.cause]
        last = f"; last: {causes[-1]}" if causes else ""
        instances = "1 instance" if failures.count == 1 else f"{failures.count} instances"
        return f"{instances} of {rollout.candidate} failed{last}"
    if seen.preflight is not None and not seen.preflight.passed:
        return f"refused by the preflight: {seen.preflight.cause}"
    if seen.checks:
        return f"checks failed: {'; '.join(seen.checks)}"
    if certain := all_requests_fail(seen.observation, candidate=rollout.candidate, baseline=rollout.baseline):
        return certain
    if not settled and _is_overdue(rollout, now):
        missing = _what_is_missing(rollout.current_stage, rollout, seen.observation, limits)
        return (
            f"stage `{rollout.current_stage.name}` got no further in {rollout.current_stage.deadline_s:g} s: {missing}"
        )
    return None


def _is_overdue(rollout: Rollout, now: datetime) -> bool:
    since = rollout.record.waiting_since()
    return since is not None and now - since >= timedelta(seconds=rollout.current_stage.deadline_s)


def _what_is_missing(stage: Stage, rollout: Rollout, observation: Observation, limits: Limits) -> str:
    judged = findings(stage, rollout.record, observed=observation, limits=limits)
    return "; ".join(one.detail for one in judged if not one.met)


def _turn_back(state: ServiceState, now: datetime, *, cause: str, actor: str = ENGINE) -> RollbackStarted:
    rollout, limits = _rollout(state), _limits(state)
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


def _return_home(state: ServiceState, seen: Observed, now: datetime) -> Iterator[ServiceEvent]:
    rollout, stage = _rollout(state), way_back(_rollout(state), state.desired)
    if is_settled(stage, observed=seen.observation, limits=_limits(state)):
        yield RolloutFinished(at=now, rollout=rollout.id, outcome=_outcome_of_return(rollout))
    elif _is_overdue(rollout, now):
        missing = _what_is_missing(stage, rollout, seen.observation, _limits(state))
        cause = f"{rollout.cause}; and the way back got no further in {stage.deadline_s:g} s: {missing}"
        yield RolloutFinished(at=now, rollout=rollout.id, outcome=Outcome.FAILED, cause=cause)
    else:
        yield from _book_settling(rollout, stage, state, seen, now, settled=False)


def _outcome_of_return(rollout: Rollout) -> Outcome:
    if rollout.preflight is not None and not rollout.preflight.passed:
        return Outcome.REFUSED
    return Outcome.ROLLED_BACK if rollout.baseline else Outcome.FAILED


def _nothing(_state: ServiceState, _seen: Observed, _now: datetime) -> Decision:
    return ()


def _book_instances(state: ServiceState, seen: Observed, now: datetime) -> Iterator[ServiceEvent]:
    listed = {one.id: one for one in seen.observation.instances}
    for name, one in state.instances.items():
        there = listed.get(name)
        if there is None:
            if not one.is_retired and not one.is_failed:
                yield InstanceFailed(at=now, instance=name, cause="is not there", is_early=True, is_lost=True)
            yield InstanceGone(at=now, instance=name, how=seen.observation.endings.get(name))
        elif there.phase is Phase.FAILED and not one.is_failed:
            is_early = there.since - there.started_at < LASTED
            yield InstanceFailed(
                at=now,
                instance=name,
                cause=there.cause or "failed",
                is_early=is_early,
                is_lost=not there.is_to_blame,
                started_at=there.started_at,
            )


def _effects(state: ServiceState, observation: Observation) -> tuple[Effect, ...]:
    if state.limits is None:
        return ()
    return converge(
        state.desired,
        observation,
        _limits(state),
        failures=state.failures,
        name_from=state.named + 1,
        service=state.service,
    )


def _book_effects(state: ServiceState, effects: Iterable[Effect], observation: Observation) -> Iterator[ServiceEvent]:
    now, number, revision = observation.now, state.named, state.revision
    for effect in effects:
        if isinstance(effect, Start):
            number += 1
            yield InstanceOrdered(
                at=now, instance=effect.instance, version=effect.version, region=effect.region, number=number
            )
        elif isinstance(effect, Stop):
            known = state.instances.get(effect.instance)
            if known is not None and not known.is_retired:
                yield InstanceRetired(at=now, instance=effect.instance, why=effect.why)
        elif not is_same(state.tables.get(effect.region, EMPTY_TABLE), effect.table):
            revision += 1
            yield TrafficRouted(at=now, region=effect.region, table=effect.table, revision=revision, cut=effect.cut)


def _rollout(state: ServiceState) -> Rollout:
    assert state.rollout is not None
    return state.rollout


def _limits(state: ServiceState) -> Limits:
    """Return the limits in force, with the drains that users of each version were promised."""
    limits = state.limits
    assert limits is not None
    differing = {version: spec.drain for version, spec in state.specs.items() if spec.drain != limits.drain}
    return replace(limits, drain_of=differing) if differing else limits


Handler = Callable[[ServiceState, Any, datetime], Decision]
Events = tuple[type[ServiceEvent], ...]


@dataclass(frozen=True, slots=True)
class Transition:
    """Who decides, and every event that may come of it."""

    decide: Handler
    events: Events = ()


BOOKED: Events = (InstanceFailed, InstanceGone, InstanceOrdered, InstanceRetired, TrafficRouted)
"""What a look may book in every phase, besides what the phase's handler decides."""

_WATCHED: Events = (
    StageProgressed,
    StageSettled,
    StageUnsettled,
    ChecksFinished,
    PreflightFinished,
    RollbackStarted,
)

TRANSITIONS: Mapping[RolloutPhase, Mapping[type[Command | Observed], Transition]] = {
    RolloutPhase.IDLE: {
        Observed: Transition(_nothing),
        Deploy: Transition(_deploy, (VersionAdopted, RolloutStarted)),
        Promote: Transition(_no_rollout),
        Pause: Transition(_no_rollout),
        Resume: Transition(_no_rollout),
        Abort: Transition(_no_rollout),
        Undo: Transition(_undo, (RolloutStarted,)),
    },
    RolloutPhase.ADVANCING: {
        Observed: Transition(_advance, (*_WATCHED, StageEntered, RolloutFinished)),
        Deploy: Transition(_deploy_over, (RolloutFinished, RolloutStarted)),
        Promote: Transition(_promote, (StagePromoted, StageEntered)),
        Pause: Transition(_pause, (RolloutPaused,)),
        Resume: Transition(_already),
        Abort: Transition(_abort, (RollbackStarted,)),
        Undo: Transition(_abort, (RollbackStarted,)),
    },
    RolloutPhase.PAUSED: {
        Observed: Transition(_watch, _WATCHED),
        Deploy: Transition(_deploy_over, (RolloutFinished, RolloutStarted)),
        Promote: Transition(_promote, (RolloutResumed, StagePromoted, StageEntered)),
        Pause: Transition(_already),
        Resume: Transition(_resume, (RolloutResumed,)),
        Abort: Transition(_abort, (RollbackStarted,)),
        Undo: Transition(_abort, (RollbackStarted,)),
    },
    RolloutPhase.ROLLING_BACK: {
        Observed: Transition(_return_home, (StageProgressed, RolloutFinished)),
        Deploy: Transition(_deploy_over, (RolloutFinished, RolloutStarted)),
        Promote: Transition(_too_late),
        Pause: Transition(_too_late),
        Resume: Transition(_too_late),
        Abort: Transition(_already),
        Undo: Transition(_already),
    },
}
"""What each phase does with each input. Total by test; the diagram in the docs and the crash matrix come from here."""
