"""The fake router behaves as the real one does, fails on demand, and catches a careless controller."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from fakes_support import ACTIVE, DRAINING, SHOP, V1, V2, A, B

from hitless.errors import Fenced, Refused
from hitless.rollout.spec import LOCAL, Address, InstanceId, Version
from hitless.rollout.world import Endpoint, EndpointState, OpenRequests, RoutingView, Table
from hitless.testing import FakeFleet, FakeRouter, Rule, VirtualClock


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
