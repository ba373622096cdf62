"""Many rollouts at once in one controller with the real core and the real store; fleet and proxy are fakes.

`python -m benchmarks.crowd 200` runs them in a process of its own, whose memory is theirs alone, and prints JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psutil

from benchmarks.figures import quantile
from hitless.adapters.clock import SystemClock
from hitless.adapters.store_sql.store import SqlStore, open_store
from hitless.engine.controller import Controller
from hitless.engine.keeper import LEASE_S, Keeper
from hitless.engine.outside import Outside
from hitless.rollout.spec import (
    Address,
    BlueGreenSpec,
    CanarySpec,
    CanaryStep,
    RunSpec,
    ServiceSpec,
    StrategySpecs,
    TrafficSpec,
)
from hitless.testing.checker import FakeChecker
from hitless.testing.fleet import FakeFleet
from hitless.testing.preflight import FakePreflighter
from hitless.testing.router import FakeRouter

STRATEGIES = ("rolling", "blue_green", "canary")
INSTANCES = 4
ACTOR = "user:bench"
_END_WITHIN_S = 180.0
_STEPS = (
    CanaryStep(weight_bp=100, hold_s=2.0),
    CanaryStep(weight_bp=2_500, hold_s=2.0),
    CanaryStep(weight_bp=10_000),
)


@dataclass(slots=True)
class PacedClock:
    """The real clock, which notes how late everyone wakes who sleeps by it: that is how late a tick comes."""

    lags_s: list[float] = field(default_factory=list)
    _clock: SystemClock = field(default_factory=SystemClock)

    def now(self) -> datetime:
        return self._clock.now()

    async def sleep(self, seconds: float) -> None:
        began = time.monotonic()
        await self._clock.sleep(seconds)
        self.lags_s.append(time.monotonic() - began - seconds)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="hitless-bench-") as folder, open_store(Path(folder)) as store:
        found = asyncio.run(_measure(store, int(sys.argv[1])))
    json.dump(found, sys.stdout)


async def _measure(store: SqlStore, count: int) -> dict[str, float]:
    clock = PacedClock()
    controller = _controller(
        store, clock, {spec.name: spec for spec in (service(f"s{number}") for number in range(count))}
    )
    await controller.open()
    stopping = asyncio.Event()
    running = asyncio.create_task(controller.run(until=stopping))
    await _deploy(controller, "v1", ("rolling",))
    clock.lags_s.clear()
    began_s, cpu_s = time.monotonic(), time.process_time()
    await _deploy(controller, "v2", STRATEGIES)
    took_s, used_s = time.monotonic() - began_s, time.process_time() - cpu_s
    outcomes = Counter(str(loop.state.rollout and loop.state.rollout.outcome) for loop in controller.loops.values())
    memory = psutil.Process().memory_info().rss
    broken = store.verify_journal()
    records = store.last_record()
    stopping.set()
    await running
    return {
        "completed": outcomes["completed"],
        "took_s": took_s,
        "cpu_share": used_s / took_s,
        "lag_p50_s": quantile(clock.lags_s, 0.5),
        "lag_p99_s": quantile(clock.lags_s, 0.99),
        "lag_max_s": max(clock.lags_s),
        "rss_mib": memory / (1 << 20),
        "records": records.seq if records else 0,
        "journal_breaks": int(broken is not None),
    }


def _controller(store: SqlStore, clock: PacedClock, specs: dict[str, ServiceSpec]) -> Controller:
    lease = store.acquire_lease(owner="bench", now=clock.now(), ttl_s=LEASE_S)
    fleet = FakeFleet(clock)
    outside = Outside(
        fleet=fleet,
        router=FakeRouter(clock, fleet),
        checker=FakeChecker(clock),
        preflighter=FakePreflighter(clock, takes_s=1.0),
        clock=clock,
    )
    return Controller(settings=lambda: specs, keeper=Keeper(store=store, clock=clock, lease=lease), outside=outside)


async def _deploy(controller: Controller, version: str, strategies: tuple[str, ...]) -> None:
    """Deploy everything at once and wait until every rollout has ended."""
    for number, name in enumerate(controller.specs):
        strategy = strategies[number % len(strategies)]
        await controller.deploy(
            service=name, version=version, strategy=strategy, supersede=False, actor=ACTOR, reason=None
        )
    deadline = time.monotonic() + _END_WITHIN_S
    while any(loop.state.rollout is None or loop.state.rollout.outcome is None for loop in controller.loops.values()):
        if time.monotonic() > deadline:
            raise TimeoutError("not every rollout has ended")
        await asyncio.sleep(0.1)


def service(name: str) -> ServiceSpec:
    """Describe a service with short holds; its address is nobody's."""
    return ServiceSpec(
        name=name,
        instances=INSTANCES,
        run=RunSpec(command=("true",)),
        traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=1)),
        strategy=StrategySpecs(blue_green=BlueGreenSpec(keep_warm_s=2.0), canary=CanarySpec(steps=_STEPS)),
    )


if __name__ == "__main__":
    main()
