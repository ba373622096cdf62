"""The controller's deaths in virtual time: `crash_stories` on a simulation whose controller dies at a chosen commit."""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache

from hitless.analysis.ruling import Call, Ruling, Why
from hitless.errors import Refused
from hitless.rollout.effects import Effect
from hitless.rollout.inputs import Abort, Command, Deploy, Observed, Pause, Promote, Resume, Undo
from hitless.rollout.machine import Events
from hitless.rollout.spec import (
    ALL_TRAFFIC_BP,
    Address,
    BlueGreenSpec,
    CanarySpec,
    CanaryStep,
    ChangeSpec,
    CheckSpec,
    ConnectionsSpec,
    DatabaseSpec,
    DrainSpec,
    HealthSpec,
    PreflightSpec,
    RolesSpec,
    RunSpec,
    ServiceSpec,
    StrategyName,
    StrategySpecs,
    SwitchWhen,
    TrafficSpec,
    Version,
)
from hitless.rollout.state import ServiceState
from hitless.rollout.step import Step
from hitless.rollout.world import Phase
from hitless.testing.crash_points import Moment, Move, moves_of
from hitless.testing.crash_stories import STORIES, Condition, Verb, begin, play
from hitless.testing.simulation import Behaviour, Simulation

ACTOR = "user:test"
TICK_S = 0.25
_LONGEST_TICKS = 2_000
SPEC = ServiceSpec(
    name="shop",
    instances=2,
    run=RunSpec(command=("shop",)),
    traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=1)),
    health=HealthSpec(max_failures=2),
    drain=DrainSpec(requests_s=0.5, streams_s=5.0),
    strategy=StrategySpecs(
        blue_green=BlueGreenSpec(checks=(CheckSpec(path="/"),), keep_warm_s=0.5),
        canary=CanarySpec(steps=(CanaryStep(weight_bp=5_000, hold_s=0.5), CanaryStep(weight_bp=10_000, hold_s=0.2))),
    ),
    progress_deadline_s=60.0,
    preflight=None,
)
DATABASE = DatabaseSpec(
    url="env:DATABASE_URL",
    changes=(ChangeSpec(name="split-name", file="split-name.yaml"),),
    switch=SwitchWhen.AUTOMATIC,
    connections=ConnectionsSpec(per_instance=5),
    roles=RolesSpec(group="shop_app", prefix="shop"),
)
RULINGS = {
    Call.HOLD: Ruling(call=Call.HOLD, why=Why.TOO_FEW, sentence="too few requests"),
    Call.PROMOTE: Ruling(call=Call.PROMOTE, why=Why.NOT_WORSE, sentence="not worse", next_share_bp=ALL_TRAFFIC_BP),
    Call.ROLLBACK: Ruling(call=Call.ROLLBACK, why=Why.WORSE, row="errors", sentence="errors: 9 times the odds"),
}
COMMANDS: dict[Verb, Command] = {
    "promote": Promote(actor=ACTOR),
    "promote_full": Promote(actor=ACTOR, to_the_end=True),
    "pause": Pause(actor=ACTOR),
    "resume": Resume(actor=ACTOR),
    "abort": Abort(actor=ACTOR),
    "undo": Undo(actor=ACTOR),
}


