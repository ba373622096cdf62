"""How many seconds make one stratum: one, unless there is so little traffic that a second seldom has both versions.

Fixed when a rollout begins. The share stays the same within a stratum, so requests are assigned alike all through it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from hitless.analysis.counts import Call, Cell, Second
from hitless.rollout.spec import Region

WANTED = 5.0
"""Requests of all versions in a stratum: at equal shares 92 % of the canary's then are compared."""

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
        usual = WANTED / requests_per_s if requests_per_s > 0.0 else 1.0
        self._size = min(MOST_S, max(1, math.ceil(usual)))
        self._filling = Batch(regions=frozenset())

    def take(self, second: Second, regions: frozenset[Region], warm: frozenset[Region]) -> Iterator[Batch]:
        """Take a second; hand out what is complete. What is begun is cut off where the regions change."""
        if (regions, warm) != (self._filling.regions, self._filling.warm):
            if self._filling.seconds:
                yield self._filling
            self._filling = Batch(regions=regions, warm=warm)
        if not regions:
            return
        self._filling.seconds += 1
        self._filling.cells.extend(second.cells)
        self._filling.calls.extend(second.calls)
        if self._filling.seconds >= self._size:
            full, self._filling = self._filling, Batch(regions=regions, warm=warm)
            yield full
