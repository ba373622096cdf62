"""The fakes behave as the real parts do, fail on demand, and catch a careless controller."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta

import pytest

from hitless.errors import EnvironmentFault, Fenced, Refused
from hitless.ports import Checker, Clock, Fleet, Preflighter, Router, Store
from hitless.rollout.spec import (
    LOCAL,
    Address,
    CheckSpec,
    DrainSpec,
    HealthSpec,
    InstanceId,
    Region,
    RunSpec,
    ServiceSpec,
    TrafficSpec,
    Version,
)
from hitless.rollout.world import Endpoint, EndpointState, OpenRequests, Phase, RoutingView, Table
from hitless.testing import (
    Behaviour,
    FakeChecker,
    FakeFleet,
    FakePreflighter,
    FakeRouter,
    MemoryStore,
    Rule,
    VirtualClock,
    settle,
)

V1, V2 = Version("v1"), Version("v2")
A, B = InstanceId("a"), InstanceId("b")
ACTIVE, DRAINING = EndpointState.ACTIVE, EndpointState.DRAINING
SHOP = ServiceSpec(
    name="shop",
    instances=1,
    run=RunSpec(command=("shop",)),
    traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=8080)),
    health=HealthSpec(start_deadline_s=60),
    drain=DrainSpec(requests_s=30, streams_s=600),
)


def table(weights: Mapping[Version, int], **states: EndpointState) -> Table:
    """Build a table: instance a is of v1, b of v2."""
    of = {"a": V1, "b": V2}
    endpoints: dict[Version, dict[InstanceId, Endpoint]] = {}
    for name, state in states.items():
        end = Endpoint(address=Address(host="127.0.0.1", port=1), state=state)
        endpoints.setdefault(of[name], {})[InstanceId(name)] = end
    return Table(weights=weights, endpoints=endpoints)


ONLY_A = table({V1: 10_000}, a=ACTIVE)
BOTH = table({V2: 100, V1: 9_900}, a=ACTIVE, b=ACTIVE)
A_DRAINS = table({V2: 10_000}, a=DRAINING, b=ACTIVE)
ONLY_B = table({V2: 10_000}, b=ACTIVE)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def fleet(clock: VirtualClock) -> FakeFleet:
    return FakeFleet(clock)


@pytest.fixture
async def router(clock: VirtualClock, fleet: FakeFleet) -> FakeRouter:
    """Instances a (v1) and b (v2) are ready, nothing is routed."""
    built = FakeRouter(clock, fleet)
    await built.define(SHOP)
    await fleet.start(spec=SHOP, instance=A, version=V1, region=LOCAL)
    await fleet.start(spec=SHOP, instance=B, version=V2, region=LOCAL)
    await clock.advance(1)
    return built


class Steps:
    """Applies tables with rising revisions."""

    def __init__(self, router: FakeRouter) -> None:
        self.router = router
        self.revision = 0

    async def __call__(self, wanted: Table, *, fence: int = 1) -> None:
        self.revision += 1
        await self.router.apply("shop", region=LOCAL, table=wanted, specs={}, fence=fence, revision=self.revision)

    async def view(self) -> RoutingView:
        return (await self.router.observe("shop"))[LOCAL]

    async def open_requests(self, name: InstanceId) -> OpenRequests:
        return (await self.view()).open_requests[name]

    @property
    def broken(self) -> list[Rule]:
        return [violation.rule for violation in self.router.violations]


@pytest.fixture
def steps(router: FakeRouter) -> Steps:
    return Steps(router)


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


# The router


async def test_the_proper_order_breaks_no_rule(clock: VirtualClock, fleet: FakeFleet, steps: Steps) -> None:
    for wanted in (ONLY_A, BOTH, A_DRAINS):
        await steps(wanted)
        await clock.advance(1)
    await steps(ONLY_B)
    await fleet.stop(A, grace_s=10)
    assert steps.broken == []
    assert steps.router.acknowledged("shop") == ONLY_B
    assert [applied.table for applied in steps.router.history] == [ONLY_A, BOTH, A_DRAINS, ONLY_B]


async def test_a_defined_service_has_no_routing_until_a_table_is_acknowledged(steps: Steps) -> None:
    assert await steps.view() == RoutingView()
    await steps.router.define(SHOP)
    await steps(ONLY_A)
    await steps.router.define(SHOP)
    assert (await steps.view()).acknowledged == ONLY_A


async def test_an_acknowledgement_may_come_late_and_the_table_is_pending_until_then(
    clock: VirtualClock, steps: Steps
) -> None:
    await steps(ONLY_A)
    steps.router.faults.acknowledge_after_s = 20
    task = asyncio.create_task(steps(BOTH))
    await clock.advance(4)
    assert not task.done()
    await clock.advance(2)  # `apply` has given up waiting
    assert task.done()
    view = await steps.view()
    assert (view.acknowledged, view.pending) == (ONLY_A, BOTH)
    await clock.advance(15)
    view = await steps.view()
    assert (view.acknowledged, view.pending) == (BOTH, None)


async def test_a_rejected_table_leaves_the_last_good_one_in_force(steps: Steps) -> None:
    await steps(ONLY_A)
    steps.router.faults.rejects = "unknown cluster"
    await steps(BOTH)
    assert await steps.view() == RoutingView(
        acknowledged=ONLY_A, open_requests={A: OpenRequests(count=1)}, problem="unknown cluster"
    )
    steps.router.faults.rejects = None
    await steps(BOTH)
    view = await steps.view()
    assert (view.acknowledged, view.problem) == (BOTH, None)


async def test_what_an_unreachable_proxy_does_is_unknown_until_it_answers_again(steps: Steps) -> None:
    await steps(ONLY_A)
    steps.router.faults.unreachable = "connection refused"
    await steps(BOTH)
    view = await steps.view()
    assert (view.acknowledged, view.pending, view.problem) == (ONLY_A, BOTH, "connection refused")
    assert [one.count for one in view.open_requests.values()] == [None, None]
    steps.router.faults.unreachable = None
    view = await steps.view()
    assert (view.acknowledged, view.pending, view.problem) == (BOTH, None, None)


async def test_requests_end_after_draining_and_quiet_takes_a_little_longer(clock: VirtualClock, steps: Steps) -> None:
    await steps(BOTH)
    assert await steps.open_requests(A) == OpenRequests(count=1)
    await steps(A_DRAINS)
    since = clock.now()
    assert await steps.open_requests(A) == OpenRequests(count=1, draining_since=since)
    await clock.advance(0.1)
    assert await steps.open_requests(A) == OpenRequests(count=0, draining_since=since)
    await clock.advance(0.1)
    assert await steps.open_requests(A) == OpenRequests(count=0, is_quiet=True, draining_since=since)


async def test_held_streams_stay_open_for_their_time(clock: VirtualClock, steps: Steps) -> None:
    await steps(BOTH)
    steps.router.hold("a", for_s=3_600, count=3)
    await steps(A_DRAINS)
    await clock.advance(3_599)
    assert (await steps.open_requests(A)).count == 3
    await clock.advance(1)
    assert not (await steps.open_requests(A)).is_quiet
    await clock.advance(1)
    assert (await steps.open_requests(A)).is_quiet


async def test_an_endpoint_that_is_taken_back_into_rotation_drains_no_more(clock: VirtualClock, steps: Steps) -> None:
    for wanted in (BOTH, A_DRAINS, BOTH):
        await steps(wanted)
        await clock.advance(1)
    assert await steps.open_requests(A) == OpenRequests(count=1)


async def test_a_dead_instance_has_nothing_open(fleet: FakeFleet, steps: Steps) -> None:
    await steps(BOTH)
    fleet.kill("a")
    assert (await steps.open_requests(A)).count == 0


async def test_an_older_controller_is_fenced_off(steps: Steps) -> None:
    await steps(ONLY_A, fence=2)
    with pytest.raises(Fenced):
        await steps(BOTH, fence=1)
    assert steps.router.acknowledged("shop") == ONLY_A


@pytest.mark.parametrize(
    "wanted", [table({V1: 10_000}, b=ACTIVE), table({V1: 10_000}, a=DRAINING), table({V1: 9_999}, a=ACTIVE)]
)
async def test_weight_without_an_active_endpoint_is_refused_and_noted(steps: Steps, wanted: Table) -> None:
    with pytest.raises(Refused, match="would fail requests"):
        await steps(wanted)
    assert steps.broken == [Rule.WEIGHT_WITHOUT_ENDPOINT]
    assert steps.router.acknowledged("shop") is None


async def test_a_service_that_is_not_defined_is_refused(steps: Steps) -> None:
    await steps.router.remove("shop")
    with pytest.raises(Refused, match="not defined"):
        await steps(ONLY_A)
    assert await steps.router.observe("shop") == {}


async def test_traffic_to_an_instance_that_is_not_ready_is_noted(fleet: FakeFleet, steps: Steps) -> None:
    fleet.make_unready("b")
    await steps(BOTH)
    assert steps.broken == [Rule.UNREADY_GETS_TRAFFIC]
    assert steps.router.violations[0].detail == "b is unready"


async def test_traffic_to_an_instance_that_does_not_exist_is_noted(steps: Steps) -> None:
    ghost = Endpoint(address=Address(host="127.0.0.1", port=1), state=ACTIVE)
    await steps(Table(weights={V1: 10_000}, endpoints={V1: {InstanceId("ghost"): ghost}}))
    assert steps.broken == [Rule.UNREADY_GETS_TRAFFIC]


async def test_an_instance_that_turns_unready_may_stay_for_a_moment_but_not_for_long(
    clock: VirtualClock, fleet: FakeFleet, steps: Steps
) -> None:
    c = InstanceId("c")
    await fleet.start(spec=SHOP, instance=c, version=V1, region=LOCAL)
    await clock.advance(1)
    ends = {**ONLY_A.endpoints[V1], c: ONLY_A.endpoints[V1][A]}
    two = Table(weights={V1: 10_000}, endpoints={V1: ends})
    await steps(two)
    fleet.make_unready("c")
    await clock.advance(5)
    await steps(two)
    assert steps.broken == []
    await clock.advance(6)
    await steps(two)
    assert steps.broken == [Rule.UNREADY_GETS_TRAFFIC]


async def test_the_last_active_endpoint_may_stay_whatever_it_says(
    clock: VirtualClock, fleet: FakeFleet, steps: Steps
) -> None:
    await steps(ONLY_A)
    fleet.make_unready("a")
    await clock.advance(60)
    await steps(ONLY_A)
    assert steps.broken == []


async def test_removing_an_endpoint_that_still_gets_requests_is_noted(steps: Steps) -> None:
    await steps(BOTH)
    await steps(ONLY_B)
    assert steps.broken == [Rule.REMOVED_WHILE_ACTIVE]


async def test_removing_a_dead_endpoint_at_once_is_fine(fleet: FakeFleet, steps: Steps) -> None:
    await steps(BOTH)
    fleet.kill("a")
    await steps(ONLY_B)
    assert steps.broken == []


async def test_a_removal_counts_against_a_table_that_was_written_and_may_be_in_force(
    clock: VirtualClock, steps: Steps
) -> None:
    await steps(BOTH)
    steps.router.faults.acknowledge_after_s = 60
    for wanted in (A_DRAINS, ONLY_B):
        task = asyncio.create_task(steps(wanted))
        await clock.run_until(task.done, within_s=10)
    assert steps.broken == [Rule.REMOVED_WHILE_ACTIVE]


async def test_cutting_streams_is_noted_until_the_drain_deadline_has_passed(clock: VirtualClock, steps: Steps) -> None:
    await steps(BOTH)
    steps.router.hold("a", for_s=7_200)
    await steps(A_DRAINS)
    await clock.advance(599)
    await steps(ONLY_B)
    assert steps.broken == [Rule.REQUESTS_CUT]


async def test_cutting_streams_after_the_drain_deadline_is_fine(
    clock: VirtualClock, fleet: FakeFleet, steps: Steps
) -> None:
    await steps(BOTH)
    steps.router.hold("a", for_s=7_200)
    await steps(A_DRAINS)
    await clock.advance(600)
    await steps(ONLY_B)
    await fleet.stop(A, grace_s=10)
    assert steps.broken == []


async def test_a_declared_deadline_takes_the_place_of_the_specs(clock: VirtualClock, steps: Steps) -> None:
    steps.router.declare_deadline("shop", 5)
    await steps(BOTH)
    steps.router.hold("a", for_s=7_200)
    await steps(A_DRAINS)
    await clock.advance(5)
    await steps(ONLY_B)
    assert steps.broken == []


@pytest.mark.parametrize("last", [BOTH, A_DRAINS])
async def test_stopping_an_instance_that_a_live_table_lists_is_noted(
    clock: VirtualClock, fleet: FakeFleet, steps: Steps, last: Table
) -> None:
    for wanted in (BOTH, last):
        await steps(wanted)
    await clock.advance(1)
    await fleet.stop(A, grace_s=10)
    assert Rule.STOPPED_WHILE_LISTED in steps.broken


async def test_stopping_an_instance_whose_removal_is_not_acknowledged_is_noted(
    clock: VirtualClock, fleet: FakeFleet, steps: Steps
) -> None:
    for wanted in (BOTH, A_DRAINS):
        await steps(wanted)
    await clock.advance(1)
    steps.router.faults.unreachable = "connection refused"
    await steps(ONLY_B)
    await fleet.stop(A, grace_s=10)
    assert steps.broken == [Rule.STOPPED_WHILE_LISTED]


async def test_stopping_an_instance_that_only_a_pending_table_lists_is_noted(fleet: FakeFleet, steps: Steps) -> None:
    await steps(ONLY_A)
    steps.router.faults.unreachable = "connection refused"
    await steps(BOTH)
    await fleet.stop(B, grace_s=10)
    assert Rule.STOPPED_WHILE_LISTED in steps.broken


async def test_stopping_an_instance_with_open_requests_is_noted(
    clock: VirtualClock, fleet: FakeFleet, steps: Steps
) -> None:
    for wanted in (BOTH, A_DRAINS):
        await steps(wanted)
    await clock.advance(1)
    await steps(ONLY_B)
    steps.router.hold("a", for_s=60)
    await fleet.stop(A, grace_s=10)
    assert steps.broken == [Rule.REQUESTS_CUT]


async def test_one_revision_for_two_tables_is_noted(steps: Steps) -> None:
    await steps(ONLY_A)
    steps.revision = 0
    await steps(ONLY_A)
    assert steps.broken == []
    steps.revision = 0
    await steps(BOTH)
    assert steps.broken == [Rule.REVISION_REUSED]


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
