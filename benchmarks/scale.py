"""How far it goes: services in virtual time, rollouts in one store, and a real machine full of services."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.crowd import ACTOR, INSTANCES, service
from benchmarks.figures import MICROSECONDS, MILLISECONDS
from benchmarks.full_machine import Burden, Rolled, burden_of, full_machine, idle_table, roll, rolled_table
from benchmarks.results import Goal, Result, Table
from benchmarks.stage import ROOT
from hitless.rollout.inputs import Deploy
from hitless.rollout.spec import StrategyName, Version
from hitless.rollout.state import RolloutPhase
from hitless.testing.simulation import Simulation

SIMULATED, QUICK_SIMULATED = (100, 1_000, 10_000), (5, 10)
CROWD, QUICK_CROWD = 200, 6
SERVICES, ROLLOUTS, QUICK_SERVICES, QUICK_ROLLOUTS = 50, 20, 2, 1
IDLE_S, QUICK_IDLE_S = 30.0, 1.0
TICK_S = 0.1


def run(*, quick: bool) -> Result:
    """Measure from the pure core to the full machine."""
    simulated = [_simulate(count) for count in (QUICK_SIMULATED if quick else SIMULATED)]
    crowd = _crowd(QUICK_CROWD if quick else CROWD)
    services, rollouts = (QUICK_SERVICES, QUICK_ROLLOUTS) if quick else (SERVICES, ROLLOUTS)
    with full_machine(services) as (project, client):
        idle = burden_of(client, QUICK_IDLE_S if quick else IDLE_S)
        rolled = roll(project, client, rollouts)
    return Result(
        tables=(_simulated_table(simulated), _crowd_table(crowd), idle_table(services, idle), rolled_table(rolled)),
        goals=(*_goals_of_core(simulated, crowd), *_goals_of_machine(idle, rolled)),
        notes=(
            f"{INSTANCES} instances each; simulated: a third of the services each by rolling, blue-green and canary",
            "crowd: real core, real store, fakes for fleet and proxy; lag: how late a loop wakes",
            "machine: real processes, real Envoy; memory of the controller and of Envoy, not of the instances",
        ),
        broken=(*_broken(simulated, crowd), *(f"{count} requests failed: {cause}" for cause, count in rolled.failed)),
    )


# Virtual time


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """Services that were rolled once in virtual time."""

    services: int
    ticks: int
    took_s: float
    completed: int
    violations: int

    @property
    def tick_us(self) -> float:
        """Mean cost of a service's tick, all of the simulation included."""
        return self.took_s / self.ticks * MICROSECONDS


def _simulate(count: int) -> Simulated:
    crowd = [Simulation(service=f"s{number}") for number in range(count)]
    for one in crowd:
        _deploy(one, "v1", StrategyName.ROLLING)
        one.run_until_idle()
    for number, one in enumerate(crowd):
        _deploy(one, "v2", list(StrategyName)[number % len(StrategyName)])
    ticks, began = 0, time.process_time()
    while moving := [one for one in crowd if one.state.phase is not RolloutPhase.IDLE]:
        for one in moving:
            one.tick(TICK_S)
        ticks += len(moving)
    return Simulated(
        services=count,
        ticks=ticks,
        took_s=time.process_time() - began,
        completed=sum(one.state.stable == "v2" for one in crowd),
        violations=sum(len(one.violations) for one in crowd),
    )


def _deploy(simulation: Simulation, version: str, strategy: StrategyName) -> None:
    spec = service(simulation.service)
    simulation.ask(Deploy(actor=ACTOR, version=Version(version), spec=spec, strategy=strategy))


def _simulated_table(found: list[Simulated]) -> Table:
    rows = tuple((one.services, one.completed, one.ticks, f"{one.took_s:.2f}", f"{one.tick_us:.0f}") for one in found)
    columns = ("services", "completed", "ticks of a service", "seconds", "us a tick")
    return Table(title="All services rolled at once, virtual time", columns=columns, rows=rows)


# One store


def _crowd(count: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.crowd", str(count)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {"rollouts": float(count), **json.loads(done.stdout)}


def _crowd_table(found: dict[str, float]) -> Table:
    p50, p99, longest = (f"{found[f'lag_{one}_s'] * MILLISECONDS:.0f}" for one in ("p50", "p99", "max"))
    row = (
        round(found["rollouts"]),
        round(found["completed"]),
        f"{found['took_s']:.1f}",
        f"{found['cpu_share']:.0%}",
        *(p50, p99, longest),
        f"{found['rss_mib']:.0f}",
        round(found["records"]),
    )
    columns = ("rollouts", "completed", "s", "CPU", "lag p50 ms", "lag p99 ms", "lag max ms", "RSS MiB", "records")
    return Table(title="Rollouts at once, real store", columns=columns, rows=(row,))


# Goals


def _goals_of_core(simulated: list[Simulated], crowd: dict[str, float]) -> list[Goal]:
    growth = simulated[-1].tick_us / simulated[0].tick_us
    return [
        Goal(name="a service's tick in virtual time, worst", measured=max(_ticks_us(simulated)), limit=100, unit=" us"),
        Goal(name="its growth from fewest to most services, times", measured=growth, limit=1.5),
        Goal(name="rollouts at once: tick lag p99", measured=crowd["lag_p99_s"], limit=1.0, unit=" s"),
        Goal(name="rollouts at once: RSS", measured=crowd["rss_mib"], limit=300, unit=" MiB"),
    ]


def _goals_of_machine(idle: Burden, rolled: Rolled) -> list[Goal]:
    return [
        Goal(name="controller at rest, of a core", measured=idle.controller_cpu * 100, limit=2.0, unit=" %"),
        Goal(name="controller at rest, RSS", measured=idle.controller_mib, limit=150, unit=" MiB"),
        Goal(name="Envoy, RSS", measured=max(idle.envoy_mib, rolled.burden.envoy_mib), limit=120, unit=" MiB"),
    ]


def _ticks_us(simulated: list[Simulated]) -> list[float]:
    return [one.tick_us for one in simulated]


def _broken(simulated: list[Simulated], crowd: dict[str, float]) -> Iterator[str]:
    for one in simulated:
        if one.violations or one.completed != one.services:
            yield f"{one.services} simulated services: {one.completed} completed, {one.violations} violations"
    if crowd["completed"] != crowd["rollouts"] or crowd["journal_breaks"]:
        yield f"crowd: {crowd}"
