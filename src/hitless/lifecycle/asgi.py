"""The middleware for ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Literal

from hitless.lifecycle.board import Cell, InFlight, ledger
from hitless.lifecycle.drain import Phase
from hitless.lifecycle.health import OK, Check, Function, Health, State, log
from hitless.lifecycle.streams import EventStream, OpenStreams, WebSocket

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_LIVE = b'{"state": "live"}'


class Lifecycle:
    """Wraps an ASGI application: answers probes, counts what is open, carries out a drain. It belongs outermost.

    Args:
        app: the application.
        warm_up: plain or async functions, run in this order, once per worker process, after the application's own
            startup and before readiness says yes. One that raises is tried again; until it succeeds, readiness says no.
        checks: dependencies by name: plain or async functions that raise or return False when something is wrong.
            A `Check` sets time-out and cache of one.
        live_path: 200 as long as the process answers, draining or not.
        ready_path: 200 when warm, not draining, and no check fails; else 503. The body says why.
        close_code: what WebSockets are closed with at the deadline: 1012 is "service restart", 1001 "going away".
        reconnect_ms: what event streams that are ended tell their clients to wait before they come again.
        end_event_streams: at the `deadline`, or as soon as load balancers have `left`: clients that come again then
            reach another instance.
    """

    def __init__(
        self,
        app: AsgiApp,
        *,
        warm_up: Sequence[Function] = (),
        checks: Mapping[str, Function | Check] | None = None,
        live_path: str = "/health/live",
        ready_path: str = "/health/ready",
        close_code: int = 1012,
        reconnect_ms: int = 1_000,
        end_event_streams: Literal["deadline", "left"] = "deadline",
    ) -> None:
        self._app = app
        self._ledger = ledger()
        self._health = Health(warm_up=warm_up, checks=checks or {}, ledger=self._ledger, await_it=self._await)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._live_path, self._ready_path = live_path, ready_path
        self._close_code, self._reconnect_ms = close_code, reconnect_ms
        self._end_events_at = Phase.CLOSING if end_event_streams == "left" else Phase.CUTTING
        self._streams = OpenStreams(self._ledger)

    @property
    def in_flight(self) -> InFlight:
        """What is open, in all workers of this instance."""
        return self._ledger.in_flight()

    @property
    def is_draining(self) -> bool:
        """Whether SIGTERM has come."""
        return self._ledger.phase > Phase.SERVING

    @property
    def state(self) -> State:
        """What readiness says, checks aside."""
        return self._health.state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        self._begin()
        if scope["type"] == "websocket":
            await self._serve_websocket(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve_http(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._health.begin()

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application start up, then warm up; one without a lifespan raises or returns, as servers expect."""
        has_failed = False

        async def send_noted(message: Message) -> None:
            nonlocal has_failed
            if message["type"] == "lifespan.startup.complete":
                self._begin()
            has_failed = has_failed or message["type"] == "lifespan.startup.failed"
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        finally:
            if not has_failed:
                self._begin()

    async def _serve_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path == self._live_path:
            await self._answer(scope, send, OK, _LIVE)
        elif path == self._ready_path:
            await self._answer(scope, send, *await self._probe())
        else:
            await self._serve_request(scope, receive, send)

    async def _serve_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = EventStream(send, self._streams, ends_at=self._end_events_at, reconnect_ms=self._reconnect_ms)

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._tell_to_close(scope, message)
            await exchange.send(message)

        self._ledger.begin(Cell.REQUESTS)
        try:
            await self._app(scope, receive, send_noted)
        except (Exception, asyncio.CancelledError) as problem:
            if not exchange.is_ended:
                raise
            log.debug("the application left its ended event stream: %r", problem)
        finally:
            await exchange.leave()
            self._ledger.add(Cell.REQUESTS, -1)

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(send, self._streams, close_code=self._close_code)
        self._ledger.begin(Cell.WEBSOCKETS)
        try:
            await self._app(scope, receive, socket.send)
        except Exception as problem:
            if not socket.is_ended:
                raise
            log.debug("the application left its closed WebSocket: %r", problem)
        finally:
            socket.leave()
            self._ledger.add(Cell.WEBSOCKETS, -1)

    async def _probe(self) -> tuple[int, bytes]:
        asked = self._health.ask()
        if asked.futures:
            await asyncio.wait([asyncio.wrap_future(one) for one in asked.futures], timeout=asked.timeout_s)
        return self._health.answer(asked)

    async def _answer(self, scope: Scope, send: Send, status: int, body: bytes) -> None:
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        start: Message = {"type": "http.response.start", "status": status, "headers": headers}
        self._tell_to_close(scope, start)
        await send(start)
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _tell_to_close(self, scope: Scope, start: Message) -> None:
        """Close the connection behind an answer; HTTP/2 forbids the header, its servers send GOAWAY as they end."""
        if self._ledger.phase < Phase.CLOSING or not scope.get("http_version", "1.1").startswith("1"):
            return
        others = [(name, value) for name, value in start.get("headers", ()) if name.lower() != b"connection"]
        start["headers"] = [*others, (b"connection", b"close")]

    def _await(self, awaitable: Awaitable[object]) -> object:
        """Await on the application's loop, called from a thread beside it."""
        assert self._loop is not None

        async def whole() -> object:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(whole(), self._loop).result()
