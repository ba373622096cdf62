"""What is open is counted, and told to end, as it should."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from lifecycle_support import Exchange, ask, board, http, until

from hitless.lifecycle import InFlight, Lifecycle
from hitless.lifecycle.board import Board
from hitless.lifecycle.drain import Phase

__all__ = ["board"]
NOTHING = InFlight(requests=0, event_streams=0, websockets=0)
EVENTS = [(b"content-type", b"text/event-stream"), (b"connection", b"keep-alive")]


class Application:
    """Begins an answer, goes on when it is told, and fails when it is told."""

    def __init__(self, headers: list[tuple[bytes, bytes]] | None = None, first: bytes = b"") -> None:
        self.go = asyncio.Event()
        self.problem: BaseException | None = None
        self.left: BaseException | None = None
        self._headers = headers or []
        self._first = first

    def fail(self) -> None:
        if self.problem:
            raise self.problem

    async def __call__(self, scope: Any, _: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": self._headers})
            await send({"type": "http.response.body", "body": self._first, "more_body": True})
        try:
            await self.go.wait()
            self.fail()
            await send({"type": "http.response.body", "body": b"end"})
        except BaseException as problem:
            self.left = problem
            raise


async def test_a_request_is_open_until_the_application_has_answered_whole() -> None:
    inner = Application()
    app = Lifecycle(inner)
    exchange = http(app)
    await until(lambda: exchange.sent)
    assert app.in_flight == InFlight(requests=1, event_streams=0, websockets=0)
    inner.go.set()
    await exchange.task
    assert app.in_flight == NOTHING


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("headers", [[], EVENTS], ids=["answer", "events"])
async def test_nothing_stays_counted_when_the_application_fails(kind: str, headers: list[tuple[bytes, bytes]]) -> None:
    inner = Application(headers)
    inner.problem = RuntimeError("bug")
    app = Lifecycle(inner)
    exchange = http(app, type=kind)
    await until(lambda: exchange.sent)
    inner.go.set()
    with pytest.raises(RuntimeError, match="bug"):
        await exchange.task
    assert app.in_flight == NOTHING


async def test_nothing_stays_counted_when_the_server_cancels_because_the_client_has_gone() -> None:
    app = Lifecycle(Application(EVENTS))
    exchange = http(app)
    await until(lambda: app.in_flight.event_streams)
    exchange.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange.task
    assert app.in_flight == NOTHING


async def test_lifespan_is_not_in_flight() -> None:
    app = Lifecycle(Application())
    lifespan = Exchange(app, {"type": "lifespan"})
    await asyncio.sleep(0.01)
    assert app.in_flight == NOTHING
    lifespan.task.cancel()


@pytest.mark.parametrize(
    ("phase", "version", "expected"),
    [
        (Phase.LEAVING, "1.1", None),
        (Phase.CLOSING, "1.1", b"close"),
        (Phase.CUTTING, "1.1", b"close"),
        (Phase.CLOSING, "2", None),
    ],
)
async def test_answers_close_their_connection_once_load_balancers_have_left(
    board: Board, phase: Phase, version: str, expected: bytes | None
) -> None:
    board.phase = phase
    inner = Application()
    inner.go.set()
    app = Lifecycle(inner)
    assert (await ask(app, http_version=version)).headers.get(b"connection") == expected
    assert (await ask(app, "/health/live", http_version=version)).headers.get(b"connection") == expected


async def test_an_event_stream_goes_on_until_the_deadline_and_is_told_to_come_again(board: Board) -> None:
    inner = Application(EVENTS, b"id: 1\ndata: x\n\n")
    app = Lifecycle(inner, reconnect_ms=250)
    exchange = http(app)
    await until(lambda: app.in_flight.event_streams)
    assert app.in_flight == InFlight(requests=0, event_streams=1, websockets=0)
    board.phase = Phase.CLOSING
    await asyncio.sleep(0.25)
    assert not exchange.task.done()
    board.phase = Phase.CUTTING
    await exchange.task
    assert exchange.sent[-1] == {"type": "http.response.body", "body": b"retry: 250\n\n", "more_body": False}
    assert isinstance(inner.left, asyncio.CancelledError)
    assert (app.in_flight, exchange.task.cancelling()) == (NOTHING, 0)


async def test_an_application_may_let_event_streams_go_as_soon_as_load_balancers_have_left(board: Board) -> None:
    app = Lifecycle(Application(EVENTS), end_event_streams="left")
    exchange = http(app)
    await until(lambda: app.in_flight.event_streams)
    board.phase = Phase.CLOSING
    await exchange.task
    assert exchange.body == b"retry: 1000\n\n"


@pytest.mark.parametrize(
    ("headers", "first"),
    [(EVENTS, b"id: 1\ndata: ha"), ([*EVENTS, (b"content-encoding", b"gzip")], b"id: 1\n\n")],
    ids=["amid an event", "compressed"],
)
async def test_a_torn_event_or_compressed_bytes_are_left_alone(
    board: Board, headers: list[tuple[bytes, bytes]], first: bytes
) -> None:
    app = Lifecycle(Application(headers, first))
    exchange = http(app)
    await until(lambda: app.in_flight.event_streams)
    board.phase = Phase.CUTTING
    await exchange.task
    assert exchange.sent[-1]["body"] == b""


async def test_an_ordinary_answer_is_not_cut_at_the_deadline(board: Board) -> None:
    inner = Application([(b"content-type", b"text/plain")])
    exchange = http(Lifecycle(inner))
    board.phase = Phase.CUTTING
    await asyncio.sleep(0.25)
    inner.go.set()
    await exchange.task
    assert exchange.body == b"end"


@pytest.mark.parametrize("code", [1012, 1001])
async def test_a_websocket_is_closed_at_the_deadline_and_not_before(board: Board, code: int) -> None:
    inner = Application()
    app = Lifecycle(inner, close_code=code)
    exchange = http(app, type="websocket")
    await until(lambda: exchange.sent)
    board.phase = Phase.CLOSING
    await asyncio.sleep(0.25)
    assert len(exchange.sent) == 1
    board.phase = Phase.CUTTING
    await until(lambda: len(exchange.sent) == 2)
    assert exchange.sent[-1] == {"type": "websocket.close", "code": code}
    assert app.in_flight.websockets == 1, "the application has not left yet"
    inner.go.set()
    await exchange.task
    assert isinstance(inner.left, OSError), "ASGI: send raises OSError once nobody listens"
    assert app.in_flight == NOTHING


async def test_a_client_that_reads_nothing_holds_up_nobody_elses_end(board: Board) -> None:
    app = Lifecycle(Application(EVENTS, b"data: 1\n\n"), end_event_streams="left")
    is_full = asyncio.Event()

    class Stalled(Exchange):
        async def send(self, message: dict[str, Any]) -> None:
            await super().send(message)
            if len(self.sent) > 2:  # as a server does whose buffer for the client is full
                is_full.set()
                await asyncio.Event().wait()

    stalled = Stalled(app, {"type": "http", "method": "GET", "path": "/", "headers": []})
    socket = Exchange(app, {"type": "websocket", "path": "/"})
    await until(lambda: app.in_flight == InFlight(requests=0, event_streams=1, websockets=1))
    board.phase = Phase.CLOSING
    await is_full.wait()
    assert socket.sent == [{"type": "websocket.accept"}]
    board.phase = Phase.CUTTING
    await until(lambda: socket.sent[-1] == {"type": "websocket.close", "code": 1012})
    assert not stalled.task.done()
    stalled.task.cancel()
    socket.task.cancel()
    await asyncio.wait([stalled.task, socket.task])


async def test_a_websocket_is_counted_until_its_application_leaves() -> None:
    inner = Application()
    inner.problem = asyncio.CancelledError()
    app = Lifecycle(inner)
    exchange = http(app, type="websocket")
    await until(lambda: app.in_flight.websockets)
    inner.go.set()
    with pytest.raises(asyncio.CancelledError):
        await exchange.task
    assert app.in_flight == NOTHING
