"""The page and the diagram of the rollout machine.

`TRANSITIONS` says which handler answers which input in which phase, and what may come of it; where that leads is found
out by asking: the real machine is played in `hitless.testing.simulation`, which holds it to the table, every command in
every phase, and every way in which the world can move a rollout on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hitless.analysis.ruling import Call, Ruling, Why
from hitless.errors import Refused
from hitless.preflight.rules import not_examined
from hitless.rollout.events import PreflightFinished, RollbackStarted, RolloutFinished, RulingGiven, ServiceEvent
from hitless.rollout.inputs import Abort, Command, Deploy, Observed, Pause, Promote, Resume, Undo
from hitless.rollout.machine import BOOKED, TRANSITIONS
from hitless.rollout.spec import (
    Address,
    CanarySpec,
    CanaryStep,
    DrainSpec,
    RunSpec,
    ServiceSpec,
    StrategyName,
    StrategySpecs,
    TrafficSpec,
    Version,
)
from hitless.rollout.state import RolloutPhase
from hitless.testing.crash_points import kind_of
from hitless.testing.simulation import Behaviour, Simulation

HEAD = """\
# The rollout machine

Generated from `hitless.rollout.machine.TRANSITIONS` by `make docs`: every input was played in every phase.

A service has one such machine. It decides which world is desired next and nothing else; `converge` moves the world
there. What a person asks is a *command*; *observed* is every look at instances and proxy.

"""

BEHIND_TABLE = """
*nothing*: accepted, and no event follows. *stays*: something was decided, the phase is the same. A refused command
changes nothing; `hitless explain CODE` says why and what to do.

A stage is left when all its conditions hold at once. `promote` waives the hold, the approval and the verdict, never
readiness, routing, checks or draining. A failing candidate, and one that is judged worse, turns the rollout back in
every waiting phase: a pause never masks it, nor does a promotion.

## What may come of it

The events that each input may lead to. At each of them the controller is killed in tests, before and after the commit
([more](../how-to/soak.md)); the words are those of the [journal](events.md).

"""

ACTOR = "user:reader"
SHOP = ServiceSpec(
    name="shop",
    instances=1,
    run=RunSpec(command=("shop",)),
    traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=8080)),
    drain=DrainSpec(requests_s=0, streams_s=0),
    strategy=StrategySpecs(
        canary=CanarySpec(steps=(CanaryStep(weight_bp=100, hold_s=60), CanaryStep(weight_bp=10_000)))
    ),
    progress_deadline_s=60,
)
NEXT, BROKEN = Version("v3"), Version("v3-broken")
WORSE = Ruling(call=Call.ROLLBACK, why=Why.WORSE, row="errors", sentence="errors: 9 times the odds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One way from a phase to another; `by` is a command, or how the rollout went on by itself."""

    before: RolloutPhase
    after: RolloutPhase
    by: str


def page() -> str:
    """Return the page."""
    rows = "".join(f"{row}\n" for row in _table())
    events = "".join(f"{row}\n" for row in _events())
    return f"{HEAD}{diagram()}\n{rows}{BEHIND_TABLE}{events}"


