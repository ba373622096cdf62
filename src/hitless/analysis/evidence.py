"""Evidence that may be looked at after every second: e-processes, mixed over what is looked for and since when.

Theory. Under the null hypothesis each increment's exponential is at most 1 on average given the past, so their product
is a nonnegative supermartingale, and so is every mixture of such products that was fixed beforehand. Ville (1939): it
ever reaches 1/alpha with probability at most alpha. Nothing is lost by looking often.

Mixture. Over alternatives (how much worse), and over beginnings (since when): `FIRST` of the weight lies on the very
beginning, the rest, 1 / (j (j + 1)) of it, on the j-th restart; weight whose time has not come is worth 1. A regression
after a clean hour is found 1.3 to 2.7 times sooner than without restarts. All beginnings share one sum: that of the
increments since restart j is today's less that day's, so a restart leaves behind one number for each alternative.

Tempering. Increments divided by `dispersion` >= 1: a power of at most 1 of a likelihood ratio is at most 1 on average
too (Jensen), so this never harms the bound. That it suffices where failures come in bursts is measured, not proved.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FIRST = 0.8
RESTART_EVERY_S = 60


def log_sum(terms: Floats) -> Floats:
    """Return ln(sum(exp(terms))) over the last axis; minus infinity where all of them are."""
    highest = np.max(terms, axis=-1, keepdims=True)
    safe = np.where(np.isfinite(highest), highest, 0.0)
    with np.errstate(divide="ignore"):
        total: Floats = safe + np.log(np.sum(np.exp(terms - safe), axis=-1, keepdims=True))
    return total[..., 0]


class Evidence:
    """Any number of e-processes side by side: other tests, or other rollouts."""

    def __init__(
        self,
        shape: tuple[int, ...],
        log_weights: Floats,
        *,
        dispersion: Floats | float = 1.0,
        ceiling: float = np.inf,
    ) -> None:
        """Begin without evidence.

        Args:
            shape: of the processes.
            log_weights: logarithms of the alternatives' weights, shape (g,), or (*shape, g) where processes look for
                different ones; their sum is 1; minus infinity for one that is only watched.
            dispersion: at least 1, broadcast to `shape`.
            ceiling: more is not kept, so that what has ended is forgotten; evidence thrown away harms no bound.
        """
        self.sums = np.zeros((*shape, log_weights.shape[-1]))
        self._log_weights = np.broadcast_to(log_weights, self.sums.shape)
        self._left: Floats = np.broadcast_to(np.log(FIRST) + log_weights, self.sums.shape).copy()
        self._dispersion = np.broadcast_to(np.maximum(1.0, dispersion), shape)[..., None]
        self._ceiling = ceiling
        self._restarts = 0
        self._seconds = 0

    def add(self, increments: Floats) -> None:
        """Add one second's sum of log likelihood ratios, shape (*shape, g)."""
        self.sums += increments / self._dispersion
        self._seconds += 1
        if self._ceiling < np.inf:
            self.throw_away_above(self._ceiling)
        if self._seconds % RESTART_EVERY_S == 0:
            self._restart()

    def log_value(self) -> Floats:
        """Return the logarithms of the e-values, shape `shape`."""
        return np.logaddexp(np.log((1.0 - FIRST) / (self._restarts + 1)), log_sum(self.sums + self._left))

    def throw_away_above(self, ceiling: float) -> None:
        """Keep no more evidence than this; less may be kept at any time, whatever the reason."""
        self._left -= np.maximum(0.0, self.log_value() - ceiling)[..., None]

    def renew(self, which: int) -> None:
        """Begin one of the processes anew, for a hypothesis about what comes from now on."""
        self.sums[which] = 0.0
        self._left[which] = np.log(FIRST) + self._log_weights[which]

    def _restart(self) -> None:
        self._restarts += 1
        weight = (1.0 - FIRST) / (self._restarts * (self._restarts + 1))
        self._left = np.logaddexp(self._left, np.log(weight) + self._log_weights - self.sums)


def log_bernoulli_ratios(bad: int, good: int, *, alternative: Floats, null: Floats | float) -> Floats:
    """Return ln of the likelihood ratio of rates `alternative` against `null`; all broadcast against each other."""
    return np.asarray(bad * np.log(alternative / null) + good * np.log((1.0 - alternative) / (1.0 - null)))
