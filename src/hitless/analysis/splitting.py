"""The old version as if it were two: some of what it did takes the new version's part.

By request: each one takes that part with the probability of the share, failures of one instance among them. So the
null hypothesis is true by construction, and what is tried is the judge's arithmetic at this service's traffic. By
instance: some instances take that part, as many of their requests as the share asks for. What one instance suffers
alone is in one part only then, as it would be in a rollout; that is what may break the bound.

Rules. By request, the new version's part is of no instance: both parts would have the same ones, with different loads,
and that is nothing a row by instance may compare. What is not counted by instance (durations, other attempts, calls,
requests that no instance answered) is parted by request in any case; unless a cell is of one instance alone. Chance
comes from the salt only.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from hitless.analysis.counts import Call, Cell, Fates, Second
from hitless.rollout.spec import ALL_TRAFFIC_BP, InstanceId, Region, Version

LEAST_INSTANCES = 2


class By(StrEnum):
    """What is dealt."""

    REQUESTS = "requests"
    INSTANCES = "instances"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal:
    """How one region is parted.

    Attributes:
        share: of the requests that go to the new version's part, among those that are kept.
        chosen: instances in the new version's part; empty = by request.
        kept: share of their requests that is kept; all of the other instances' are.
    """

    share: float
    chosen: frozenset[InstanceId] = frozenset()
    kept: float = 1.0


def instances_of(seconds: Iterable[Second], version: Version) -> dict[Region, dict[InstanceId, int]]:
    """Count each instance's requests, by region."""
    found: dict[Region, Counter[InstanceId]] = {}
    for second in seconds:
        for cell in second.cells:
            if cell.version == version:
                counted = found.setdefault(cell.region, Counter())
                counted.update({instance: fates.total for instance, fates in cell.instances.items() if fates.total})
    return {region: dict(counted) for region, counted in found.items()}


def deal(requests: Mapping[InstanceId, int], *, share: float, by: By, salt: str) -> Deal:
    """Choose instances in an order that the salt decides, as many as the share takes, one of them left at least.

    Args:
        requests: by instance, all of one region.
        share: that the new version's part should get; it gets less where instances are too few.
        by: what is dealt; one instance alone is dealt by request.
        salt: of this run.
    """
    if by is By.REQUESTS or len(requests) < LEAST_INSTANCES:
        return Deal(share=share)
    order = sorted(requests, key=lambda one: hashlib.sha256(f"{salt}:{one}".encode()).hexdigest())
    everybodys, theirs, chosen = sum(requests.values()), 0, 0
    while chosen < len(order) - 1 and (chosen == 0 or theirs < share * everybodys):
        theirs += requests[order[chosen]]
        chosen += 1
    others = everybodys - theirs
    kept = min(1.0, share / (1.0 - share) * others / theirs)
    return Deal(share=kept * theirs / (kept * theirs + others), chosen=frozenset(order[:chosen]), kept=kept)


@dataclass(slots=True)
class _Part:
    total: int = 0
    failed: int = 0
    retried: int = 0
    durations: Counter[int] = field(default_factory=Counter)
    instances: dict[InstanceId, Fates] = field(default_factory=dict)

    def add(self, instance: InstanceId | None, total: int, failed: int) -> None:
        self.total += total
        self.failed += failed
        if instance is not None and total:
            self.instances[instance] = self.instances.get(instance, Fates()) + Fates(total=total, failed=failed)

    def cell(self, region: Region, route: str, version: Version) -> Cell:
        return Cell(
            region=region,
            route=route,
            version=version,
            requests=Fates(total=self.total, failed=self.failed),
            retried=min(self.retried, self.total),
            durations=dict(self.durations),
            instances=self.instances,
        )


