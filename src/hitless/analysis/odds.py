"""All tests that compare odds, side by side: one look at the likelihoods serves every one of them.

`ODDS` are the ratios that are looked for. Null hypothesis of each test: the new version's odds are no higher, or not
higher than a margin allows; ratios within the margin are not looked for then, and their weight goes to the others in
proportion. Seconds are strata, so what both versions suffer at once tells nothing about either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hitless.analysis.evidence import Evidence, Floats, log_sum
from hitless.analysis.likelihood import Counts, Tables, log_ratios
from hitless.analysis.ruling import Estimate

ODDS: Floats = np.exp2([-3.0, -2.0, -1.0, 0.5, 1.0, 1.5, 2.5, 3.5, 4.5, 6.0, 8.0, 10.0])
"""Ratios above 1 are looked for, half the steps of an octave where regressions are small. Those below 1 are only
watched, for the estimate."""

_WEIGHTS: Floats = np.array([0.0, 0.0, 0.0, 0.1, 0.15, 0.15, 0.18, 0.18, 0.1, 0.06, 0.05, 0.03])
"""Of the alternatives: most lie on ratios of 2 to 12, where evidence comes slowly; a version that fails altogether is
found by two failures anyhow."""

LOG_ODDS: Floats = np.log(ODDS)
LOG_WEIGHTS: Floats = np.array([np.log(weight) if weight else -np.inf for weight in _WEIGHTS])
_CANDIDATES: Floats = np.insert(LOG_ODDS, 3, 0.0)

DISPERSION_ALLOWANCE = 1.25
"""A dispersion above 1 is taken so much greater: it is an estimate, and one that is too small costs the bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What one test has counted, strata with both versions alone, as `(bad, all)`."""

    canary: tuple[int, int]
    baseline: tuple[int, int]


def log_weights_above(log_null: float) -> Floats:
    """Return the alternatives' weights where odds of `log_null` are allowed; what is not above them gets none."""
    kept = np.where(log_null < LOG_ODDS, LOG_WEIGHTS, -np.inf)
    return np.asarray(kept - log_sum(kept))


def allowed_for(dispersion: float) -> float:
    """Return the dispersion that evidence is tempered by."""
    return dispersion * DISPERSION_ALLOWANCE if dispersion > 1.0 else 1.0


