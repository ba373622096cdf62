"""One HTTP/1.1 connection of the load generator, on h11's state machine.

h11 and not a ready client: a client library asks an idempotent request again when a reused connection ends under it,
which is just the failure that must be counted, and it does not say how old the connection was and which port it had.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import h11

from hitless.testing.load.dial import Dialer, local_port_of
from hitless.testing.load.fate import OK, PROTOCOL_ERROR, TIMEOUT, Answer, cause_of_lost_connection

CHUNK_BYTES = 65_536


class Http1Connection(asyncio.Protocol):
    """Carries one request at a time; counts nothing and asks nothing twice."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._machine = h11.Connection(h11.CLIENT)
        self._transport: asyncio.Transport | None = None
        self._asked: asyncio.Future[Answer] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._response: h11.Response | None = None
        self._body = bytearray()
        self.opened_at = self._loop.time()
        self.local_port: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.opened_at = self._loop.time()
        self.local_port = local_port_of(transport)

    @property
    def is_reusable(self) -> bool:
        """Whether the next request may use it: open, and neither side has announced its end."""
        is_open = self._transport is not None and not self._transport.is_closing()
        return is_open and self._asked is None and self._machine.our_state is h11.IDLE

    async def ask(self, request: h11.Request, *, timeout_s: float, body: bytes = b"") -> Answer:
        """Send a request whole; return its fate."""
        answer = self.begin(request, timeout_s=timeout_s)
        if body:
            self.send(h11.Data(data=body))
        self.send(h11.EndOfMessage())
        return await answer

    def begin(self, request: h11.Request, *, timeout_s: float) -> asyncio.Future[Answer]:
        """Send a request's head; the future becomes its fate."""
        self._asked = self._loop.create_future()
        self._response = None
        self._body.clear()
        self._deadline = self._loop.call_later(timeout_s, self._end, TIMEOUT, f"{timeout_s:g} s")
        self.send(request)
        return self._asked

    def send(self, event: h11.Event) -> None:
        """Send a part of the request; nothing once its fate is known."""
        if self._asked is not None and self._transport is not None:
            self._transport.write(self._machine.send(event) or b"")

    def close(self) -> None:
        """Close the connection; a request under way is given up."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Read a part of an answer."""
        try:
            self._machine.receive_data(data)
            self._read_events()
        except h11.RemoteProtocolError as problem:
            self._end(PROTOCOL_ERROR, str(problem))

    def connection_lost(self, exc: Exception | None) -> None:
        """Judge what the end of the connection means for the request under way."""
        self._transport = None
        if self._asked is not None and not (exc is None and self._ends_with_the_connection()):
            has_begun = self._response is not None
            self._end(cause_of_lost_connection(exc, has_begun=has_begun), str(exc or "closed by the server"))

    def _read_events(self) -> None:
        while True:
            event = self._machine.next_event()
            if isinstance(event, h11.Response):
                self._response = event
            elif isinstance(event, h11.Data):
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage):
                self._complete()
                return
            elif not isinstance(event, h11.InformationalResponse):
                return

    def _ends_with_the_connection(self) -> bool:
        """Whether the answer had no other end than the connection's (RFC 9112, 6.3), and so is whole now."""
        try:
            self._machine.receive_data(b"")
            self._read_events()
        except h11.RemoteProtocolError:  # it announced more than it sent: truncated, as the caller says
            return False
        return self._asked is None

    def _complete(self) -> None:
        response, asked = self._response, self._asked
        if response is None or asked is None:  # an answer that nobody asked for
            self.close()
            return
        self._asked = None
        self._stop_clock()
        if self._machine.our_state is h11.DONE and self._machine.their_state is h11.DONE:
            self._machine.start_next_cycle()
        else:
            self.close()
        headers: Sequence[tuple[bytes, bytes]] = list(response.headers)
        answer = Answer(cause=OK, status=response.status_code, headers=headers, body=bytes(self._body), wire=self)
        _tell(asked, answer)

    def _end(self, cause: str, detail: str) -> None:
        asked, self._asked = self._asked, None
        self._stop_clock()
        if self._transport is not None:
            self._transport.abort()
        if asked is not None:
            status = self._response.status_code if self._response else None
            headers = list(self._response.headers) if self._response else ()
            _tell(asked, Answer(cause=cause, status=status, headers=headers, wire=self, detail=detail))

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Http1Pool:
    """Keeps up to `size` connections open and uses them in turn; its caller has at most `size` requests under way.

    In turn, not the last one first: every connection is used, so each of them meets whatever happens to connections.
    """

    def __init__(self, dialer: Dialer, *, size: int) -> None:
        self._dialer = dialer
        self._size = size
        self._idle: list[Http1Connection] = []
        self._busy = 0

    async def take(self) -> Http1Connection:
        """Return a connection for one request.

        Raises:
            NotConnectedError: a new one was needed and did not open.
        """
        self._busy += 1
        self._idle = [connection for connection in self._idle if connection.is_reusable]
        if self._idle and len(self._idle) + self._busy > self._size:
            return self._idle.pop(0)
        try:
            return await self._dialer.connect(Http1Connection)
        except BaseException:
            self._busy -= 1
            raise

    def give_back(self, connection: Http1Connection) -> None:
        """Take a connection back; one that cannot be used again is closed."""
        self._busy -= 1
        if connection.is_reusable:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close what is idle."""
        for connection in self._idle:
            connection.close()


def _tell(asked: asyncio.Future[Answer], answer: Answer) -> None:
    if not asked.done():  # a request that was given up meanwhile has nobody to tell
        asked.set_result(answer)
