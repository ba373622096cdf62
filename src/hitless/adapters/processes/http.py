from __future__ import annotations

import asyncio
import errno
import os

import aiohttp

from hitless.adapters.processes.health import Answer
from hitless.rollout.spec import Address

_EXCERPT_BYTES = 120
_SPENT_HERE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
_SUCCESS = range(200, 300)


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


async def ask(session: aiohttp.ClientSession, url: str, *, timeout_s: float) -> Answer:
    """Ask once whether `url` answers 2xx; redirects are not followed, a missing answer is a failed one."""
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with session.get(url, timeout=timeout, allow_redirects=False) as response:
            if response.status in _SUCCESS:
                return Answer(passed=True, detail=str(response.status))
            return Answer(passed=False, detail=await _describe(response))
    except (aiohttp.ClientError, OSError, ValueError) as fault:
        return Answer(passed=False, detail=problem(fault, timeout_s=timeout_s), is_ours=_is_ours(fault))


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


def _is_ours(fault: Exception) -> bool:
    known = fault.os_error if isinstance(fault, aiohttp.ClientConnectorError) else fault
    return isinstance(known, OSError) and known.errno in _SPENT_HERE


async def _describe(response: aiohttp.ClientResponse) -> str:
    if "Location" in response.headers:
        return f"{response.status} to {response.headers['Location']}"
    body = " ".join((await response.content.read(_EXCERPT_BYTES)).decode(errors="replace").split())
    return f"{response.status}: {body}" if body else f"{response.status} {response.reason or ''}".rstrip()
