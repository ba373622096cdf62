"""One HTTP/2 connection of the load generator, on h2's state machine.

h2 takes a GOAWAY for the end of the connection, while RFC 9113 (6.8) lets every stream up to the named last one go on.
So GOAWAY frames are read here and kept from h2, and the connection merely takes no new requests.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

from hitless.testing.load.dial import Dialer, NotConnectedError, local_port_of
from hitless.testing.load.fate import (
    CONNECT_FAILED,
    GOAWAY,
    OK,
    PROTOCOL_ERROR,
    RESET,
    TIMEOUT,
    UNPROCESSED,
    Answer,
    cause_of_lost_connection,
)

Headers = Sequence[tuple[bytes, bytes]]
_HEAD_BYTES = 9
_GOAWAY_TYPE = 0x07
_STREAM_ID_BITS = 0x7FFF_FFFF
_CONFIG = H2Configuration(client_side=True, header_encoding=None, validate_outbound_headers=False)


class GoawayFilter:
    """Takes GOAWAY frames out of a byte stream, wherever its chunks are cut."""

    def __init__(self) -> None:
        self._rest = b""

    def split(self, data: bytes) -> tuple[bytes, tuple[int, ...]]:
        """Return all other whole frames, and the last stream id of each GOAWAY."""
        data = self._rest + data
        kept, goaways, position = [], [], 0
        for start, end in _frames(data):
            position = end
            if data[start + 3] == _GOAWAY_TYPE:
                goaways.append(struct.unpack_from(">L", data, start + _HEAD_BYTES)[0] & _STREAM_ID_BITS)
            else:
                kept.append(data[start:end])
        self._rest = data[position:]
        return b"".join(kept), tuple(goaways)


@dataclass(slots=True)
class _Stream:
    asked: asyncio.Future[Answer]
    deadline: asyncio.TimerHandle
    headers: Headers = ()
    body: bytearray = field(default_factory=bytearray)


class Http2Connection(asyncio.Protocol):
    """Carries several requests at once."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._machine = H2Connection(_CONFIG)
        self._filter = GoawayFilter()
        self._transport: asyncio.Transport | None = None
        self._streams: dict[int, _Stream] = {}
        self._is_leaving = False
        self.opened_at = self._loop.time()
        self.local_port: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with the preface."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.opened_at = self._loop.time()
        self.local_port = local_port_of(transport)
        self._machine.initiate_connection()
        self._flush()

    @property
    def takes_requests(self) -> bool:
        """Whether it is open and the server has not asked to go elsewhere."""
        return not self._is_leaving and self._transport is not None and not self._transport.is_closing()

    @property
    def has_room(self) -> bool:
        """Whether the server allows one more stream now."""
        return len(self._streams) < self._machine.remote_settings.max_concurrent_streams

    async def ask(self, headers: Headers, *, timeout_s: float) -> Answer:
        """Send a request without a body; return its fate."""
        asked: asyncio.Future[Answer] = self._loop.create_future()
        if not self.takes_requests or not self.has_room:
            return Answer(cause=UNPROCESSED, wire=self, detail="no stream could be opened")
        number = self._machine.get_next_available_stream_id()
        deadline = self._loop.call_later(timeout_s, self._give_up, number, timeout_s)
        self._streams[number] = _Stream(asked, deadline)
        self._machine.send_headers(number, headers, end_stream=True)
        self._flush()
        return await asked

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Read frames."""
        kept, goaways = self._filter.split(data)
        try:
            events = self._machine.receive_data(kept) if kept else ()
        except ProtocolError as problem:
            self._end_all(PROTOCOL_ERROR, str(problem))
            return
        for event in events:
            _HANDLERS.get(type(event), _ignore)(self, event)
        for last_stream in goaways:
            self._leave(last_stream)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Judge what the end of the connection means for the requests under way."""
        self._transport = None
        detail = str(exc or "closed by the server")
        for number in tuple(self._streams):
            has_begun = bool(self._streams[number].headers)
            cause = GOAWAY if self._is_leaving else cause_of_lost_connection(exc, has_begun=has_begun)
            self._end(number, cause, detail)

    def _leave(self, last_stream: int) -> None:
        self._is_leaving = True
        for number in tuple(self._streams):
            if number > last_stream:
                self._end(number, UNPROCESSED, "above the last stream of GOAWAY")
        self._close_when_done()

    def _close_when_done(self) -> None:
        if self._is_leaving and not self._streams:
            self.close()

    def _give_up(self, number: int, timeout_s: float) -> None:
        self._machine.reset_stream(number, ErrorCodes.CANCEL)
        self._flush()
        self._end(number, TIMEOUT, f"{timeout_s:g} s")

    def _take_headers(self, event: ResponseReceived) -> None:
        if event.stream_id in self._streams:
            self._streams[event.stream_id].headers = event.headers

    def _take_data(self, event: DataReceived) -> None:
        self._machine.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if event.stream_id in self._streams:
            self._streams[event.stream_id].body += event.data

    def _take_end(self, event: StreamEnded) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        status = int(dict(stream.headers)[b":status"])
        answer = Answer(cause=OK, status=status, headers=stream.headers, body=bytes(stream.body), wire=self)
        self._settle(event.stream_id, answer)

    def _take_reset(self, event: StreamReset) -> None:
        code = event.error_code
        cause = UNPROCESSED if code == ErrorCodes.REFUSED_STREAM else RESET
        self._end(event.stream_id, cause, f"RST_STREAM {code!r}")

    def _end(self, number: int, cause: str, detail: str) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            self._settle(number, Answer(cause=cause, headers=stream.headers, wire=self, detail=detail))

    def _end_all(self, cause: str, detail: str) -> None:
        for number in tuple(self._streams):
            self._end(number, cause, detail)
        if self._transport is not None:
            self._transport.abort()

    def _settle(self, number: int, answer: Answer) -> None:
        stream = self._streams.pop(number)
        stream.deadline.cancel()
        if not stream.asked.done():  # one that was given up meanwhile has nobody to tell
            stream.asked.set_result(answer)
        self._close_when_done()

    def _flush(self) -> None:
        data = self._machine.data_to_send()
        if data and self._transport is not None:
            self._transport.write(data)


