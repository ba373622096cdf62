"""A real Envoy, and tiny applications behind it that say who they are."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from hitless.adapters.clock import SystemClock
from hitless.adapters.envoy.router import EnvoyRouter
from hitless.rollout.spec import (
    LOCAL,
    Address,
    BlueGreenSpec,
    HealthSpec,
    InstanceId,
    RunSpec,
    ServiceSpec,
    StrategySpecs,
    TrafficSpec,
    Version,
)
from hitless.rollout.world import Endpoint, EndpointState, OpenRequests, RoutingView, Table

SERVICE = "shop"


def free_address() -> Address:
    """Find an address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Address(host="127.0.0.1", port=probe.getsockname()[1])


@dataclass(eq=False)
class Upstream:
    """One instance: answers with its version and name, slowly or over a WebSocket if asked."""

    version: Version
    name: InstanceId
    is_healthy: bool = True
    seen: int = 0
    last_headers: Mapping[str, str] = field(default_factory=dict)
    address: Address = field(default_factory=free_address)
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/slow", self._slow)
        app.router.add_get("/ws", self._websocket)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, keepalive_timeout=75.0, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.address.host, self.address.port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(status=200 if self.is_healthy else 503)

    async def _answer(self, request: web.Request) -> web.Response:
        self.seen += 1
        self.last_headers = dict(request.headers)
        return web.Response(text=f"{self.version} {self.name}")

    async def _slow(self, request: web.Request) -> web.Response:
        await asyncio.sleep(float(request.query["s"]))
        return web.Response(text=f"{self.version} {self.name}")

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        async for message in connection:
            await connection.send_str(f"{self.version} {message.data}")
        return connection


class Stage:
    """A router and what stands behind it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.router = self.another_router()
        self.upstreams: list[Upstream] = []
        self.revision = 0
        self.fence = 1

    def another_router(self, **settings: Any) -> EnvoyRouter:
        """Make one more router of the same directory, as a later controller would."""
        return EnvoyRouter(self.directory, SystemClock(), **settings)

    async def open_services(self) -> set[str]:
        """Name the services whose addresses are open."""
        return {name for name, one in (await self.router.standing()).items() if one.listen}

    async def serve(self, version: str, count: int = 1) -> tuple[Upstream, ...]:
        """Start instances of a version."""
        started = [Upstream(Version(version), InstanceId(f"{version}-{n}")) for n in range(len(self.upstreams), 100)]
        chosen = tuple(started[:count])
        for upstream in chosen:
            await upstream.start()
        self.upstreams.extend(chosen)
        return chosen

    async def apply(
        self,
        wanted: Table,
        *,
        router: EnvoyRouter | None = None,
        service: str = SERVICE,
        hurry: asyncio.Event | None = None,
    ) -> RoutingView:
        """Apply a table with the next revision and return the view after it."""
        self.revision += 1
        chosen, number = router or self.router, self.revision
        await chosen.apply(
            service, region=LOCAL, table=wanted, specs={}, fence=self.fence, revision=number, hurry=hurry
        )
        return await self.view(chosen, service)

    async def must_apply(self, wanted: Table, **options: Any) -> RoutingView:
        """Apply a table that Envoy is to confirm."""
        view = await self.apply(wanted, **options)
        assert view.problem is None
        assert view.acknowledged == wanted
        assert view.pending is None
        return view

    def files(self, *, but: str = "") -> dict[str, bytes]:
        """Read everything that Envoy reads, and the ledgers, without the folder `but`."""
        return {str(path): path.read_bytes() for path in self._paths() if path.parent.name != but}

    def inodes(self) -> dict[str, int]:
        """Tell which files were written again, though with the same content."""
        return {str(path): path.stat().st_ino for path in self._paths()}

    def _paths(self) -> list[Path]:
        return [path for path in (self.directory / LOCAL).rglob("*.json") if path.name != "envoy.json"]

    async def until_quiet(self, upstream: Upstream) -> None:
        """Wait until the router says that an upstream has nothing open any more."""

        async def is_quiet() -> bool:
            return open_requests(await self.view(), upstream).is_quiet

        await until(is_quiet)

    async def view(self, router: EnvoyRouter | None = None, service: str = SERVICE) -> RoutingView:
        """Observe one service."""
        return (await (router or self.router).observe(service))[LOCAL]


@contextlib.asynccontextmanager
async def stage(directory: Path) -> AsyncIterator[Stage]:
    """Start Envoy, end everything afterwards."""
    built = Stage(directory)
    try:
        await built.router.start()
        yield built
    finally:
        await built.router.stop()
        for upstream in built.upstreams:
            await upstream.stop()


@contextlib.asynccontextmanager
async def serving(
    directory: Path, *versions: str, **settings: Any
) -> AsyncIterator[tuple[Stage, Address, list[Upstream]]]:
    """Start Envoy with one service, and one instance of each version; the first gets all traffic."""
    async with stage(directory) as built:
        spec = service(**settings)
        await built.router.define(spec)
        upstreams = [(await built.serve(version))[0] for version in versions]
        await built.must_apply(table({versions[0]: 10_000}, upstreams))
        yield built, spec.traffic.listen, upstreams


def service(name: str = SERVICE, *, preview: Address | None = None, **traffic: Any) -> ServiceSpec:
    """Describe a service on a free address."""
    listen = traffic.pop("listen", None) or free_address()
    return ServiceSpec(
        name=name,
        instances=1,
        run=RunSpec(command=("true",)),
        traffic=TrafficSpec(listen=listen, **traffic),
        health=HealthSpec(ready="/health", interval_s=0.2, timeout_s=1.0),
        strategy=StrategySpecs(blue_green=BlueGreenSpec(preview=preview)),
    )


def table(
    weights: Mapping[str, int],
    upstreams: Iterable[Upstream],
    *,
    draining: Iterable[Upstream] = (),
    preview: str | None = None,
    salt: str = "",
) -> Table:
    """Build a table with every upstream ACTIVE but those that drain."""
    drained = set(draining)
    pools: dict[Version, dict[InstanceId, Endpoint]] = {}
    for one in upstreams:
        state = EndpointState.DRAINING if one in drained else EndpointState.ACTIVE
        pools.setdefault(one.version, {})[one.name] = Endpoint(address=one.address, state=state)
    return Table(
        weights={Version(version): weight for version, weight in weights.items()},
        endpoints=pools,
        preview=Version(preview) if preview else None,
        salt=salt,
    )


async def get(client: aiohttp.ClientSession, address: Address, path: str = "/", **options: Any) -> tuple[int, str]:
    """Ask for a path; return status and body."""
    async with client.get(f"http://{address}{path}", **options) as response:
        return response.status, await response.text()


async def until(condition: Callable[[], Awaitable[bool]], *, within_s: float = 10.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < deadline, "condition not met in time"
        await asyncio.sleep(0.02)


def open_requests(view: RoutingView, upstream: Upstream) -> OpenRequests:
    """Look up what one upstream has open."""
    return view.open_requests[upstream.name]
