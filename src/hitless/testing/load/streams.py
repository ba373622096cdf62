"""Clients that keep streams open as long as the load lasts: WebSockets and server-sent events.

Rules: a stream that ends before its client closes it is cut, and is opened again, so that the next cut is seen too.
Each echo and each event counts as an answer; an echo that does not come, or too long a silence, is a cut.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from hitless.testing.load.context import Context
from hitless.testing.load.dial import cause_of_no_connection
from hitless.testing.load.fate import CLOSED_BEFORE_RESPONSE, CUT_STREAM, GAP, OK, WRONG_BODY, Answer
from hitless.testing.load.flights import Flights
from hitless.testing.load.plan import Kind, StreamSpec

REOPEN_AFTER_S = 0.2
_GOODBYE_S = 2.0


class CutError(Exception):
    """The stream ended before its client closed it."""


@dataclass(slots=True, kw_only=True)
class StreamWire:
    """One stream's connection."""

    opened_at: float
    local_port: int | None = None
    version: str = ""


class StreamClient(ABC):
    """Keeps streams open."""

    def __init__(self, context: Context, kind: Kind, spec: StreamSpec) -> None:
        self.kind = kind
        self._context = context
        self._spec = spec
        self._loop = asyncio.get_running_loop()
        self._url = context.plan.url + spec.path
        self._tls = context.plan.tls.context("http/1.1") if context.plan.tls else True

    @abstractmethod
    async def live(self, session: aiohttp.ClientSession, wire: StreamWire) -> None:
        """Open a stream, use it until the load is over, close it.

        Raises:
            CutError: it ended before.
        """

    async def run(self, flights: Flights) -> None:
        """Keep all streams open until the load is over."""
        for _ in range(self._spec.streams):
            flights.launch(self._keep_one_open())

    def close(self) -> None:  # noqa: B027 - nothing is idle: a stream's connection ends with its stream
        """Close idle connections."""

    async def _keep_one_open(self) -> None:
        while not self._context.over.is_set():
            await self._open_once()
            await self._pause(REOPEN_AFTER_S)

    async def _open_once(self) -> None:
        wire = StreamWire(opened_at=self._loop.time())
        try:
            async with self._session(wire) as session:
                await self.live(session, wire)
        except CutError as problem:
            self._context.ledger.tally(self.kind).cut += 1
            self._settle(CUT_STREAM, wire, detail=str(problem))
        except (aiohttp.ClientError, OSError) as problem:  # it did not even open
            self._settle_unopened(problem, wire)

    def _note_opened(self, wire: StreamWire, name: tuple[str, int] | None) -> None:
        wire.local_port = name[1] if name else None
        self._context.ledger.tally(self.kind).opened += 1

    def _settle(self, cause: str, wire: StreamWire, *, latency_s: float | None = None, detail: str = "") -> None:
        header = (self._context.plan.version_header.lower().encode(), wire.version.encode())
        status = 200 if cause == OK else None
        headers = (header,) if wire.version else ()
        answer = Answer(cause=cause, status=status, headers=headers, wire=wire, detail=detail)
        self._context.ledger.settle(self.kind, answer, latency_s=latency_s)

    def _settle_unopened(self, problem: aiohttp.ClientError | OSError, wire: StreamWire) -> None:
        if isinstance(problem, aiohttp.ClientResponseError):
            cause = f"http_{problem.status}"
        elif isinstance(problem, aiohttp.ServerDisconnectedError):
            cause = CLOSED_BEFORE_RESPONSE
        else:
            reason = problem.os_error if isinstance(problem, aiohttp.ClientConnectorError) else problem
            cause = cause_of_no_connection(reason)
        self._settle(cause, wire, detail=str(problem))

    async def _pause(self, seconds: float) -> None:
        """Wait, at most until the load is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._context.over.wait()
        except TimeoutError:
            return

    @asynccontextmanager
    async def _session(self, wire: StreamWire) -> AsyncIterator[aiohttp.ClientSession]:
        """Open a session for a single stream; it notes the version as soon as the answer's headers are there."""

        async def note_version(_session: object, _context: object, params: aiohttp.TraceRequestEndParams) -> None:
            wire.version = params.response.headers.get(self._context.plan.version_header, "")

        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(note_version)
        timeout = aiohttp.ClientTimeout(
            total=None, connect=self._context.plan.connect_timeout_s, sock_read=self._spec.stall_s
        )
        headers = {"Host": self._context.plan.authority}
        connector = aiohttp.TCPConnector(ssl=self._tls, force_close=True)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, trace_configs=[trace], headers=headers, raise_for_status=True
        ) as session:
            yield session


