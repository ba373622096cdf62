"""Statistics of all benchmarks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

MILLISECONDS = 1_000.0
MICROSECONDS = 1_000_000.0


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of all do not exceed (nearest rank: one of the values, never in between)."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def z_score(hits: int, *, of: int, share: float) -> float:
    """Return how many standard deviations a binomial count is away from its expectation."""
    return (hits - of * share) / math.sqrt(of * share * (1 - share))


def spread_ms(values_s: Sequence[float]) -> tuple[str, str, str, str]:
    """Render p50, p95, p99 and the largest of some seconds as milliseconds."""
    found = [quantile(values_s, share) * MILLISECONDS for share in (0.5, 0.95, 0.99)]
    p50, p95, p99 = (f"{value:.2f}" for value in found)
    return p50, p95, p99, f"{max(values_s) * MILLISECONDS:.2f}"
