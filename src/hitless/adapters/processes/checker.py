from __future__ import annotations

import asyncio
import codecs
from collections.abc import Sequence

import aiohttp

from hitless.adapters.processes.http import open_session, problem, url_of
from hitless.ports import CheckResult
from hitless.rollout.spec import Address, CheckSpec

_BODY_LIMIT_BYTES = 1 << 20


class HttpChecker:
    """Asks synthetic checks over HTTP, each on a connection of its own; redirects are answers like others."""

    async def run(self, *, checks: Sequence[CheckSpec], targets: Sequence[Address]) -> tuple[CheckResult, ...]:
        """Ask every check of every target, all at once; one result per check, the first target's problem."""
        async with open_session() as session:
            return tuple(await asyncio.gather(*(_ask_everywhere(session, check, targets) for check in checks)))


async def _ask_everywhere(session: aiohttp.ClientSession, check: CheckSpec, targets: Sequence[Address]) -> CheckResult:
    if not targets:
        return CheckResult(check=check, problem=f"{check.path}: no instance to ask")
    found = await asyncio.gather(*(_ask(session, check, target) for target in targets))
    return CheckResult(check=check, problem=next((one for one in found if one is not None), None))


async def _ask(session: aiohttp.ClientSession, check: CheckSpec, target: Address) -> str | None:
    timeout = aiohttp.ClientTimeout(total=check.timeout_s)
    try:
        async with session.get(url_of(target, check.path), timeout=timeout, allow_redirects=False) as response:
            found = await _mismatch(check, response)
    except (aiohttp.ClientError, OSError, ValueError) as fault:
        found = problem(fault, timeout_s=check.timeout_s)
    return found and f"{target}{check.path}: {found}"


async def _mismatch(check: CheckSpec, response: aiohttp.ClientResponse) -> str | None:
    if response.status != check.status:
        return f"answered {response.status}, expected {check.status}"
    if check.contains is None:
        return None
    body = await _body(response)
    return None if check.contains in body else f"answered {response.status} without {check.contains!r} in the body"


async def _body(response: aiohttp.ClientResponse) -> str:
    received = bytearray()
    async for chunk in response.content.iter_any():
        received += chunk
        if len(received) >= _BODY_LIMIT_BYTES:
            break
    return received.decode(_charset(response), errors="replace")


def _charset(response: aiohttp.ClientResponse) -> str:
    """Return the charset that the answer names, if there is one of that name; UTF-8 otherwise."""
    try:
        return codecs.lookup(response.charset or "utf-8").name
    except LookupError:
        return "utf-8"
