from __future__ import annotations

import asyncio
import os

import aiohttp

from hitless.rollout.spec import Address


def open_session() -> aiohttp.ClientSession:
    """Open a client with a connection of its own for every request: a kept one hides that the listener is gone."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "hitless"},
    )


def url_of(target: Address, path: str) -> str:
    """Build the URL of `path` at `target`."""
    return f"http://{target}{path}"


def problem(fault: Exception, *, timeout_s: float) -> str:
    """Say why no answer came."""
    if isinstance(fault, asyncio.TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(fault, aiohttp.ClientConnectorError):
        number = fault.os_error.errno  # asyncio's own text repeats the address
        return str(fault.os_error) if number is None else os.strerror(number).lower()
    if isinstance(fault, aiohttp.ServerDisconnectedError):
        return "connection closed without an answer"
    return f"{type(fault).__name__}: {fault}"