class OddsTests:
    """Tests by name."""

    def __init__(
        self, dispersion: Mapping[str, float], *, level: float, log_nulls: Mapping[str, float] | None = None
    ) -> None:
        """Begin without evidence.

        Args:
            dispersion: by name of a test, in the order in which they are kept.
            level: of the confidence sequences, 0.01 for 99 %.
            log_nulls: logarithm of the odds ratio that a test allows, at least 0 and less than that of the greatest
                of `ODDS`; 0 where none is named.
        """
        self.names = tuple(dispersion)
        self._place = {name: place for place, name in enumerate(self.names)}
        tempering = np.array([allowed_for(dispersion[name]) for name in self.names])
        allowed = np.array([(log_nulls or {}).get(name, 0.0) for name in self.names])
        weights = np.array([log_weights_above(one) if one else LOG_WEIGHTS for one in allowed])
        self._evidence = Evidence((len(self.names),), weights, dispersion=tempering)
        self._nulls, self._null_of = np.unique(allowed, return_inverse=True)
        self._at_one = np.zeros(len(self.names))
        self._tempering = tempering
        self._tallies = np.zeros((len(self.names), 4), dtype=np.int64)
        self._mantel = np.zeros((len(self.names), 2))
        self._level = level

    def place_of(self, name: str) -> int:
        """Return where a test's evidence stands in `log_values`."""
        return self._place[name]

    def take(self, parts: Sequence[tuple[str, Tables]]) -> None:
        """Take one second's tables by test."""
        sizes = [len(tables) for _, tables in parts]
        owner = np.repeat([self._place[name] for name, _ in parts], sizes) if parts else np.zeros(0, dtype=np.int64)
        together = _joined([tables for _, tables in parts])
        increments = np.zeros((len(self.names), len(ODDS)))
        telling = together.tell_something
        np.add.at(increments, owner[telling], self._ratios(together.where(telling), owner[telling]))
        self._evidence.add(increments)
        self._count(owner, together)

    def log_values(self) -> Floats:
        """Return the logarithms of all e-values, in the order of `names`."""
        return self._evidence.log_value()

    def renew(self, name: str) -> None:
        """Begin a test anew."""
        self._evidence.renew(self._place[name])
        self._at_one[self._place[name]] = 0.0

    def tally(self, name: str) -> Tally:
        """Return what a test has counted."""
        canary, canary_bad, baseline, baseline_bad = (int(n) for n in self._tallies[self._place[name]])
        return Tally(canary=(canary_bad, canary), baseline=(baseline_bad, baseline))

    def estimate(self, name: str) -> Estimate:
        """Return the odds ratio (Mantel and Haenszel 1959), and the confidence sequence around it.

        A ratio is left out of the sequence once a two-sided mixture against it has reached 1 / level. Between two
        ratios of the grid the likelihood is no higher than its concavity allows (`_end`).
        """
        up, down = self._mantel[self._place[name]]
        place = self._place[name]
        sums = np.insert(self._evidence.sums[place], 3, self._at_one[place])  # all against what the test allows
        limit = float(log_sum(sums) - np.log(len(sums)) + np.log(self._level))
        low, high = _end(_CANDIDATES, sums, limit), _end(-_CANDIDATES[::-1], sums[::-1], limit)
        return Estimate(
            value=float(up / down) if down > 0 else None,
            low=None if low is None else float(np.exp(low)),
            high=None if high is None else float(np.exp(-high)),
        )

    def _ratios(self, tables: Tables, owner: Counts) -> Floats:
        """Return the log likelihood ratios against what each table's test allows, shape (n, g)."""
        if not self._nulls.any():
            return log_ratios(tables, LOG_ODDS)
        found = log_ratios(tables, np.concatenate([LOG_ODDS, self._nulls]))
        at_null = found[np.arange(len(owner)), len(LOG_ODDS) + self._null_of[owner]]
        np.add.at(self._at_one, owner, -at_null / self._tempering[owner])
        return found[:, : len(LOG_ODDS)] - at_null[:, None]

    def _count(self, owner: np.ndarray, tables: Tables) -> None:
        counted = (tables.canary > 0) & (tables.baseline > 0)
        if not counted.any():
            return
        one, owner = tables.where(counted), owner[counted]
        four = np.stack([one.canary, one.canary_bad, one.baseline, one.baseline_bad], axis=1)
        np.add.at(self._tallies, owner, four)
        everything = one.canary + one.baseline
        up = one.canary_bad * (one.baseline - one.baseline_bad) / everything
        down = one.baseline_bad * (one.canary - one.canary_bad) / everything
        np.add.at(self._mantel, owner, np.stack([up, down], axis=1))


def _end(places: Floats, logs: Floats, limit: float) -> float | None:
    """Return up to where a concave function, known at ascending places, is at most `limit`; None = from the first on.

    Between two places it lies below both lines that go on from the pairs of places beside them.
    """
    above = int(np.argmax(logs > limit))
    if above == 0:
        return None
    found = float(places[above - 1])
    for one, other, origin in ((above - 2, above - 1, above - 1), (above, above + 1, above)):
        if one >= 0 and other < len(places) and logs[other] > logs[one]:
            slope = (logs[other] - logs[one]) / (places[other] - places[one])
            found = max(found, float(places[origin] + (limit - logs[origin]) / slope))
    return min(found, float(places[above]))


def _joined(parts: Sequence[Tables]) -> Tables:
    if not parts:
        nothing = np.zeros(0, dtype=np.int64)
        return Tables(canary=nothing, canary_bad=nothing, baseline=nothing, baseline_bad=nothing)
    return Tables(
        canary=np.concatenate([one.canary for one in parts]),
        canary_bad=np.concatenate([one.canary_bad for one in parts]),
        baseline=np.concatenate([one.baseline for one in parts]),
        baseline_bad=np.concatenate([one.baseline_bad for one in parts]),
    )
