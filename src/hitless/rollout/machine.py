"""The rollout machine: decides which world is desired next, and nothing else.

It never starts, routes or stops anything itself.

Theory. `step(state, input) -> events, new state, effects`. What comes in is a command of a person or an observation;
what is decided leaves as events, which the engine commits before any effect starts. `TRANSITIONS` names the handler
for every phase and every input, and every event that may come of it: the table is total, so no input is ever undefined;
the diagram in the docs is drawn from it, and the crash matrix kills the controller at each of its events.

Rules.
* A failing candidate, and one that its judge calls worse, turns the rollout back in every waiting phase; a pause or an
  approval never masks it.
* Turning back is one more world (the old version alone) and goes through `converge` like any other.
* A stage is left only when all its conditions hold at once; `promote` waives waiting, for a verdict too, never
  readiness, routing, checks, the preflight or what is asked of the database.
* The way back asks nothing of the database: it is one world, and no schema is waited for.
* A judge that cannot tell neither moves a rollout on nor turns it back; what becomes of it then was said before.

To add an input: a dataclass in `inputs.py`, a column in `TRANSITIONS` (a test insists), a verb in the control plane.
To let a handler decide something else: name the event in `TRANSITIONS`; `Simulation` calls others a broken promise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hitless.rollout import commands, course
from hitless.rollout.converge import converge, is_same
from hitless.rollout.effects import Effect, Start, Stop
from hitless.rollout.events import (
    ChecksFinished,
    DatabaseAnswered,
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
from hitless.rollout.inputs import Abort, Command, Deploy, Observed, Pause, Promote, Resume, Undo
from hitless.rollout.state import Ordered, Outcome, RolloutPhase, ServiceState
from hitless.rollout.step import Decision, Step, folded
from hitless.rollout.world import EMPTY_TABLE, Instance, Observation, Phase

LASTED = timedelta(seconds=10)
"""An instance that failed sooner after its start did not last: the next start of its version waits longer."""


def command(state: ServiceState, asked: Command, *, now: datetime) -> Step:
    """Decide on what a person asks.

    Raises:
        Refused: the command does not fit the phase; says what does.
    """
    return folded(state, TRANSITIONS[state.phase][type(asked)].decide(state, asked, now))


def observe(state: ServiceState, seen: Observed) -> Step:
    """Decide on what was seen: book what happened, move the rollout, converge."""
    events: list[ServiceEvent] = []
    for decide in (_book_instances, TRANSITIONS[state.phase][Observed].decide):
        step = folded(state, decide(state, seen, seen.observation.now))
        state, events = step.state, [*events, *step.events]
    effects = _effects(state, seen.observation)
    step = folded(state, _book_effects(state, effects, seen.observation))
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
    return folded(state, _find(state, listed.values(), revision, now, why="; ".join(facts)))


def _find(
    state: ServiceState, listed: Iterable[Instance], revision: int, now: datetime, *, why: str
) -> Iterator[ServiceEvent]:
    if state.phase is not RolloutPhase.IDLE:
        rollout, cause = state.running, "the store was replaced by an older one"
        yield RolloutFinished(at=now, rollout=rollout.id, outcome=Outcome.FAILED, cause=cause)
    instances = {one.id: Ordered(version=one.version, region=one.region) for one in listed}
    numbers = [int(name.rpartition("-")[2]) for name in instances]
    newest = max(revision, state.revision) + 1
    yield ServiceFound(at=now, why=why, instances=instances, number=max(numbers), revision=newest)


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
        state.limits_in_force,
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
    DatabaseAnswered,
    RulingGiven,
    RollbackStarted,
)

TRANSITIONS: Mapping[RolloutPhase, Mapping[type[Command | Observed], Transition]] = {
    RolloutPhase.IDLE: {
        Observed: Transition(course.nothing),
        Deploy: Transition(commands.deploy, (VersionAdopted, RolloutStarted)),
        Promote: Transition(commands.no_rollout),
        Pause: Transition(commands.no_rollout),
        Resume: Transition(commands.no_rollout),
        Abort: Transition(commands.no_rollout),
        Undo: Transition(commands.undo, (RolloutStarted,)),
    },
    RolloutPhase.ADVANCING: {
        Observed: Transition(course.advance, (*_WATCHED, StageEntered, RolloutFinished)),
        Deploy: Transition(commands.deploy_over, (RolloutFinished, RolloutStarted)),
        Promote: Transition(commands.promote, (StagePromoted, StageEntered)),
        Pause: Transition(commands.pause, (RolloutPaused,)),
        Resume: Transition(commands.already),
        Abort: Transition(commands.abort, (RollbackStarted,)),
        Undo: Transition(commands.abort, (RollbackStarted,)),
    },
    RolloutPhase.PAUSED: {
        Observed: Transition(course.watch, _WATCHED),
        Deploy: Transition(commands.deploy_over, (RolloutFinished, RolloutStarted)),
        Promote: Transition(commands.promote, (RolloutResumed, StagePromoted, StageEntered)),
        Pause: Transition(commands.already),
        Resume: Transition(commands.resume, (RolloutResumed,)),
        Abort: Transition(commands.abort, (RollbackStarted,)),
        Undo: Transition(commands.abort, (RollbackStarted,)),
    },
    RolloutPhase.ROLLING_BACK: {
        Observed: Transition(course.return_home, (StageProgressed, RolloutFinished)),
        Deploy: Transition(commands.deploy_over, (RolloutFinished, RolloutStarted)),
        Promote: Transition(commands.too_late),
        Pause: Transition(commands.too_late),
        Resume: Transition(commands.too_late),
        Abort: Transition(commands.already),
        Undo: Transition(commands.already),
    },
}
"""What each phase does with each input. Total by test; the diagram in the docs and the crash matrix come from here."""
