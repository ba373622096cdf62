"""WSGI: open until `close`, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from wsgiref.validate import validator

import pytest
from lifecycle_support import board, call

from hitless.lifecycle import InFlight, WsgiLifecycle
from hitless.lifecycle.board import Board
from hitless.lifecycle.drain import Phase

__all__ = ["board"]
pytestmark = pytest.mark.usefixtures("board")
NOTHING = InFlight(requests=0, event_streams=0, websockets=0)


class Parts:
    """A body that notes that it was closed."""

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts

    def close(self) -> None:
        self.closed += 1


def answering(body: Any, content_type: str = "text/plain") -> Any:
    def application(_: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", content_type)])
        if isinstance(body, Exception):
            raise body
        return body

    return application


def test_an_answer_is_open_until_the_server_closes_it_and_so_is_the_applications_own() -> None:
    parts = Parts([b"a", b"b"])
    app = WsgiLifecycle(answering(parts))
    _, _, body = call(app)
    assert list(body) == [b"a", b"b"]
    assert app.in_flight == InFlight(requests=1, event_streams=0, websockets=0)
    for _ in range(2):
        body.close()  # type: ignore[attr-defined]  # PEP 3333: call it if it is there
    assert (app.in_flight, parts.closed) == (NOTHING, 1)


def test_an_answer_that_is_given_up_half_way_is_open_no_longer() -> None:
    parts = Parts([b"a", b"b"])
    app = WsgiLifecycle(answering(parts))
    _, _, body = call(app)
    next(iter(body))
    body.close()  # type: ignore[attr-defined]  # as above
    assert (app.in_flight, parts.closed) == (NOTHING, 1)


def test_an_application_that_raises_is_open_no_longer() -> None:
    app = WsgiLifecycle(answering(RuntimeError("bug")))
    with pytest.raises(RuntimeError, match="bug"):
        call(app)
    assert app.in_flight == NOTHING


def test_granian_gets_its_list_and_never_closes_it() -> None:
    app = WsgiLifecycle(answering([b"a"]))
    _, _, body = call(app, SERVER_SOFTWARE="Granian")
    assert (body, app.in_flight) == ([b"a"], NOTHING)


def test_an_event_stream_ends_between_two_events_with_a_retry(board: Board) -> None:
    app = WsgiLifecycle(answering(Parts([b"id: 1\n\n", b"id: ", b"2\n\n", b"id: 3\n\n"]), "text/event-stream"))
    _, _, body = call(app)
    assert app.in_flight == InFlight(requests=0, event_streams=1, websockets=0)
    events = iter(body)
    assert [next(events), next(events)] == [b"id: 1\n\n", b"id: "]
    board.phase = Phase.CUTTING
    assert list(events) == [b"2\n\n", b"retry: 1000\n\n"]
    body.close()  # type: ignore[attr-defined]  # as above
    assert app.in_flight == NOTHING


def test_each_server_closes_connections_in_its_own_way(board: Board) -> None:
    class GunicornResponse:
        closes = False

        def force_close(self) -> None:
            self.closes = True

        def start_response(self, _: str, headers: list[tuple[str, str]]) -> None:
            assert "Connection" not in dict(headers)

    board.phase = Phase.CLOSING
    app = WsgiLifecycle(answering([b"a"]))
    response = GunicornResponse()
    app({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, response.start_response)
    assert response.closes
    assert call(app, SERVER_SOFTWARE="Granian")[1]["Connection"] == "close"
    assert "Connection" not in call(app, SERVER_SOFTWARE="Granian", SERVER_PROTOCOL="HTTP/2")[1]
    assert "Connection" not in call(app)[1], "PEP 3333 forbids it"


@pytest.mark.parametrize("path", ["/", "/health/live", "/health/ready"])
def test_it_keeps_to_pep_3333(path: str, board: Board) -> None:
    board.phase = Phase.CLOSING
    app = WsgiLifecycle(validator(answering([b"a"])))
    environ = {
        "QUERY_STRING": "",
        "SCRIPT_NAME": "",
        "SERVER_NAME": "x",
        "SERVER_PORT": "80",
        "wsgi.version": (1, 0),
        "wsgi.input": _Input(),
        "wsgi.errors": _Errors(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.url_scheme": "http",
    }
    _, _, body = call(validator(app), path, **environ)
    list(body)
    body.close()  # type: ignore[attr-defined]  # as above
    assert app.in_flight == NOTHING


class _Input:
    read = readline = readlines = __iter__ = None


class _Errors:
    flush = write = writelines = None
