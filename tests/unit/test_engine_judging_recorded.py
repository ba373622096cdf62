"""The next controller judges on from what was recorded."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from engine_stage import SHOP, Stage, World

from hitless import __version__
from hitless.rollout.spec import CanarySpec, CanaryStep, StrategySpecs
from hitless.rollout.state import RolloutPhase
from hitless.testing import FakeFleet, FakeJudge, FakeMetrics, FakeRouter
from hitless.testing.judging import WORSE, not_worse


@pytest.fixture
def world() -> World:
    return World()


async def test_the_next_controller_judges_on_by_the_same_settings_and_the_same_evidence(world: World) -> None:
    world.clock.run_threads_inline()
    async with world.controlled() as controller:
        stage = Stage(world, controller)
        await stage.canary()
        await stage.clock.advance(5)
        world.judges.ruling = not_worse(2_500)
        await stage.clock.advance(5)
        assert stage.rulings()[-1] == ("promote", "not_worse")
    first = world.judge
    await world.clock.advance(30)
    world.metrics = FakeMetrics(world.clock)  # what was not measured while no controller was there is not there
    world.metrics.hangs = True
    async with world.controlled() as controller:
        stage = Stage(world, controller)
        await stage.clock.advance(60)
        assert stage.rulings()[-1] == ("hold", "no_data")
        assert world.weight("v2") == 100
        world.metrics.hangs = False
    second = world.judge
    assert second is not first
    assert second.settings == first.settings
    assert second.taken == first.taken
    async with world.controlled() as controller:
        stage = Stage(world, controller)
        await stage.until_weight("v2", 2_500, within_s=5)
        world.judges.ruling = WORSE
        await stage.idle()
    third = world.judge
    assert third.taken[: len(first.taken)] == first.taken
    assert third.taken[len(first.taken)].second.at >= first.taken[-1].second.at + 90
    assert tuple(third.taken) == world.recorder.recorded("shop-r2")


async def test_a_clock_set_back_between_two_controllers_keeps_no_second_from_the_judge(world: World) -> None:
    world.clock.run_threads_inline()
    async with world.controlled() as controller:
        stage = Stage(world, controller)
        await stage.canary()
        await stage.clock.advance(60)
    world.clock._now -= timedelta(seconds=50)  # the machine was started again
    world.metrics = FakeMetrics(world.clock)
    async with world.controlled() as controller:
        stage = Stage(world, controller)
        await stage.clock.advance(20)
        now_s = stage.clock.now().timestamp()
        assert now_s - 3 < world.judge.taken[-1].second.at < now_s  # it says itself that it has seen later ones
        assert stage.rulings()[-1] == ("hold", "too_few")


async def test_the_next_controller_says_that_what_was_seen_before_is_lost(world: World) -> None:
    world.clock.run_threads_inline()
    async with world.controlled() as controller:
        stage = Stage(world, controller)
        await stage.canary()
        await stage.clock.advance(5)
        assert await stage.problems() == ""
    world.recorder.lose()
    async with world.controlled() as controller:
        stage = Stage(world, controller)
        await stage.clock.advance(30)
        assert "what a judge saw before is not to be had" in await stage.problems()


@pytest.mark.parametrize("begun_by", ["0.0.9", None])
async def test_a_recording_that_another_hitless_has_begun_is_judged_on_and_told(
    world: World, begun_by: str | None
) -> None:
    world.clock.run_threads_inline()
    async with world.controlled() as controller:
        stage = Stage(world, controller)
        await stage.canary()
        await stage.clock.advance(5)
        assert "judged again" not in await stage.problems()
    before, world.recorder.version = list(world.judge.taken), begun_by
    async with world.controlled() as controller:
        stage = Stage(world, controller)
        await stage.clock.advance(30)
        told = f"judged again by hitless {__version__}; it was begun by 0.0.9"
        assert (told in await stage.problems()) is (begun_by is not None)
        assert world.judge.taken[: len(before)] == before
        world.judges.ruling = WORSE
        await stage.idle()


async def test_the_next_controller_judges_on_although_the_new_version_has_all_of_the_traffic(
    world: World,
) -> None:
    world.clock.run_threads_inline()
    steps = (CanaryStep(weight_bp=100, hold_s=20), CanaryStep(weight_bp=10_000, hold_s=3_600))
    world.spec = replace(SHOP, strategy=StrategySpecs(canary=CanarySpec(steps=steps)))
    async with world.controlled() as controller:
        stage = Stage(world, controller)
        await stage.canary()
        world.judges.ruling = not_worse(10_000)
        await stage.until_weight("v2", 10_000)
        await stage.clock.advance(60)
    before = list(world.judge.taken)
    async with world.controlled() as controller:
        stage = Stage(world, controller)
        await stage.clock.advance(60)
        assert len(world.judges.made) == 2
        assert world.judge.taken[: len(before)] == before
        world.judges.ruling = WORSE
        await stage.idle()
        assert (await stage.rollout())["cause"] == WORSE.sentence


async def test_a_recorded_second_that_makes_no_sense_breaks_no_judge(world: World) -> None:
    world.clock.run_threads_inline()
    async with world.controlled() as controller:
        stage = Stage(world, controller)
        await stage.canary()
        await stage.clock.advance(5)
    before = world.judge.taken
    world.judges.senseless.add(before[1].second.at)
    async with world.controlled() as controller:
        stage = Stage(world, controller)
        await stage.clock.advance(5)
        assert await stage.problems() == ""
    assert world.judge.taken[1].second.gap == f"second {before[1].second.at}: more failures than requests"
    assert [one.second.at for one in world.judge.taken[: len(before)]] == [one.second.at for one in before]


async def test_a_long_recording_is_taken_up_where_no_commit_waits_and_hitless_ends_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.clock.run_threads_inline()
    async with world.controlled() as controller:
        stage = Stage(world, controller)
        await stage.canary()
        await stage.clock.advance(600)
    recorded = world.recorder.recorded("shop-r2")
    loop, begun, go_on, shown = asyncio.get_running_loop(), asyncio.Event(), threading.Event(), 0

    def take(_self: FakeJudge, *_second: object) -> None:
        nonlocal shown
        shown += 1
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(30)

    monkeypatch.setattr(FakeJudge, "take", take)
    with ThreadPoolExecutor(1) as world.bench:
        async with world.controlled() as controller:
            stage = Stage(world, controller)
            await stage.clock.advance(5)
            await asyncio.wait_for(begun.wait(), 30)  # of real time: the bench is a thread
            await stage.act("pause")  # commits
            assert controller.loops["shop"].state.phase is RolloutPhase.PAUSED
        go_on.set()
    assert 0 < shown < len(recorded)


async def test_a_recording_of_another_rollout_of_that_name_is_left_alone_and_told(world: World) -> None:
    world.clock.run_threads_inline()
    async with world.controlled() as controller:
        stage = Stage(world, controller)
        await stage.deploy("v1")
        await stage.idle()
        await stage.deploy("v2")
        await stage.until_weight("v2", 100)
        await stage.clock.advance(5)
        world.judges.ruling = WORSE
        await stage.idle()
    before = world.recorder.recorded("shop-r2")
    assert before
    elsewhere = World()
    elsewhere.clock = world.clock
    elsewhere.fleet, elsewhere.recorder = FakeFleet(world.clock), world.recorder
    elsewhere.router = FakeRouter(world.clock, elsewhere.fleet)
    elsewhere.metrics = FakeMetrics(world.clock)
    async with elsewhere.controlled() as controller:
        stage = Stage(elsewhere, controller)
        await stage.canary()
        assert "a recording of another rollout shop-r2 is there; this one has none" in await stage.problems()
        elsewhere.judges.ruling = WORSE
        await stage.idle()
    assert world.recorder.recorded("shop-r2") == before
