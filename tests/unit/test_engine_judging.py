"""What a judge says, and what becomes of a rollout; on fakes and virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from engine_stage import SHOP, SLOW_S, Stage, World

from hitless.analysis.ruling import Call, Ruling, Why
from hitless.analysis.settings import RatioRule
from hitless.engine.case import READ_S
from hitless.engine.judging import is_judged
from hitless.rollout.inputs import Abort, Deploy, Undo
from hitless.rollout.spec import LOCAL, AnalysisSpec, MetricsSpec, PoolSpec, RatioSpec, StrategyName, Version
from hitless.testing.judging import TOO_FEW, WORSE, not_worse
from hitless.testing.simulation import Simulation


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def stage(world: World) -> AsyncIterator[Stage]:
    world.clock.run_threads_inline()
    async with world.controlled() as controller:
        yield Stage(world, controller)
    assert world.router.violations == []


async def test_a_step_is_left_when_its_time_is_over_and_the_next_share_is_shown_to_be_right(stage: Stage) -> None:
    await stage.canary()
    await stage.clock.advance(600)
    assert stage.world.weight("v2") == 100
    stage.judges.ruling = not_worse(2_500)
    await stage.until_weight("v2", 2_500, within_s=2.5)
    await stage.clock.advance(600)
    assert stage.world.weight("v2") == 2_500
    stage.judges.ruling = not_worse(10_000)
    await stage.idle()
    assert (await stage.rollout())["state"] == "completed"
    assert list(dict.fromkeys(stage.world.judge.asked)) == [2_500, 10_000]
    assert stage.rulings() == [("hold", "too_few"), ("promote", "not_worse"), ("promote", "not_worse")]


async def test_who_is_found_worse_has_no_traffic_within_a_second_of_the_verdict(stage: Stage) -> None:
    await stage.canary()
    stage.judges.ruling = WORSE
    judge, looks = stage.world.judge, len(stage.world.judge.asked)
    await stage.clock.run_until(lambda: len(judge.asked) > looks, within_s=3)
    await stage.until_weight("v2", 0, within_s=0.5)
    await stage.idle()
    view = await stage.rollout()
    assert (view["state"], view["cause"]) == ("rolled_back", WORSE.sentence)
    assert view["judgement"]["call"] == "rollback"
    assert "after" in view["judgement"]["detail"]


async def test_the_way_back_does_not_stand_behind_a_proxy_that_is_slow_to_confirm(stage: Stage) -> None:
    await stage.canary()
    stage.world.router.faults.acknowledge_after_s = SLOW_S
    await stage.act("promote")
    await stage.clock.run_until(lambda: stage.world.router.history[-1].table.weight_bp(Version("v2")) > 100, within_s=9)
    stage.world.router.faults.acknowledge_after_s = 0
    stage.judges.ruling = WORSE
    await stage.until_weight("v1", 10_000, within_s=5)


@pytest.mark.parametrize("verb", ["promote", "pause"])
async def test_nothing_that_a_person_says_masks_a_verdict(stage: Stage, verb: str) -> None:
    await stage.canary()
    await stage.act(verb)
    stage.judges.ruling = WORSE
    await stage.idle()
    assert (await stage.rollout())["cause"] == WORSE.sentence


async def test_the_judge_is_told_what_was_before_the_new_version_had_traffic_and_nothing_of_it_later(
    stage: Stage,
) -> None:
    await stage.canary()
    (judge,) = stage.judges.made
    settings = judge.settings
    assert (settings.canary, settings.baseline, settings.salt) == ("v2", "v1", "shop-r2")
    assert (settings.analysis, settings.slo) == (SHOP.analysis, SHOP.slo)
    first = next(one.at for one in stage.world.router.history if one.table.weight_bp(Version("v2"))).timestamp()
    assert settings.background.seconds >= 60
    assert max(one.at for one in stage.judges.before) + 1 <= first
    assert min(one.second.at for one in judge.taken) >= int(first)


async def test_what_the_new_version_did_while_its_judge_was_made_is_no_background(world: World) -> None:
    world.clock.run_threads_inline()
    world.recorder.hangs = True
    async with world.controlled() as controller:
        stage = Stage(world, controller)
        await stage.deploy("v1")
        await stage.idle()
        await world.clock.advance(30)
        await stage.deploy("v2")
        await world.clock.run_until(lambda: bool(world.judges.made), within_s=READ_S + 20)
        first = next(one.at for one in world.router.history if one.table.weight_bp(Version("v2"))).timestamp()
        assert world.clock.now().timestamp() > first + READ_S - 1
        assert first - 2 < max(one.at for one in world.judges.before) + 1 <= first
        stage.judges.ruling = WORSE
        await stage.idle()


async def test_a_second_in_which_the_share_changed_has_none_and_the_others_have_theirs(stage: Stage) -> None:
    await stage.canary()
    await stage.clock.advance(60)
    stage.judges.ruling = not_worse(2_500)
    await stage.until_weight("v2", 2_500, within_s=5)
    changed_at = int(stage.clock.now().timestamp())
    await stage.clock.advance(10)
    taken = {one.second.at: one.share_bp for one in stage.world.judge.taken}
    assert sorted(taken) == list(range(min(taken), max(taken) + 1))
    assert taken[changed_at] == {}
    assert taken[changed_at - 3] == {LOCAL: 100}
    assert taken[changed_at + 3] == {LOCAL: 2_500}
    assert [at for at, share in taken.items() if not share and at > min(taken)] == [changed_at]


async def test_a_look_at_a_proxy_that_is_silent_tells_no_share(stage: Stage) -> None:
    await stage.canary()
    await stage.clock.advance(10)
    stage.world.router.faults.unreachable = "Envoy does not answer"
    await stage.clock.advance(10)
    silent = int(stage.clock.now().timestamp()) - 5
    stage.world.router.faults.unreachable = None
    await stage.clock.advance(10)
    taken = {one.second.at: one.share_bp for one in stage.world.judge.taken}
    assert taken[silent] == {}
    assert taken[silent + 10] == {LOCAL: 100}


async def test_a_proxy_in_trouble_that_moves_no_weights_stops_no_comparison(stage: Stage) -> None:
    await stage.canary()
    await stage.clock.advance(10)
    stage.world.router.faults.rejects = "the table is refused"
    await stage.act("promote")
    await stage.clock.advance(30)
    assert "the table is refused" in await stage.problems()
    assert stage.world.weight("v2") == 100
    assert {LOCAL: 100} in [one.share_bp for one in stage.world.judge.taken[-5:]]
    stage.world.router.faults.rejects = None
    stage.judges.ruling = WORSE
    await stage.idle()


async def test_figures_that_grow_in_a_sentence_are_journaled_once(stage: Stage) -> None:
    await stage.canary()
    for number in range(20):
        sentence = f"{number} of 1,000 requests failed"
        stage.judges.ruling = Ruling(call=Call.PROMOTE, why=Why.NOT_WORSE, sentence=sentence, next_share_bp=100)
        await stage.clock.advance(1)
    assert stage.rulings() == [("hold", "too_few"), ("promote", "not_worse")]


async def test_a_hold_is_journaled_anew_for_every_step_it_is_about(stage: Stage) -> None:
    await stage.canary()
    await stage.clock.advance(5)
    stage.judges.ruling = replace(TOO_FEW, sentence="too few requests to show that it may get everything")
    await stage.clock.advance(5)
    assert stage.rulings() == [("hold", "too_few")]
    await stage.act("promote")
    await stage.until_weight("v2", 2_500, within_s=5)
    await stage.clock.advance(5)
    assert stage.rulings() == [("hold", "too_few")] * 2
    until = (await stage.rollout())["stages"][1]["until"]
    assert until[-1]["detail"] == "too few requests to show that it may get everything"


@pytest.mark.parametrize("strategy", ["canary", "rolling"])
async def test_without_analysis_nothing_waits_and_who_is_worse_is_taken_back(world: World, strategy: str) -> None:
    world.clock.run_threads_inline()
    world.spec = replace(SHOP, analysis=None, instances=8)
    async with world.controlled() as controller:
        stage = Stage(world, controller)
        for version in ("v1", "v2"):
            await stage.deploy(version, strategy)
            await stage.idle()
        assert (await stage.rollout())["state"] == "completed"
        assert stage.rulings() == []
        assert stage.world.judge.settings.analysis == AnalysisSpec()
        await stage.deploy("v3", strategy)
        stage.judges.ruling = WORSE
        await stage.idle()
        assert (await stage.rollout())["cause"] == WORSE.sentence


def test_who_is_compared_and_who_is_not() -> None:
    simulation = Simulation()
    for version in ("v1", "v2"):
        assert not is_judged(simulation.state)
        asked = Deploy(actor="ann", version=Version(version), spec=SHOP, strategy=StrategyName.ROLLING)
        simulation.ask(asked)
        assert is_judged(simulation.state) is (version == "v2")  # a first release stands beside nobody
        simulation.run_until_idle()
    simulation.ask(Undo(actor="ann"))
    assert not is_judged(simulation.state)
    simulation.run_until_idle()
    simulation.ask(replace(asked, version=Version("v1"), spec=replace(SHOP, instances=3)))
    assert not is_judged(simulation.state)  # other settings of the same version
    simulation.run_until_idle()
    simulation.ask(asked)
    assert is_judged(simulation.state)
    simulation.ask(Abort(actor="ann"))
    assert not is_judged(simulation.state)


async def test_an_undo_is_not_judged(stage: Stage) -> None:
    await stage.canary()
    stage.judges.ruling = not_worse(10_000)
    await stage.idle()
    stage.judges.ruling = WORSE
    await stage.act("undo")
    await stage.idle()
    assert (await stage.rollout())["state"] == "completed"
    assert len(stage.judges.made) == 1


async def test_the_view_has_the_evidence_and_its_moment(stage: Stage) -> None:
    await stage.canary()
    view = (await stage.rollout())["judgement"]
    assert (view["call"], view["why"], view["sentence"]) == ("hold", "too_few", "too few requests")
    assert view["detail"].startswith("too few requests, after ")
    shown = stage.clock.now() - timedelta(seconds=3)
    assert view["at"] is not None
    assert view["at"] >= shown.isoformat()


async def test_a_judge_is_told_which_ratios_and_pools_there_are(stage: Stage) -> None:
    ratio = RatioSpec(name="orders", good="paid_total", total="orders_total", margin=0.1)
    pool = PoolSpec(name="database", used="in_use", size=20.0)
    stage.world.spec = replace(SHOP, metrics=MetricsSpec(ratios=(ratio,), pools=(pool,)))
    await stage.canary()
    settings = stage.world.judge.settings
    assert (settings.ratios, settings.pools) == ({"orders": RatioRule(margin=0.1)}, ("database",))
