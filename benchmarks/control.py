"""What the control plane itself costs: its commands, its idle hours, one turn of its loop, one commit."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.figures import MICROSECONDS, median, quantile, spread_ms
from benchmarks.results import Cell, Goal, Result, Table
from benchmarks.stage import cpu_s
from hitless.adapters.clock import SystemClock
from hitless.adapters.store_sql.store import open_store
from hitless.cli.client import Client
from hitless.cli.place import socket_path
from hitless.engine.codec import dump_state, entry_of, subject_of
from hitless.ports import Run
from hitless.rollout.inputs import Deploy, Observed
from hitless.rollout.machine import observe
from hitless.rollout.spec import Address, RunSpec, ServiceSpec, StrategyName, TrafficSpec, Version
from hitless.rollout.state import RolloutPhase
from hitless.testing.live import LiveProject, free_ports
from hitless.testing.simulation import Simulation

SERVICES, QUICK_SERVICES = (1, 20), (1,)
COMMANDS, QUICK_COMMANDS = 15, 1
IDLE_S, QUICK_IDLE_S = 20.0, 0.5
INSTANCES = (4, 16, 64)
IDLE_TICKS = 50
COMMITS, QUICK_COMMITS = 500, 20
ACTOR = "user:bench"
_HEALTHY_WITHIN_S = 90.0

_SERVICE = """
- service: s{number}
  listen: 127.0.0.1:{port}
  instances: 1
  run: {{command: ["{python}", -m, http.server, "{{port}}", --bind, 127.0.0.1], directory: "{directory}"}}
  health: {{ready: /}}
  preflight: off