def diagram() -> str:
    """Return the machine as a Mermaid state diagram."""
    labels: dict[tuple[RolloutPhase, RolloutPhase], list[str]] = {}
    for change in (*_by_command(), *_by_itself()):
        if change.before is not change.after or change.by.endswith("--supersede"):
            labels.setdefault((change.before, change.after), []).append(change.by)
    lines = [f"    {before} --> {after}: {', '.join(dict.fromkeys(by))}" for (before, after), by in labels.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> idle", *lines, "```", ""])


def _table() -> Iterator[str]:
    phases = list(TRANSITIONS)
    yield f"| input | {' | '.join(phases)} |"
    yield "| --- |" + " --- |" * len(phases)
    yield f"| observed | {' | '.join(_observed(phase) for phase in phases)} |"
    for name, asked in COMMANDS.items():
        yield f"| {name} | {' | '.join(_answer(phase, asked) for phase in phases)} |"


def _observed(phase: RolloutPhase) -> str:
    assert Observed in TRANSITIONS[phase]
    ways = [f"→ {change.after}: {change.by}" for change in _by_itself() if change.before is phase]
    return "<br>".join(dict.fromkeys(ways)) or "stays"


def _answer(phase: RolloutPhase, asked: Command) -> str:
    assert type(asked) in TRANSITIONS[phase]
    simulation = in_phase(phase)
    known = len(simulation.journal)
    try:
        simulation.ask(asked)
    except Refused as refusal:
        return f"refused, {refusal.code}"
    if simulation.state.phase is not phase:
        return f"→ {simulation.state.phase}"
    return "stays" if len(simulation.journal) > known else "nothing"


def _events() -> Iterator[str]:
    yield "| phase | input | events |"
    yield "| --- | --- | --- |"
    booked = ", ".join(f"`{kind_of(event)}`" for event in BOOKED)
    yield f"| every | observed | {booked} |"
    for phase, row in TRANSITIONS.items():
        for asked, transition in row.items():
            if transition.events:
                events = ", ".join(f"`{kind_of(event)}`" for event in transition.events)
                yield f"| {phase} | {asked.__name__.lower()} | {events} |"


def _by_command() -> Iterator[Change]:
    for phase in TRANSITIONS:
        for name, asked in COMMANDS.items():
            simulation = in_phase(phase)
            try:
                simulation.ask(asked)
            except Refused:
                continue
            yield Change(before=phase, after=simulation.state.phase, by=name)


def _by_itself() -> Iterator[Change]:
    for story in (_goes_well, _fails, _is_worse, _fails_while_paused, _is_worse_while_paused, *ENDS_EARLY):
        simulation = Simulation(behaviours={BROKEN: Behaviour(exits_after_s=0.1)})
        _settle_down(simulation)
        yield from story(simulation)


def _goes_well(simulation: Simulation) -> Iterator[Change]:
    _ask(simulation, _deploy(NEXT))
    yield from _watched(simulation)


def _fails(simulation: Simulation) -> Iterator[Change]:
    _ask(simulation, _deploy(BROKEN))
    yield from _watched(simulation)


def _is_worse(simulation: Simulation) -> Iterator[Change]:
    simulation.ruling = WORSE
    _ask(simulation, _deploy(NEXT))
    yield from _watched(simulation)


def _is_worse_while_paused(simulation: Simulation) -> Iterator[Change]:
    _ask(simulation, _deploy(NEXT))
    simulation.run(10)  # it has its share by now
    _ask(simulation, Pause(actor=ACTOR))
    simulation.ruling = WORSE
    yield from _watched(simulation)


def _fails_while_paused(simulation: Simulation) -> Iterator[Change]:
    _ask(simulation, _deploy(BROKEN))
    simulation.run(0.5)  # past the preflight, which pauses too
    _ask(simulation, Pause(actor=ACTOR))
    yield from _watched(simulation)


def _is_refused(simulation: Simulation) -> Iterator[Change]:
    simulation.preflight = not_examined(simulation.service, "it is no shop")
    _ask(simulation, _deploy(NEXT))
    yield from _watched(simulation)


def _way_back_is_blocked(simulation: Simulation) -> Iterator[Change]:
    _ask(simulation, _deploy(NEXT))
    simulation.run(5)
    simulation.acknowledges = False
    _ask(simulation, Abort(actor=ACTOR))
    yield from _watched(simulation)


ENDS_EARLY = (_is_refused, _way_back_is_blocked)


def _watched(simulation: Simulation) -> Iterator[Change]:
    """Let time pass until the rollout has ended; tell every change of phase on the way."""
    for _ in range(2_000):
        before, known = simulation.state.phase, len(simulation.journal)
        simulation.tick(0.5)
        if simulation.state.phase is not before:
            cause = _cause(simulation.journal[known:])
            yield Change(before=before, after=simulation.state.phase, by=cause)
        if simulation.state.phase is RolloutPhase.IDLE:
            return
    raise AssertionError("the rollout never ended")


def _cause(events: list[ServiceEvent]) -> str:
    for event in events:
        if isinstance(event, RolloutFinished):
            return event.outcome.value
        if isinstance(event, RollbackStarted):
            is_refused = any(isinstance(one, PreflightFinished) for one in events)
            is_worse = any(isinstance(one, RulingGiven) for one in events)
            return "preflight refuses" if is_refused else "judged worse" if is_worse else "candidate fails"
    raise AssertionError("the phase changed without a reason")


def in_phase(phase: RolloutPhase) -> Simulation:
    """Bring a service with an earlier version to return to into a phase."""
    simulation = Simulation()
    _settle_down(simulation)
    PREPARATIONS[phase](simulation)
    assert simulation.state.phase is phase
    return simulation


def _settle_down(simulation: Simulation) -> None:
    for name in ("v1", "v2"):
        _ask(simulation, _deploy(Version(name)))
        simulation.run_until_idle()


def _ask(simulation: Simulation, *asked: Command) -> None:
    for one in asked:
        simulation.ask(one)


def _deploy(version: Version, *, supersede: bool = False) -> Deploy:
    return Deploy(actor=ACTOR, version=version, spec=SHOP, strategy=StrategyName.CANARY, supersede=supersede)


PREPARATIONS: dict[RolloutPhase, Callable[[Simulation], None]] = {
    RolloutPhase.IDLE: lambda _: None,
    RolloutPhase.ADVANCING: lambda simulation: _ask(simulation, _deploy(NEXT)),
    RolloutPhase.PAUSED: lambda simulation: _ask(simulation, _deploy(NEXT), Pause(actor=ACTOR)),
    RolloutPhase.ROLLING_BACK: lambda simulation: _ask(simulation, _deploy(NEXT), Abort(actor=ACTOR)),
}

COMMANDS: dict[str, Command] = {
    "deploy": _deploy(Version("v4")),
    "deploy --supersede": _deploy(Version("v4"), supersede=True),
    "promote": Promote(actor=ACTOR),
    "pause": Pause(actor=ACTOR),
    "resume": Resume(actor=ACTOR),
    "abort": Abort(actor=ACTOR),
    "undo": Undo(actor=ACTOR),
}
