"""Confidence sequences for means that hold at every moment: for what is no count of requests.

Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, *Time-uniform central limit theory and asymptotic confidence
sequences*, Annals of Statistics 2024 (arXiv 2103.06476). Values must have a variance, and must not depend on each other
over many steps.

Asymptotic means: the bound holds from some number of values on. Measured (600 runs of 500 values, alpha 1 %, tightest
at 100, ever outside): normal values 1.2 % from the 10th on, 0.5 % from the 50th on; exponential ones 9.5 %, 2.7 %, and
1.7 % from the 100th on; lognormal ones (sigma 1) 17 %, 7.2 %, 2.7 %. So means of batches, not single skewed values, and
not before `FEWEST_VALUES` where nothing is known of them.
"""

from __future__ import annotations

import math

FEWEST_VALUES = 100


def tightest_at(count: float, *, alpha: float) -> float:
    """Return the parameter rho for which a sequence is tightest after `count` observations (their section B.2)."""
    log_term = -2 * math.log(alpha)
    return math.sqrt((log_term + math.log(log_term + 1)) / count)


def half_width(count: int, deviation: float, *, alpha: float, rho: float) -> float:
    """Return the distance from the mean to either end of a two-sided sequence; infinity below two observations.

    Args:
        count: observations so far.
        deviation: their standard deviation.
        alpha: with at most this probability the truth is ever outside.
        rho: of `tightest_at`.
    """
    if count < 2:  # noqa: PLR2004 - one value has no deviation
        return math.inf
    grown = count * rho**2 + 1
    return deviation * math.sqrt(2 * grown / (count * rho) ** 2 * math.log(math.sqrt(grown) / alpha))


def one_sided_width(count: int, deviation: float, *, alpha: float, rho: float) -> float:
    """Return the distance from the mean to the only end of a one-sided sequence."""
    if count < 2:  # noqa: PLR2004 - one value has no deviation
        return math.inf
    grown = count * rho**2 + 1
    return deviation * math.sqrt(2 * grown / (count * rho) ** 2 * math.log(1 + math.sqrt(grown) / (2 * alpha)))


class Moments:
    """Count, mean and deviation of values that come one by one (Welford 1962)."""

    __slots__ = ("_squares", "count", "mean")

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    def take(self, value: float) -> None:
        """Take a value."""
        self.count += 1
        distance = value - self.mean
        self.mean += distance / self.count
        self._squares += distance * (value - self.mean)

    @property
    def deviation(self) -> float:
        """Standard deviation; 0 below two values."""
        return math.sqrt(self._squares / (self.count - 1)) if self.count > 1 else 0.0
