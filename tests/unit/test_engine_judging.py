"""A service's loop and its judge, on fakes and virtual time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hitless.analysis.ruling import Call, RowReport, Ruling, Why
from hitless.analysis.settings import RatioRule
from hitless.engine.case import READ_S, UNTOLD_AFTER_S
from hitless.engine.controller import Controller
from hitless.engine.judging import is_judged
from hitless.engine.keeper import LEASE_S, Keeper
from hitless.engine.outside import Outside
from hitless.rollout.inputs import Abort, Deploy, Undo
from hitless.rollout.spec import (
    LOCAL,
    Address,
    AnalysisSpec,
    CanarySpec,
    CanaryStep,
    DrainSpec,
    MetricsSpec,
    PoolSpec,
    RatioSpec,
    RunSpec,
    ServiceSpec,
    SloSpec,
    StrategyName,
    StrategySpecs,
    TrafficSpec,
    Version,
)
from hitless.rollout.state import RolloutPhase
from hitless.testing import (
    FakeChecker,
    FakeFleet,
    FakeJudge,
    FakeJudges,
    FakeMetrics,
    FakePreflighter,
    FakeRecorder,
    FakeRouter,
    MemoryStore,
    VirtualClock,
)
from hitless.testing.judging import TOO_FEW, WORSE, not_worse
from hitless.testing.simulation import Simulation

SLOW_S = 60.0
SHOP = ServiceSpec(
    name="shop",
    instances=2,
    run=RunSpec(command=("shop",)),
    traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=8080)),
    drain=DrainSpec(requests_s=5, streams_s=600),
    strategy=StrategySpecs(
        canary=CanarySpec(
            steps=(
                CanaryStep(weight_bp=100, hold_s=20),
                CanaryStep(weight_bp=2_500, hold_s=20),
                CanaryStep(weight_bp=10_000),
            )
        )
    ),
    preflight=None,
    slo=SloSpec(success_rate=0.999),
    analysis=AnalysisSpec(),
)


class World:
    """What outlives a controller."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.fleet = FakeFleet(self.clock)
        self.router = FakeRouter(self.clock, self.fleet, timeout_s=SLOW_S)
        self.store = MemoryStore()
        self.recorder, self.judges = FakeRecorder(), FakeJudges()
        self.metrics: FakeMetrics | None = FakeMetrics(self.clock)
        self.spec = SHOP
        self.bench: ThreadPoolExecutor | None = None
        self.controllers = 0

    @asynccontextmanager
    async def controlled(self) -> AsyncIterator[Controller]:
        """Have a controller run; a new one each time."""
        self.controllers += 1
        owner = f"controller {self.controllers}"
        lease = self.store.acquire_lease(owner=owner, now=self.clock.now(), ttl_s=LEASE_S)
        outside = Outside(
            fleet=self.fleet,
            router=self.router,
            checker=FakeChecker(self.clock),
            preflighter=FakePreflighter(self.clock),
            clock=self.clock,
            metrics=self.metrics,
            recorder=self.recorder,
            bench=self.bench,
            judge=self.judges.judge,
            background=self.judges.background,
        )
        keeper = Keeper(store=self.store, clock=self.clock, lease=lease)
        controller = Controller(settings=lambda: {"shop": self.spec}, keeper=keeper, outside=outside)
        await controller.open()
        stopping = asyncio.Event()
        running = asyncio.create_task(controller.run(until=stopping))
        try:
            yield controller
        finally:
            stopping.set()
            while not running.done():
                await self.clock.advance(1)
            await running
            self.store.release_lease(keeper.lease)

    def weight(self, version: str) -> int:
        table = self.router.acknowledged("shop", LOCAL)
        return table.weight_bp(Version(version)) if table else 0

    @property
    def judge(self) -> FakeJudge:
        return self.judges.made[-1]


class Stage:
    """One controller in its world."""

    def __init__(self, world: World, controller: Controller) -> None:
        self.world, self.controller, self.clock, self.judges = world, controller, world.clock, world.judges

    async def deploy(self, version: str, strategy: str = "canary") -> None:
        await self.controller.deploy(
            service="shop", version=version, strategy=strategy, supersede=False, actor="ann", reason=None
        )

    async def act(self, verb: Any) -> None:
        await self.controller.act(service="shop", verb=verb, actor="ann", reason=None)

    async def rollout(self) -> Any:
        return (await self.controller.service("shop"))["rollout"]

    async def problems(self) -> str:
        return "\n".join((await self.controller.service("shop"))["problems"])

    async def idle(self) -> None:
        loop = self.controller.loops["shop"]
        await self.clock.run_until(lambda: loop.state.phase is RolloutPhase.IDLE, within_s=36_000)

    async def until_weight(self, version: str, weight_bp: int, *, within_s: float = 120) -> None:
        await self.clock.run_until(lambda: self.world.weight(version) == weight_bp, within_s=within_s)

    async def canary(self) -> None:
        """Have v2 at 1 % beside v1, before a judge."""
        await self.deploy("v1")
        await self.idle()
        await self.clock.advance(60)
        await self.deploy("v2")
        await self.until_weight("v2", 100)
        await self.clock.run_until(lambda: bool(self.judges.made and self.world.judge.taken), within_s=10)

    def rulings(self) -> list[tuple[str, str]]:
        entries = [record.entry for record in self.controller.keeper.store.journal()]
        given: list[Any] = [entry.data["ruling"] for entry in entries if entry.type == "ruling.given"]
        return [(one["call"], one["why"]) for one in given]


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


async def test_metrics_that_answer_no_more_hold_a_step_whatever_was_shown_before(stage: Stage) -> None:
    await stage.canary()
    metrics = stage.world.metrics
    assert metrics is not None
    stage.judges.ruling = not_worse(2_500)
    await stage.clock.advance(4)
    assert stage.rulings()[-1] == ("promote", "not_worse")
    metrics.hangs = True
    await stage.clock.advance(600)
    assert stage.world.weight("v2") == 100
    assert stage.rulings()[-1] == ("hold", "no_data")
    view = await stage.rollout()
    assert (view["judgement"]["call"], view["judgement"]["sentence"]) == ("hold", "no second was measured for 10 s")


async def test_metrics_in_trouble_are_told_and_turn_nothing_back(stage: Stage) -> None:
    await stage.canary()
    metrics = stage.world.metrics
    assert metrics is not None
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


async def test_a_judge_is_told_which_ratios_and_pools_there_are(stage: Stage) -> None:
    ratio = RatioSpec(name="orders", good="paid_total", total="orders_total", margin=0.1)
    pool = PoolSpec(name="database", used="in_use", size=20.0)
    stage.world.spec = replace(SHOP, metrics=MetricsSpec(ratios=(ratio,), pools=(pool,)))
    await stage.canary()
    settings = stage.world.judge.settings
    assert (settings.ratios, settings.pools) == ({"orders": RatioRule(margin=0.1)}, ("database",))


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
    world.metrics = None
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


async def test_the_next_controller_judges_on_although_the_new_version_has_all_of_the_traffic(world: World) -> None:
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


async def test_the_view_has_the_evidence_and_its_moment(stage: Stage) -> None:
    await stage.canary()
    view = (await stage.rollout())["judgement"]
    assert (view["call"], view["why"], view["sentence"]) == ("hold", "too_few", "too few requests")
    assert view["detail"].startswith("too few requests, after ")
    shown = stage.clock.now() - timedelta(seconds=3)
    assert view["at"] is not None
    assert view["at"] >= shown.isoformat()
