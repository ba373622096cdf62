"""Latencies in buckets of a fixed relative width.

Theory: bucket `i` holds the values in `(g**(i-1), g**i]` with `g = (1 + e) / (1 - e)`; its middle is within the
relative error `e` of every value in it, so any quantile is too, at any count, in a few hundred counters that add up
across processes (DDSketch; Masson, Rim, Lee, VLDB 2019).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

RELATIVE_ERROR = 0.01
_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_SCALE = 1 / math.log(_GROWTH)
_MIDDLE = 2 / (1 + _GROWTH)
_SMALLEST_MS = 0.001


def bucket_of(latency_ms: float) -> int:
    """Return the bucket that holds a latency; everything up to a microsecond shares the lowest."""
    return math.ceil(math.log(max(latency_ms, _SMALLEST_MS)) * _SCALE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Latencies in milliseconds: counts by bucket, and the exact largest."""

    buckets: Mapping[int, int] = field(default_factory=dict)
    max_ms: float = 0.0

    @property
    def count(self) -> int:
        """How many latencies are in it."""
        return sum(self.buckets.values())

    def quantile_ms(self, share: float) -> float | None:
        """Return the latency that `share` of all did not exceed, within 1 %; None when there are none."""
        rank = max(math.ceil(share * self.count), 1)
        for bucket, seen in self._cumulated():
            if seen >= rank:
                return min(_GROWTH**bucket * _MIDDLE, self.max_ms)
        return None

    def __add__(self, other: Histogram) -> Histogram:
        """Return both together."""
        return Histogram(buckets=Counter(self.buckets) + Counter(other.buckets), max_ms=max(self.max_ms, other.max_ms))

    def _cumulated(self) -> Iterator[tuple[int, int]]:
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            yield bucket, seen
