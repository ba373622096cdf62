"""Does something grow, how fast, and does it level off? Of several short series, each with a start of its own.

* Mann-Kendall: the sign of every pair, summed over the series (*regional Kendall test*, Helsel and Frans, Environmental
  Science & Technology 2006), so that series on different levels are never compared with each other.
* Theil-Sen: the median of all slopes within the series.
* What is still to come, by Aitken's delta-squared process: when the gain from one third of the time to the next shrinks
  by a ratio r, the gains to come are r, r^2, ... times the last one. A warm-up curve (1 - exp) is extrapolated to where
  it ends, a straight line (r = 1) to the horizon.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Series = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Moments (s, rising) and values."""

_LINEAR_RATIO = 0.4, 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """What several series have in common.

    Attributes:
        z: Mann-Kendall's statistic, standard normal where nothing grows and values do not depend on each other.
        slope: Theil-Sen, units per second.
        span_s: of the longest series.
        third_s: from the middle of one of its thirds to that of the next.
        gains: from the first third of the time to the second, and from there to the last, mean over the series.
        last_gain: within the last third, from its first half to its second.
    """

    z: float
    slope: float
    span_s: float
    third_s: float
    gains: tuple[float, float]
    last_gain: float

    @property
    def growth(self) -> float:
        """Units gained over all the time that was looked at."""
        return self.slope * self.span_s

    @property
    def is_steady(self) -> bool:
        """Tell growth in every part of the time from a step, which grows in one of them."""
        first, second = self.gains
        low, high = _LINEAR_RATIO
        return first > 0 and low * first <= second <= high * first and self.last_gain > 0.15 * second

    def to_come(self, horizon_s: float) -> float:
        """Return what it will gain within `horizon_s` if it levels off as it has so far; a straight line if it has not.

        It is never taken to accelerate.
        """
        first, second = self.gains
        steps = horizon_s / self.third_s
        ratio = min(second / first, 1.0) if first > 0 else 1.0
        if ratio <= 0:
            return 0.0
        return second * (steps if ratio == 1.0 else ratio * (1 - ratio**steps) / (1 - ratio))


def trend_of(series: Sequence[Series]) -> Trend | None:
    """Return what the series have in common; None when there is none of at least six values."""
    long_enough = [one for one in series if len(one[0]) >= 6]  # noqa: PLR2004 - two for each third
    if not long_enough:
        return None
    sums = [_kendall(values) for _, values in long_enough]
    total, variance = sum(one[0] for one in sums), sum(one[1] for one in sums)
    thirds = np.mean([_thirds(values) for _, values in long_enough], axis=0)
    span_s = max(float(moments[-1] - moments[0]) for moments, _ in long_enough)
    most = max(len(values) for _, values in long_enough)
    return Trend(
        z=(total - math.copysign(1, total)) / math.sqrt(variance) if total and variance > 0 else 0.0,
        slope=float(np.median(np.concatenate([_slopes(*one) for one in long_enough]))),
        span_s=span_s,
        third_s=span_s / (most - 1) * (most // 3),
        gains=(float(thirds[1] - thirds[0]), float(thirds[2] - thirds[1])),
        last_gain=float(thirds[4] - thirds[3]),
    )


def _kendall(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return S and its variance, corrected for ties (Kendall 1975)."""
    above = _upper(np.sign(values[None, :] - values[:, None]))
    count = len(values)
    ties = np.unique(values, return_counts=True)[1].astype(float)
    variance = (count * (count - 1) * (2 * count + 5) - float(np.sum(ties * (ties - 1) * (2 * ties + 5)))) / 18
    return float(above.sum()), variance


def _slopes(moments: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    rise = _upper(values[None, :] - values[:, None])
    return rise / _upper(moments[None, :] - moments[:, None])


def _upper(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = matrix[np.triu_indices(len(matrix), k=1)]
    return found


def _thirds(values: NDArray[np.float64]) -> list[float]:
    """Return the mean of each third, then of the two halves of the last one."""
    parts: list[NDArray[Any]] = np.split(values[len(values) % 3 :], 3)  # equal ones, or a straight line would bend
    late = np.array_split(parts[2], 2)
    return [float(part.mean()) for part in (*parts, *late)]
