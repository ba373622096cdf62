from __future__ import annotations

import itertools
from dataclasses import replace
from typing import get_args

import pytest

from hitless.rollout.events import RolloutPaused
from hitless.rollout.inputs import Input, Observed
from hitless.rollout.machine import TRANSITIONS
from hitless.rollout.spec import (
    LOCAL,
    Address,
    Amount,
    AnalysisSpec,
    BlueGreenSpec,
    CanarySpec,
    CanaryStep,
    CheckSpec,
    RollingSpec,
    RunSpec,
    ServiceSpec,
    StrategyName,
    StrategySpecs,
    TrafficSpec,
    Undecided,
    Version,
)
from hitless.rollout.stage import Approved, Drained, Held, Judged, Passed, Plan
from hitless.rollout.state import RolloutPhase
from hitless.rollout.step import Step
from hitless.rollout.strategy import compile_return, compile_rollout
from hitless.testing.simulation import Simulation

OLD, NEW = Version("v1"), Version("v2")


def service(instances: int = 4, **strategies: object) -> ServiceSpec:
    return ServiceSpec(
        name="shop",
        instances=instances,
        run=RunSpec(command=("shop",)),
        traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=1)),
        strategy=StrategySpecs(**strategies),  # type: ignore[arg-type]
    )


def compiled(strategy: StrategyName, spec: ServiceSpec | None = None) -> Plan:
    return compile_rollout(spec or service(), strategy=strategy, baseline=OLD, candidate=NEW)


def worlds(plan: Plan) -> list[tuple[dict[Version, int], dict[Version, int]]]:
    return [(dict(stage.desired[LOCAL].pools), dict(stage.desired[LOCAL].weights)) for stage in plan.stages]


def test_rolling_is_one_world() -> None:
    assert worlds(compiled(StrategyName.ROLLING)) == [({NEW: 4}, {NEW: 10_000})]


def test_blue_green_is_both_full_then_the_flip_then_the_old_one_gone() -> None:
    assert worlds(compiled(StrategyName.BLUE_GREEN)) == [
        ({NEW: 4, OLD: 4}, {NEW: 0, OLD: 10_000}),
        ({NEW: 4, OLD: 4}, {NEW: 10_000, OLD: 0}),
        ({NEW: 4}, {NEW: 10_000}),
    ]


def test_a_canary_is_one_world_per_step_with_the_old_version_full() -> None:
    assert worlds(compiled(StrategyName.CANARY)) == [
        ({NEW: 1, OLD: 4}, {NEW: 100, OLD: 9_900}),
        ({NEW: 1, OLD: 4}, {NEW: 500, OLD: 9_500}),
        ({NEW: 1, OLD: 4}, {NEW: 2_500, OLD: 7_500}),
        ({NEW: 4, OLD: 4}, {NEW: 10_000, OLD: 0}),
        ({NEW: 4}, {NEW: 10_000}),
    ]


def test_every_strategy_ends_with_the_same_stage() -> None:
    last = [compiled(strategy).stages[-1] for strategy in StrategyName]
    assert all(stage == last[0] for stage in last)
    assert Drained() in last[0].until


def test_stages_wait_for_what_the_settings_say() -> None:
    blue_green = BlueGreenSpec(checks=(CheckSpec(path="/"),), approve=True, keep_warm_s=7)
    canary = CanarySpec(steps=(CanaryStep(weight_bp=100, hold_s=5, pause=True), CanaryStep(weight_bp=10_000)))
    spec = service(blue_green=blue_green, canary=canary)
    prepare, flip, _ = compiled(StrategyName.BLUE_GREEN, spec).stages
    assert prepare.until[-2:] == (Passed(checks=(CheckSpec(path="/"),)), Approved())
    assert flip.until[-1] == Held(seconds=7)
    assert compiled(StrategyName.CANARY, spec).stages[0].until[-2:] == (Held(seconds=5), Approved())


def test_every_step_asks_for_a_verdict_on_the_share_that_comes_next_and_the_last_one_for_none() -> None:
    analysis = AnalysisSpec(undecided=Undecided.ASK, patience_s=7)
    plan = compiled(StrategyName.CANARY, replace(service(), analysis=analysis))
    asked = [stage.judged.next_share_bp if stage.judged else None for stage in plan.stages]
    assert asked == [500, 2_500, 10_000, None, None]
    first = plan.stages[0].until
    assert first[-2:] == (Held(seconds=600), Judged(next_share_bp=500, undecided=Undecided.ASK, patience_s=7))