class ControllerDied(Exception):
    """Ends what the controller was doing."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Death:
    """When: around which commit of a story, and behind how many of its effects."""

    commit: int
    moment: Moment
    effects: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """One commit of a story: what it was, and how many effects followed from it."""

    moves: frozenset[Move]
    effects: int


@dataclass(slots=True, kw_only=True)
class MortalSimulation(Simulation):
    """A simulation whose controller dies once, at a chosen moment."""

    death: Death | None = None
    committed: list[Committed] = field(default_factory=list)
    acted: int = 0

    def _commit(self, step: Step, asked: type[Command | Observed], *, may_decide: Events) -> None:
        number = len(self.committed)
        if step.events:
            moves = moves_of(self.state.phase, asked, step)
            self.committed.append(Committed(moves=moves, effects=len(step.effects)))
            self._die_at(Death(commit=number, moment=Moment.BEFORE_COMMIT))
        super(MortalSimulation, self)._commit(step, asked, may_decide=may_decide)
        self.acted = 0
        if step.events:
            self._die_at(Death(commit=number, moment=Moment.AFTER_COMMIT))

    def _act(self, effect: Effect) -> None:
        super(MortalSimulation, self)._act(effect)
        self.acted += 1
        self._die_at(Death(commit=len(self.committed) - 1, moment=Moment.AFTER_EFFECT, effects=self.acted))

    def _die_at(self, moment: Death) -> None:
        if self.death == moment:
            self.death = None
            raise ControllerDied


class VirtualLife:
    """A story's life in virtual time; whoever asked a controller that died asks again if it knows of nothing."""

    def __init__(
        self,
        simulation: MortalSimulation,
        strategy: StrategyName,
        *,
        after_death: Callable[[Simulation], None] = Simulation.restart_controller,
    ) -> None:
        self.simulation, self.strategy, self.after_death = simulation, strategy, after_death
        self.names = itertools.count(simulation.state.rollouts + 100)

    @property
    def state(self) -> ServiceState:
        """The durable state."""
        return self.simulation.state

    def deploy(
        self, *, is_bad: bool = False, is_examined: bool = False, needs_schema: bool = False, supersede: bool = False
    ) -> None:
        """Begin a rollout to a version that is new."""
        version = Version(f"v{next(self.names)}{'-bad' if is_bad else ''}")
        if is_bad:
            self.simulation.behaviours[version] = Behaviour(ready_after_s=None, exits_after_s=0.2)
        spec = replace(SPEC, preflight=PreflightSpec()) if is_examined else SPEC
        spec = replace(spec, database=DATABASE) if needs_schema else spec
        self._ask(Deploy(actor=ACTOR, version=version, spec=spec, strategy=self.strategy, supersede=supersede))

    def lose_store(self) -> None:
        """Lose the store, and the controller with it."""
        self.simulation.forget()

    def adopt(self, version: Version) -> None:
        """Say that this is the version to keep."""
        self._ask(Deploy(actor=ACTOR, version=version, spec=SPEC, strategy=self.strategy))

    def ask(self, verb: Verb) -> None:
        """Ask something of the rollout."""
        self._ask(COMMANDS[verb])

    def fail_one(self, version: Version) -> None:
        """Crash one instance of a version that is ready."""
        of_it = (one.seen for one in self.simulation.fleet.values() if one.seen.version == version)
        ready = [one.id for one in of_it if one.phase is Phase.READY]
        if ready:
            self.simulation.crash(ready[0])

    def rule(self, call: Call) -> None:
        """Have every judge say this from now on."""
        self.simulation.ruling = RULINGS[call]

    def until(self, condition: Condition) -> None:
        """Let time pass until the condition holds.

        Raises:
            TimeoutError: it never came.
        """
        for _ in range(_LONGEST_TICKS):
            if condition(self.state):
                return
            self._survive(lambda: self.simulation.tick(TICK_S))
        raise TimeoutError(f"never came: {self.state.phase} {self.state.rollout}")

    def _ask(self, asked: Command) -> None:
        known = len(self.simulation.journal)
        with contextlib.suppress(Refused):
            self._survive(lambda: self.simulation.ask(asked))
            if len(self.simulation.journal) == known:
                self.simulation.ask(asked)

    def _survive(self, act: Callable[[], None]) -> None:
        try:
            act()
        except ControllerDied:
            self.after_death(self.simulation)


@cache
def beginning(strategy: StrategyName) -> MortalSimulation:
    """Return a service with an earlier version to return to."""
    simulation = MortalSimulation(checks=())
    begin(VirtualLife(simulation, strategy))
    return simulation


def played(
    story: str,
    strategy: StrategyName,
    death: Death | None = None,
    after_death: Callable[[Simulation], None] = Simulation.restart_controller,
) -> MortalSimulation:
    """Play a story with at most one death in it; return the world at its end."""
    simulation = copy.deepcopy(beginning(strategy))
    simulation.committed.clear()
    simulation.death = death
    play(story, VirtualLife(simulation, strategy, after_death=after_death))
    assert simulation.death is None, f"{death} never came"
    return simulation


@cache
def alive(story: str, strategy: StrategyName) -> MortalSimulation:
    """The story as it goes when nobody dies."""
    return played(story, strategy)


def moves_in(story: str, strategy: StrategyName) -> frozenset[Move]:
    """Name every move that a story makes."""
    return frozenset(move for committed in alive(story, strategy).committed for move in committed.moves)


@cache
def moves_by(strategy: StrategyName) -> frozenset[Move]:
    """Name every move that the stories of a strategy make."""
    return frozenset[Move]().union(*(moves_in(story, strategy) for story in STORIES))
