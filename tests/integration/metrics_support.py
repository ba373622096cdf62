"""An application that answers in every way there is, and what is read of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from envoy_stage import Stage, Upstream, service, stage, table

from hitless.adapters.clock import SystemClock
from hitless.adapters.envoy.traffic import EnvoyTraffic
from hitless.analysis.counts import Cell, Fates, Second, Transfer
from hitless.rollout.spec import Address, InstanceId, Version


class Moody(Upstream):
    """An instance whose paths say what is to go wrong."""

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/slow", self._slow)
        app.router.add_get("/ws", self._websocket)
        app.router.add_get("/metrics", self._figures)
        app.router.add_get("/fail", self._fail)
        app.router.add_get("/reset", self._reset)
        app.router.add_get("/cut", self._cut)
        app.router.add_get("/events", self._events)
        app.router.add_post("/shop.Cart/Add", self._grpc)
        app.router.add_post("/upload", self._upload)
        app.router.add_get("/page", self._page)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, keepalive_timeout=75.0, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.address.host, self.address.port).start()

    async def _figures(self, _request: web.Request) -> web.Response:
        """Tell one call to a dependency per page, one order of which each third fails, and a pool."""
        return web.Response(
            text=f'hitless_dependency_calls_total{{dependency="db",outcome="ok"}} {self.seen}\n'
            f"orders_total {self.seen}\norders_failed_total {self.seen // 3}\npool_in_use 3\n"
        )

    async def _fail(self, _request: web.Request) -> web.Response:
        return web.Response(status=500)

    async def _reset(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def _cut(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-length": "100"})
        await response.prepare(request)
        await response.write(b"a part of it")
        assert request.transport is not None
        request.transport.close()
        return response

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Send events for `s` seconds, then end well, or break if asked."""
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        until = time.monotonic() + float(request.query["s"])
        while time.monotonic() < until:
            await response.write(b"data: x\n\n")
            await asyncio.sleep(0.1)
        if "breaks" in request.query:
            assert request.transport is not None
            request.transport.abort()
        return response

    async def _grpc(self, request: web.Request) -> web.Response:
        return web.Response(headers={"content-type": "application/grpc", "grpc-status": request.query["status"]})

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(body=b"x" * int(request.query["bytes"]))

    async def _upload(self, request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))


@asynccontextmanager
async def moody(
    directory: Path, *versions: str, shares: dict[str, int] | None = None, **settings: Any
) -> AsyncIterator[tuple[Stage, Address, list[Moody]]]:
    """Start Envoy with one service and one moody instance of each version; the first gets all traffic."""
    async with stage(directory) as built:
        spec = service(**settings)
        await built.router.define(spec)
        upstreams = [Moody(Version(version), InstanceId(f"{version}-a")) for version in versions]
        for one in upstreams:
            await one.start()
        built.upstreams.extend(upstreams)
        await built.must_apply(table(shares or {versions[0]: 10_000}, upstreams))
        yield built, spec.traffic.listen, upstreams


class Watched:
    """Everything that was read of one service, second by second."""

    def __init__(self, traffic: EnvoyTraffic, service: str) -> None:
        self._traffic = traffic
        self._service = service
        self.seconds: list[Second] = []

    async def until(self, condition: Callable[[], bool], *, within_s: float = 15.0) -> None:
        """Read on until a condition holds of what was read."""
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, f"not seen in time: {self.seconds}"
            self.seconds += (await self._traffic.read()).get(self._service, ())
            await asyncio.sleep(0.05)
        assert [one.at for one in self.seconds] == list(range(self.seconds[0].at, self.seconds[-1].at + 1))

    async def until_now(self) -> None:
        """Read on until the present second has been told."""
        now = int(time.time())  # noqa: TID251 - the clock that Envoy goes by
        await self.until(lambda: bool(self.seconds) and self.seconds[-1].at >= now)

    def cells(self, version: str | None = None) -> list[Cell]:
        """List cells, of one version only if it is named."""
        return [cell for one in self.seconds for cell in one.cells if version in {None, cell.version}]

    def outcomes(self, version: str | None = None) -> tuple[int, int]:
        """Return how many requests had an outcome, and how many of them failed."""
        found = [cell.requests for cell in self.cells(version)]
        return sum(one.total for one in found), sum(one.failed for one in found)

    def instances(self) -> dict[str, Fates]:
        """Sum outcomes by instance."""
        found: dict[str, Fates] = {}
        for cell in self.cells():
            for name, fates in cell.instances.items():
                found[name] = found.get(name, Fates()) + fates
        return found

    def durations(self) -> dict[int, int]:
        """Sum durations by bucket."""
        found: dict[int, int] = {}
        for cell in self.cells():
            for bucket, count in cell.durations.items():
                found[bucket] = found.get(bucket, 0) + count
        return found

    def transfer(self) -> Transfer | None:
        """Sum bytes of bodies; None = none were told."""
        found = [cell.transfer for cell in self.cells() if cell.transfer is not None]
        return reduce(add, found) if found else None

    def gaps(self) -> set[str]:
        """List reasons of gaps."""
        return {one.gap for one in self.seconds if one.gap is not None}


@asynccontextmanager
async def watching(built: Stage, service: str = "shop") -> AsyncIterator[Watched]:
    """Read the requests that come from now on."""
    traffic = EnvoyTraffic(built.directory, SystemClock(), state=lambda: built.router.state, names=built.router.names)
    await traffic.open()
    try:
        yield Watched(traffic, service)
    finally:
        await traffic.close()


async def ask(client: aiohttp.ClientSession, url: str, *, method: str = "GET", **options: Any) -> int | None:
    """Ask for a page; None = no whole answer came."""
    try:
        async with client.request(method, url, **options) as response:
            await response.read()
            return response.status
    except (aiohttp.ClientError, TimeoutError):
        return None


async def asked_until(
    client: aiohttp.ClientSession, url: str, done: Awaitable[Any], *, every_s: float = 0.005
) -> list[int | None]:
    """Ask again and again while something is done; return what came back."""
    task = asyncio.ensure_future(done)
    found = []
    while not task.done():
        found.append(await ask(client, url))
        await asyncio.sleep(every_s)
    task.result()
    return found


def failed(statuses: Iterable[int | None]) -> int:
    """Count what was no good answer."""
    return sum(1 for one in statuses if one is None or one >= 500)
