"""The fakes behave as the real parts do, fail on demand, and pass time at once; the router's are beside them."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest
from fakes_support import SHOP, V1, V2, A, B

from hitless.errors import EnvironmentFault
from hitless.ports import Checker, Clock, Fleet, Preflighter, Router, Store
from hitless.rollout.spec import LOCAL, Address, CheckSpec, InstanceId, Region
from hitless.rollout.world import Phase
from hitless.testing import (
    Behaviour,
    FakeChecker,
    FakeFleet,
    FakePreflighter,
    FakeRouter,
    MemoryStore,
    VirtualClock,
    settle,
)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def fleet(clock: VirtualClock) -> FakeFleet:
    return FakeFleet(clock)


def test_the_fakes_fit_the_ports() -> None:
    clock = VirtualClock()
    fleet = FakeFleet(clock)
    ports: tuple[Clock, Fleet, Router, Checker, Preflighter, Store] = (
        clock,
        fleet,
        FakeRouter(clock, fleet),
        FakeChecker(clock),
        FakePreflighter(clock),
        MemoryStore(),
    )
    assert len(ports) == 6


# The clock


async def test_a_day_of_waiting_passes_at_once(clock: VirtualClock) -> None:
    start, began = clock.now(), time.monotonic()
    hold = asyncio.create_task(clock.sleep(86_400))
    await clock.advance(86_399)
    assert not hold.done()
    await clock.advance(1)
    assert hold.done()
    assert clock.now() == start + timedelta(days=1)
    assert time.monotonic() - began < 10


async def test_sleepers_wake_in_the_order_of_their_times_each_at_its_own(clock: VirtualClock) -> None:
    start = clock.now()
    woken: list[tuple[str, float]] = []

    async def sleep(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, (clock.now() - start).total_seconds()))

    tasks = [asyncio.create_task(sleep(name, s)) for name, s in (("c", 3), ("a", 1), ("b", 2), ("also a", 1))]
    await clock.advance(10)
    assert woken == [("a", 1), ("also a", 1), ("b", 2), ("c", 3)]
    assert all(task.done() for task in tasks)


async def test_what_a_woken_task_does_next_happens_before_time_moves_on(clock: VirtualClock) -> None:
    start = clock.now()
    ticks: list[float] = []

    async def loop() -> None:
        while True:
            await clock.sleep(0.5)
            await asyncio.sleep(0)
            ticks.append((clock.now() - start).total_seconds())

    task = asyncio.create_task(loop())
    await clock.advance(2)
    task.cancel()
    assert ticks == [0.5, 1.0, 1.5, 2.0]


async def test_work_in_threads_is_waited_for_when_it_runs_inline(clock: VirtualClock) -> None:
    clock.run_threads_inline()
    seen: list[float] = []

    async def loop() -> None:
        while True:
            await clock.sleep(1)
            seen.append(await asyncio.to_thread(lambda: clock.now().timestamp()))

    start = clock.now().timestamp()
    task = asyncio.create_task(loop())
    await clock.advance(3)
    task.cancel()
    assert seen == [start + 1, start + 2, start + 3]
    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(lambda: 1 / 0)


async def test_a_cancelled_sleeper_is_forgotten(clock: VirtualClock) -> None:
    task = asyncio.create_task(clock.sleep(1))
    await settle()
    task.cancel()
    await clock.advance(2)
    assert task.cancelled()


async def test_time_runs_until_a_condition_holds_and_no_further(clock: VirtualClock) -> None:
    start = clock.now()
    task = asyncio.create_task(clock.sleep(7))
    await clock.run_until(task.done, within_s=100)
    assert clock.now() == start + timedelta(seconds=7)


async def test_a_condition_that_never_holds_is_an_error_and_not_a_hang(clock: VirtualClock) -> None:
    with pytest.raises(TimeoutError, match="not within 5 virtual seconds"):
        await clock.run_until(lambda: False, within_s=5)
    task = asyncio.create_task(clock.sleep(7))
    with pytest.raises(TimeoutError):
        await clock.run_until(task.done, within_s=5)
    task.cancel()


async def test_a_task_that_never_waits_is_an_error_and_not_a_hang(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hitless.testing.clock._MAX_TURNS", 100)

    async def spin() -> None:
        while True:
            await clock.sleep(0)

    task = asyncio.create_task(spin())
    with pytest.raises(RuntimeError, match="without waiting"):
        await clock.advance(1)
    task.cancel()


# The store (its contract is tested beside the real one's)


def test_a_store_fails_on_demand_and_writes_nothing_then() -> None:
    clock, store = VirtualClock(), MemoryStore()
    lease = store.acquire_lease(owner="one", now=clock.now(), ttl_s=10)
    store.fail(EnvironmentFault("no space left"), times=2)
    for _ in range(2):
        with pytest.raises(EnvironmentFault):
            store.commit(lease=lease, runs=[], entries=[], now=clock.now())
    assert store.commit(lease=lease, runs=[], entries=[], now=clock.now()) == ()


# The fleet


async def phases(clock: VirtualClock, behaviour: Behaviour, *moments: float) -> list[Phase]:
    fleet = FakeFleet(clock, usual=behaviour)
    await fleet.start(spec=SHOP, instance=A, version=V1, region=LOCAL)
    found, passed = [], 0.0
    for moment in moments:
        await clock.advance(moment - passed)
        passed = moment
        found.append((await fleet.observe("shop"))[0].phase)
    return found


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (Behaviour(), {0: Phase.STARTING, 1: Phase.READY, 3_600: Phase.READY}),
        (Behaviour(ready_after_s=0), {0: Phase.READY}),
        (Behaviour(ready_after_s=None), {59.9: Phase.STARTING, 60: Phase.FAILED}),
        (Behaviour(ready_after_s=61), {60: Phase.FAILED, 61: Phase.FAILED}),
        (Behaviour(exits_after_s=5), {4.9: Phase.READY, 5: Phase.FAILED, 60: Phase.FAILED}),
        (Behaviour(ready_after_s=9, exits_after_s=5), {4: Phase.STARTING, 5: Phase.FAILED, 9: Phase.FAILED}),
        (Behaviour(unready_at_s=5, ready_again_at_s=8), {1: Phase.READY, 5: Phase.UNREADY, 8: Phase.READY}),
        (Behaviour(start_problem="no such file: shop"), {0: Phase.FAILED, 5: Phase.FAILED}),
    ],
)
async def test_instances_do_as_their_version_is_told(
    clock: VirtualClock, behaviour: Behaviour, expected: dict[float, Phase]
) -> None:
    assert await phases(clock, behaviour, *expected) == list(expected.values())


async def test_a_failed_instance_says_since_when_and_why(clock: VirtualClock, fleet: FakeFleet) -> None:
    fleet.behave("v2", Behaviour(ready_after_s=None))
    await fleet.start(spec=SHOP, instance=B, version=V2, region=LOCAL)
    await clock.advance(100)
    (seen,) = await fleet.observe("shop")
    assert (seen.phase, seen.cause) == (Phase.FAILED, "not ready within 60 s")
    assert seen.since == seen.started_at + timedelta(seconds=60)


async def test_an_instance_that_is_known_is_not_started_again(clock: VirtualClock, fleet: FakeFleet) -> None:
    await fleet.start(spec=SHOP, instance=A, version=V1, region=LOCAL)
    before = await fleet.observe("shop")
    await clock.advance(0.5)
    await fleet.start(spec=SHOP, instance=A, version=V2, region=LOCAL)
    assert await fleet.observe("shop") == before
    assert len(fleet.history) == 1


async def test_instances_have_their_own_addresses_and_services(clock: VirtualClock, fleet: FakeFleet) -> None:
    await fleet.start(spec=SHOP, instance=A, version=V1, region=LOCAL)
    await fleet.start(spec=SHOP, instance=B, version=V1, region=Region("other"))
    await clock.advance(1)
    first, second = await fleet.observe("shop")
    assert first.address != second.address
    assert second.region == "other"
    assert await fleet.observe("another") == ()


async def test_a_stopped_instance_is_listed_as_stopping_and_then_forgotten(
    clock: VirtualClock, fleet: FakeFleet
) -> None:
    fleet.behave("v1", Behaviour(ends_after_s=20))
    await fleet.start(spec=SHOP, instance=A, version=V1, region=LOCAL)
    await clock.advance(5)
    await fleet.stop(A, grace_s=10)
    await clock.advance(9.9)
    await fleet.stop(A, grace_s=10)  # told twice, it ends no later
    assert [one.phase for one in await fleet.observe("shop")] == [Phase.STOPPING]
    await clock.advance(0.1)
    assert await fleet.observe("shop") == ()
    assert [event.action for event in fleet.history] == ["start", "stop"]


async def test_stopping_an_instance_that_nobody_knows_does_nothing(fleet: FakeFleet) -> None:
    await fleet.stop(InstanceId("ghost"), grace_s=1)
    assert fleet.history == []


async def test_an_instance_can_be_killed_or_made_to_say_no(clock: VirtualClock, fleet: FakeFleet) -> None:
    await fleet.start(spec=SHOP, instance=A, version=V1, region=LOCAL)
    await clock.advance(1)
    found = []
    for change in (fleet.make_unready, fleet.make_ready, fleet.kill, fleet.make_ready):
        change("a")
        await clock.advance(1)
        seen = fleet.instance("a")
        assert seen is not None
        found.append(seen.phase)
    assert found == [Phase.UNREADY, Phase.READY, Phase.FAILED, Phase.FAILED]


# The checker


async def test_checks_pass_until_told_otherwise_and_again_after_their_time(clock: VirtualClock) -> None:
    checker = FakeChecker(clock)
    checks = (CheckSpec(path="/"), CheckSpec(path="/cart"))
    targets = (Address(host="127.0.0.1", port=20_001),)

    async def problems() -> list[str | None]:
        return [result.problem for result in await checker.run(checks=checks, targets=targets)]

    assert await problems() == [None, None]
    checker.fail("/cart", "answered 500", for_s=10)
    assert await problems() == [None, "answered 500"]
    await clock.advance(10)
    assert await problems() == [None, None]
    checker.fail("/", "answered 404")
    await clock.advance(1_000)
    assert await problems() == ["answered 404", None]
    checker.recover("/")
    assert await problems() == [None, None]
    assert len(checker.asked) == 5
    assert checker.asked[0].targets == targets


async def test_without_anything_to_ask_no_check_passes(clock: VirtualClock) -> None:
    (result,) = await FakeChecker(clock).run(checks=[CheckSpec(path="/")], targets=[])
    assert result.problem == "no instance to ask"


async def test_checks_take_their_time(clock: VirtualClock) -> None:
    task = asyncio.create_task(FakeChecker(clock, takes_s=3).run(checks=[], targets=[]))
    await clock.advance(2.9)
    assert not task.done()
    await clock.advance(0.1)
    assert task.done()
