"""The metrics of one machine and those of `hitless.testing` keep the same contract, in virtual time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

import pytest

from hitless.adapters.metrics.local import LATE_S, LocalMetrics
from hitless.analysis.counts import Cell, Fates, Second, Usage
from hitless.ports import Metrics
from hitless.rollout.spec import LOCAL, InstanceId, Version
from hitless.testing import FakeMetrics, VirtualClock

SHOP = "shop"
V1 = Version("v1")
ONE = InstanceId("v1-a")


def busy(at: int) -> Second:
    """One request in every second."""
    fates = Fates(total=1)
    cell = Cell(region=LOCAL, route="GET /", version=V1, requests=fates, durations={100: 1}, instances={ONE: fates})
    return Second(at=at, cells=(cell,))


class Stage(Protocol):
    clock: VirtualClock
    metrics: Metrics

    async def start(self) -> None: ...
    async def close(self) -> None: ...
    def fall_silent(self) -> None: ...
    def recover(self) -> None: ...


class ScriptedTraffic:
    """Seconds that are all alike; while it is silent it hangs, as a disk may."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._upcoming = 0
        self.heard = asyncio.Event()
        self.heard.set()

    async def open(self) -> None:
        self._upcoming = math.ceil(self._clock.now().timestamp())

    async def read(self) -> Mapping[str, tuple[Second, ...]]:
        await self.heard.wait()
        whole_until = int(self._clock.now().timestamp() - 0.5)
        found = tuple(busy(at) for at in range(self._upcoming, whole_until))
        self._upcoming = max(self._upcoming, whole_until)
        return {SHOP: found}

    async def close(self) -> None:
        pass


