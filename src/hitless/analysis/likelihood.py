"""How likely two versions' failures are under a ratio of odds, given how many there were: exact, for many tables.

Theory. In one stratum (a second, a region, a route) the canary had `n` requests, the baseline `m`, and `k` of all were
bad. Given these margins, the number `x` of bad ones among the canary's has Fisher's noncentral hypergeometric
distribution, P(x) ~ C(n, x) C(m, k - x) psi^x, whatever the common rate, the split or the hour: only the odds ratio
`psi` is left. Its likelihood ratio is monotone in `x`, so against psi0 it is no larger than 1 on average for every
psi <= psi0 (Fisher 1935; Wald 1945; Ville 1939 for the product over time).

Rules. Everything is in logarithms: in an outage `k` reaches thousands, and the plain recurrence overflows to NaN, that
is, to no verdict. Tables of different width lie one behind the other, not side by side: the cost is that of the sum of
their widths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

_KNOWN = 1 << 14
_LOG_FACTORIAL: Floats = gammaln(np.arange(_KNOWN) + 1.0)
"""Looked up ten times faster than computed; larger ones are rare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Two-by-two tables, one entry each; all four of the same length."""

    canary: Counts
    canary_bad: Counts
    baseline: Counts
    baseline_bad: Counts

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.canary)

    def where(self, chosen: NDArray[np.bool_]) -> Tables:
        """Return the chosen ones."""
        return Tables(
            canary=self.canary[chosen],
            canary_bad=self.canary_bad[chosen],
            baseline=self.baseline[chosen],
            baseline_bad=self.baseline_bad[chosen],
        )

    @property
    def tell_something(self) -> NDArray[np.bool_]:
        """Which of them could have come out in more than one way: both versions served, some were bad, some good."""
        bad = self.canary_bad + self.baseline_bad
        return np.asarray(np.minimum(bad, self.canary) > np.maximum(0, bad - self.baseline))


def log_ratios(tables: Tables, log_odds: Floats, *, log_null: float | Floats = 0.0) -> Floats:
    """Return ln(P_psi(x) / P_null(x)) for every table and every psi.

    Args:
        tables: n of them.
        log_odds: natural logarithms of the odds ratios, shape (g,).
        log_null: of the null hypothesis; one, or one for each psi, shape (g,).

    Returns:
        Shape (n, g); 0 where a table tells nothing.
    """
    result = np.zeros((len(tables), len(log_odds)))
    telling = tables.tell_something
    if telling.any():
        result[telling] = _of_telling(tables.where(telling), log_odds, np.broadcast_to(log_null, log_odds.shape))
    return result


def _of_telling(tables: Tables, log_odds: Floats, log_null: Floats) -> Floats:
    different, which = np.unique(np.concatenate([log_odds, log_null]), return_inverse=True)
    norms = _log_norms(tables, different)[which]
    alternative, null = norms[: len(log_odds)], norms[len(log_odds) :]
    return np.outer(tables.canary_bad, log_odds - log_null) + (null - alternative).T


def _log_norms(tables: Tables, log_odds: Floats) -> Floats:
    """Return ln(sum over y of C(n, y) C(m, k - y) psi^y) up to a constant of the table, shape (g, n)."""
    bad = tables.canary_bad + tables.baseline_bad
    low = np.maximum(0, bad - tables.baseline)
    width = np.minimum(bad, tables.canary) - low + 1
    begin = np.cumsum(width) - width
    y = np.arange(int(width.sum())) - np.repeat(begin - low, width)
    log_ways = -_log_factorial(y) - _log_factorial(np.repeat(tables.canary, width) - y)
    log_ways -= _log_factorial(np.repeat(bad, width) - y)
    log_ways -= _log_factorial(np.repeat(tables.baseline - bad, width) + y)
    terms = log_ways + np.multiply.outer(log_odds, y)
    highest = np.maximum.reduceat(terms, begin, axis=1)
    terms -= np.repeat(highest, width, axis=1)
    np.exp(terms, out=terms)
    return highest + np.log(np.add.reduceat(terms, begin, axis=1))


def _log_factorial(n: Counts) -> Floats:
    return _LOG_FACTORIAL[n] if int(n.max()) < _KNOWN else gammaln(n + 1.0)
