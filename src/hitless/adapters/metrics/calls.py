"""From counters of calls, read again and again, to calls per second and version. Pure.

Rules: an instance's first reading is where it is counted from. An instance is one process, so a counter that falls was
not started anew: it is a sum over workers of which one was replaced, or another worker has answered. What was called in
between is not known, and the instance is counted from there again; counted from zero, as Prometheus does, all that the
other workers ever called would be this second's calls. A counter that is not told once stands where it stood.

A version's calls of a second are told only if every one of its instances could be read; otherwise they are missing, and
come with the next second in which all can be, or, after `CARRIED_FOR_S`, not at all: so old calls would be compared
with others' new ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hitless.adapters.metrics.exposition import CallCounter, Series
from hitless.analysis.counts import Call, Fates
from hitless.rollout.spec import InstanceId, Region, Version

CARRIED_FOR_S = 10

MOST_SERIES = 5_000
"""Of one instance; beyond them, those that are told no more are forgotten."""

Counters = Mapping[Series, CallCounter]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one instance told; `counters` None = it could not be read."""

    instance: InstanceId
    region: Region
    version: Version
    counters: Counters | None


@dataclass(slots=True)
class _Known:
    """One instance: its last counters, and what was called since its version was told last."""

    counters: Counters | None = None
    calls: dict[str, Fates] = field(default_factory=dict)


class CallMeter:
    """Calls of one service's instances."""

    def __init__(self) -> None:
        self._known: dict[InstanceId, _Known] = {}
        self._told_at: dict[tuple[Region, Version], int] = {}

    def read(self, readings: Iterable[Reading], *, at: int) -> tuple[Call, ...]:
        """Take in what all ready instances told at the end of the second `at`; return that second's calls."""
        pools: dict[tuple[Region, Version], list[Reading]] = {}
        for one in readings:
            self._add(one)
            pools.setdefault((one.region, one.version), []).append(one)
        there = {one.instance for pool in pools.values() for one in pool}
        self._known = {name: known for name, known in self._known.items() if name in there}
        self._told_at = {pool: told for pool, told in self._told_at.items() if pool in pools}
        return tuple(call for pool, members in sorted(pools.items()) for call in self._tell(pool, members, at))

    def _add(self, one: Reading) -> None:
        known = self._known.setdefault(one.instance, _Known())
        if one.counters is None:
            return
        before, known.counters = known.counters, one.counters
        if before is None or _has_fallen(before, one.counters):
            return
        for dependency, fates in _difference(before, one.counters).items():
            known.calls[dependency] = known.calls.get(dependency, Fates()) + fates
        if len(standing := {**before, **one.counters}) <= MOST_SERIES:
            known.counters = standing

    def _tell(self, pool: tuple[Region, Version], members: list[Reading], at: int) -> list[Call]:
        told_at = self._told_at.setdefault(pool, at)
        if any(one.counters is None for one in members):
            return []
        self._told_at[pool] = at
        sums: dict[str, Fates] = {}
        for one in members:
            for dependency, fates in self._known[one.instance].calls.items():
                sums[dependency] = sums.get(dependency, Fates()) + fates
            self._known[one.instance].calls = {}
        if at - told_at > CARRIED_FOR_S:
            return []
        region, version = pool
        return [
            Call(region=region, version=version, dependency=dependency, fates=fates)
            for dependency, fates in sorted(sums.items())
            if fates.total
        ]


def _has_fallen(before: Counters, after: Counters) -> bool:
    return any(counter.value < before[series].value for series, counter in after.items() if series in before)


def _difference(before: Counters, after: Counters) -> dict[str, Fates]:
    calls: dict[str, Fates] = {}
    for series, counter in after.items():
        earlier = before[series].value if series in before else 0.0
        grown = round(counter.value - earlier)
        if grown:
            fates = Fates(total=grown, failed=grown if counter.is_failure else 0)
            calls[counter.dependency] = calls.get(counter.dependency, Fates()) + fates
    return calls
