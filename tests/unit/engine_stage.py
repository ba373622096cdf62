"""A controller in its world, on fakes and virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from hitless.engine.controller import Controller
from hitless.engine.keeper import LEASE_S, Keeper
from hitless.engine.outside import Outside
from hitless.rollout.spec import (
    LOCAL,
    Address,
    AnalysisSpec,
    CanarySpec,
    CanaryStep,
    DrainSpec,
    RunSpec,
    ServiceSpec,
    SloSpec,
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


class BareWorld:
    """What outlives a controller.

    Attributes:
        is_measured: whether anybody tells what users met.
    """

    def __init__(self, spec: ServiceSpec, *, timeout_s: float = 5.0) -> None:
        self.clock = VirtualClock()
        self.fleet = FakeFleet(self.clock)
        self.router = FakeRouter(self.clock, self.fleet, timeout_s=timeout_s)
        self.store = MemoryStore()
        self.metrics = FakeMetrics(self.clock)
        self.is_measured = True
        self.spec = spec
        self.controllers = 0

    def outside(self) -> Outside:
        return Outside(
            fleet=self.fleet,
            router=self.router,
            checker=FakeChecker(self.clock),
            preflighter=FakePreflighter(self.clock),
            clock=self.clock,
            metrics=self.metrics if self.is_measured else None,
        )

    @asynccontextmanager
    async def controlled(self) -> AsyncIterator[Controller]:
        """Have a controller run; a new one each time."""
        self.controllers += 1
        owner = f"controller {self.controllers}"
        lease = self.store.acquire_lease(owner=owner, now=self.clock.now(), ttl_s=LEASE_S)
        keeper = Keeper(store=self.store, clock=self.clock, lease=lease)
        controller = Controller(settings=lambda: {"shop": self.spec}, keeper=keeper, outside=self.outside())
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


class World(BareWorld):
    """A world whose rollouts are judged by whom a test tells what to say, and recorded in memory."""

    def __init__(self) -> None:
        super().__init__(SHOP, timeout_s=SLOW_S)
        self.recorder, self.judges = FakeRecorder(), FakeJudges()
        self.bench: ThreadPoolExecutor | None = None

    def outside(self) -> Outside:
        return replace(
            super().outside(),
            recorder=self.recorder,
            bench=self.bench,
            judge=self.judges.judge,
            background=self.judges.background,
        )

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
