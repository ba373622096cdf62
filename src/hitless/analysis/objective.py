"""The service's own objective: what users were promised, whatever the old version does.

Two things watch it. A test, inside the sum: the new version's failures against `1 - success_rate`, for alternatives of
2, 5, 10 and 50 times as many; it stands back while the old version's own test has reached `ENVIRONMENT`, because then
both suffer from something else, and forgets what it has: an outage of both must not be held against one of them once it
is over. Nor does it decide before the old version has had requests enough to show that it does not suffer as well
(`SHARED`): with a tenth of the traffic it shows an outage later than the new one does. And a guard, outside the sum,
that does what the setting says: below `at_least` for longer than `for`. Below means: in each third of that time more
failed than chance would give once in `1 / THIRD_CHANCE` looks at a version that just keeps the promise, and over all of
it once in `1 / CHANCE`. Without the second half one failure of a small canary would be an outage; without the first one
a burst of five seconds with a lone failure before or after it would be (2 of 24 good versions were taken back in ten
minutes where each of 20 instances, one of them new, had such bursts now and then).
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from scipy.special import bdtr, bdtrc

from hitless.analysis.counts import Fates
from hitless.analysis.evidence import Evidence, log_bernoulli_ratios
from hitless.rollout.spec import SloSpec

ENVIRONMENT = 10.0
CHANCE = 1e-5
THIRD_CHANCE = 0.05
SHARED = 0.01
"""So unlikely must the old version's few failures be if it failed like the new one: in the guard's time, or in all."""
_TIMES = np.array([2.0, 5.0, 10.0, 50.0])
_MOST = 0.99
_FORGETTING = 3.0
_THIRDS = 3


class Objective:
    """Success rate of both versions against the promise."""

    def __init__(self, *, success_rate: float, success_for_s: float, dispersion: float) -> None:
        self._promised = 1.0 - success_rate
        self.success_for_s = success_for_s
        self._evidence = self._began(dispersion)
        self._environment = self._began(dispersion, ceiling=math.log(ENVIRONMENT) + _FORGETTING)
        seconds = max(_THIRDS, math.ceil(success_for_s) + 1)  # an empty third would never be below
        self._window: deque[tuple[Fates, Fates]] = deque(maxlen=seconds)
        self.canary, self.baseline = Fates(), Fates()
        self.since: int | None = None

    def take(self, at: int, canary: Fates, baseline: Fates) -> None:
        """Take a second in which regions counted."""
        self._evidence.add(self._increments(canary))
        self._environment.add(self._increments(baseline))
        self.canary, self.baseline = self.canary + canary, self.baseline + baseline
        self._window.append((canary, baseline))
        if self.baseline_suffers:
            self._evidence.throw_away_above(0.0)
        if not self._is_below():
            self.since = None
        elif self.since is None:
            self.since = at

    @property
    def promised(self) -> float:
        """The share of requests that may fail."""
        return self._promised

    @property
    def log_value(self) -> float:
        """The logarithm of the new version's e-value."""
        return float(self._evidence.log_value())

    @property
    def baseline_suffers(self) -> bool:
        """Whether the old version has traffic, and its own test says that it misses the objective."""
        serves = any(baseline.total for _, baseline in self._window)
        return serves and float(self._environment.log_value()) >= math.log(ENVIRONMENT)

    @property
    def baseline_does_better(self) -> bool:
        """Whether the old version fails less for sure, or has no traffic that could tell."""
        return any(
            baseline.total == 0 or _fails_like(baseline, canary) < SHARED
            for canary, baseline in (self.lately(), (self.canary, self.baseline))
        )

    @property
    def is_below_for_long(self) -> bool:
        """Whether the new version has been below for longer than the setting allows."""
        return self.since is not None

    @property
    def both_suffer(self) -> bool:
        """Whether both versions miss the objective now: then something else is wrong."""
        canary, baseline = self.lately()
        if self.is_below_for_long and self._fails_more(baseline):
            return True
        return self.baseline_suffers and (self._fails_more(canary) or self._fails_more(self.canary))

    def lately(self) -> tuple[Fates, Fates]:
        """Return both versions' requests in the guard's time."""
        return (
            sum((canary for canary, _ in self._window), Fates()),
            sum((baseline for _, baseline in self._window), Fates()),
        )

    def _began(self, dispersion: float, *, ceiling: float = math.inf) -> Evidence:
        return Evidence((), np.full(len(_TIMES), -np.log(len(_TIMES))), dispersion=dispersion, ceiling=ceiling)

    def _increments(self, fates: Fates) -> np.ndarray:
        return log_bernoulli_ratios(
            fates.failed,
            fates.total - fates.failed,
            alternative=np.minimum(self._promised * _TIMES, max(_MOST, self._promised)),
            null=self._promised,
        )

    def _is_below(self) -> bool:
        if len(self._window) < (self._window.maxlen or 0):
            return False
        whole = [canary for canary, _ in self._window]
        size = len(whole) / _THIRDS
        thirds = [whole[round(i * size) : round((i + 1) * size)] for i in range(_THIRDS)]
        if not all(self._is_no_chance(sum(third, Fates()), THIRD_CHANCE) for third in thirds):
            return False
        return self._is_no_chance(sum(whole, Fates()), CHANCE)

    def _fails_more(self, fates: Fates) -> bool:
        return fates.failed > self._promised * fates.total

    def _is_no_chance(self, fates: Fates, chance: float) -> bool:
        return fates.failed > 0 and float(bdtrc(fates.failed - 1, fates.total, self._promised)) < chance


def _fails_like(one: Fates, other: Fates) -> float:
    """Return how likely so few failures of one are, or fewer, if it fails as often as the other."""
    return float(bdtr(one.failed, one.total, other.failed / other.total)) if other.total else 1.0


def objective_of(slo: SloSpec | None, *, dispersion: float) -> Objective | None:
    """Return what watches the objective; None where nothing is promised, or all that can be."""
    if slo is None or slo.success_rate is None or not 0.0 < slo.success_rate < 1.0:
        return None
    return Objective(success_rate=slo.success_rate, success_for_s=slo.success_for_s, dispersion=dispersion)