class Splitter:
    """Parts seconds of one version.

    Args:
        version: what it is called.
        other: how its other part is called, which takes the new version's place.
        salt: what chance comes from.
    """

    def __init__(self, *, version: Version, other: Version, salt: str) -> None:
        self._version = version
        self._other = other
        self._draw = np.random.default_rng(list(hashlib.sha256(salt.encode()).digest()))

    def split(self, second: Second, deals: Mapping[Region, Deal]) -> Second:
        """Part one second; other versions, regions without a deal and what instances used are left out."""
        parts: dict[tuple[Region, str], tuple[_Part, _Part]] = {}
        for cell in second.cells:
            if cell.version == self._version and cell.region in deals:
                both = parts.setdefault((cell.region, cell.route), (_Part(), _Part()))
                self._part(cell, deals[cell.region], *both)
        cells = tuple(
            part.cell(region, route, version)
            for (region, route), both in parts.items()
            for part, version in zip(both, (self._other, self._version), strict=True)
        )
        return replace(second, cells=cells, calls=tuple(self._calls(second.calls, deals)), usage=(), pools=())

    def _part(self, cell: Cell, deal: Deal, new: _Part, old: _Part) -> None:
        for instance, fates in _by_instance(cell):
            self._requests(instance, fates, deal, new, old)
        alone = next(iter(cell.instances)) if _is_of_one(cell) else None
        to_new, to_old = _probabilities(alone, deal)
        buckets, counts = list(cell.durations), np.array(list(cell.durations.values()), dtype=np.int64)
        taken = self._draw.binomial(counts, to_new)
        left = self._draw.binomial(counts - taken, _of_the_rest(to_new, to_old))
        new.durations.update(_counted(buckets, taken))
        old.durations.update(_counted(buckets, left))
        retried = int(self._draw.binomial(cell.retried, to_new))
        new.retried += retried
        old.retried += int(self._draw.binomial(cell.retried - retried, _of_the_rest(to_new, to_old)))

    def _requests(self, instance: InstanceId | None, fates: Fates, deal: Deal, new: _Part, old: _Part) -> None:
        to_new, to_old = _probabilities(instance, deal)
        rest = _of_the_rest(to_new, to_old)
        failed, well = fates.failed, fates.total - fates.failed
        failed_new, well_new = int(self._draw.binomial(failed, to_new)), int(self._draw.binomial(well, to_new))
        failed_old = int(self._draw.binomial(failed - failed_new, rest))
        well_old = int(self._draw.binomial(well - well_new, rest))
        new.add(instance if deal.chosen else None, failed_new + well_new, failed_new)
        old.add(instance, failed_old + well_old, failed_old)

    def _calls(self, calls: Iterable[Call], deals: Mapping[Region, Deal]) -> Iterator[Call]:
        for call in calls:
            if call.version == self._version and call.region in deals:
                share = deals[call.region].share
                failed = int(self._draw.binomial(call.fates.failed, share))
                well = int(self._draw.binomial(call.fates.total - call.fates.failed, share))
                mine = Fates(total=failed + well, failed=failed)
                yield replace(call, version=self._other, fates=mine)
                rest = Fates(total=call.fates.total - mine.total, failed=call.fates.failed - failed)
                yield replace(call, fates=rest)


def share_bp(deals: Mapping[Region, Deal]) -> dict[Region, int]:
    """Return the new version's share by region, as a judge is told."""
    return {region: min(max(round(ALL_TRAFFIC_BP * one.share), 1), ALL_TRAFFIC_BP - 1) for region, one in deals.items()}


def _by_instance(cell: Cell) -> Iterator[tuple[InstanceId | None, Fates]]:
    """Yield each instance's requests, and those that none answered."""
    total = failed = 0
    for instance, fates in cell.instances.items():
        total, failed = total + fates.total, failed + fates.failed
        yield instance, fates
    left = max(cell.requests.total - total, 0)
    if left:
        yield None, Fates(total=left, failed=min(max(cell.requests.failed - failed, 0), left))


def _is_of_one(cell: Cell) -> bool:
    return len(cell.instances) == 1 and next(iter(cell.instances.values())) == cell.requests


def _probabilities(instance: InstanceId | None, deal: Deal) -> tuple[float, float]:
    """Return with which probability a request goes to the new version's part, and to the old one's."""
    if not deal.chosen or instance is None:
        return deal.share, 1.0 - deal.share
    return (deal.kept, 0.0) if instance in deal.chosen else (0.0, 1.0)


def _of_the_rest(to_new: float, to_old: float) -> float:
    return min(1.0, to_old / (1.0 - to_new)) if to_new < 1.0 else 0.0


def _counted(buckets: Sequence[int], counts: np.ndarray) -> dict[int, int]:
    return {bucket: int(count) for bucket, count in zip(buckets, counts, strict=True) if count}
