"""What counts as slow: fixed before it is used, from the old version's answers and from the service's objectives."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from hitless.analysis.background import QUANTILES, latency_bounds
from hitless.analysis.counts import GROWTH, Cell, bound_ms, bucket_of
from hitless.analysis.likelihood import Counts
from hitless.analysis.strata import BASELINE, CANARY, threshold_pairs
from hitless.rollout.spec import LatencyObjective, Version

TAIL = frozenset({"p95", "p99", "p99.9"})
TAIL_WEIGHT = 2.0 / 3.0
"""Users feel the tail, and regressions show there first; objectives belong to it."""

PROMOTED_BY = "p95"
LEAST_ANSWERS = 1_000
"""Of the old version, where none was seen before the rollout: the thresholds are then those of its first ones in it."""


class Thresholds:
    """Thresholds by name: the quantiles, then `slo.p99` and so on."""

    def __init__(
        self,
        *,
        baseline: Version,
        bounds: Sequence[int],
        objectives: Sequence[LatencyObjective],
        margin: float,
    ) -> None:
        self._baseline = baseline
        self._objectives = {f"slo.p{100 * o.quantile:g}": bucket_of(o.at_most_ms) for o in objectives}
        self.names = (*QUANTILES, *self._objectives)
        self._margin_buckets = math.ceil(round(math.log1p(margin) / math.log(GROWTH), 9))
        self._seen: Counter[int] = Counter()
        self._place: Mapping[str, int] = {}
        self.buckets: Counts = np.zeros((2, 0), dtype=np.int64)
        if bounds:
            self._fix(bounds)

    @property
    def are_known(self) -> bool:
        """Whether there is anything to compare with."""
        return bool(self._place)

    def learn(self, cells: Iterable[Cell]) -> None:
        """Look at the old version's answers until they are enough."""
        for cell in cells:
            if cell.version == self._baseline:
                self._seen.update(cell.durations)
        if self._seen.total() >= LEAST_ANSWERS:
            self._fix(latency_bounds(self._seen))

    def place_of(self, name: str) -> int:
        """Return where a threshold stands in `buckets`."""
        return self._place[name]

    def limits_ms(self, name: str) -> tuple[float, float]:
        """Return above which duration the canary's and the baseline's answers are slow."""
        place = self._place[name]
        return bound_ms(int(self.buckets[CANARY, place])), bound_ms(int(self.buckets[BASELINE, place]))

    def log_weights(self) -> Mapping[str, float]:
        """Return the logarithm of each threshold's weight in the row."""
        tail = [name for name in self.names if name in TAIL or name in self._objectives]
        body = len(self.names) - len(tail)
        return {
            name: math.log(TAIL_WEIGHT / len(tail) if name in tail else (1.0 - TAIL_WEIGHT) / body)
            for name in self.names
        }

    def _fix(self, bounds: Sequence[int]) -> None:
        wanted = [*bounds, *self._objectives.values()]
        order = np.argsort(wanted, kind="stable")
        self._place = {self.names[int(which)]: place for place, which in enumerate(order)}
        self.buckets = threshold_pairs(sorted(wanted), margin_buckets=self._margin_buckets)
