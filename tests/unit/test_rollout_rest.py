"""A step that decided nothing is not taken again, until something is seen or a moment comes that a rule waits for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from hitless.analysis.ruling import Call, Ruling, Why
from hitless.rollout.inputs import Deploy, Observed
from hitless.rollout.machine import observe
from hitless.rollout.rest import Rest, rest_after
from hitless.rollout.spec import (
    Address,
    AnalysisSpec,
    BlueGreenSpec,
    CanarySpec,
    CanaryStep,
    DrainSpec,
    RunSpec,
    ServiceSpec,
    StrategyName,
    StrategySpecs,
    TrafficSpec,
    Undecided,
    Version,
)
from hitless.rollout.state import RolloutPhase
from hitless.rollout.world import Answers, Phase
from hitless.testing.simulation import Behaviour, Simulation

V1, V2 = Version("v1"), Version("v2")
SPEC = ServiceSpec(
    name="shop",
    instances=2,
    run=RunSpec(command=("shop",)),
    traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=1)),
    drain=DrainSpec(requests_s=3.0, streams_s=20.0),
    strategy=StrategySpecs(
        blue_green=BlueGreenSpec(keep_warm_s=5.0),
        canary=CanarySpec(steps=(CanaryStep(weight_bp=100, hold_s=5.0), CanaryStep(weight_bp=10_000))),
    ),
    progress_deadline_s=30.0,
)


def serving(**behaviours: Behaviour) -> Simulation:
    """Two instances of v1 that have served for a while."""
    simulation = Simulation(behaviours={Version(name): acts for name, acts in behaviours.items()}, doubts=True)
    deploy(simulation, V1)
    simulation.run_until_idle()
    simulation.run(3.0)
    return simulation


def deploy(
    simulation: Simulation, version: Version, strategy: StrategyName = StrategyName.ROLLING, spec: ServiceSpec = SPEC
) -> None:
    simulation.ask(Deploy(actor="user:test", version=version, spec=spec, strategy=strategy))


def rest_of(simulation: Simulation) -> Rest:
    seen = Observed(observation=simulation.observation())
    found = rest_after(observe(simulation.state, seen), seen)
    assert found is not None
    return found


def test_a_service_at_rest_has_nothing_to_wait_for() -> None:
    simulation = serving()
    assert rest_of(simulation).until is None


def test_a_rest_ends_with_anything_that_is_seen() -> None:
    simulation = serving()
    rest = rest_of(simulation)
    simulation.now += timedelta(days=1)
    assert rest.covers(simulation.state, Observed(observation=simulation.observation()))
    assert not rest.covers(simulation.state, Observed(observation=simulation.observation(), checks=()))
    simulation.make_unready(next(iter(simulation.fleet)))
    assert not rest.covers(simulation.state, Observed(observation=simulation.observation()))


def test_a_rest_ends_with_another_state_and_with_a_clock_that_was_set_back() -> None:
    simulation = serving()
    rest, seen = rest_of(simulation), Observed(observation=simulation.observation())
    assert rest.covers(simulation.state, seen)
    assert not rest.covers(replace(simulation.state), seen)
    earlier = replace(seen.observation, now=seen.observation.now - timedelta(seconds=1))
    assert not rest.covers(simulation.state, Observed(observation=earlier))


def test_how_busy_instances_in_rotation_are_decides_nothing() -> None:
    simulation = serving()
    rest, observation = rest_of(simulation), simulation.observation()
    busier = {
        region: replace(
            view, open_requests={name: replace(left, count=99) for name, left in view.open_requests.items()}
        )
        for region, view in observation.routing.items()
    }
    assert rest.covers(simulation.state, Observed(observation=replace(observation, routing=busier)))


def test_a_rest_ends_when_a_version_that_crashed_may_start_again() -> None:
    simulation = serving()
    simulation.behaviours[V1] = Behaviour(ready_after_s=None, exits_after_s=0.5)
    for name in list(simulation.fleet):
        simulation.crash(name)
    before = simulation.state.named
    simulation.run(30.0)
    assert simulation.violations == []
    assert simulation.state.named > before + 4  # several starts, each after a longer pause


@pytest.mark.parametrize("strategy", StrategyName)
@pytest.mark.parametrize("streams", [0, 2])
def test_a_rest_ends_with_holds_and_drains(strategy: StrategyName, streams: int) -> None:
    simulation = serving(v1=Behaviour(streams=streams))
    deploy(simulation, V2, strategy)
    simulation.run_until_idle(growth=1.0)
    simulation.run(60.0)
    assert simulation.violations == []
    assert {one.seen.version for one in simulation.fleet.values()} == {V2}


def test_a_rest_ends_with_the_deadline_of_a_stage() -> None:
    simulation = serving(v2=Behaviour(ready_after_s=None))
    simulation.start_deadline_s = 600.0
    deploy(simulation, V2)
    simulation.run_until_idle(growth=1.0)
    assert simulation.violations == []
    assert simulation.state.rollout is not None
    assert "got no further in 30 s" in (simulation.state.rollout.cause or "")


def test_where_nothing_can_have_changed_nothing_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = serving()
    simulation.doubts = False
    steps: list[Observed] = []

    def counted(state: object, seen: Observed) -> object:
        steps.append(seen)
        return observe(state, seen)  # type: ignore[arg-type]  # as the real one is called

    monkeypatch.setattr("hitless.testing.simulation.observe", counted)
    simulation.run(60.0)
    assert steps == []
    simulation.crash(next(iter(simulation.fleet)))
    simulation.run(5.0)
    assert 0 < len(steps) < 20
    assert all(one.seen.phase is Phase.READY for one in simulation.fleet.values())


def test_a_rest_ends_when_every_request_to_the_candidate_fails() -> None:
    simulation = serving()
    deploy(simulation, V2, StrategyName.CANARY)
    while simulation.state.rollout is None or simulation.state.rollout.record.settled_at is None:
        simulation.tick()
    simulation.run(2.0)
    simulation.answers = {
        V1: Answers(total=900, recent_total=90),
        V2: Answers(total=90, failed=90, recent_total=90, recent_failed=90),
    }
    simulation.tick()
    assert simulation.violations == []
    assert simulation.state.phase is RolloutPhase.ROLLING_BACK


def test_a_rest_ends_with_another_ruling_and_with_the_patience_for_one() -> None:
    simulation = serving()
    analysis = AnalysisSpec(undecided=Undecided.ROLLBACK, patience_s=40.0)
    deploy(simulation, V2, StrategyName.CANARY, replace(SPEC, analysis=analysis))
    while simulation.state.running.record.settled_at is None:
        simulation.tick()
    simulation.run(10.0)
    rest, settled_at = rest_of(simulation), simulation.state.running.record.settled_at
    assert settled_at is not None
    assert rest.until == settled_at + timedelta(seconds=45)
    hold = Ruling(call=Call.HOLD, why=Why.TOO_FEW, sentence="too few requests")
    assert rest.covers(simulation.state, Observed(observation=simulation.observation()))
    assert not rest.covers(simulation.state, Observed(observation=simulation.observation(), ruling=hold))
    simulation.run(40.0)
    assert simulation.violations == []
    assert "undecided 40 s after its time" in (simulation.state.running.cause or "")