class WebSocketClient(StreamClient):
    """Sends a number, waits for its echo, rests, and so on; the last echo, after the load, proves the stream whole."""

    async def live(self, session: aiohttp.ClientSession, wire: StreamWire) -> None:
        """Open a WebSocket, exchange echoes until the load is over, close it."""
        timeout = aiohttp.ClientWSTimeout(ws_close=_GOODBYE_S)
        async with session.ws_connect(self._url, timeout=timeout) as socket:
            self._note_opened(wire, socket.get_extra_info("sockname"))
            number = 0
            while not self._context.over.is_set():
                await self._pause(self._spec.interval_s)
                number += 1
                await self._exchange_echo(socket, f"{self._context.prefix}-{number}", wire)
        self._context.ledger.tally(self.kind).kept += 1

    async def _exchange_echo(self, socket: aiohttp.ClientWebSocketResponse, text: str, wire: StreamWire) -> None:
        due = self._loop.time()
        try:
            await socket.send_str(text)
            message = await socket.receive(timeout=self._spec.stall_s)
        except TimeoutError as problem:
            raise CutError(f"no echo for {self._spec.stall_s:g} s") from problem
        except (aiohttp.ClientError, OSError) as problem:
            raise CutError(f"close code {socket.close_code}: {problem}") from problem
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise CutError(f"close code {socket.close_code}")
        latency_s = self._loop.time() - due
        self._settle(OK if message.data == text else WRONG_BODY, wire, latency_s=latency_s)


class EventClient(StreamClient):
    """Reads numbered events (`id:` lines) and counts the numbers that are missing."""

    async def live(self, session: aiohttp.ClientSession, wire: StreamWire) -> None:
        """Open a stream, read events until the load is over, close it."""
        async with session.get(self._url, headers={"Accept": "text/event-stream"}) as response:
            transport = response.connection.transport if response.connection else None
            self._note_opened(wire, transport.get_extra_info("sockname") if transport else None)
            reading = asyncio.create_task(self._read(response.content, wire))
            over = asyncio.create_task(self._context.over.wait())
            try:
                await asyncio.wait({reading, over}, return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    raise CutError(reading.result())
            finally:
                reading.cancel()
                over.cancel()
        self._context.ledger.tally(self.kind).kept += 1

    async def _read(self, content: aiohttp.StreamReader, wire: StreamWire) -> str:
        """Read events until the stream ends; return how it ended."""
        last = None
        try:
            async for line in content:
                if line.startswith(b"id:"):
                    number = int(line[3:])
                    self._note_event(wire, missing=number - last - 1 if last is not None else 0)
                    last = number
        except TimeoutError:
            return f"no event for {self._spec.stall_s:g} s"
        except (aiohttp.ClientError, OSError) as problem:
            return str(problem) or type(problem).__name__
        return "ended by the server"

    def _note_event(self, wire: StreamWire, *, missing: int) -> None:
        self._settle(OK, wire)
        if missing:  # below zero: numbers came again
            detail = f"{missing} events missing" if missing > 0 else "events came again"
            self._context.ledger.count_beyond_requests(self.kind, GAP, times=abs(missing), detail=detail, wire=wire)
