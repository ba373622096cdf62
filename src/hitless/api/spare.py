"""An answer for a client when the control plane cannot open one more descriptor.

Accepting a connection takes a descriptor; asyncio can only log that there is none and try again, while the client waits
and learns nothing. So one is kept in reserve: it is given up for the moment in which the client is told the cause.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hitless.system_faults import DescriptorsSpent
from hitless.view.problem import problem_of

_SPENT = frozenset({errno.EMFILE, errno.ENFILE})
_REQUEST_WITHIN_S = 0.01  # nobody may hold up the loop
_REQUEST_BYTES = 65_536
_CLIENTS_AT_ONCE = 16


class Spare:
    """One descriptor in reserve."""

    def __init__(self) -> None:
        self._descriptor: int | None = None

    @contextmanager
    def answering(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Answer clients of every server of `loop` that cannot be accepted."""
        before = loop.get_exception_handler()
        self._take()

        def handle(running: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            fault = context.get("exception")
            if isinstance(fault, OSError) and fault.errno in _SPENT and "socket" in context:
                self._answer(context["socket"])
            elif before is not None:
                before(running, context)
            else:
                running.default_exception_handler(context)

        loop.set_exception_handler(handle)
        try:
            yield
        finally:
            loop.set_exception_handler(before)
            self._give_up()

    def _answer(self, server: Any) -> None:
        self._give_up()
        try:
            for client in _waiting_clients(server):
                client.settimeout(_REQUEST_WITHIN_S)
                with client, contextlib.suppress(OSError):  # it went away: no matter
                    with contextlib.suppress(TimeoutError):  # whatever it asks for, the answer is the same
                        client.recv(_REQUEST_BYTES)
                    client.sendall(_response())
        finally:
            self._take()

    def _take(self) -> None:
        if self._descriptor is None:
            with contextlib.suppress(OSError):  # none left for the reserve either: the next answer tries again
                self._descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _give_up(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _waiting_clients(server: Any) -> Iterator[socket.socket]:
    """Accept those who wait, one after the other; asyncio tries again only after a second."""
    listening = socket.socket(fileno=server.fileno())  # asyncio's wrapper of it does not accept
    try:
        for _ in range(_CLIENTS_AT_ONCE):
            yield listening.accept()[0]
    except OSError:
        return  # nobody waits any more, or somebody else took the descriptor
    finally:
        listening.detach()


def _response() -> bytes:
    fault = DescriptorsSpent()
    body = json.dumps(problem_of(fault)).encode()
    head = f"HTTP/1.1 {fault.http_status} Service Unavailable\r\ncontent-type: application/problem+json\r\n"
    return f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body
