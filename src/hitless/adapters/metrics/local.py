"""The `Metrics` of one machine: what users met, what instances used, what applications tell, put together by second.

At the end of each second instances are asked for their figures; half a second later, when the proxy has surely written
what it knew, its requests are read. What belongs to one second is told together, about a second after its end. Whatever
keeps that from happening for `LATE_S` makes a gap: who waits for a second gets it or its reason, never nothing.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from hitless.adapters.metrics.calls import CallMeter, Reading
from hitless.adapters.metrics.history import History
from hitless.adapters.metrics.prometheus import AskedLister, PrometheusReader, nobody_asked
from hitless.adapters.metrics.scrape import Scraper, Target
from hitless.analysis.counts import Call, PoolReading, Second, Usage
from hitless.ports import Clock
from hitless.rollout.spec import InstanceId

LATE_S = 10
USAGE_EVERY_S = 5

_SETTLED_AFTER_S = 0.55
_PENDING_S = 120

log = logging.getLogger("hitless")


class Traffic(Protocol):
    """Where requests are read."""

    async def open(self) -> None:
        """Begin to read."""
        ...

    async def read(self) -> Mapping[str, tuple[Second, ...]]:
        """Return the seconds that have become whole since the last call, by service, oldest first."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...


UsageReader = Callable[[], Awaitable[Mapping[str, Sequence[Usage]]]]
"""What instances use now, by service."""

TargetLister = Callable[[], Awaitable[Sequence[Target]]]
"""Instances that are ready and tell figures."""


async def no_targets() -> Sequence[Target]:
    """Return nobody: no service tells figures of its own."""
    return ()


def no_sessions() -> Mapping[str, Sequence[PoolReading]]:
    """Return nothing: no database tells of its sessions."""
    return {}


@dataclass(slots=True)
class _Figures:
    """What belongs to one second beside its requests."""

    calls: Mapping[str, tuple[Call, ...]] = field(default_factory=dict)
    usage: Mapping[str, Sequence[Usage]] = field(default_factory=dict)
    lumps: Mapping[str, tuple[Call, ...]] = field(default_factory=dict)
    pools: Mapping[str, tuple[PoolReading, ...]] = field(default_factory=dict)


