"""A machine full of services: real processes, real Envoy, `hitless up` as users start it."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.crowd import ACTOR, INSTANCES
from benchmarks.load import ClosedLoop, Seen, closed_loop
from benchmarks.results import Table
from benchmarks.stage import cpu_s
from hitless.adapters.envoy.watches import RESERVE, instances_in_use
from hitless.cli.client import Client
from hitless.cli.place import socket_path
from hitless.rollout.spec import Address
from hitless.testing.live import LiveProject, free_ports
from hitless.view.models import ServiceView

USERS_RPS = 25.0
TINY = Path(__file__).parent / "tiny.py"
_HEALTHY_WITHIN_S = 240.0
_ENDED_WITHIN_S = 180.0
_SETTLE_S = 5.0
_INOTIFY_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")

_SERVICE = """
- service: s{number}
  listen: 127.0.0.1:{port}
  instances: {instances}
  run: {{command: ["{python}", -S, "{tiny}"], environment: {{VERSION: "{{version}}"}}}}
  health: {{ready: /}}
  drain: {{requests: 2s, streams: 10s}}
  preflight: off
  strategy: {{rolling: {{max_surge: 1, max_unavailable: 0}}}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Burden:
    """What controller and Envoy used over some seconds."""

    seconds: float
    controller_cpu: float
    controller_mib: float
    envoy_cpu: float
    envoy_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolled:
    """Rollouts of many services at once, under load."""

    rollouts: int
    completed: int
    requests: int
    failed: tuple[tuple[str, int], ...]
    burden: Burden


@contextlib.contextmanager
def full_machine(count: int) -> Iterator[tuple[LiveProject, Client]]:
    """Bring up services of small processes.

    Raises:
        RuntimeError: the kernel's budget of inotify instances is too small.
    """
    _check_budget(count)
    with tempfile.TemporaryDirectory(prefix="hitless-bench-") as folder:
        services = [
            _SERVICE.format(number=number, port=port, instances=INSTANCES, python=sys.executable, tiny=TINY)
            for number, port in enumerate(free_ports(count))
        ]
        with LiveProject(directory=Path(folder), configuration=f"services:{''.join(services)}") as project:
            client = Client(socket_path(project.directory))
            for number in range(count):
                client.deploy(f"s{number}", version="v1", strategy="rolling", supersede=False, actor=ACTOR, reason=None)
            _until(lambda: all(one["health"] == "healthy" for one in client.services()), _HEALTHY_WITHIN_S)
            yield project, client


def _check_budget(services: int) -> None:
    """Envoy watches two files of each service and two of its own; versions that come in wait for what is left."""
    needed, in_use = 2 * services + 2, instances_in_use(os.getuid())
    limit = int(_INOTIFY_LIMIT.read_text())
    if needed + in_use + RESERVE > limit:
        raise RuntimeError(f"{needed} inotify instances needed, {in_use} in use, the kernel's limit is {limit}")


def _until(condition: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come true in time")
        time.sleep(0.2)


def burden_of(client: Client, seconds: float) -> Burden:
    """Measure a machine that is left alone."""
    time.sleep(min(_SETTLE_S, seconds))
    with _burden(client) as measure:
        time.sleep(seconds)
    return measure()


@contextlib.contextmanager
def _burden(client: Client) -> Iterator[Callable[[], Burden]]:
    view = client.control_plane()
    assert view["envoy_pid"] is not None
    pids, began = (view["pid"], view["envoy_pid"]), time.monotonic()
    before = [cpu_s(pid) for pid in pids]

    def measure() -> Burden:
        seconds = time.monotonic() - began
        shares = [(cpu_s(pid) - used) / seconds for pid, used in zip(pids, before, strict=True)]
        memory = [psutil.Process(pid).memory_info().rss / (1 << 20) for pid in pids]
        return Burden(
            seconds=seconds,
            controller_cpu=shares[0],
            controller_mib=memory[0],
            envoy_cpu=shares[1],
            envoy_mib=memory[1],
        )

    yield measure


def roll(project: LiveProject, client: Client, count: int) -> Rolled:
    """Deploy another version of some services at once, under load, and wait until all rollouts have ended."""
    with contextlib.ExitStack() as stack:
        loads = [stack.enter_context(_users(client.service(f"s{number}"))) for number in range(count)]
        with _burden(client) as measure:
            for number in range(count):
                client.deploy(f"s{number}", version="v2", strategy="rolling", supersede=False, actor=ACTOR, reason=None)
            _until(lambda: not _running(client), _ENDED_WITHIN_S)
            burden = measure()
        seen = [load.finish() for load in loads]
    project.check("journal", "verify")
    done = [one for one in client.services() if one["rollout"] and one["rollout"]["candidate"] == "v2"]
    return Rolled(
        rollouts=count,
        completed=sum(one["health"] == "healthy" for one in done),
        requests=sum(len(one.took_s) for one in seen),
        failed=tuple(_failures(seen).items()),
        burden=burden,
    )


def _users(service: ServiceView) -> contextlib.AbstractContextManager[ClosedLoop]:
    host, _, port = service["listen"].rpartition(":")
    return closed_loop(Address(host=host, port=int(port)), connections=2, rate_rps=USERS_RPS)


def _running(client: Client) -> list[str]:
    return [one["name"] for one in client.services() if one["rollout"] and one["rollout"]["state"] == "running"]


def _failures(seen: list[Seen]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in seen:
        for cause, count in one.failed.items():
            found[cause] = found.get(cause, 0) + count
    return found


def idle_table(services: int, found: Burden) -> Table:
    """Render what a machine at rest costs."""
    row = (services, services * INSTANCES, *_burden_cells(found))
    return Table(title="A full machine at rest", columns=("services", "instances", *_BURDEN), rows=(row,))


def rolled_table(found: Rolled) -> Table:
    """Render what rollouts at once cost."""
    failed = sum(count for _, count in found.failed)
    row = (found.rollouts, found.completed, found.requests, failed, *_burden_cells(found.burden))
    columns = ("rollouts", "completed", "requests", "failed", *_BURDEN)
    return Table(title="Rollouts at once on the full machine, under load", columns=columns, rows=(row,))


_BURDEN = ("s", "controller CPU", "controller RSS MiB", "Envoy CPU", "Envoy RSS MiB")


def _burden_cells(found: Burden) -> tuple[str, str, str, str, str]:
    return (
        f"{found.seconds:.0f}",
        f"{found.controller_cpu:.1%}",
        f"{found.controller_mib:.0f}",
        f"{found.envoy_cpu:.1%}",
        f"{found.envoy_mib:.0f}",
    )
