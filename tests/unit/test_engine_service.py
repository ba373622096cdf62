"""The loop of one service, on fakes and virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from hitless.engine.codec import rebuild
from hitless.engine.controller import Controller
from hitless.engine.keeper import LEASE_S, Keeper
from hitless.engine.outside import Outside
from hitless.preflight.seen import Answer, Ending, IdleConnection, Seen
from hitless.rollout.spec import (
    ALL_TRAFFIC_BP,
    LOCAL,
    Address,
    DrainSpec,
    RunSpec,
    ServiceSpec,
    TrafficSpec,
    Version,
)
from hitless.rollout.state import RolloutPhase
from hitless.testing import FakeChecker, FakeFleet, FakePreflighter, FakeRouter, MemoryStore, VirtualClock

SHOP = ServiceSpec(
    name="shop",
    instances=2,
    run=RunSpec(command=("shop",)),
    traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=8080)),
    drain=DrainSpec(requests_s=5, streams_s=600),
)
SLOW_S = 60.0


class Stage:
    """A controller that runs, and what it acts on."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.fleet = FakeFleet(self.clock)
        self.router = FakeRouter(self.clock, self.fleet, timeout_s=SLOW_S)
        self.preflighter = FakePreflighter(self.clock)
        store = MemoryStore()
        lease = store.acquire_lease(owner="me", now=self.clock.now(), ttl_s=LEASE_S)
        outside = Outside(
            fleet=self.fleet,
            router=self.router,
            checker=FakeChecker(self.clock),
            preflighter=self.preflighter,
            clock=self.clock,
        )
        keeper = Keeper(store=store, clock=self.clock, lease=lease)
        self.spec = SHOP
        self.controller = Controller(settings=lambda: {"shop": self.spec}, keeper=keeper, outside=outside)

    async def deploy(self, version: str) -> None:
        await self.controller.deploy(
            service="shop", version=version, strategy="canary", supersede=False, actor="ann", reason=None
        )

    async def rollout(self) -> Any:
        return (await self.controller.service("shop"))["rollout"]

    async def idle(self) -> None:
        loop = self.controller.loops["shop"]
        await self.clock.run_until(lambda: loop.state.phase is RolloutPhase.IDLE, within_s=36_000)

    def weight(self, version: str) -> int:
        table = self.router.acknowledged("shop", LOCAL)
        return table.weight_bp(Version(version)) if table else 0


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    built = Stage()
    built.clock.run_threads_inline()
    await built.controller.open()
    stopping = asyncio.Event()
    running = asyncio.create_task(built.controller.run(until=stopping))
    yield built
    built.router.faults.acknowledge_after_s = 0
    stopping.set()
    while not running.done():
        await built.clock.advance(1)
    await running
    assert built.router.violations == []


async def test_an_abort_is_decided_while_the_proxy_is_slow_to_confirm_and_is_written_at_once(stage: Stage) -> None:
    await stage.deploy("v1")
    await stage.idle()
    await stage.deploy("v2")
    await stage.clock.run_until(lambda: stage.weight("v2") > 0, within_s=60)
    stage.router.faults.acknowledge_after_s = SLOW_S
    await stage.controller.act(service="shop", verb="promote", actor="ann", reason=None)
    await stage.clock.run_until(lambda: stage.router.history[-1].table.weight_bp(Version("v2")) > 100, within_s=10)

    stage.router.faults.acknowledge_after_s = 0
    asked_at = stage.clock.now()
    await stage.controller.act(service="shop", verb="abort", actor="ann", reason=None)
    assert stage.clock.now() == asked_at
    await stage.clock.run_until(lambda: stage.weight("v1") == ALL_TRAFFIC_BP, within_s=1)


async def test_what_serves_stays_alone_until_the_preflight_is_over(stage: Stage) -> None:
    await stage.deploy("v1")
    await stage.idle()
    before = len(stage.fleet.history)
    stage.preflighter.takes_s = 30
    await stage.deploy("v2")
    await stage.clock.advance(29)
    assert len(stage.fleet.history) == before
    await stage.clock.run_until(lambda: stage.weight("v2") > 0, within_s=60)
    assert [one.version for one in stage.preflighter.examined] == ["v1", "v2"]


async def test_a_refusal_leaves_everything_as_it_was(stage: Stage) -> None:
    await stage.deploy("v1")
    await stage.idle()
    before = len(stage.fleet.history)
    ready = Answer(at_s=7, status=200)
    stage.preflighter.show("v2", ending=Ending(waited_s=5, still_ready=ready))
    await stage.deploy("v2")
    await stage.idle()
    view = await stage.rollout()
    assert view["state"] == "refused"
    assert view["cause"] is not None
    assert "it ignores SIGTERM: 5.0 s later" in view["cause"]
    assert [one["rule"] for one in view["preflight"]["findings"]] == ["ignores_sigterm"]
    assert len(stage.fleet.history) == before
    assert stage.weight("v1") == ALL_TRAFFIC_BP


