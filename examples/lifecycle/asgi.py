"""An ASGI application that drains: `python -m hitless.lifecycle uvicorn asgi:app`; `plain` is the same without."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from hitless.lifecycle import Check, Lifecycle

catalogue: dict[str, str] = {}


async def load_catalogue() -> None:
    await asyncio.sleep(0.1)
    catalogue["lamp"] = "a lamp"


def ask_warehouse() -> bool:
    return bool(catalogue)


async def show_product(request: Request) -> Response:
    await asyncio.sleep(0.005)
    return JSONResponse({"id": request.path_params["number"]})


async def place_order(request: Request) -> Response:
    return JSONResponse({"id": (await request.json())["id"]}, status_code=201)


async def answer_slowly(request: Request) -> Response:
    await asyncio.sleep(float(request.query_params["seconds"]))
    return JSONResponse({"id": request.query_params.get("id")})


async def stream_events(_: Request) -> Response:
    async def events() -> AsyncIterator[str]:
        for number in itertools.count(1):
            yield f"id: {number}\ndata: tick\n\n"
            await asyncio.sleep(0.1)

    return StreamingResponse(events(), media_type="text/event-stream")


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        return


async def report_ready(_: Request) -> Response:
    return JSONResponse({"status": "ready"})


plain = Starlette(
    routes=[
        Route("/product/{number}", show_product),
        Route("/orders", place_order, methods=["POST"]),
        Route("/slow", answer_slowly),
        Route("/events", stream_events),
        WebSocketRoute("/ws", echo),
        Route("/health/ready", report_ready, methods=["GET", "OPTIONS"]),
    ]
)

app = Lifecycle(
    plain,
    warm_up=[load_catalogue],
    checks={"warehouse": Check(run=ask_warehouse, timeout_s=0.5)},
)
