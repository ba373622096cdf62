"""Random services, rollouts, commands and faults: the promises hold at every moment, and every rollout ends."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitless.analysis.ruling import Call, Ruling, Why
from hitless.errors import Refused
from hitless.preflight.finding import Finding, PreflightReport, Severity
from hitless.rollout.events import RollbackStarted, RolloutFinished, RulingGiven, ServiceEvent
from hitless.rollout.inputs import Abort, Command, Deploy, Pause, Promote, Resume, Undo
from hitless.rollout.spec import (
    Address,
    Amount,
    AnalysisSpec,
    BlueGreenSpec,
    CanarySpec,
    CanaryStep,
    ChangeSpec,
    CheckSpec,
    ConnectionsSpec,
    DatabaseSpec,
    DrainSpec,
    PreflightSpec,
    RollingSpec,
    RunSpec,
    ServiceSpec,
    StrategyName,
    StrategySpecs,
    SwitchWhen,
    TrafficSpec,
    Undecided,
    Version,
)
from hitless.rollout.state import Outcome, RolloutPhase
from hitless.rollout.world import Phase
from hitless.schema.release import DatabaseReport, Verdict
from hitless.testing.simulation import Behaviour, Simulation, weights_now

VERSIONS = [Version(f"v{number}") for number in range(1, 5)]
ACTOR = "user:test"

CHANGE = ChangeSpec(name="split-name", file="split-name.yaml")
DATABASE_READY = DatabaseReport(verdict=Verdict.READY)
DATABASE_REFUSED = DatabaseReport(verdict=Verdict.REFUSED, cause="too many connections")
DATABASE_FAILED = DatabaseReport(verdict=Verdict.FAILED, cause="rows do not fit")

amounts = st.one_of(
    st.builds(lambda count: Amount(count=count), st.integers(0, 4)),
    st.builds(lambda share: Amount(share_bp=share), st.sampled_from([0, 1_000, 2_500, 5_000, 10_000])),
)
steps = st.lists(st.sampled_from([1, 100, 500, 2_500, 3_333, 5_000, 9_999]), max_size=3, unique=True).map(sorted)


analyses = st.builds(
    AnalysisSpec, undecided=st.sampled_from(Undecided), patience_s=st.sampled_from([0.0, 2.0, 1_000_000.0])
)


databases = st.builds(
    DatabaseSpec,
    url=st.just("env:DATABASE_URL"),
    changes=st.sampled_from([(), (CHANGE,)]),
    switch=st.sampled_from(SwitchWhen),
    connections=st.none() | st.just(ConnectionsSpec(per_instance=5)),
)


@st.composite
def services(draw: st.DrawFn) -> ServiceSpec:
    weights = [*draw(steps), 10_000]
    canary = CanarySpec(
        steps=tuple(
            CanaryStep(weight_bp=weight, hold_s=draw(st.sampled_from([0.0, 5.0])), pause=draw(st.booleans()))
            for weight in weights
        )
    )
    checks = (CheckSpec(path="/"),) if draw(st.booleans()) else ()
    blue_green = BlueGreenSpec(
        preview=Address(host="127.0.0.1", port=2) if draw(st.booleans()) else None,
        checks=checks,
        keep_warm_s=draw(st.sampled_from([0.0, 3.0])),
        approve=draw(st.booleans()),
    )
    rolling = RollingSpec(max_surge=draw(amounts), max_unavailable=draw(amounts))
    return ServiceSpec(
        name="shop",
        instances=draw(st.integers(1, 7)),
        run=RunSpec(command=("shop",)),
        traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=1)),
        drain=DrainSpec(requests_s=draw(st.sampled_from([0.0, 2.0])), streams_s=draw(st.sampled_from([2.0, 60.0]))),
        strategy=StrategySpecs(rolling=rolling, blue_green=blue_green, canary=canary),
        progress_deadline_s=60.0,
        preflight=PreflightSpec() if draw(st.booleans()) else None,
        analysis=draw(st.none() | analyses),
        database=draw(st.none() | databases),
    )


behaviours = st.builds(
    Behaviour,
    ready_after_s=st.sampled_from([0.0, 0.2, 1.0, 5.0, None]),
    exits_after_s=st.sampled_from([None, None, None, 0.1, 3.0]),
    requests_s=st.sampled_from([0.0, 0.5]),
    streams=st.sampled_from([0, 0, 2]),
)
healthy = st.builds(Behaviour, ready_after_s=st.sampled_from([0.0, 1.0]), streams=st.sampled_from([0, 2]))

FOUND_NOTHING = PreflightReport(keep_alive_s=1.0)
REFUSED = PreflightReport(
    findings=(Finding(rule="ignores_sigterm", severity=Severity.REFUSAL, sentence="it lives on", remedy="end it"),)
)

TOO_FEW = Ruling(call=Call.HOLD, why=Why.TOO_FEW, sentence="too few requests")
WORSE = Ruling(call=Call.ROLLBACK, why=Why.WORSE, row="errors", sentence="errors: 9 times the odds")
rulings = st.one_of(
    st.sampled_from([None, TOO_FEW, TOO_FEW, WORSE]),
    st.builds(
        Ruling,
        call=st.just(Call.PROMOTE),
        why=st.just(Why.NOT_WORSE),
        sentence=st.just("not worse"),
        next_share_bp=st.sampled_from([500, 5_000, 10_000]),
    ),
)

actions = st.one_of(
    st.tuples(st.just("tick"), st.sampled_from([0.05, 0.3, 1.0, 4.0])),
    st.tuples(st.just("tick"), st.sampled_from([0.05, 0.3, 1.0, 4.0])),
    st.tuples(st.just("lose"), st.sets(st.integers(0, 3), max_size=3)),
    st.tuples(st.just("acknowledge"), st.booleans()),
    st.tuples(st.just("crash"), st.integers(0, 12)),
    st.tuples(st.just("unready"), st.integers(0, 12)),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(
        st.just("deploy"),
        st.tuples(st.sampled_from(VERSIONS), st.sampled_from(list(StrategyName)), st.booleans(), st.booleans()),
    ),
    st.tuples(st.just("checks"), st.sampled_from([None, (), ("/: status 500",)])),
    st.tuples(st.just("preflight"), st.sampled_from([None, FOUND_NOTHING, REFUSED])),
    st.tuples(st.just("database"), st.sampled_from([None, None, DATABASE_READY, DATABASE_REFUSED, DATABASE_FAILED])),
    st.tuples(st.just("judge"), rulings),
    st.tuples(
        st.just("ask"),
        st.sampled_from(
            [
                Promote(actor=ACTOR),
                Promote(actor=ACTOR, to_the_end=True),
                Pause(actor=ACTOR),
                Resume(actor=ACTOR),
                Abort(actor=ACTOR),
                Undo(actor=ACTOR),
            ]
        ),
    ),
)


class Story:
    """Plays actions on a simulation."""

    def __init__(self, simulation: Simulation, specs: tuple[ServiceSpec, ServiceSpec]) -> None:
        self.simulation, self.specs, self.heals = simulation, specs, True

    def play(self, name: str, value: Any) -> None:
        getattr(self, f"do_{name}")(value)

    def do_tick(self, seconds: float) -> None:
        self.simulation.tick(seconds)

    def do_lose(self, losing: set[int]) -> None:
        self.simulation.tick(0.1, losing=losing)
        self.simulation.restart_controller()

    def do_acknowledge(self, answers: bool) -> None:
        self.simulation.acknowledges = answers

    def do_crash(self, which: int) -> None:
        names = sorted(self.simulation.fleet)
        if which < len(names):
            self.simulation.crash(names[which])

    def do_unready(self, which: int) -> None:
        ready = [one for one in self.simulation.fleet.values() if one.seen.phase is Phase.READY]
        if which < len(ready):
            self.simulation.make_unready(ready[which].seen.id)

    def do_restart(self, _: None) -> None:
        self.simulation.restart_controller()

    def do_deploy(self, what: tuple[Version, StrategyName, bool, bool]) -> None:
        version, strategy, supersede, which = what
        spec = self.specs[which]
        self.do_ask(Deploy(actor=ACTOR, version=version, spec=spec, strategy=strategy, supersede=supersede))

    def do_checks(self, outcome: tuple[str, ...] | None) -> None:
        self.simulation.checks = outcome

    def do_preflight(self, found: PreflightReport | None) -> None:
        self.simulation.preflight = found

    def do_database(self, report: DatabaseReport | None) -> None:
        self.simulation.database = report

    def do_judge(self, ruling: Ruling | None) -> None:
        self.simulation.ruling = ruling

    def do_ask(self, asked: Command) -> None:
        before = self.simulation.state
        try:
            self.simulation.ask(asked)
        except Refused:
            assert self.simulation.state == before

    def calm_down(self) -> None:
        """End all faults and let people answer what is asked of them."""
        self.simulation.acknowledges, self.simulation.checks = True, ()
        self.simulation.preflight = self.simulation.preflight or FOUND_NOTHING
        self.simulation.database = self.simulation.database or DATABASE_READY
        if self.heals:
            for name in self.simulation.fleet:
                self.simulation.make_ready(name)
        for _ in range(12):
            if self.simulation.state.phase is RolloutPhase.IDLE:
                break
            with contextlib.suppress(Refused):
                self.simulation.ask(Promote(actor=ACTOR))
            self.simulation.run_until_idle(limit_s=100, growth=1.3)


@pytest.mark.timeout(900)
@given(
    specs=st.tuples(services(), services()),
    acts=st.fixed_dictionaries({version: healthy if version == "v1" else behaviours for version in VERSIONS}),
    story=st.lists(actions, max_size=40),
)
@settings(print_blob=True, max_examples=10 * settings().max_examples if "CI" in os.environ else settings().max_examples)
def test_no_promise_is_broken_and_every_rollout_ends(
    specs: tuple[ServiceSpec, ServiceSpec], acts: dict[Version, Behaviour], story: list[tuple[str, Any]]
) -> None:
    simulation = Simulation(behaviours=dict(acts), doubts=True)
    player = Story(simulation, specs)
    player.do_deploy((VERSIONS[0], StrategyName.ROLLING, False, False))
    simulation.run_until_idle(limit_s=60, growth=1.3)
    for name, value in story:
        is_worse = has_been_found_worse(simulation)
        player.play(name, value)
        assert simulation.violations == []
        if is_worse and name in {"tick", "lose"}:
            assert simulation.state.phase in {RolloutPhase.ROLLING_BACK, RolloutPhase.IDLE}
            assert simulation.state.running.outcome is not Outcome.COMPLETED
    player.calm_down()
    simulation.restart_controller()
    assert simulation.violations == []
    assert simulation.state.phase is RolloutPhase.IDLE, simulation.state.rollout
    _assert_home(simulation, acts)


def has_been_found_worse(simulation: Simulation) -> bool:
    """Tell whether the next look must see a verdict against the new version, whatever is acknowledged until then."""
    rollout, tables = simulation.state.rollout, simulation.tables()
    is_on = simulation.state.phase in {RolloutPhase.ADVANCING, RolloutPhase.PAUSED}
    if rollout is None or not is_on or not rollout.compares or simulation.ruling != WORSE:
        return False
    return bool(tables) and all(table.weight_bp(rollout.candidate) for table in tables)


few = settings(print_blob=True, max_examples=min(settings.default.max_examples if settings.default else 100, 1_000))


@given(
    specs=st.tuples(services(), services()),
    acts=st.fixed_dictionaries({version: healthy if version == "v1" else behaviours for version in VERSIONS}),
    story=st.lists(actions.filter(lambda action: action[0] != "judge"), max_size=25),
)
@few
def test_a_judge_that_cannot_tell_decides_nothing_unless_its_time_was_to_end(
    specs: tuple[ServiceSpec, ServiceSpec], acts: dict[Version, Behaviour], story: list[tuple[str, Any]]
) -> None:
    told: list[list[ServiceEvent]] = []
    for ruling in (None, TOO_FEW):
        simulation = Simulation(behaviours=dict(acts), ruling=ruling)
        player = Story(simulation, specs)
        player.do_deploy((VERSIONS[0], StrategyName.ROLLING, False, False))
        simulation.run_until_idle(limit_s=60, growth=1.3)
        for name, value in story:
            player.play(name, value)
        told.append([event for event in simulation.journal if not isinstance(event, RulingGiven)])
    assert list(map(without_cause, told[0])) == list(map(without_cause, told[1]))


def without_cause(event: ServiceEvent) -> ServiceEvent:
    """Leave out what differs: `its judge has said nothing`, `too few requests`."""
    return replace(event, cause="") if isinstance(event, RollbackStarted | RolloutFinished) else event


def _assert_home(simulation: Simulation, acts: dict[Version, Behaviour]) -> None:
    """After a rollout the stable version serves all traffic, if it is able to."""
    stable = simulation.state.stable
    if stable is None or acts[stable].ready_after_s is None or acts[stable].exits_after_s is not None:
        return
    simulation.run(100, tick_s=4.0)
    assert simulation.violations == []
    assert weights_now(simulation) == {stable: 10_000}