class LocalMetrics:
    """`hitless.ports.Metrics` of one machine.

    Args:
        clock: what seconds are counted by.
        traffic: the requests of all services.
        usage: what instances use.
        targets: whom to ask for figures of their own.
        asked: which Prometheus to ask for what, by service.
        sessions: what databases tell of their sessions just now, by service.
    """

    def __init__(
        self,
        clock: Clock,
        traffic: Traffic,
        *,
        usage: UsageReader,
        targets: TargetLister = no_targets,
        asked: AskedLister = nobody_asked,
        sessions: Callable[[], Mapping[str, Sequence[PoolReading]]] = no_sessions,
    ) -> None:
        self._clock = clock
        self._traffic = traffic
        self._usage = usage
        self._targets = targets
        self._sessions = sessions
        self._scraper = Scraper()
        self._prometheus = PrometheusReader(clock, asked)
        # one of its own: in the loop's threads, the store's commits wait
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hitless-history")
        self._meters: defaultdict[str, CallMeter] = defaultdict(CallMeter)
        self._histories: dict[str, History] = {}
        self._pending: dict[int, _Figures] = {}
        self._answered: defaultdict[InstanceId, int] = defaultdict(int)
        self._usage_read_at = -USAGE_EVERY_S
        self._began_at = 0
        self._reading: asyncio.Task[None] | None = None
        self._told: dict[str, str] = {}

    async def start(self) -> None:
        """Begin to read, from now on."""
        self._began_at = math.ceil(self._now_s())
        await self._guarded("what users met", self._traffic.open())
        self._reading = asyncio.create_task(self._read_forever(), name="metrics")
        self._prometheus.start()

    async def close(self) -> None:
        """Read no more."""
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading
            self._reading = None
        self._thread.shutdown(wait=False, cancel_futures=True)
        await self._prometheus.close()
        await self._scraper.close()
        await self._traffic.close()

    async def seconds(self, service: str, *, after: int) -> tuple[Second, ...]:
        """Return whole seconds that began later than `after`, oldest first; a source that is silent gives gaps."""
        now_s = self._now_s()
        history = self._histories.get(service)
        if history is None:
            history = self._histories[service] = History(upcoming=max(self._began_at, int(now_s) - LATE_S))
        history.fill(until=int(now_s) - LATE_S, reason=f"nothing was heard of the requests of {service} for {LATE_S} s")
        if history.is_recent(after):
            return history.later_than(after)
        return await asyncio.get_running_loop().run_in_executor(self._thread, history.copy().later_than, after)

    async def _read_forever(self) -> None:
        while True:
            await self._until(math.floor(self._now_s()) + 1)
            await self._guarded("what users met", self._read_second())

    async def _guarded(self, what: str, reading: Awaitable[None]) -> None:
        """Read; what fails is told once until it goes well: the next second may be read again, this one is missing."""
        try:
            await reading
        except Exception as error:
            if self._told.get(what) != repr(error):
                log.exception("%s could not be read", what)
            self._told[what] = repr(error)
        else:
            self._told.pop(what, None)

    async def _until(self, moment_s: float) -> None:
        """Sleep; a clock that is slewed back is not there yet after the time that it seemed to take."""
        while (missing_s := moment_s - self._now_s()) > 0:
            await self._clock.sleep(missing_s)

    async def _read_second(self) -> None:
        at = int(self._now_s()) - 1
        asking = asyncio.create_task(self._ask(at))
        try:
            await self._clock.sleep(_SETTLED_AFTER_S)
            found = await self._traffic.read()
            self._pending[at] = await asking
        finally:
            asking.cancel()
        for service, seconds in found.items():
            self._add(service, seconds)
            await asyncio.sleep(0)  # after a sleep of the machine these are many, of every service
        self._pending = {second: one for second, one in self._pending.items() if second > at - _PENDING_S}

    def _add(self, service: str, seconds: Sequence[Second]) -> None:
        for second in seconds:
            for cell in second.cells:
                for instance, fates in cell.instances.items():
                    self._answered[instance] += fates.total
            history = self._histories.get(service)
            if history is None or history.is_empty:  # what was before its beginning is no gap
                history = self._histories[service] = History(upcoming=second.at)
            history.add(self._with_figures(service, second))

    def _with_figures(self, service: str, second: Second) -> Second:
        found = self._pending.get(second.at)
        if found is None:
            return second
        usage = tuple(
            replace(one, requests=self._answered.get(one.instance, 0)) for one in found.usage.get(service, ())
        )
        calls = (*found.calls.get(service, ()), *found.lumps.get(service, ())) if second.gap is None else ()
        return replace(second, usage=usage, calls=calls, pools=found.pools.get(service, ()))

    async def _ask(self, at: int) -> _Figures:
        """Ask for what stands beside requests; what cannot be read is missing, and keeps no request from being told."""
        found = _Figures()
        if at >= self._usage_read_at + USAGE_EVERY_S:
            self._usage_read_at = at
            await self._guarded("what instances use", self._read_usage(found))
        await self._guarded("what instances tell", self._read_calls(found, at))
        found.lumps = self._prometheus.tell(at=at)
        found.pools = _with_sessions(found.pools, self._sessions())
        return found

    async def _read_usage(self, found: _Figures) -> None:
        found.usage = await self._usage()
        there = {one.instance for used in found.usage.values() for one in used}
        for gone in set(self._answered) - there:
            del self._answered[gone]

    async def _read_calls(self, found: _Figures, at: int) -> None:
        targets = await self._targets()
        readings: dict[str, list[Reading]] = {}
        for target, reading in zip(targets, await self._scraper.read(targets), strict=True):
            readings.setdefault(target.service, []).append(reading)
        for silent in set(self._meters) - set(readings):
            del self._meters[silent]
        found.calls = {service: self._meters[service].read(told, at=at) for service, told in readings.items()}
        found.pools = {service: tuple(_pools(told)) for service, told in readings.items()}

    def _now_s(self) -> float:
        return self._clock.now().timestamp()


def _with_sessions(
    pools: Mapping[str, tuple[PoolReading, ...]], sessions: Mapping[str, Sequence[PoolReading]]
) -> Mapping[str, tuple[PoolReading, ...]]:
    names = {*pools, *sessions}
    return {name: (*pools.get(name, ()), *sessions.get(name, ())) for name in names}


def _pools(readings: Sequence[Reading]) -> Iterator[PoolReading]:
    for one in readings:
        for pool, (used, size) in one.pools.items():
            yield PoolReading(
                instance=one.instance, region=one.region, version=one.version, pool=pool, used=used, size=size
            )
