"""What goes wrong while a rollout is judged is told, and holds up nothing but a promotion."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from engine_stage import Stage, World

from hitless.analysis.counts import Second
from hitless.analysis.ruling import Call, RowReport
from hitless.engine.case import READ_S, UNTOLD_AFTER_S
from hitless.testing.judging import WORSE, not_worse


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def stage(world: World) -> AsyncIterator[Stage]:
    world.clock.run_threads_inline()
    async with world.controlled() as controller:
        yield Stage(world, controller)
    assert world.router.violations == []


async def test_metrics_that_answer_no_more_hold_a_step_whatever_was_shown_before(stage: Stage) -> None:
    await stage.canary()
    metrics = stage.world.metrics
    stage.judges.ruling = not_worse(2_500)
    await stage.clock.advance(4)
    assert stage.rulings()[-1] == ("promote", "not_worse")
    metrics.hangs = True
    await stage.clock.advance(600)
    assert stage.world.weight("v2") == 100
    assert stage.rulings()[-1] == ("hold", "no_data")
    view = await stage.rollout()
    assert (view["judgement"]["call"], view["judgement"]["sentence"]) == ("hold", "no second was measured for 10 s")


async def test_metrics_that_answer_again_are_heard_again(stage: Stage) -> None:
    await stage.canary()
    metrics = stage.world.metrics
    assert metrics is not None
    metrics.hangs = True
    await stage.clock.advance(30)
    assert "requests are not measured: no answer within 10 s" in await stage.problems()
    metrics.hangs = False
    stage.judges.ruling = not_worse(2_500)
    await stage.until_weight("v2", 2_500, within_s=30)
    assert "requests are not measured" not in await stage.problems()


async def test_metrics_that_hang_from_the_beginning_are_told_and_leave_nobody_unjudged(stage: Stage) -> None:
    await stage.deploy("v1")
    await stage.idle()
    metrics = stage.world.metrics
    assert metrics is not None
    metrics.hangs = True
    await stage.deploy("v2")
    await stage.until_weight("v2", 100)
    await stage.clock.advance(READ_S + 5)
    assert "requests are not measured: no answer within" in await stage.problems()
    metrics.hangs = False
    stage.judges.ruling = WORSE
    await stage.idle()
    assert (await stage.rollout())["cause"] == WORSE.sentence


async def test_a_second_from_the_future_keeps_nothing_shown(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await stage.canary()
    metrics, judge = stage.world.metrics, stage.world.judge
    assert metrics is not None
    at = int(stage.clock.now().timestamp()) + 3_600

    async def seconds(_service: str, *, after: int) -> tuple[Second, ...]:
        return (Second(at=at),) if after < at else ()

    monkeypatch.setattr(metrics, "seconds", seconds)
    stage.judges.ruling = not_worse(2_500)
    await stage.clock.run_until(lambda: judge.taken[-1].second.at == at, within_s=5)
    await stage.clock.advance(60)
    assert stage.world.weight("v2") == 100
    assert stage.rulings()[-1] == ("hold", "no_data")


async def test_metrics_in_trouble_are_told_and_turn_nothing_back(stage: Stage) -> None:
    await stage.canary()
    metrics = stage.world.metrics
    stage.judges.ruling = not_worse(2_500)
    metrics.fault = OSError(5, "Input/output error")
    await stage.clock.advance(600)
    assert stage.world.weight("v2") == 100
    assert "requests are not measured: " in await stage.problems()
    metrics.fault = None
    await stage.until_weight("v2", 2_500, within_s=5)
    assert "requests are not measured" not in await stage.problems()


async def test_a_disk_in_trouble_holds_up_no_verdict_and_is_told(stage: Stage) -> None:
    await stage.canary()
    stage.world.recorder.fault = OSError(28, "No space left on device")
    await stage.clock.advance(5)
    assert "what the judge sees is not recorded: " in await stage.problems()
    stage.judges.ruling = not_worse(2_500)
    await stage.until_weight("v2", 2_500, within_s=60)


async def test_a_recording_that_cannot_be_read_leaves_nobody_unjudged(world: World) -> None:
    world.clock.run_threads_inline()
    world.recorder.hangs = True
    async with world.controlled() as controller:
        stage = Stage(world, controller)
        await stage.deploy("v1")
        await stage.idle()
        await stage.deploy("v2")
        await stage.until_weight("v2", 100)
        await stage.clock.advance(READ_S + 5)
        assert f"what the judge sees is not recorded: no answer within {READ_S:g} s" in await stage.problems()
        stage.judges.ruling = WORSE
        await stage.idle()
        assert (await stage.rollout())["cause"] == WORSE.sentence
        assert await stage.problems() == ""


async def test_a_second_that_makes_no_sense_is_a_gap_and_is_told(stage: Stage) -> None:
    await stage.canary()
    senseless = int(stage.clock.now().timestamp()) + 5
    stage.judges.senseless.add(senseless)
    told = ""
    for _ in range(40):
        await stage.clock.advance(0.25)
        told += await stage.problems()
    assert "what was measured makes no sense to the judge: " in told
    (gap,) = [one for one in stage.world.recorder.recorded("shop-r2") if one.second.at == senseless]
    assert gap.second.gap == f"second {senseless}: more failures than requests"
    assert gap in stage.world.judge.taken  # as the next controller will show it
    assert stage.world.judge.taken[-1].second.at > senseless
    assert await stage.problems() == ""


async def test_a_figure_that_nobody_tells_is_a_problem_and_logged_once_until_it_is_told(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    row = RowReport(name="ratios.orders", title="", acts=Call.ROLLBACK, untold="nothing was told of it by v2")
    stage.judges.rows = (row,)
    await stage.canary()
    assert await stage.problems() == ""
    await stage.clock.advance(UNTOLD_AFTER_S + 10)
    assert await stage.problems() == "ratios.orders: nothing was told of it by v2"
    await stage.clock.advance(60)
    assert caplog.text.count("ratios.orders: nothing was told of it by v2") == 1
    stage.judges.rows = (replace(row, untold=""),)
    await stage.clock.advance(5)
    assert await stage.problems() == ""


async def test_a_judge_that_breaks_shows_nothing_and_a_person_may_go_on(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.canary()
    stage.judges.ruling = not_worse(2_500)
    stage.judges.fault = ZeroDivisionError("division by zero")
    await stage.clock.advance(600)
    assert stage.world.weight("v2") == 100
    assert "nobody compares any more: ZeroDivisionError: division by zero" in await stage.problems()
    assert "the judge of shop-r2 has failed" in caplog.text
    assert stage.rulings()[-1] == ("hold", "no_data")
    await stage.act("promote")
    await stage.until_weight("v2", 2_500, within_s=5)


async def test_where_nobody_measures_a_step_waits_for_a_person(world: World) -> None:
    world.clock.run_threads_inline()
    world.is_measured = False
    async with world.controlled() as controller:
        stage = Stage(world, controller)
        await stage.deploy("v1")
        await stage.idle()
        await stage.deploy("v2")
        await stage.until_weight("v2", 100)
        await stage.clock.advance(600)
        until = (await stage.rollout())["stages"][0]["until"]
        assert ("judged fit for 25 %", False, "requests are not measured here") in [
            (one["name"], one["met"], one["detail"]) for one in until
        ]
        await stage.act("promote")
        await stage.until_weight("v2", 2_500, within_s=5)
        assert stage.judges.made == []
