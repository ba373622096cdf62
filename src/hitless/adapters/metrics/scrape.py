"""Asking instances for their figures: each once a second, with little patience, and never more than they should say.

Only so many are asked at once. Whoever had a turn and did not answer gets the next one after all who did, the one that
has waited longest first: many that hang keep nobody else from being read, and are found out when they answer again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import aiohttp

from hitless.adapters.metrics.calls import Reading
from hitless.adapters.metrics.exposition import NotExposition
from hitless.adapters.metrics.wanted import Figures, parse_figures
from hitless.rollout.spec import Address, InstanceId, MetricsSpec, Region, Version

ANSWER_WITHIN_S = 0.8
MOST_BYTES = 4 * 1024 * 1024
MISSING_AFTER = 10
"""So many answers of a version may lack what is wanted before that is told: some counters come with their first use."""

_AT_ONCE = 64
_OK = 200
_CHUNK_BYTES = 64 * 1024
_ACCEPT = "text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;q=0.9"

log = logging.getLogger("hitless")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An instance that is ready, where it tells its figures, and what is wanted of them."""

    service: str
    instance: InstanceId
    region: Region
    version: Version
    address: Address
    path: str
    wanted: MetricsSpec = MetricsSpec()


class Scraper:
    """Asks instances; what cannot be read is told once per instance, until it can be read again."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        # one of its own: in the loop's threads, the store's commits wait
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hitless-figures")
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._told: dict[InstanceId, str] = {}
        self._reads = 0
        self._silent_at: dict[InstanceId, int] = {}
        self._missing: Counter[tuple[str, Version, str]] = Counter()

    async def read(self, targets: Sequence[Target]) -> tuple[Reading, ...]:
        """Ask every target; one that cannot be read has no counters."""
        self._reads += 1
        self._told = {one.instance: self._told[one.instance] for one in targets if one.instance in self._told}
        asked = {(one.service, one.version) for one in targets}
        for gone in [key for key in self._missing if key[:2] not in asked]:
            del self._missing[gone]
        silent_at = self._silent_at
        self._silent_at = {one.instance: silent_at[one.instance] for one in targets if one.instance in silent_at}
        turns = sorted(range(len(targets)), key=lambda number: silent_at.get(targets[number].instance, 0))
        until = asyncio.get_running_loop().time() + ANSWER_WITHIN_S
        read = await asyncio.gather(*(self._read(targets[number], until) for number in turns))
        by_number = dict(zip(turns, read, strict=True))
        return tuple(by_number[number] for number in range(len(targets)))

    async def close(self) -> None:
        """Close connections, end the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _read(self, target: Target, until: float) -> Reading:
        """Ask one; `until` is the same for all, or a turn that is given back at the end would pass for one."""
        found: Figures | None = None
        has_turn = False
        try:
            async with asyncio.timeout_at(until), self._turns:
                has_turn = True
                self._silent_at.pop(target.instance, None)
                found = await self._figures(target)
            self._told.pop(target.instance, None)
            self._tell_missing(target, found.missing)
        except TimeoutError:
            if has_turn:
                self._silent_at[target.instance] = self._reads
                self._tell(target, f"no answer within {ANSWER_WITHIN_S:g} s")
            elif target.instance not in self._silent_at:
                self._tell(target, f"not asked within {ANSWER_WITHIN_S:g} s: too many others do not answer")
        except (aiohttp.ClientError, OSError, NotExposition, UnicodeDecodeError) as error:
            self._tell(target, str(error) or type(error).__name__)
        return Reading(
            instance=target.instance,
            region=target.region,
            version=target.version,
            counters=found.counters if found is not None else None,
            pools=found.pools if found is not None else {},
        )

    async def _figures(self, target: Target) -> Figures:
        if self._session is None:
            # an idle connection would keep an instance from ending
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=_AT_ONCE))
        url = f"http://{target.address}{target.path}"
        async with self._session.get(url, headers={"accept": _ACCEPT}, allow_redirects=False) as response:
            if response.status != _OK:
                raise NotExposition(f"status {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                body += chunk
                if len(body) > MOST_BYTES:
                    raise NotExposition(f"more than {MOST_BYTES >> 20} MiB")
        kind = response.headers.get("content-type", "")
        parse = partial(parse_figures, body.decode(), target.wanted, content_type=kind)
        return await asyncio.get_running_loop().run_in_executor(self._thread, parse)

    def _tell_missing(self, target: Target, missing: Sequence[str]) -> None:
        for sentence in missing:
            key = target.service, target.version, sentence
            self._missing[key] += 1
            if self._missing[key] == MISSING_AFTER:
                log.warning("figures of %s %s at %s: %s", target.service, target.version, target.path, sentence)

    def _tell(self, target: Target, reason: str) -> None:
        if self._told.get(target.instance) != reason:
            self._told[target.instance] = reason
            log.warning(
                "figures of %s instance %s cannot be read at %s: %s",
                target.service,
                target.instance,
                target.path,
                reason,
            )
