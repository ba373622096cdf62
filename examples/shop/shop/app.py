"""The shop's pages. Every answer says which version and instance gave it."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from pathlib import Path
from types import FrameType
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from shop.faults import Behaviour, behaviour_of
from shop.orders import Orders

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

VERSION = os.environ.get("HITLESS_VERSION", "dev")
INSTANCE = os.environ.get("HITLESS_INSTANCE", str(os.getpid()))
EVENT_INTERVAL_S = 0.2
SHELVES = ("lamp", "chair", "kettle", "rug", "clock", "mirror")

data = os.environ.get("SHOP_DATA")
orders = Orders(Path(data) if data else None)


class Condition:
    """Whether this instance wants requests."""

    def __init__(self) -> None:
        self.is_warm = False
        self.is_draining = False

    @property
    def is_ready(self) -> bool:
        return self.is_warm and not self.is_draining

    def drain_at_sigterm(self) -> None:
        """Say "not ready" as soon as the end is announced; what else SIGTERM means stays the server's affair."""
        servers_own = signal.getsignal(signal.SIGTERM)

        def leave(number: int, frame: FrameType | None) -> None:
            self.is_draining = True
            if callable(servers_own):
                servers_own(number, frame)

        signal.signal(signal.SIGTERM, leave)

    async def warm_up(self, behaviour: Behaviour) -> None:
        if behaviour.crash_after_s is not None:
            asyncio.get_running_loop().call_later(behaviour.crash_after_s, os._exit, 1)
        if behaviour.warmup_s is not None:
            await asyncio.sleep(behaviour.warmup_s)
            self.is_warm = True


condition = Condition()
leaked: list[bytes] = []


async def leak(bytes_per_s: int) -> None:
    while bytes_per_s:
        leaked.append(os.urandom(bytes_per_s // 10))
        await asyncio.sleep(0.1)


def product(number: int) -> dict[str, object]:
    return {"id": number, "name": f"{SHELVES[number % len(SHELVES)]} {number}", "price_cents": 500 + number % 9_500}


async def list_products(_: Request) -> Response:
    return JSONResponse({"version": VERSION, "products": [product(number) for number in range(1, 13)]})


async def show_product(request: Request) -> Response:
    return JSONResponse({"version": VERSION, **product(request.path_params["number"])})


async def place_order(request: Request) -> Response:
    order = (await request.json())["id"]
    orders.execute(order, version=VERSION, instance=INSTANCE)
    return JSONResponse({"id": order, "version": VERSION}, status_code=201)


async def show_executions(request: Request) -> Response:
    counts = await asyncio.to_thread(orders.executions, request.query_params.get("prefix", ""))
    return JSONResponse({"executions": counts})


async def show_duplicates(request: Request) -> Response:
    counts = await asyncio.to_thread(orders.executions, request.query_params.get("prefix", ""))
    return JSONResponse({"duplicates": {order: times for order, times in counts.items() if times > 1}})


async def answer_slowly(request: Request) -> Response:
    await asyncio.sleep(min(float(request.query_params.get("seconds", "3")), 60.0))
    return JSONResponse({"version": VERSION, "id": request.query_params.get("id")})


async def count_upload(request: Request) -> Response:
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
    except ClientDisconnect:
        return Response(status_code=400)
    return JSONResponse({"version": VERSION, "id": request.query_params.get("id"), "bytes": size})


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        return


async def stream_events(request: Request) -> Response:
    interval_s = float(request.query_params.get("interval", EVENT_INTERVAL_S))

    async def events() -> AsyncIterator[str]:
        for number in itertools.count(1):
            yield f"id: {number}\ndata: {VERSION}\n\n"
            await asyncio.sleep(interval_s)

    return StreamingResponse(events(), media_type="text/event-stream", headers={"cache-control": "no-store"})


async def report_live(_: Request) -> Response:
    return JSONResponse({"status": "live"})


async def report_ready(_: Request) -> Response:
    status = "ready" if condition.is_ready else "draining" if condition.is_draining else "warming up"
    return JSONResponse({"status": status}, status_code=200 if condition.is_ready else 503)


class Signed:
    """Puts version and instance on every answer, and answers with the errors that this version is made to have."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], behaviour: Behaviour) -> None:
        self._app = app
        self._behaviour = behaviour
        self._asked = itertools.count(1)
        self._headers = [(b"x-version", VERSION.encode()), (b"x-instance", INSTANCE.encode())]
        self._tasks: list[asyncio.Task[None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_signed(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.accept"}:
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        if scope["type"] == "lifespan":
            condition.drain_at_sigterm()
            for task in (condition.warm_up(self._behaviour), leak(self._behaviour.leaks_bytes_per_s)):
                self._tasks.append(asyncio.create_task(task))
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and self._is_unlucky(scope["path"]):
            await Response("planted error", status_code=500)(scope, receive, send_signed)
        else:
            await self._app(scope, receive, send_signed)

    def _is_unlucky(self, path: str) -> bool:
        every = self._behaviour.error_every
        return bool(every) and not path.startswith("/health") and next(self._asked) % every == 0


app = Signed(
    Starlette(
        routes=[
            Route("/product/{number:int}", show_product),
            Route("/", list_products),
            Route("/orders", place_order, methods=["POST"]),
            Route("/orders/executions", show_executions),
            Route("/orders/duplicates", show_duplicates),
            Route("/slow", answer_slowly),
            Route("/upload", count_upload, methods=["POST"]),
            Route("/events", stream_events),
            WebSocketRoute("/ws", echo),
            Route("/health/live", report_live),
            Route("/health/ready", report_ready),
        ]
    ),
    behaviour_of(),
)