class SlewedClock(VirtualClock):
    """Goes 1 % slower than those who sleep, as hitless' clock does while the machine's is behind it."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds * 0.99)


class LocalStage:
    def __init__(self, clock: VirtualClock | None = None) -> None:
        self.clock = clock or VirtualClock()
        self.traffic = ScriptedTraffic(self.clock)
        self.metrics = LocalMetrics(self.clock, self.traffic, usage=self.usage)

    async def usage(self) -> Mapping[str, tuple[Usage, ...]]:
        return {SHOP: (Usage(instance=ONE, region=LOCAL, version=V1, age_s=1.0, cpu_s=2.0),)}

    async def start(self) -> None:
        self.clock.run_threads_inline()
        await self.metrics.start()

    async def close(self) -> None:
        await self.metrics.close()

    def fall_silent(self) -> None:
        self.traffic.heard.clear()

    def recover(self) -> None:
        self.traffic.heard.set()


class FakeStage:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.metrics = FakeMetrics(self.clock)

    async def start(self) -> None:
        self.metrics.tell(SHOP, busy)

    async def close(self) -> None:
        pass

    def fall_silent(self) -> None:
        self.metrics.fall_silent("the source is silent")

    def recover(self) -> None:
        self.metrics.recover()


@pytest.fixture(params=[LocalStage, FakeStage])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    built: Stage = request.param()
    await built.start()
    yield built
    await built.close()


def bare(seconds: tuple[Second, ...]) -> tuple[Second, ...]:
    return tuple(replace(one, usage=()) for one in seconds)


async def test_every_whole_second_comes_once_and_without_a_hole(stage: Stage) -> None:
    begin = int(stage.clock.now().timestamp())
    seen: list[Second] = []
    for step_s in (0.3, 0.9, 1.0, 5.5, 0.1, 0.1, 20.0):
        await stage.clock.advance(step_s)
        seen += await stage.metrics.seconds(SHOP, after=seen[-1].at if seen else 0)
    assert [one.at for one in seen] == list(range(begin, seen[-1].at + 1))
    assert bare(tuple(seen)) == tuple(busy(one.at) for one in seen)
    assert stage.clock.now().timestamp() - seen[-1].at <= 3.0


async def test_a_second_is_not_told_before_it_is_over(stage: Stage) -> None:
    begin = int(stage.clock.now().timestamp())
    await stage.clock.advance(10.9)
    assert max(one.at for one in await stage.metrics.seconds(SHOP, after=0)) < begin + 10


async def test_asking_again_gets_the_same(stage: Stage) -> None:
    await stage.clock.advance(30.2)
    first = await stage.metrics.seconds(SHOP, after=0)
    assert await stage.metrics.seconds(SHOP, after=0) == first
    assert await stage.metrics.seconds(SHOP, after=first[9].at) == first[10:]
    assert await stage.metrics.seconds(SHOP, after=first[-1].at) == ()


async def test_forty_minutes_are_kept(stage: Stage) -> None:
    await stage.clock.advance(3_600)
    found = await stage.metrics.seconds(SHOP, after=0)
    assert len(found) >= 40 * 60
    assert bare(found) == tuple(busy(at) for at in range(found[0].at, found[-1].at + 1))


async def test_a_silent_source_gives_gaps_and_what_comes_later_is_not_told_twice(stage: Stage) -> None:
    await stage.clock.advance(10.7)
    seen = list(await stage.metrics.seconds(SHOP, after=0))
    stage.fall_silent()
    await stage.clock.advance(30)
    silent = await stage.metrics.seconds(SHOP, after=seen[-1].at)
    assert len(silent) >= 30 - LATE_S - 1
    assert all(one.gap and not one.cells for one in silent)
    stage.recover()
    await stage.clock.advance(10)
    seen += [*silent, *await stage.metrics.seconds(SHOP, after=silent[-1].at)]
    assert [one.at for one in seen] == list(range(seen[0].at, seen[-1].at + 1))
    assert seen[-1].gap is None


async def test_a_service_that_nobody_has_heard_of_has_no_second_that_looks_like_success() -> None:
    stage = LocalStage()
    await stage.start()
    await stage.clock.advance(5)
    assert await stage.metrics.seconds("unknown", after=0) == ()
    await stage.clock.advance(LATE_S + 5)
    found = await stage.metrics.seconds("unknown", after=0)
    assert found
    assert all(one.gap and "unknown" in one.gap for one in found)
    await stage.close()


async def test_usage_comes_every_five_seconds_with_the_requests_that_were_answered() -> None:
    stage = LocalStage()
    await stage.start()
    await stage.clock.advance(20.9)
    found = [one for second in await stage.metrics.seconds(SHOP, after=0) for one in second.usage]
    assert [one.requests for one in found] == [1, 6, 11, 16]
    assert {one.cpu_s for one in found} == {2.0}
    await stage.close()


async def test_what_belongs_to_a_second_is_told_with_it_while_the_clock_is_slewed_back() -> None:
    stage = LocalStage(SlewedClock())
    await stage.start()
    await stage.clock.advance(60)
    seconds = await stage.metrics.seconds(SHOP, after=0)
    await stage.close()
    assert len(seconds) >= 55
    assert sum(1 for one in seconds if one.usage) >= 11


async def test_a_reader_that_fails_is_told_and_makes_a_gap_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    stage = LocalStage()
    await stage.start()
    await stage.clock.advance(5.9)
    read, stage.traffic.read = stage.traffic.read, broken  # type: ignore[method-assign]
    await stage.clock.advance(3)
    stage.traffic.read = read  # type: ignore[method-assign]
    stage.traffic._upcoming += 2
    await stage.clock.advance(5)
    found = await stage.metrics.seconds(SHOP, after=0)
    assert [one.at for one in found] == list(range(found[0].at, found[-1].at + 1))
    assert [one.gap for one in found if one.gap] == ["nothing could be read of it"] * 2
    assert caplog.text.count("what users met could not be read") == 1
    await stage.close()


async def test_what_cannot_be_read_at_the_start_keeps_nobody_from_starting(caplog: pytest.LogCaptureFixture) -> None:
    stage = LocalStage()
    open_, stage.traffic.open = stage.traffic.open, broken  # type: ignore[assignment, method-assign]
    await stage.start()
    assert caplog.text.count("what users met could not be read") == 1
    await open_()
    await stage.clock.advance(5)
    assert [one.gap for one in await stage.metrics.seconds(SHOP, after=0)] == [None] * 4
    await stage.close()


async def test_requests_are_told_although_nothing_else_can_be_read(caplog: pytest.LogCaptureFixture) -> None:
    stage = LocalStage()
    stage.metrics = LocalMetrics(stage.clock, stage.traffic, usage=broken)
    await stage.start()
    await stage.clock.advance(5.9)
    found = await stage.metrics.seconds(SHOP, after=0)
    assert found == tuple(busy(one.at) for one in found)
    assert found
    assert caplog.text.count("what instances use could not be read") == 1
    await stage.close()


async def broken() -> Mapping[str, tuple[Any, ...]]:
    raise RuntimeError("as nobody expected")