def test_steps_that_end_below_all_of_the_traffic_ask_for_all_of_it() -> None:
    steps = (CanaryStep(weight_bp=2_500), CanaryStep(weight_bp=2_500), CanaryStep(weight_bp=5_000))
    spec = replace(service(canary=CanarySpec(steps=steps)), analysis=AnalysisSpec())
    judged = [stage.judged for stage in compiled(StrategyName.CANARY, spec).stages]
    assert [one.next_share_bp if one else None for one in judged] == [None, 5_000, 10_000, None]


@pytest.mark.parametrize("strategy", [StrategyName.ROLLING, StrategyName.BLUE_GREEN])
def test_only_a_canary_waits_for_verdicts(strategy: StrategyName) -> None:
    plan = compiled(strategy, replace(service(), analysis=AnalysisSpec()))
    assert [stage.judged for stage in plan.stages] == [None] * len(plan.stages)


def test_no_step_waits_for_a_verdict_where_no_analysis_is_wanted() -> None:
    assert all(stage.judged is None for stage in compiled(StrategyName.CANARY).stages)


def test_a_first_release_has_nothing_to_stand_beside() -> None:
    for strategy in StrategyName:
        plan = compile_rollout(service(), strategy=strategy, baseline=None, candidate=NEW)
        assert worlds(plan) == [({NEW: 4}, {NEW: 10_000})]


def test_the_way_back_is_one_world_with_room_for_a_second_environment() -> None:
    plan = compile_return(service(2), candidate=OLD, beside=8)
    assert worlds(plan) == [({OLD: 2}, {OLD: 10_000})]
    assert plan.stages[0].hold_s == 0
    assert (plan.limits.ceiling, plan.limits.ready_floor) == (10, 2)


def test_the_version_before_keeps_its_own_number_of_instances() -> None:
    plan = compile_rollout(service(2), strategy=StrategyName.CANARY, baseline=OLD, candidate=NEW, baseline_instances=8)
    assert {world[0][OLD] for world in worlds(plan)[:-1]} == {8}
    assert plan.limits.ceiling == 10


@pytest.mark.parametrize(
    ("instances", "surge", "unavailable", "expected"),
    [
        (4, Amount(share_bp=2_500), Amount(count=0), (1, 0)),
        (3, Amount(share_bp=2_500), Amount(share_bp=2_500), (1, 0)),  # surge rounds up, unavailable down
        (10, Amount(count=0), Amount(share_bp=3_000), (0, 3)),
        (1, Amount(count=0), Amount(count=1), (1, 0)),  # the only instance is never given away
        (4, Amount(count=0), Amount(share_bp=1_000), (1, 0)),  # with neither, nothing could move
    ],
)
def test_limits_of_a_rolling_update(
    instances: int, surge: Amount, unavailable: Amount, expected: tuple[int, int]
) -> None:
    spec = service(instances, rolling=RollingSpec(max_surge=surge, max_unavailable=unavailable))
    limits = compiled(StrategyName.ROLLING, spec).limits
    assert (limits.max_surge, limits.max_unavailable) == expected


@pytest.mark.parametrize("strategy", [StrategyName.BLUE_GREEN, StrategyName.CANARY])
def test_two_environments_may_stand_side_by_side_and_nothing_may_be_missing(strategy: StrategyName) -> None:
    limits = compiled(strategy).limits
    assert (limits.ceiling, limits.ready_floor) == (8, 4)


def test_changed_settings_of_the_same_version_are_one_world() -> None:
    plan = compile_rollout(replace(service(), instances=6), strategy=StrategyName.CANARY, baseline=NEW, candidate=NEW)
    assert worlds(plan) == [({NEW: 6}, {NEW: 10_000})]


def test_the_table_names_a_handler_for_every_phase_and_every_input() -> None:
    pairs = {(phase, kind) for phase, row in TRANSITIONS.items() for kind in row}
    assert pairs == set(itertools.product(RolloutPhase, get_args(Input)))


def test_an_event_that_the_table_does_not_name_is_a_broken_promise() -> None:
    simulation = Simulation()
    paused = Step(state=simulation.state, events=(RolloutPaused(at=simulation.now),))
    simulation._commit(paused, Observed, may_decide=TRANSITIONS[RolloutPhase.IDLE][Observed].events)
    assert simulation.violations == ["`Observed` while idle led to rollout.paused: TRANSITIONS does not name it"]