"""

Measured = dict[str, list[float]]
"""Wall times of commands in seconds, by what was run."""


def run(*, quick: bool) -> Result:
    """Measure the live control plane with few and many services, then its core and its store alone."""
    commands, idle_s = (QUICK_COMMANDS, QUICK_IDLE_S) if quick else (COMMANDS, IDLE_S)
    measured: Measured = {}
    idle = [_measure_live(count, measured, commands, idle_s) for count in (QUICK_SERVICES if quick else SERVICES)]
    slowest = max(median(times) for name, times in measured.items() if "status" in name)
    return Result(
        tables=(
            _commands(measured),
            Table(title=f"Idle for {idle_s:g} s", columns=_IDLE_COLUMNS, rows=tuple(idle)),
            _ticks(),
            _commits(QUICK_COMMITS if quick else COMMITS),
        ),
        goals=(Goal(name="hitless status, median", measured=slowest, limit=0.5, unit=" s"),),
        notes=("the store lies in the temporary directory here: its disk decides what a commit costs",),
    )


# The live control plane


def _measure_live(count: int, measured: Measured, commands: int, idle_s: float) -> tuple[Cell, ...]:
    with _sleepers(count) as (project, client):
        python = [sys.executable, "-c", "pass"]
        for name, command in (
            ("python -c pass", python),
            ("hitless --help", [sys.executable, "-m", "hitless.cli", "--help"]),
            (f"hitless status, {count} services", project.command("status")),
        ):
            measured.setdefault(name, []).extend(_wall_s(command) for _ in range(commands))
        return _idle(client, count, idle_s)


@contextmanager
def _sleepers(count: int) -> Iterator[tuple[LiveProject, Client]]:
    """Bring up services that do nothing."""
    with tempfile.TemporaryDirectory(prefix="hitless-bench-") as folder:
        directory = Path(folder)
        services = [
            _SERVICE.format(number=number, port=port, python=sys.executable, directory=directory)
            for number, port in enumerate(free_ports(count))
        ]
        with LiveProject(directory=directory / "project", configuration=f"services:{''.join(services)}") as project:
            client = Client(socket_path(project.directory))
            for number in range(count):
                client.deploy(f"s{number}", version="v1", strategy="rolling", supersede=False, actor=ACTOR, reason=None)
            _until_healthy(client)
            yield project, client


def _until_healthy(client: Client) -> None:
    deadline = time.monotonic() + _HEALTHY_WITHIN_S
    while sick := [one for one in client.services() if one["health"] != "healthy"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not healthy: {sick}")
        time.sleep(0.1)


def _wall_s(command: list[str]) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - began


_IDLE_COLUMNS = ("services", "controller CPU", "controller RSS MiB", "threads", "Envoy CPU", "Envoy RSS MiB")


def _idle(client: Client, count: int, idle_s: float) -> tuple[Cell, ...]:
    view = client.control_plane()
    controller, envoy_pid = psutil.Process(view["pid"]), view["envoy_pid"]
    assert envoy_pid is not None
    before = cpu_s(controller.pid), cpu_s(envoy_pid)
    time.sleep(idle_s)
    ours, envoys = (cpu_s(controller.pid) - before[0]) / idle_s, (cpu_s(envoy_pid) - before[1]) / idle_s
    envoy_rss = psutil.Process(envoy_pid).memory_info().rss
    ours_rss = controller.memory_info().rss
    return count, f"{ours:.1%}", ours_rss >> 20, controller.num_threads(), f"{envoys:.1%}", envoy_rss >> 20


def _commands(measured: Measured) -> Table:
    rows = tuple((name, len(times), *spread_ms(times)) for name, times in measured.items())
    return Table(title="Commands, wall time", columns=("what", "n", "p50 ms", "p95 ms", "p99 ms", "max ms"), rows=rows)


# The core and the store alone


def _ticks() -> Table:
    rows = []
    for instances in INSTANCES:
        simulation = Simulation()
        _deploy(simulation, "v1", instances)
        simulation.run_until_idle()
        idle_s = [_tick_s(simulation) for _ in range(IDLE_TICKS)]
        _deploy(simulation, "v2", instances)
        busy_s = []
        while simulation.state.phase is not RolloutPhase.IDLE:
            busy_s.append(_tick_s(simulation))
        rows.append((instances, *_us(idle_s), len(busy_s), *_us(busy_s)))
    columns = ("instances", "idle p50 us", "idle p99 us", "rollout ticks", "rollout p50 us", "rollout p99 us")
    return Table(title="One decision: machine.observe, rolling", columns=columns, rows=tuple(rows))


def _deploy(simulation: Simulation, version: str, instances: int) -> None:
    spec = ServiceSpec(
        name=simulation.service,
        instances=instances,
        run=RunSpec(command=("true",)),
        traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=1)),
    )
    simulation.ask(Deploy(actor=ACTOR, version=Version(version), spec=spec, strategy=StrategyName.ROLLING))


def _tick_s(simulation: Simulation) -> float:
    """Time one decision, which changes nothing, then let the simulation take it."""
    seen = Observed(observation=simulation.observation())
    began = time.perf_counter()
    observe(simulation.state, seen)
    took_s = time.perf_counter() - began
    simulation.tick()
    return took_s


def _us(values_s: list[float]) -> tuple[str, str]:
    return f"{median(values_s) * MICROSECONDS:.0f}", f"{quantile(values_s, 0.99) * MICROSECONDS:.0f}"


def _commits(times: int) -> Table:
    simulation = Simulation()
    _deploy(simulation, "v1", INSTANCES[0])
    simulation.run_until_idle()
    text, now = dump_state(simulation.state), SystemClock().now()
    entry = entry_of(simulation.journal[-1], service=simulation.service)
    row = Run(id=subject_of(simulation.service), kind="service", state=text, fence=1, updated_at=now)
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder)) as store:
        lease = store.acquire_lease(owner="bench", now=now, ttl_s=3_600.0)
        commits_s = _time(times, lambda: store.commit(lease=lease, runs=[row], entries=[entry], now=now))
        with (Path(folder) / "plain").open("wb", buffering=0) as plain:
            plain_s = _time(times, lambda: _write_through(plain.fileno(), text.encode()))
    rows = (
        (f"commit: state row of {len(text):,} bytes and one event", times, *spread_ms(commits_s)),
        ("the same bytes by write and fsync", times, *spread_ms(plain_s)),
    )
    return Table(title="Store", columns=("what", "n", "p50 ms", "p95 ms", "p99 ms", "max ms"), rows=rows)


def _write_through(descriptor: int, data: bytes) -> None:
    os.pwrite(descriptor, data, 0)
    os.fsync(descriptor)


def _time(times: int, act: Callable[[], object]) -> list[float]:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        found.append(time.perf_counter() - began)
    return found
