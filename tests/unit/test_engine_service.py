"""The loop of one service, on fakes and virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from hitless.engine.controller import Controller
from hitless.engine.keeper import LEASE_S, Keeper
from hitless.engine.service import Outside
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
from hitless.testing import FakeChecker, FakeFleet, FakeRouter, MemoryStore, VirtualClock

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
        store = MemoryStore()
        lease = store.acquire_lease(owner="me", now=self.clock.now(), ttl_s=LEASE_S)
        outside = Outside(fleet=self.fleet, router=self.router, checker=FakeChecker(self.clock), clock=self.clock)
        keeper = Keeper(store=store, clock=self.clock, lease=lease)
        self.controller = Controller(settings=lambda: {"shop": SHOP}, keeper=keeper, outside=outside)

    async def deploy(self, version: str) -> None:
        await self.controller.deploy(
            service="shop", version=version, strategy="canary", supersede=False, actor="ann", reason=None
        )

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
