from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web

from hitless.adapters.clock import SystemClock
from hitless.rollout.spec import Address
from hitless.testing.load import Kind, Load, LoadPlan, Report, StreamSpec, Verdict

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def web_server(handler: Handler) -> AsyncIterator[Address]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    app = web.Application()
    app.router.add_get("/{anything:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield Address(host="127.0.0.1", port=runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def load_against(handler: Handler, kind: Kind, *, streams: int = 3, stall_s: float = 5.0) -> Report:
    async with web_server(handler) as target:
        spec = StreamSpec(streams=streams, path="/stream", interval_s=0.02, stall_s=stall_s)
        plan = LoadPlan(target=target, kinds={kind: spec}, duration_s=0.8)
        async with Load(plan, clock=SystemClock()) as load:
            await load.run_out()
            return await load.finish()


class EchoServer:
    """Echoes; the n-th connection ends after three echoes when `cuts(n)` says so."""

    def __init__(self, cut: Callable[[web.Request, web.WebSocketResponse], Awaitable[None]], *, cuts: int = 0) -> None:
        self._cut = cut
        self._cuts = cuts
        self._connections = itertools.count(1)

    async def __call__(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        socket.headers["x-version"] = "v1"
        await socket.prepare(request)
        is_doomed = next(self._connections) <= self._cuts
        for number in itertools.count(1):
            message = await socket.receive()
            if message.type is not WSMsgType.TEXT:
                return socket
            if is_doomed and number > 3:
                await self._cut(request, socket)
                return socket
            await socket.send_str(message.data)
        return socket


async def close_with_1012(_request: web.Request, socket: web.WebSocketResponse) -> None:
    await socket.close(code=1012, message=b"service restart")


async def drop_the_connection(request: web.Request, _socket: web.WebSocketResponse) -> None:
    assert request.transport is not None
    request.transport.abort()


async def test_websockets_that_live_are_kept_and_their_version_is_known() -> None:
    report = await load_against(EchoServer(close_with_1012), Kind.WEBSOCKET)
    found = report.kinds[Kind.WEBSOCKET]
    assert (found.opened, found.kept, found.cut, found.failures) == (3, 3, 0, 0)
    assert found.versions == {"v1": found.answered}
    assert found.answered >= 3
    assert report.verdict is Verdict.CLEAN


async def test_a_websocket_that_the_server_closes_is_cut_with_its_close_code_and_opened_again() -> None:
    report = await load_against(EchoServer(close_with_1012, cuts=2), Kind.WEBSOCKET)
    found = report.kinds[Kind.WEBSOCKET]
    assert (found.opened, found.kept, found.cut) == (5, 3, 2)
    assert found.failed == {"cut_stream": 2}
    assert "1012" in report.examples[0].detail
    assert report.examples[0].local_port


async def test_a_websocket_whose_connection_drops_is_cut() -> None:
    found = (await load_against(EchoServer(drop_the_connection, cuts=1), Kind.WEBSOCKET)).kinds[Kind.WEBSOCKET]
    assert (found.kept, found.cut, found.failed) == (3, 1, {"cut_stream": 1})


async def test_a_websocket_that_falls_silent_is_cut() -> None:
    async def fall_silent(_request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.receive()  # the client's close

    report = await load_against(EchoServer(fall_silent, cuts=1), Kind.WEBSOCKET, stall_s=0.2)
    assert report.kinds[Kind.WEBSOCKET].cut == 1
    assert "no echo" in report.examples[0].detail


async def test_an_echo_of_something_else_is_a_wrong_body() -> None:
    async def babble(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            await socket.send_str("what?")
        return socket

    found = (await load_against(babble, Kind.WEBSOCKET)).kinds[Kind.WEBSOCKET]
    assert (found.answered, set(found.failed)) == (0, {"wrong_body"})


async def test_a_stream_that_does_not_open_is_a_failure_with_its_status() -> None:
    async def be_unavailable(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=503)

    for kind in (Kind.WEBSOCKET, Kind.SSE):
        found = (await load_against(be_unavailable, kind)).kinds[kind]
        assert (found.opened, set(found.failed)) == (0, {"http_503"})


class EventServer:
    """Sends numbered events, without those that are `skipped`; the first stream ends before event `ends_before`."""

    def __init__(self, *, skipped: frozenset[int] = frozenset(), ends_before: int | None = None) -> None:
        self._skipped = skipped
        self._ends_before = ends_before

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream", "x-version": "v1"})
        await response.prepare(request)
        try:
            for number in itertools.count(1):
                if number == self._ends_before:
                    self._ends_before = None
                    return response
                if number not in self._skipped:
                    await response.write(f"id: {number}\ndata: x\n\n".encode())
                    await asyncio.sleep(0.02)
        except ConnectionError:  # the client has seen enough
            return response
        return response


async def test_event_streams_that_live_are_kept_without_gaps() -> None:
    report = await load_against(EventServer(), Kind.SSE)
    found = report.kinds[Kind.SSE]
    assert (found.opened, found.kept, found.cut, found.failures) == (3, 3, 0, 0)
    assert found.versions == {"v1": found.answered}
    assert report.verdict is Verdict.CLEAN


async def test_events_that_are_missing_are_counted() -> None:
    found = (await load_against(EventServer(skipped=frozenset({3, 5, 6})), Kind.SSE)).kinds[Kind.SSE]
    assert found.failed == {"gap": 9}  # three streams, three missing events each
    assert (found.kept, found.cut) == (3, 0)


async def test_an_event_stream_that_the_server_ends_is_cut_and_opened_again() -> None:
    found = (await load_against(EventServer(ends_before=5), Kind.SSE)).kinds[Kind.SSE]
    assert (found.opened, found.kept, found.cut, found.failed) == (4, 3, 1, {"cut_stream": 1})


async def test_an_event_stream_that_falls_silent_is_cut() -> None:
    async def fall_silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"id: 1\n\n")
        await asyncio.sleep(1)
        return response

    found = (await load_against(fall_silent, Kind.SSE, streams=1, stall_s=0.3)).kinds[Kind.SSE]
    assert found.cut >= 1
    assert set(found.failed) == {"cut_stream"}
