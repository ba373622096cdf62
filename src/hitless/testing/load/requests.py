"""Clients that send single requests in an open loop."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

import h11

from hitless.testing.load.context import Context
from hitless.testing.load.dial import Dialer, NotConnectedError
from hitless.testing.load.fate import GOAWAY, TIMEOUT, UNPROCESSED, Answer
from hitless.testing.load.flights import Flights
from hitless.testing.load.http1 import Http1Connection, Http1Pool
from hitless.testing.load.http2 import Http2Pool
from hitless.testing.load.pace import pace
from hitless.testing.load.plan import ID, Http2Spec, Kind, PostSpec, RequestSpec, UploadSpec

MAX_MOVES = 3
_UPLOAD_CHUNKS = 20


class RequestClient(ABC):
    """Launches a request whenever one is due, and settles its fate. `room` is the most at once."""

    def __init__(self, context: Context, kind: Kind, spec: RequestSpec, *, room: int) -> None:
        self.kind = kind
        self._context = context
        self._spec = spec
        self._room = asyncio.Semaphore(room)
        self._loop = asyncio.get_running_loop()

    @abstractmethod
    async def ask(self, name: str) -> Answer:
        """Send the request `name`; return its fate.

        Raises:
            NotConnectedError: no connection opened.
        """

    @abstractmethod
    def close(self) -> None:
        """Close idle connections."""

    async def run(self, flights: Flights) -> None:
        """Launch requests until the load is over."""

        def launch(due: float) -> bool:
            name = self._context.next_id()
            if name is not None:
                flights.launch(self.fly(due, name))
            return name is not None

        start, until = self._context.started_at, self._context.until
        await pace(rate_rps=self._spec.rate_rps, start=start, until=until, launch=launch)

    async def fly(self, due: float, name: str) -> None:
        """Carry one request out, from the moment it was due to its fate."""
        await self.carry_out(due, name)

    async def carry_out(self, due: float, name: str) -> tuple[Answer, str | None]:
        """Wait for room, ask, settle; return the answer and the version that gave it if it was good."""
        launched_at = self._loop.time()
        is_sent = False
        try:
            async with self._room:
                self._require_open()
                self._note_delays(due, launched_at)
                is_sent = True
                answer = await self._ask_or_fail(name)
        except asyncio.CancelledError:
            self._abandon(is_sent=is_sent)
            raise
        return answer, self.settle(due, name, answer)

    def settle(self, due: float, name: str, answer: Answer) -> str | None:
        """Count the fate; return the version of a good answer."""
        expected = name.encode() if self.expects_id else None
        latency_s = self._loop.time() - due
        return self._context.ledger.settle(self.kind, answer, latency_s=latency_s, expected=expected)

    @property
    def expects_id(self) -> bool:
        """Whether the answer must contain the request's id."""
        return ID in self._spec.path

    async def _ask_or_fail(self, name: str) -> Answer:
        try:
            return await self.ask(name)
        except NotConnectedError as problem:
            return problem.answer

    def _require_open(self) -> None:
        if self._context.is_closed:
            raise asyncio.CancelledError

    def _note_delays(self, due: float, launched_at: float) -> None:
        limit_s = self._context.plan.late_after_s
        tally = self._context.ledger.tally(self.kind)
        tally.late += launched_at - due > limit_s
        tally.queued += self._loop.time() - launched_at > limit_s

    def _abandon(self, *, is_sent: bool) -> None:
        if is_sent:
            answer = Answer(cause=TIMEOUT, detail="still unanswered when the load's own time was up")
            self._context.ledger.settle(self.kind, answer, latency_s=None)
        else:
            self._context.ledger.tally(self.kind).unsent += 1


