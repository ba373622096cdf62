"""Opens connections and names the reason when none opens."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TypeVar

from hitless.testing.load.fate import CONNECT_FAILED, CONNECT_REFUSED, CONNECT_TIMEOUT, RESET, Answer
from hitless.testing.load.plan import LoadPlan

_Protocol = TypeVar("_Protocol", bound=asyncio.Protocol)


class NotConnectedError(Exception):
    """No connection opened; `answer` is the request's fate."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.answer = Answer(cause=cause, detail=detail)


class Dialer:
    """Opens connections to a plan's target."""

    def __init__(self, plan: LoadPlan, *protocols: str) -> None:
        self._plan = plan
        self._context: ssl.SSLContext | None = plan.tls.context(*protocols) if plan.tls else None
        self._server_name = (plan.tls.server_name or plan.target.host) if plan.tls else None

    async def connect(self, factory: Callable[[], _Protocol]) -> _Protocol:
        """Open a connection.

        Raises:
            NotConnectedError: refused, reset, timed out, or TLS failed.
        """
        target = self._plan.target
        try:
            async with asyncio.timeout(self._plan.connect_timeout_s):
                _, protocol = await asyncio.get_running_loop().create_connection(
                    factory, target.host, target.port, ssl=self._context, server_hostname=self._server_name
                )
        except OSError as problem:  # ssl.SSLError and TimeoutError are among them
            raise NotConnectedError(
                cause_of_no_connection(problem), str(problem) or type(problem).__name__
            ) from problem
        return protocol


def cause_of_no_connection(problem: BaseException) -> str:
    """Name why a connection did not open."""
    if isinstance(problem, ConnectionRefusedError):
        return CONNECT_REFUSED
    if isinstance(problem, ConnectionResetError):
        return RESET
    return CONNECT_TIMEOUT if isinstance(problem, TimeoutError) else CONNECT_FAILED


def local_port_of(transport: asyncio.BaseTransport | None) -> int | None:
    """Return the client's own port of an open connection."""
    name = transport.get_extra_info("sockname") if transport else None
    return name[1] if name else None
