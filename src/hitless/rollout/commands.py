"""What is decided when a person asks: a handler for each command, and the refusals with how to go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

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
from hitless.rollout.course import turn_back
from hitless.rollout.events import (
    RolloutFinished,
    RolloutPaused,
    RolloutResumed,
    RolloutStarted,
    ServiceEvent,
    StageEntered,
    StagePromoted,
    VersionAdopted,
)
from hitless.rollout.folds import evolve
from hitless.rollout.inputs import Abort, Command, Deploy, Pause, Promote, Resume, Undo
from hitless.rollout.spec import ALL_TRAFFIC_BP, ServiceSpec, Version
from hitless.rollout.stage import Plan
from hitless.rollout.state import Outcome, Rollout, RolloutPhase, ServiceState
from hitless.rollout.step import Decision
from hitless.rollout.strategy import compile_return, compile_rollout


def deploy(state: ServiceState, asked: Deploy, now: datetime) -> Iterator[ServiceEvent]:
    """Begin a rollout, or adopt what is found running; of what was found and has ended, nothing can be adopted."""
    if state.is_found and state.instances:
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
        standing=standing_world(state, salt=salt),
        examines=not asked.skip_preflight,
    )
    strategy = "settings" if is_settings else asked.strategy.value
    yield _start(state, asked, now, plan=plan, strategy=strategy, candidate=asked.version, spec=asked.spec)


def deploy_over(state: ServiceState, asked: Deploy, now: datetime) -> Iterator[ServiceEvent]:
    """Put another rollout in the place of the one that is going on, if that is asked for."""
    rollout = state.running
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
    yield from deploy(evolve(state, finished), asked, now)


def promote(state: ServiceState, asked: Promote, now: datetime) -> Iterator[ServiceEvent]:
    """Waive the hold of the present stage, or of all of them."""
    rollout = state.running
    _refuse_other_stage(state, rollout, asked.stage)
    if asked.to_the_end:
        _refuse_unchecked(state, rollout)
    if state.phase is RolloutPhase.PAUSED:
        yield RolloutResumed(at=now, actor=asked.actor, reason=asked.reason)
    yield StagePromoted(at=now, actor=asked.actor, stage=rollout.stage, reason=asked.reason, expected=asked.stage)
    if asked.to_the_end and not rollout.is_last_stage:
        yield StageEntered(at=now, actor=asked.actor, stage=len(rollout.plan.stages) - 1)


def pause(_state: ServiceState, asked: Pause, now: datetime) -> Iterator[ServiceEvent]:
    """Stop the rollout where it is."""
    yield RolloutPaused(at=now, actor=asked.actor, reason=asked.reason)


def resume(_state: ServiceState, asked: Resume, now: datetime) -> Iterator[ServiceEvent]:
    """Let it go on."""
    yield RolloutResumed(at=now, actor=asked.actor, reason=asked.reason)


def abort(state: ServiceState, asked: Abort | Undo, now: datetime) -> Iterator[ServiceEvent]:
    """Turn it back."""
    cause = f"aborted by {asked.actor}" + (f": {asked.reason}" if asked.reason else "")
    yield turn_back(state, now, cause=cause, actor=asked.actor)


def undo(state: ServiceState, asked: Undo, now: datetime) -> Iterator[ServiceEvent]:
    """Return to what served before the last rollout completed."""
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


def already(_state: ServiceState, _asked: Command, _now: datetime) -> Decision:
    """Nothing is to be done: it is so already."""
    return ()


def no_rollout(state: ServiceState, asked: Command, _now: datetime) -> Decision:
    """Refuse: nothing is going on."""
    verb = type(asked).__name__.lower()
    raise NoRollout(
        f"{state.service}: nothing to {verb}, no rollout is going on",
        hints=(f"hitless status {state.service}", f"hitless rollout list {state.service}"),
    )


def too_late(state: ServiceState, asked: Command, _now: datetime) -> Decision:
    """Refuse: it is on its way back."""
    verb = type(asked).__name__.lower()
    raise NotAllowedNow(
        f"{state.service}: cannot {verb}, rollout {state.running.id} is rolling back",
        evidence=(state.running.cause or "",),
        hints=(f"hitless rollout get {state.service} --watch",),
    )


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
    if lives and _of_processes(known) != _of_processes(asked.spec):
        raise AlreadyRunning(
            f"{state.service} has instances of {asked.version}, with other settings for `run`, `health`, `traffic` or "
            "`database.roles`",
            hints=("new processes need a name of their own: deploy with another --version",),
        )


def _of_processes(spec: ServiceSpec) -> tuple[object, ...]:
    """Return what a process was started with, and keeps."""
    return spec.run, spec.health, spec.traffic, spec.database.roles if spec.database is not None else None


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


def _serves_everybody(state: ServiceState, rollout: Rollout) -> bool:
    """Tell whether only leftovers of the old version are still to go: nobody is sent back then."""
    tables = state.tables.values()
    return (
        state.phase is not RolloutPhase.ROLLING_BACK
        and rollout.current_stage.desired == rollout.plan.stages[-1].desired
        and bool(tables)
        and all(table.weight_bp(rollout.candidate) == ALL_TRAFFIC_BP for table in tables)
    )


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
