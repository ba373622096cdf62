"""What the tests of the process fleet share."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import psutil

from hitless.adapters.clock import SystemClock
from hitless.adapters.processes.fleet import ProcessFleet
from hitless.adapters.processes.identity import MARK, ProcessTree
from hitless.adapters.processes.records import InstanceRecord, InstanceRecords
from hitless.rollout.spec import (
    LOCAL,
    Address,
    HealthSpec,
    InstanceId,
    PreflightSpec,
    RunSpec,
    ServiceSpec,
    TrafficSpec,
    Version,
)
from hitless.rollout.world import Instance, Phase

APPS = Path(__file__).parent / "apps"
WEB_1 = InstanceId("web-1")
V1 = Version("v1")
DEADLINE_S = 30.0

EXAMINED = ServiceSpec(
    name="web",
    instances=1,
    run=RunSpec(command=(sys.executable, "-S", str(APPS / "examined_app.py"))),
    traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=1), keep_alive_s=1),
    health=HealthSpec(ready="/health/ready", start_deadline_s=20),
    preflight=PreflightSpec(paths=("/",)),
)
"""A service to examine: honest, until words are added to its command."""

HEALTH = HealthSpec(ready="/ready", interval_s=0.1, timeout_s=2.0, unhealthy_after=3, start_deadline_s=DEADLINE_S)


def web_spec(*words: str, health: HealthSpec = HEALTH, name: str = "web") -> ServiceSpec:
    """A service that runs the small application with `words`."""
    return spec_of(sys.executable, "-S", str(APPS / "fleet_app.py"), *words, health=health, name=name)


def spec_of(*command: str, health: HealthSpec = HEALTH, name: str = "web", directory: str = ".") -> ServiceSpec:
    return ServiceSpec(
        name=name,
        instances=1,
        run=RunSpec(command=command, directory=directory),
        traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=1)),
        health=health,
    )


def with_environment(spec: ServiceSpec, **environment: str) -> ServiceSpec:
    return replace(spec, run=replace(spec.run, environment=environment))


@asynccontextmanager
async def fleet_at(home: Path, on_change: Callable[[str], None] = lambda _service: None) -> AsyncIterator[ProcessFleet]:
    """A fleet with its state in `home`; ends all its instances at the end."""
    fleet = ProcessFleet(home / ".hitless", project=home, clock=SystemClock(), on_change=on_change)
    await fleet.start_watching()
    try:
        yield fleet
    finally:
        await fleet.end_all(0)
        await fleet.close()


@asynccontextmanager
async def passing_fleet_at(home: Path) -> AsyncIterator[ProcessFleet]:
    """A fleet that lets go of its instances at the end, as a controller does that is restarted."""
    fleet = ProcessFleet(home / ".hitless", project=home, clock=SystemClock(), on_change=lambda _service: None)
    await fleet.start_watching()
    try:
        yield fleet
    finally:
        await fleet.close()


async def start(fleet: ProcessFleet, spec: ServiceSpec, instance: str = WEB_1) -> None:
    await fleet.start(spec=spec, instance=InstanceId(instance), version=V1, region=LOCAL)


async def find(fleet: ProcessFleet, instance: str = WEB_1, service: str = "web") -> Instance | None:
    return next((one for one in await fleet.observe(service) if one.id == instance), None)


async def settled(fleet: ProcessFleet, instance: str, *phases: Phase, service: str = "web") -> Instance:
    """Wait until the instance is in one of `phases`."""
    deadline_s = time.monotonic() + DEADLINE_S
    while True:
        found = await find(fleet, instance, service)
        if found is not None and found.phase in phases:
            return found
        assert time.monotonic() < deadline_s, f"{instance} is {found}, not in {phases}"
        await asyncio.sleep(0.005)


async def fetch(instance: Instance, path: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"http://{instance.address}{path}") as response:
        return await response.text()


async def gone(fleet: ProcessFleet, instance: str = WEB_1) -> None:
    """Wait until the instance is not listed any more."""
    await until(lambda: instance not in fleet._supervisors)


async def until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "the condition never came true"
        await asyncio.sleep(0.005)


def record_of(home: Path, instance: str = WEB_1) -> InstanceRecord:
    records, faults = InstanceRecords(home / ".hitless").load()
    assert not faults
    return next(record for record in records if record.id == instance)


def processes_of(record: InstanceRecord) -> list[int]:
    """Pids of everything that carries the instance's mark."""
    return [one.pid for one in ProcessTree(main=None, mark=record.incarnation).running()]


def processes_in(home: Path) -> list[psutil.Process]:
    """Processes that any instance with its state in `home` has started, found by their directory."""
    return [process for process in psutil.process_iter() if _is_marked(process) and runs_in(process, home)]


def _is_marked(process: psutil.Process) -> bool:
    try:
        return MARK in process.environ() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def runs_in(process: psutil.Process, home: Path) -> bool:
    try:
        return process.cwd() == str(home)
    except psutil.Error:
        return False


async def main_process(home: Path, instance: str = WEB_1) -> psutil.Process:
    """Find the main process of an instance, as it has claimed it."""
    claim = home / f".hitless/instances/{instance}/process"
    await until(lambda: claim.exists() and claim.read_text().endswith("\n"))
    return psutil.Process(int(claim.read_text().split()[0]))