def _ignore(_connection: Http2Connection, _event: Event) -> None:
    """Let h2 alone answer settings, pings and window updates."""


_HANDLERS: Mapping[type[Event], Callable[[Http2Connection, Any], None]] = {
    ResponseReceived: Http2Connection._take_headers,  # noqa: SLF001 - the table belongs to the class, and needs it defined
    DataReceived: Http2Connection._take_data,  # noqa: SLF001 - as above
    StreamEnded: Http2Connection._take_end,  # noqa: SLF001 - as above
    StreamReset: Http2Connection._take_reset,  # noqa: SLF001 - as above
}


class Http2Pool:
    """Keeps `size` connections open and uses them in turn."""

    def __init__(self, dialer: Dialer, *, size: int) -> None:
        self._dialer = dialer
        self._open: list[Http2Connection | None] = [None] * size
        self._locks = [asyncio.Lock() for _ in range(size)]
        self._turn = 0

    async def take(self) -> Http2Connection:
        """Return a connection that takes requests.

        Raises:
            NotConnectedError: a new one was needed and did not open.
        """
        self._turn = (self._turn + 1) % len(self._open)
        place = self._turn
        connection = self._open[place]
        if connection is not None and connection.takes_requests:
            return connection
        async with self._locks[place]:
            connection = self._open[place]
            if connection is None or not connection.takes_requests:
                self._open[place] = connection = await self._connect()
            return connection

    def close(self) -> None:
        """Close all connections."""
        for connection in self._open:
            if connection is not None:
                connection.close()

    async def _connect(self) -> Http2Connection:
        connection = await self._dialer.connect(Http2Connection)
        tls = connection._transport.get_extra_info("ssl_object") if connection._transport else None  # noqa: SLF001 - its pool
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            connection.close()
            raise NotConnectedError(CONNECT_FAILED, f"the server chose {tls.selected_alpn_protocol()} by ALPN, not h2")
        return connection


def _frames(data: bytes) -> Iterator[tuple[int, int]]:
    start = 0
    while start + _HEAD_BYTES <= len(data):
        end = start + _HEAD_BYTES + int.from_bytes(data[start : start + 3])
        if end > len(data):
            return
        yield start, end
        start = end
