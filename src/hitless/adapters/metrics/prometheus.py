"""Asking a Prometheus, every few seconds: all queries at once and about one moment; with little patience.

What cannot be read is told once until it can be, with Prometheus's own words, and is missing: it is no zero, and holds
up nothing else.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from hitless.adapters.metrics.lumps import Counted, LumpMeter, NotAVector, read_vector
from hitless.analysis.counts import Call
from hitless.ports import Clock
from hitless.rollout.spec import PrometheusSpec, RatioSpec, Version

EVERY_S = 5
ANSWER_WITHIN_S = 4.0
MOST_BYTES = 4 * 1024 * 1024

_AT_ONCE = 16
_CHUNK_BYTES = 64 * 1024

Wanted = TypeVar("Wanted")
log = logging.getLogger("hitless")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Whom to ask for a service's ratios."""

    service: str
    prometheus: PrometheusSpec
    ratios: tuple[RatioSpec, ...]
    versions: frozenset[Version]


AskedLister = Callable[[], Awaitable[Sequence[Asked]]]


async def nobody_asked() -> Sequence[Asked]:
    """Return nobody: no service has a Prometheus."""
    return ()


def _is_same(asked: Asked, before: Asked | None) -> bool:
    return before is not None and (asked.prometheus, asked.ratios) == (before.prometheus, before.ratios)


class PrometheusReader:
    """Ratios of all services that a Prometheus tells."""

    def __init__(self, clock: Clock, asked: AskedLister) -> None:
        self._clock = clock
        self._asked = asked
        self._meters: defaultdict[str, LumpMeter] = defaultdict(LumpMeter)
        self._settings: dict[str, Asked] = {}
        self._session: aiohttp.ClientSession | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hitless-prometheus")
        self._asking: asyncio.Task[None] | None = None
        self._told: dict[tuple[str, str], str] = {}

    def start(self) -> None:
        """Begin to ask."""
        self._asking = asyncio.create_task(self._ask_forever(), name="prometheus")

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            with suppress(asyncio.CancelledError):
                await self._asking
            self._asking = None
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def tell(self, *, at: int) -> Mapping[str, tuple[Call, ...]]:
        """Return what is to be told in this second, by service."""
        return {service: calls for service, meter in self._meters.items() if (calls := meter.tell(at=at))}

    async def ask(self) -> None:
        """Ask once for everything."""
        asked = await self._asked()
        same = {one.service for one in asked if _is_same(one, self._settings.get(one.service))}
        for gone in set(self._meters) - same:  # what other queries have told is nothing to count from
            del self._meters[gone]
        self._settings = {one.service: one for one in asked}
        await asyncio.gather(*(self._ask(one) for one in asked))

    async def _ask_forever(self) -> None:
        while True:
            try:
                await self.ask()
            except Exception:
                log.exception("no Prometheus can be asked")
            await self._clock.sleep(EVERY_S)

    async def _ask(self, asked: Asked) -> None:
        at = int(self._clock.now().timestamp())
        queries = sorted({query for ratio in asked.ratios for query in ratio.parts.values()})
        found = await asyncio.gather(*(self._answer(asked, query, at) for query in queries))
        vectors = {query: one for query, one in zip(queries, found, strict=True) if one is not None}
        answers = {
            ratio.name: {part: vectors[query] for part, query in ratio.parts.items()}
            for ratio in asked.ratios
            if all(query in vectors for query in ratio.parts.values())
        }
        self._meters[asked.service].read(answers, versions=asked.versions, at=at)

    async def _answer(self, asked: Asked, query: str, at: int) -> tuple[Counted, ...] | None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                found = read_vector(
                    await self._document(asked.prometheus, query, at), version_label=asked.prometheus.version
                )
        except TimeoutError:
            self._tell(asked, query, f"no answer within {ANSWER_WITHIN_S:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self._tell(asked, query, str(error) or type(error).__name__)
        else:
            self._told.pop((asked.service, query), None)
            return found
        return None

    async def _document(self, spec: PrometheusSpec, query: str, at: int) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=_AT_ONCE))
        url, wanted = f"{spec.url}/api/v1/query", {"query": query, "time": str(at)}
        headers = await self._headers(spec)
        async with self._session.get(url, params=wanted, headers=headers, allow_redirects=False) as response:
            body = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                body += chunk
                if len(body) > MOST_BYTES:
                    raise NotAVector(f"the answer is longer than {MOST_BYTES >> 20} MiB")
        try:
            return await self._apart(partial(json.loads, body))
        except (ValueError, RecursionError):
            raise NotAVector(f"status {response.status}, and no JSON") from None

    async def _headers(self, spec: PrometheusSpec) -> dict[str, str]:
        if spec.token_file is None:
            return {}
        token = await self._apart(partial(Path(spec.token_file).read_text, "utf-8"))
        return {"authorization": f"Bearer {token.strip()}"}

    async def _apart(self, work: Callable[[], Wanted]) -> Wanted:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _tell(self, asked: Asked, query: str, reason: str) -> None:
        if self._told.get((asked.service, query)) != reason:
            self._told[asked.service, query] = reason
            names = " and ".join(one.name for one in asked.ratios if query in one.parts.values())
            log.warning(
                "%s: ratio %s cannot be read, `%s` at %s: %s", asked.service, names, query, asked.prometheus.url, reason
            )
