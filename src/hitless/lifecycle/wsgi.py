"""The middleware for WSGI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import wait
from typing import Any, Literal

from hitless.lifecycle.board import Cell, InFlight, Ledger, ledger
from hitless.lifecycle.drain import Phase
from hitless.lifecycle.health import OK, Check, Function, Health, State

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]
Headers = list[tuple[str, str]]

_LIVE = b'{"state": "live"}'
_STATUS_LINES = {OK: "200 OK", 503: "503 Service Unavailable"}


class WsgiLifecycle:
    """Wraps a WSGI application: answers probes, counts what is open, carries out a drain. It belongs outermost.

    Args:
        app: the application.
        warm_up, checks, live_path, ready_path, reconnect_ms, end_event_streams: as for `Lifecycle`. The warm-up begins
            when this object is made, beside the server's start. An event stream ends at its next event.
    """

    def __init__(
        self,
        app: WsgiApp,
        *,
        warm_up: Sequence[Function] = (),
        checks: Mapping[str, Function | Check] | None = None,
        live_path: str = "/health/live",
        ready_path: str = "/health/ready",
        reconnect_ms: int = 1_000,
        end_event_streams: Literal["deadline", "left"] = "deadline",
    ) -> None:
        self._app = app
        self._ledger = ledger()
        self._health = Health(warm_up=warm_up, checks=checks or {}, ledger=self._ledger, await_it=_await)
        self._live_path, self._ready_path = live_path, ready_path
        self._reconnect = b"retry: %d\n\n" % reconnect_ms
        self._end_events_at = Phase.CLOSING if end_event_streams == "left" else Phase.CUTTING
        self._health.begin()

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

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        self._health.begin()
        path = environ.get("PATH_INFO", "")
        if path == self._live_path:
            return self._answer(environ, start_response, OK, _LIVE)
        if path == self._ready_path:
            asked = self._health.ask()
            wait(asked.futures, timeout=asked.timeout_s)
            return self._answer(environ, start_response, *self._health.answer(asked))
        return self._serve(environ, start_response)

    def _serve(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        body = Body(self._ledger, ends_at=self._end_events_at, reconnect=self._reconnect)

        def start(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
            body.note(headers)
            return self._start(environ, start_response, status, headers, exc_info)

        try:
            return body.of(self._app(environ, start), environ)
        except BaseException:
            body.close()
            raise

    def _answer(self, environ: Environ, start_response: StartResponse, status: int, body: bytes) -> list[bytes]:
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        self._start(environ, start_response, _STATUS_LINES[status], headers, None)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def _start(
        self, environ: Environ, start_response: StartResponse, status: str, headers: Headers, exc_info: Any
    ) -> Callable[[bytes], object]:
        if self._ledger.phase >= Phase.CLOSING:
            headers = _told_to_close(environ, start_response, headers)
        return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)


class Body:
    """An answer under way: open from the call of the application to `close`, which servers call whatever happens."""

    def __init__(self, ledger: Ledger, *, ends_at: Phase, reconnect: bytes) -> None:
        self._ledger = ledger
        self._ends_at = ends_at
        self._reconnect = reconnect
        self._cell: Cell | None = Cell.REQUESTS
        self._parts: Iterable[bytes] = ()
        ledger.begin(Cell.REQUESTS)

    def note(self, headers: Headers) -> None:
        """Take in the answer's headers: they may say that it is a stream of events."""
        found = {name.lower(): value for name, value in headers}
        is_events = found.get("content-type", "").startswith("text/event-stream") and "content-encoding" not in found
        if is_events and self._cell is Cell.REQUESTS:
            self._ledger.add(Cell.EVENT_STREAMS, 1)
            self._ledger.add(Cell.REQUESTS, -1)
            self._cell = Cell.EVENT_STREAMS

    def of(self, parts: Iterable[bytes], environ: Environ) -> Iterable[bytes]:
        """Return the body that the server shall send."""
        self._parts = parts
        if isinstance(parts, list) and environ.get("SERVER_SOFTWARE") == "Granian":
            self.close()  # granian joins lists, and only lists; it never closes them
            return parts
        return self

    def __iter__(self) -> Iterator[bytes]:
        """Yield the parts; end a stream of events between two of them when it must."""
        last = b"\n\n"
        for part in self._parts:
            if self._must_end() and last.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")):
                yield self._reconnect
                return
            yield part
            last = (last + part)[-4:]

    def close(self) -> None:
        """Count it no longer, and let the application's own iterable go."""
        if self._cell is None:
            return
        cell, self._cell = self._cell, None
        self._ledger.add(cell, -1)
        close = getattr(self._parts, "close", None)
        if close is not None:
            close()

    def _must_end(self) -> bool:
        return self._cell is Cell.EVENT_STREAMS and self._ledger.phase >= self._ends_at


def _told_to_close(environ: Environ, start_response: StartResponse, headers: Headers) -> Headers:
    """Have the connection closed behind the answer.

    PEP 3333 forbids applications the header `Connection`, so each server has a way of its own: gunicorn's response
    object has a method, granian takes the header, and others close idle connections as they end.
    """
    force_close = getattr(getattr(start_response, "__self__", None), "force_close", None)
    if force_close is not None:
        force_close()
    elif environ.get("SERVER_SOFTWARE") == "Granian" and environ.get("SERVER_PROTOCOL", "").startswith("HTTP/1"):
        return [*headers, ("Connection", "close")]
    return headers


def _await(awaitable: Awaitable[object]) -> object:
    """Await in this thread, on a loop of its own."""

    async def whole() -> object:
        return await awaitable

    return asyncio.run(whole())
