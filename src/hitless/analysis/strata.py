"""One second's counts as arrays: for every stratum that counts, what each version had, and how much of it was bad.

A stratum is a second, a region, a class of routes. Whether a route is slower or fails more than others, or which of
them are asked for at this hour, then touches both versions alike.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from hitless.analysis.counts import LAST_BUCKET, Cell, Fates
from hitless.analysis.counts import Call as DependencyCall
from hitless.analysis.likelihood import Counts, Tables
from hitless.rollout.spec import Region, Version

CANARY, BASELINE = 0, 1
TOTAL, FAILED, RETRIED = 0, 1, 2


@dataclass(slots=True, kw_only=True)
class Strata:
    """What was counted in one second; the first index of each array is the stratum.

    Attributes:
        fates: shape (n, 2, 3): by version (`CANARY`, `BASELINE`), then `TOTAL`, `FAILED`, `RETRIED`.
        answers: shape (n, 2): with a duration, or hanging.
        slow: shape (n, 2, t): of them, above threshold.
    """

    fates: Counts
    answers: Counts
    slow: Counts

    def of_fates(self, bad: int) -> Tables:
        """Return the tables of a kind of bad fate."""
        return _tables(self.fates[:, :, TOTAL], self.fates[:, :, bad])

    def of_slow(self, threshold: int) -> Tables:
        """Return the tables of a threshold."""
        return _tables(self.answers, self.slow[:, :, threshold])

    def canary(self) -> Fates:
        """Return the canary's requests, all strata together."""
        total, failed, _ = (int(n) for n in self.fates[:, CANARY].sum(axis=0))
        return Fates(total=total, failed=failed)

    def compared(self) -> tuple[int, int]:
        """Return how many of the canary's requests had some of the baseline's beside them, and how many there were."""
        canary, baseline = self.fates[:, CANARY, TOTAL], self.fates[:, BASELINE, TOTAL]
        return int(canary[baseline > 0].sum()), int(canary.sum())


def _tables(totals: Counts, bad: Counts) -> Tables:
    return Tables(
        canary=totals[:, CANARY],
        canary_bad=bad[:, CANARY],
        baseline=totals[:, BASELINE],
        baseline_bad=bad[:, BASELINE],
    )


@dataclass(slots=True, kw_only=True)
class Reader:
    """Reads seconds for two versions.

    Attributes:
        thresholds: buckets, ascending; slow is what lies above. Shape (2, t): the canary's are higher by the margin.
    """

    canary: Version
    baseline: Version
    thresholds: Counts = field(default_factory=lambda: np.zeros((2, 0), dtype=np.int64))

    def read(self, cells: Iterable[Cell], regions: Collection[Region]) -> Strata:
        """Return what counts: cells of both versions, in these regions."""
        arms = {self.canary: CANARY, self.baseline: BASELINE}
        slots: dict[tuple[Region, str], int] = {}
        kept: list[Cell] = []
        place: list[int] = []
        for cell in cells:
            arm = arms.get(cell.version)
            if arm is not None and cell.region in regions:
                kept.append(cell)
                place.append(2 * slots.setdefault((cell.region, cell.route), len(slots)) + arm)
        places = np.array(place, dtype=np.int64)
        fates = np.array(
            [(cell.requests.total, cell.requests.failed, cell.retried) for cell in kept], dtype=np.int64
        ).reshape(-1, 3)
        return Strata(
            fates=_gathered(places, fates, len(slots)),
            answers=_gathered(places, np.array([sum(c.durations.values()) for c in kept], dtype=np.int64), len(slots)),
            slow=_gathered(places, self._slow(kept, places % 2), len(slots)),
        )

    def _slow(self, cells: Sequence[Cell], arms: Counts) -> Counts:
        """Count by cell what lies above each threshold, shape (cells, t)."""
        steps = self.thresholds.shape[1] + 1
        sizes = [len(cell.durations) for cell in cells]
        entries = np.fromiter(chain.from_iterable(c.durations for c in cells), dtype=np.int64, count=sum(sizes))
        counts = np.fromiter(chain.from_iterable(c.durations.values() for c in cells), np.int64, count=sum(sizes))
        owner = np.repeat(np.arange(len(cells)), sizes)
        canary, baseline = (np.searchsorted(self.thresholds[arm], entries, side="left") for arm in (CANARY, BASELINE))
        passed = np.where(arms[owner] == CANARY, canary, baseline)
        by_step = np.bincount(owner * steps + passed, weights=counts, minlength=len(cells) * steps)
        above = by_step.reshape(len(cells), steps)[:, ::-1].cumsum(axis=1)[:, ::-1]
        return above[:, 1:].astype(np.int64)


def _gathered(places: Counts, values: Counts, slots: int) -> Counts:
    """Sum what belongs to the same stratum and version, shape (slots, 2, ...)."""
    result = np.zeros((2 * slots, *values.shape[1:]), dtype=np.int64)
    np.add.at(result, places, values)
    return result.reshape(slots, 2, *values.shape[1:])


def tables_of_calls(
    calls: Iterable[DependencyCall], dependency: str, *, reader: Reader, regions: Collection[Region]
) -> Tables:
    """Return the tables of one dependency, a stratum for each region."""
    slots: dict[Region, int] = {}
    places: list[int] = []
    values: list[tuple[int, int]] = []
    arms = {reader.canary: CANARY, reader.baseline: BASELINE}
    for call in calls:
        arm = arms.get(call.version)
        if call.dependency == dependency and arm is not None and call.region in regions:
            places.append(2 * slots.setdefault(call.region, len(slots)) + arm)
            values.append((call.fates.total, call.fates.failed))
    counts = _gathered(np.array(places, dtype=np.int64), np.array(values, dtype=np.int64).reshape(-1, 2), len(slots))
    return _tables(counts[:, :, 0], counts[:, :, 1])


def threshold_pairs(buckets: Sequence[int], *, margin_buckets: int) -> Counts:
    """Return `Reader.thresholds` for the baseline's buckets: what hangs is above all of them."""
    highest = LAST_BUCKET - 1
    baseline = np.minimum(np.array(buckets, dtype=np.int64), highest)
    return np.stack([np.minimum(baseline + margin_buckets, highest), baseline])
