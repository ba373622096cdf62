"""What benchmarks measure against: tiny applications, hitless' Envoy before them, HAProxy beside it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from hitless.adapters.clock import SystemClock
from hitless.adapters.envoy.router import EnvoyRouter
from hitless.rollout.spec import (
    LOCAL,
    Address,
    HealthSpec,
    InstanceId,
    RunSpec,
    ServiceSpec,
    TrafficSpec,
    Version,
)
from hitless.rollout.world import Endpoint, EndpointState, Table
from hitless.testing.live import free_ports

ROOT = Path(__file__).parents[1]
SERVICE = "bench"
HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_READY_WITHIN_S = 20.0
_FENCE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """One instance of the least application."""

    version: Version
    address: Address


@contextlib.contextmanager
def upstream(version: str) -> Iterator[Upstream]:
    """Serve the least application on granian: an HTTP core in Rust, so that the proxy is what shows."""
    address = Address(host="127.0.0.1", port=free_ports(1)[0])
    command = [sys.executable, "-m", "granian", "--interface", "asginl", "--no-log", "--no-ws"]
    process = subprocess.Popen(
        [*command, "--port", str(address.port), "benchmarks.noop:app"],
        cwd=ROOT,
        env={**os.environ, "HITLESS_VERSION": version},
        start_new_session=True,
    )
    try:
        until_open(address)
        yield Upstream(version=Version(version), address=address)
    finally:
        end_group(process)


@contextlib.contextmanager
def haproxy(to: Address, directory: Path) -> Iterator[tuple[Address, int]]:
    """Run HAProxy before `to`, one thread per core as Envoy; yield where it listens, and its pid."""
    assert HAPROXY is not None
    address = Address(host="127.0.0.1", port=free_ports(1)[0])
    path = directory / "haproxy.cfg"
    path.write_text(_HAPROXY.format(threads=len(os.sched_getaffinity(0)), listen=address, to=to))
    process = subprocess.Popen([HAPROXY, "-q", "-db", "-f", str(path)], start_new_session=True)
    try:
        until_open(address)
        yield address, process.pid
    finally:
        end_group(process)


_HAPROXY = """
global
  nbthread {threads}
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend users
  bind {listen}
  default_backend instances
backend instances
  server one {to}
"""


class Plane:
    """hitless' own Envoy with one service, told by revisions that count up."""

    def __init__(self, router: EnvoyRouter, listen: Address) -> None:
        self.router = router
        self.listen = listen
        self._revision = 0

    @property
    def pid(self) -> int:
        """Envoy's."""
        assert self.router.state.pid is not None
        return self.router.state.pid

    async def route(self, weights: Mapping[str, int], upstreams: Sequence[Upstream]) -> float:
        """Apply a table; return the moment just before.

        Raises:
            RuntimeError: Envoy did not confirm it.
        """
        self._revision += 1
        wanted = table(weights, upstreams)
        at = time.monotonic()
        await self.router.apply(SERVICE, region=LOCAL, table=wanted, specs={}, fence=_FENCE, revision=self._revision)
        view = (await self.router.observe(SERVICE))[LOCAL]
        if view.problem or view.acknowledged != wanted:
            raise RuntimeError(f"not confirmed: {view.problem}")
        return at


@contextlib.asynccontextmanager
async def envoy(directory: Path, *, sticky_cookie: str | None = None) -> AsyncIterator[Plane]:
    """Run Envoy as hitless configures it."""
    router = EnvoyRouter(directory, SystemClock())
    listen = Address(host="127.0.0.1", port=free_ports(1)[0])
    spec = ServiceSpec(
        name=SERVICE,
        instances=1,
        run=RunSpec(command=("true",)),
        traffic=TrafficSpec(listen=listen, sticky_cookie=sticky_cookie, keep_alive_s=30.0),
        health=HealthSpec(ready="/"),
    )
    try:
        await router.start()
        await router.define(spec)
        yield Plane(router, listen)
    finally:
        await router.stop()


def table(weights: Mapping[str, int], upstreams: Sequence[Upstream]) -> Table:
    """Build a table with every upstream in rotation; weights newest version first."""
    return Table(
        weights={Version(version): weight for version, weight in weights.items()},
        endpoints={
            one.version: {InstanceId(one.version): Endpoint(address=one.address, state=EndpointState.ACTIVE)}
            for one in upstreams
        },
        salt="bench",
    )


def until_open(address: Address) -> None:
    """Wait until something accepts connections.

    Raises:
        OSError: nothing does in time.
    """
    deadline = time.monotonic() + _READY_WITHIN_S
    while True:
        try:
            socket.create_connection((address.host, address.port), timeout=1.0).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and everything that it started."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(5.0)


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has used."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