async def test_an_abort_ends_the_preflight_at_once(stage: Stage) -> None:
    await stage.deploy("v1")
    await stage.idle()
    stage.preflighter.takes_s = 3_600
    await stage.deploy("v2")
    await stage.clock.advance(10)
    await stage.controller.act(service="shop", verb="abort", actor="ann", reason=None)
    await stage.clock.advance(1)
    assert stage.preflighter.examined[-1].ended_at is not None


def with_cookie(name: str | None) -> ServiceSpec:
    return replace(SHOP, traffic=replace(SHOP.traffic, sticky_cookie=name))


async def test_settings_come_with_the_version_and_leave_with_it(stage: Stage) -> None:
    stage.spec = with_cookie("old")
    await stage.deploy("v1")
    await stage.idle()

    stage.spec, stage.preflighter.takes_s = with_cookie("new"), 30
    await stage.deploy("v2")
    await stage.clock.advance(29)
    assert stage.router.defined["shop"].traffic.sticky_cookie == "old"
    await stage.clock.run_until(lambda: stage.weight("v2") > 0, within_s=60)
    await stage.clock.advance(1)
    assert stage.router.defined["shop"].traffic.sticky_cookie == "new"
    await stage.controller.act(service="shop", verb="abort", actor="ann", reason=None)
    await stage.idle()
    assert stage.router.defined["shop"].traffic.sticky_cookie == "old"


async def test_settings_of_a_version_that_is_refused_never_meet_a_user(stage: Stage) -> None:
    stage.spec = with_cookie("old")
    await stage.deploy("v1")
    await stage.idle()
    stage.spec = with_cookie("new")
    stage.preflighter.show("v2", ending=Ending(waited_s=5, still_ready=Answer(at_s=7, status=200)))
    await stage.deploy("v2")
    await stage.idle()
    await stage.clock.advance(60)
    assert (await stage.rollout())["state"] == "refused"
    assert stage.router.defined["shop"].traffic.sticky_cookie == "old"


async def test_what_is_being_committed_is_known_although_who_asked_has_gone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.deploy("v1")
    await stage.idle()
    await stage.deploy("v2")
    await stage.clock.run_until(lambda: stage.weight("v2") > 0, within_s=60)
    loop, keeper = stage.controller.loops["shop"], stage.controller.keeper
    commit = Keeper.commit

    async def slowly(self: Keeper, **given: Any) -> Any:
        records = await commit(self, **given)
        await stage.clock.sleep(1)
        return records

    monkeypatch.setattr(Keeper, "commit", slowly)
    asking = asyncio.create_task(stage.controller.act(service="shop", verb="abort", actor="ann", reason=None))
    await stage.clock.advance(0.5)
    asking.cancel()
    await stage.clock.advance(5)
    monkeypatch.undo()
    await stage.idle()
    assert asking.cancelled()
    assert loop.state == rebuild(keeper.store.journal(), service="shop")
    assert stage.weight("v1") == ALL_TRAFFIC_BP


async def test_a_preflight_that_cannot_be_made_is_a_refusal_with_its_cause(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def examine(**_: object) -> Seen:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stage.preflighter, "examine", examine)
    await stage.deploy("v1")
    await stage.idle()
    view = await stage.rollout()
    assert view["state"] == "refused"
    assert view["cause"] is not None
    assert "No space left on device" in view["cause"]


async def test_the_proxy_lets_go_before_the_application_does(stage: Stage) -> None:
    stage.preflighter.show("v1", idle=IdleConnection(closed_after_s=1.25, watched_s=2))
    await stage.deploy("v1")
    await stage.idle()
    assert stage.controller.loops["shop"].state.routing_specs()[Version("v1")].traffic.keep_alive_s == 1.25
    (warning,) = (await stage.rollout())["preflight"]["findings"]
    assert (warning["rule"], warning["severity"]) == ("keep_alive_is_shorter", "warning")


async def test_a_preflight_without_a_rollout_is_journaled_with_who_asked(stage: Stage) -> None:
    stage.preflighter.takes_s = 0
    found = await stage.controller.preflight(service="shop", version="v9", actor="ann", reason="curious")
    assert (found["passed"], found["findings"]) == (True, [])
    (record,) = await stage.controller.journal(0, "service/shop", 10)
    assert (record["type"], record["actor"]) == ("preflight.examined", "ann")
    assert record["data"] == {"version": "v9", "reason": "curious", "findings": []}
