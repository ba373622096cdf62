"""HTTP/1.1, one connection at a time, with its moments: a client that never asks again in silence.

A client that repeats a request on a new connection hides exactly what a preflight looks for: connections that are
closed under a request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import h11

from hitless.rollout.spec import Address

_CHUNK_BYTES = 64 * 1024
_LONGEST_HEAD_BYTES = 256 * 1024  # h11's own 16 KiB is less than what browsers and Envoy take
_COOKIES: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a request got.

    Attributes:
        status: None = no whole answer, and `problem` says why.
        cookies: what it set, by name; an empty value takes a cookie away.
        keeps_open: another request may follow on the connection.
    """

    status: int | None
    problem: str | None = None
    cookies: Mapping[str, str] = field(default_factory=dict)
    keeps_open: bool = False


class Connection:
    """One connection to an instance.

    Attributes:
        path: of the request that is under way; None = none is.
        sent_s: when it was sent, monotonic.
    """

    def __init__(self, target: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.path: str | None = None
        self.sent_s = 0.0
        self._target = target
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD_BYTES)

    @classmethod
    async def open(cls, target: Address) -> Self:
        """Connect.

        Raises:
            OSError: nobody listens.
        """
        return cls(target, *await asyncio.open_connection(target.host, target.port))

    def close(self) -> None:
        """Close."""
        self._writer.transport.abort()

    async def get(self, path: str, *, cookies: Mapping[str, str] = _COOKIES) -> Reply:
        """Ask for a page and read all of it."""
        self.path, self.sent_s = path, time.monotonic()
        try:
            return await self._exchange(path, cookies)
        except (OSError, h11.ProtocolError) as fault:
            return Reply(status=None, problem=_words(fault))
        finally:
            self.path = None

    async def wait_for_close(self) -> None:
        """Return when the other side has closed the idle connection."""
        try:
            while await self._reader.read(_CHUNK_BYTES):
                pass  # an answer to nothing, such as the 408 of some servers, comes just before the end
        except OSError:
            return

    async def _exchange(self, path: str, cookies: Mapping[str, str]) -> Reply:
        headers = [("Host", str(self._target)), ("User-Agent", "hitless-preflight"), ("Accept", "*/*")]
        if cookies:
            headers.append(("Cookie", "; ".join(f"{name}={value}" for name, value in cookies.items())))
        self._send(h11.Request(method="GET", target=path, headers=headers))
        self._send(h11.EndOfMessage())
        await self._writer.drain()
        head: h11.Response | None = None
        while not isinstance(event := await self._next_event(), h11.EndOfMessage):
            head = event if isinstance(event, h11.Response) else head
        assert head is not None  # h11 gives no end of a message that it gave no head of
        if keeps_open := self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        return Reply(status=head.status_code, cookies=_cookies(head), keeps_open=keeps_open)

    def _send(self, event: h11.Request | h11.EndOfMessage) -> None:
        self._writer.write(self._http.send(event) or b"")

    async def _next_event(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(_CHUNK_BYTES))
        if isinstance(event, h11.ConnectionClosed):
            raise ConnectionError("connection closed without an answer")
        return event


async def get(target: Address, path: str, *, timeout_s: float, cookies: Mapping[str, str] = _COOKIES) -> Reply:
    """Ask for a page on a connection of its own."""
    connection: Connection | None = None
    try:
        async with asyncio.timeout(timeout_s):
            connection = await Connection.open(target)
            return await connection.get(path, cookies=cookies)
    except TimeoutError:
        return Reply(status=None, problem=f"no answer within {timeout_s:g} s")
    except OSError as fault:
        return Reply(status=None, problem=_words(fault))
    finally:
        if connection is not None:
            connection.close()


def _cookies(head: h11.Response) -> dict[str, str]:
    """Read what the answer sets; attributes are the browser's business."""
    pairs = (value.split(b";")[0].decode("latin-1") for name, value in head.headers if name == b"set-cookie")
    return {name.strip(): value.strip() for name, _, value in (pair.partition("=") for pair in pairs)}


def _words(fault: Exception) -> str:
    match fault:
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionResetError():
            return "connection reset"
        case _:
            return str(fault) or type(fault).__name__