class Http1Client(RequestClient):
    """HTTP/1.1 over kept connections, or over a new one each time."""

    method = "GET"

    def __init__(self, context: Context, kind: Kind, spec: RequestSpec, *, room: int | None = None) -> None:
        super().__init__(context, kind, spec, room=room or spec.connections)
        self._pool = Http1Pool(Dialer(context.plan, "http/1.1"), size=spec.connections)
        self._headers = h11.Request(
            method="GET", target="/", headers=self.headers()
        ).headers  # checked once, not each time

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers of every request."""
        ending = [("connection", "close")] if self.kind is Kind.CLOSE else []
        return [("host", self._context.plan.authority), ("user-agent", "hitless-load"), ("accept", "*/*"), *ending]

    def body(self, name: str) -> bytes:  # noqa: ARG002 - for those that have one
        """Return the body of the request `name`."""
        return b""

    async def ask(self, name: str) -> Answer:
        """Send the request `name`; return its fate."""
        return await self.ask_with(name, self._headers)

    async def ask_with(self, name: str, headers: Sequence[tuple[bytes, bytes]]) -> Answer:
        """Send the request `name` with these headers."""
        # h11 takes its own Headers without checking them again; its annotation names lists alone.
        request = h11.Request(method=self.method, target=self._spec.path.replace(ID, name), headers=headers)  # type: ignore[arg-type]
        connection = await self._pool.take()
        try:
            return await self.converse(connection, request, name)
        finally:
            self._pool.give_back(connection)

    async def converse(self, connection: Http1Connection, request: h11.Request, name: str) -> Answer:
        """Send the request over this connection; return its fate."""
        return await connection.ask(request, timeout_s=self._spec.timeout_s, body=self.body(name))

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()


class PostClient(Http1Client):
    """POSTs with unique ids; remembers which ones were acknowledged."""

    method = "POST"

    def __init__(self, context: Context, kind: Kind, spec: PostSpec) -> None:
        self._post = spec
        self.acknowledged: set[str] = set()
        self.executions_path = spec.executions_path
        super().__init__(context, kind, spec)

    @property
    def expects_id(self) -> bool:
        """Whether the answer must contain the request's id."""
        return ID in self._post.body or ID in self._post.path

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers of every request."""
        size = len(self.body(self._context.prefix + "0" * 9))  # ids are all of one length
        return [*super().headers(), ("content-type", self._post.content_type), ("content-length", str(size))]

    def body(self, name: str) -> bytes:
        """Return the body of the request `name`."""
        return self._post.body.replace(ID, name).encode()

    def settle(self, due: float, name: str, answer: Answer) -> str | None:
        """Count the fate; remember what was acknowledged."""
        version = super().settle(due, name, answer)
        if version is not None:
            self.acknowledged.add(name)
        return version


class UploadClient(Http1Client):
    """POSTs whose bodies take their time."""

    method = "POST"

    def __init__(self, context: Context, kind: Kind, spec: UploadSpec) -> None:
        self._upload = spec
        super().__init__(context, kind, spec)

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers of every request."""
        return [*super().headers(), ("content-length", str(self._upload.size_bytes))]

    async def converse(
        self,
        connection: Http1Connection,
        request: h11.Request,
        name: str,  # noqa: ARG002 - every body is the same
    ) -> Answer:
        """Send the request and, bit by bit, its body; return its fate."""
        asked = connection.begin(request, timeout_s=self._upload.timeout_s)
        for size in _chunks(self._upload.size_bytes):
            if asked.done():  # the server answered early; the rest of the body interests nobody
                break
            connection.send(h11.Data(data=b"x" * size))
            await asyncio.sleep(self._upload.upload_s / _UPLOAD_CHUNKS)
        connection.send(h11.EndOfMessage())
        return await asked


class Http2Client(RequestClient):
    """HTTP/2 by prior knowledge, or by ALPN over TLS."""

    def __init__(self, context: Context, kind: Kind, spec: Http2Spec) -> None:
        super().__init__(context, kind, spec, room=spec.connections * spec.streams)
        self._pool = Http2Pool(Dialer(context.plan, "h2"), size=spec.connections)
        scheme = b"https" if context.plan.tls else b"http"
        self._headers = [
            (b":method", b"GET"),
            (b":scheme", scheme),
            (b":authority", context.plan.authority.encode()),
            (b"user-agent", b"hitless-load"),
        ]

    async def ask(self, name: str) -> Answer:
        """Send the request `name`, elsewhere if the server says it did not look at it; return its fate."""
        path = self._spec.path.replace(ID, name).encode()
        for move in range(MAX_MOVES + 1):
            self._context.ledger.tally(self.kind).moved += move > 0
            connection = await self._pool.take()
            answer = await connection.ask(
                [*self._headers[:3], (b":path", path), *self._headers[3:]], timeout_s=self._spec.timeout_s
            )
            if answer.cause != UNPROCESSED:
                return answer
        return Answer(cause=GOAWAY, wire=answer.wire, detail=f"moved {MAX_MOVES} times; {answer.detail}")

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()


def _chunks(size_bytes: int) -> list[int]:
    each, rest = divmod(size_bytes, _UPLOAD_CHUNKS)
    return [size for size in (*[each] * (_UPLOAD_CHUNKS - 1), each + rest) if size]
