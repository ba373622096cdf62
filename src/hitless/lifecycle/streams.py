"""Event streams and WebSockets: what stays open for long, and is told to come again when it must end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from hitless.lifecycle.board import Cell, Ledger
from hitless.lifecycle.drain import Phase
from hitless.lifecycle.health import log

_LOOK_EVERY_S = 0.1
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


class EndedError(OSError):
    """The drain has ended this stream; ASGI wants an OSError from `send` once nobody listens any more."""

    def __init__(self) -> None:
        super().__init__("ended by the drain of this instance")


class Stream(Protocol):
    """Something open for long."""

    @property
    def ends_at(self) -> Phase:
        """The phase of the drain in which it is ended."""

    async def end(self) -> None:
        """Tell the client to come again."""


class OpenStreams:
    """The streams of this process; while there are any, a task looks whether they must end."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._open: set[Stream] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None

    def add(self, stream: Stream) -> None:
        """Take in a stream."""
        self._open.add(stream)
        if self._watch is None or self._watch.done():
            self._watch = asyncio.get_running_loop().create_task(self._end_in_time())

    def discard(self, stream: Stream) -> None:
        """Let a stream go, if it was taken in."""
        self._open.discard(stream)

    async def _end_in_time(self) -> None:
        while self._open:
            phase = self.ledger.phase
            for stream in [one for one in self._open if phase >= one.ends_at]:
                self._open.discard(stream)
                ending = asyncio.create_task(
                    _end(stream)
                )  # alone: a client that reads nothing holds up none but itself
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)
            await asyncio.sleep(_LOOK_EVERY_S)


async def _end(stream: Stream) -> None:
    try:
        await stream.end()
    except Exception as problem:  # noqa: BLE001 - whatever the server raises when its client has gone
        log.debug("a stream could not be told to come again, its client has gone: %r", problem)


class EventStream:
    """An answer, which may turn out to be a stream of events."""

    def __init__(self, send: Send, streams: OpenStreams, *, ends_at: Phase, reconnect_ms: int) -> None:
        self.ends_at = ends_at
        self.is_ended = False
        self._send = send
        self._streams = streams
        self._reconnect = b"retry: %d\n\n" % reconnect_ms
        self._is_stream = False
        self._is_encoded = False
        self._tail = b""
        self._task: asyncio.Task[Any] | None = None
        self._is_cancelled = False

    async def send(self, message: Message) -> None:
        """Pass a message on.

        Raises:
            EndedError: the drain has ended the stream.
        """
        if self.is_ended:
            raise EndedError
        if message["type"] == "http.response.start" and _is_event_stream(message):
            self._enter(message)
        elif self._is_stream:
            self._tail = (self._tail + message.get("body", b""))[-4:]
        await self._send(message)

    async def end(self) -> None:
        """Tell the client when to come again, end the answer, and stop whatever feeds it."""
        self.is_ended = True
        last = self._reconnect if self._is_between_events() else b""
        await self._send({"type": "http.response.body", "body": last, "more_body": False})
        if self._task is not None:  # none under servers that run applications outside of tasks, or when it has left
            self._is_cancelled = True
            self._task.cancel()

    async def leave(self) -> None:
        """Count it no longer, and take back the cancellation: it was for the application, not for the server's task."""
        if self._is_stream:
            self._streams.discard(self)
            self._count(-1)
        task, self._task = self._task, None
        if self._is_cancelled and task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)  # where it is delivered if the application ended before
            task.uncancel()

    def _enter(self, message: Message) -> None:
        self._is_stream = True
        self._is_encoded = any(name.lower() == b"content-encoding" for name, _ in message["headers"])
        self._task = asyncio.current_task()
        self._streams.add(self)
        self._count(1)

    def _count(self, change: int) -> None:
        self._streams.ledger.add(Cell.EVENT_STREAMS, change)
        self._streams.ledger.add(Cell.REQUESTS, -change)

    def _is_between_events(self) -> bool:
        """Whether a field can be added: not amid an event, which would be delivered torn, nor amid compressed bytes."""
        return not self._is_encoded and (not self._tail or self._tail.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")))


class WebSocket:
    """A WebSocket."""

    ends_at = Phase.CUTTING

    def __init__(self, send: Send, streams: OpenStreams, *, close_code: int) -> None:
        self._send = send
        self._streams = streams
        self._close_code = close_code
        self.is_ended = False

    async def send(self, message: Message) -> None:
        """Pass a message on.

        Raises:
            EndedError: the drain has closed the WebSocket.
        """
        if self.is_ended:
            raise EndedError
        if message["type"] == "websocket.accept":
            self._streams.add(self)
        elif message["type"] == "websocket.close":
            self._streams.discard(self)
        await self._send(message)

    async def end(self) -> None:
        """Close it; the application sees a disconnect, as from any client that leaves."""
        self.is_ended = True
        await self._send({"type": "websocket.close", "code": self._close_code})

    def leave(self) -> None:
        """Forget it."""
        self._streams.discard(self)


def _is_event_stream(start: Message) -> bool:
    headers = {name.lower(): value for name, value in start.get("headers", ())}
    return headers.get(b"content-type", b"").startswith(b"text/event-stream") and b"content-length" not in headers
