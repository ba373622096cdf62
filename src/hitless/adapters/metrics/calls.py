"""From counters of calls and of ratios, read again and again, to calls per second and version. Pure.

Rules: an instance's first reading is where it is counted from. An instance is one process, so a counter that falls was
not started anew: it is a sum over workers of which one was replaced, or another worker has answered. What was called in
between is not known, and the instance is counted from there again; counted from zero, as Prometheus does, all that the
other workers ever called would be this second's calls. A counter that is not told once stands where it stood.

A version's calls of a second are told only if every one of its instances could be read; otherwise they are missing, and
come with the next second in which all can be, or, after `CARRIED_FOR_S`, not at all: so old calls would be compared
with others' new ones.

Of a ratio, an instance is counted once both of its metrics are there. What is told as good before it is told at all (of
two counters, one may lag) would make the number of bad ones negative: it is carried over, within the version, to the
seconds that follow, for up to `CARRIED_FOR_S`; so are bad ones beyond all. Nothing is told twice. That nothing was
counted of a ratio is told now and then (`NOTHING_EVERY_S`): it is another thing than a ratio that nobody tells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hitless.adapters.metrics.exposition import Counters
from hitless.analysis.counts import RATIO, Call, Fates
from hitless.rollout.spec import InstanceId, Region, Version

CARRIED_FOR_S = 10

NOTHING_EVERY_S = 60

MOST_SERIES = 5_000
"""Of one instance; beyond them, those that are told no more are forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one instance told; `counters` None = it could not be read. `pools`: used and size by name."""

    instance: InstanceId
    region: Region
    version: Version
    counters: Counters | None
    pools: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(slots=True)
class _Known:
    """One instance: its last counters, and what was called since its version was told last."""

    counters: Counters | None = None
    calls: dict[str, Fates] = field(default_factory=dict)


class Carry:
    """What is too much of one second to be told of it: counts of bad ones below zero, or beyond all."""

    def __init__(self, *, for_s: int = CARRIED_FOR_S) -> None:
        self._for_s = for_s
        self._late: list[tuple[int, int]] = []

    def told(self, fates: Fates, *, at: int) -> Fates:
        """Return what can be told at this second; the rest is kept, what came first is used up first."""
        late = [(moment, bad) for moment, bad in self._late if at - moment <= self._for_s]
        late.append((at, fates.failed))
        wanted = sum(bad for _, bad in late)
        failed = min(max(wanted, 0), fates.total)
        self._late = _newest(late, wanted - failed)
        return Fates(total=fates.total, failed=failed)


def _newest(late: list[tuple[int, int]], left: int) -> list[tuple[int, int]]:
    """Return what makes up `left`, from the newest on."""
    kept: list[tuple[int, int]] = []
    for moment, bad in reversed(late):
        part = max(min(bad, left), 0) if left > 0 else min(max(bad, left), 0)
        left -= part
        if part:
            kept.append((moment, part))
    return kept[::-1]


class CallMeter:
    """Calls of one service's instances."""

    def __init__(self) -> None:
        self._known: dict[InstanceId, _Known] = {}
        self._told_at: dict[tuple[Region, Version], int] = {}
        self._carried: defaultdict[tuple[Region, Version, str], Carry] = defaultdict(Carry)

    def read(self, readings: Iterable[Reading], *, at: int) -> tuple[Call, ...]:
        """Take in what all ready instances told at the end of the second `at`; return that second's calls."""
        pools: dict[tuple[Region, Version], list[Reading]] = {}
        for one in readings:
            self._add(one)
            pools.setdefault((one.region, one.version), []).append(one)
        there = {one.instance for pool in pools.values() for one in pool}
        self._known = {name: known for name, known in self._known.items() if name in there}
        self._told_at = {pool: told for pool, told in self._told_at.items() if pool in pools}
        for gone in [key for key in self._carried if key[:2] not in pools]:
            del self._carried[gone]
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
        empty = _ratios_of(members) if at % NOTHING_EVERY_S == 0 else frozenset()
        return [
            Call(region=region, version=version, dependency=dependency, fates=told)
            for dependency, fates in sorted((dict.fromkeys(empty, Fates()) | sums).items())
            if (told := self._possible(pool, dependency, fates, at)).total or dependency in empty
        ]

    def _possible(self, pool: tuple[Region, Version], dependency: str, fates: Fates, at: int) -> Fates:
        if not dependency.startswith(RATIO):
            return fates
        return self._carried[*pool, dependency].told(fates, at=at)


def _ratios_of(members: Iterable[Reading]) -> frozenset[str]:
    counters = (one for member in members for one in (member.counters or {}).values())
    return frozenset(one.dependency for one in counters if one.dependency.startswith(RATIO))


def _has_fallen(before: Counters, after: Counters) -> bool:
    return any(counter.value < before[series].value for series, counter in after.items() if series in before)


def _difference(before: Counters, after: Counters) -> dict[str, Fates]:
    calls: dict[str, Fates] = {}
    known = {(counter.dependency, counter.selected_by) for counter in before.values()}
    for series, counter in after.items():
        if counter.dependency.startswith(RATIO) and (counter.dependency, counter.selected_by) not in known:
            continue  # of a ratio both parts count from the same moment on, and from the same settings on
        earlier = before[series].value if series in before else 0.0
        grown = round(counter.value - earlier)
        if grown:
            fates = Fates(total=grown * counter.adds[0], failed=grown * counter.adds[1])
            calls[counter.dependency] = calls.get(counter.dependency, Fates()) + fates
    return calls
