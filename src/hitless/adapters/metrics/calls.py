"""From counters of calls, read again and again, to calls per second and version. Pure.

Rules: counters count from a process's start, so what is lower than before comes from a new process and counts from
zero. An instance's first reading is where it is counted from. A version's calls of a second are told only if every one
of its instances could be read; otherwise they are missing, and come with the next second in which all can be, or, after
`CARRIED_FOR_S`, not at all: so old calls would be compared with others' new ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hitless.adapters.metrics.exposition import CallCounter, Series
from hitless.analysis.counts import Call, Fates
from hitless.rollout.spec import InstanceId, Region, Version

CARRIED_FOR_S = 10

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
        if known.counters is not None:
            for dependency, fates in _difference(known.counters, one.counters).items():
                known.calls[dependency] = known.calls.get(dependency, Fates()) + fates
        known.counters = one.counters

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


def _difference(before: Counters, after: Counters) -> dict[str, Fates]:
    calls: dict[str, Fates] = {}
    for series, counter in after.items():
        earlier = before[series].value if series in before else 0.0
        grown = round(counter.value - earlier if counter.value >= earlier else counter.value)
        if grown:
            fates = Fates(total=grown, failed=grown if counter.is_failure else 0)
            calls[counter.dependency] = calls.get(counter.dependency, Fates()) + fates
    return calls
