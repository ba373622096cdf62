"""How many seconds make one stratum: one, unless there is so little traffic that a second seldom has both versions.

Fixed when a stratum begins, by the traffic before the rollout, the share in force, and over how many routes and regions
requests have spread until then: a canary with nine tenths of the traffic, or twenty routes, leaves little of the old
version beside it. The share stays the same within a stratum, so requests are assigned alike all through it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from hitless.analysis.counts import Call, Cell, Second
from hitless.rollout.spec import Region

WANTED = 5.0
"""Requests of all versions in a stratum: at equal shares 92 % of the canary's then are compared."""

WANTED_OF_BASELINE = 1.5
"""Of the old version in a stratum: then 78 % of the canary's requests have one beside them."""

MOST_S = 30


@dataclass(slots=True, kw_only=True)
class Batch:
    """Seconds that are looked at together.

    Attributes:
        regions: that count.
        warm: of them, those in which it counts how long answers take.
    """

    regions: frozenset[Region]
    warm: frozenset[Region] = frozenset()
    seconds: int = 0
    cells: list[Cell] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)


class Pool:
    """Collects seconds until they make a stratum."""

    def __init__(self, *, requests_per_s: float) -> None:
        self._requests_per_s = requests_per_s
        self._spread: Counter[tuple[Region, str]] = Counter()
        self._size = 1
        self._filling = Batch(regions=frozenset())

    def take(
        self, second: Second, regions: frozenset[Region], warm: frozenset[Region], *, canary_share: float, broke: bool
    ) -> Iterator[Batch]:
        """Take a second; hand out what is complete. What is begun is cut off where the regions change.

        Args:
            second: to be taken.
            regions: that count.
            warm: of them, those in which it counts how long answers take.
            canary_share: the largest in these regions.
            broke: seconds are missing before this one.
        """
        if broke or (regions, warm) != (self._filling.regions, self._filling.warm):
            if self._filling.seconds:
                yield self._filling
            self._filling = Batch(regions=regions, warm=warm)
        if not regions:
            return
        if not self._filling.seconds:
            self._size = self._size_at(canary_share)
        self._note(cell for cell in second.cells if cell.region in regions)
        self._filling.seconds += 1
        self._filling.cells.extend(second.cells)
        self._filling.calls.extend(second.calls)
        if self._filling.seconds >= self._size:
            full, self._filling = self._filling, Batch(regions=regions, warm=warm)
            yield full

    def _size_at(self, canary_share: float) -> int:
        """Return how many seconds make a stratum at this share."""
        if self._requests_per_s <= 0.0:
            return 1
        of_baseline = WANTED_OF_BASELINE * self._strata() / (1.0 - canary_share)
        return min(MOST_S, max(1, math.ceil(max(WANTED, of_baseline) / self._requests_per_s)))

    def _strata(self) -> float:
        """Return over how many routes and regions the requests so far spread, rare ones hardly counted (Simpson)."""
        everything = self._spread.total()
        return everything * everything / sum(n * n for n in self._spread.values()) if everything else 1.0

    def _note(self, cells: Iterable[Cell]) -> None:
        for cell in cells:
            self._spread[cell.region, cell.route] += cell.requests.total
