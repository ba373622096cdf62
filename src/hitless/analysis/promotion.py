"""Showing that the new version is not worse than the margin, for each share of the traffic that it might get next.

Margin by share. With a share `s`, all users together see `s` times what the new version does worse. So going to `s` is
shown once at most `error_margin / s` more of its requests fail: whatever comes of it, all users together never see more
than the margin. Early steps need a few hundred requests, the last one needs the margin itself.

Errors. Null hypothesis for share s: the canary's odds of failing are `psi` times the baseline's or more, where `psi`
turns the old version's failure rate into that rate plus `error_margin / s`; against it stands psi = 1. The rate is that
of the background, or what the old version has certainly failed lately, if that is more: the same ratio of a higher rate
would be more failures than the margin. It is what was seen before the second that it is used for. Where
nothing fails on either side that comparison knows nothing, so half of the weight lies on the canary's own rate against
`error_margin / s`, which needs no baseline: if so few of its requests fail at all, no more of them fail.

Latency. Of all users' answers at most `LATENCY_MARGIN` times as many as before are slower than the usual p95: the same
comparison at that threshold (the canary's is higher by `latency_margin`), with a canary of which `5 % + 2.5 % / s` are.

A share is shown when both e-processes reach 1 / false_promotion, stays shown until they have fallen well below
(`GIVEN_BACK`), and is promoted to once it has stayed so for `STAY_S`: requests that hang are known that late. Evidence
above `KEPT` more than needed is thrown away, so that a version that gets worse loses what it was shown soon.

What is assumed: the failure rate does not rise above that of the background faster than within `LATELY_S`, or `psi`
stands for more than it says. If it falls, `psi` stands for less, which only costs time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hitless.analysis.counts import Fates
from hitless.analysis.evidence import Evidence, Floats, log_bernoulli_ratios
from hitless.analysis.likelihood import Tables, log_ratios
from hitless.analysis.settings import LATENCY_MARGIN, STAY_S, USUALLY_SLOW
from hitless.rollout.spec import ALL_TRAFFIC_BP

SHARES_BP = (
    *(10, 20, 50, 100, 200, 300, 500, 750, 1_000, 1_500, 2_000, 2_500, 3_000, 3_400, 4_000, 5_000),
    *(6_000, 6_700, 7_500, 8_000, 9_000, ALL_TRAFFIC_BP),
)
"""What can be shown; a share between two of them needs the higher one."""

PARTS = ("errors", "latency")
"""Both must be shown."""

MOST_DISPERSION = 5.0
"""Evidence for a promotion is tempered by no more of what is measured over time: that also holds what both versions
suffer alike (a busy machine, an outage of everybody), and one such minute kept good versions waiting for an hour. What
is measured between instances holds no such thing and is not bounded: where each of 20 instances had bursts of 12
failures, and the canary, one of them, was just at the margin, 10 of 60 were promoted within an hour by the bound."""
GIVEN_BACK = 2.0
KEPT = 2.0
_FRACTIONS: Floats = np.array([0.02, 0.1, 0.3, 0.6])
_MOST = 0.95
_LEAST_RATE = 1e-6
LATELY_S = 300

_SURELY = 2.0
"""Standard deviations less than what was counted; with none, chance alone would halve the margin again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What is expected to be missing if the new version is like the old one; None = not known.

    Attributes:
        part: what takes most requests in all, `errors` or `latency`; None = nothing, or not known.
        times: as many as if no evidence were tempered.
    """

    requests: int | None
    seconds: float | None
    part: str | None = None
    times: float = 1.0


class Promotion:
    """Keeps how well each share is shown."""

    def __init__(
        self,
        *,
        error_margin: float,
        false_promotion: float,
        failure_rate: float | None,
        errors_dispersion: float,
        latency_dispersion: float,
    ) -> None:
        """Begin with nothing shown.

        Args:
            error_margin: so many more of all users' requests may fail.
            false_promotion: level of each share.
            failure_rate: of the old version before; None or 0 leave the canary's own rate alone.
            errors_dispersion: tempers evidence about failures.
            latency_dispersion: tempers evidence about slow answers.
        """
        shares = np.array(SHARES_BP) / ALL_TRAFFIC_BP
        self.needed = float(np.log(1.0 / false_promotion))
        self._limit: Floats = np.minimum(error_margin / shares, _MOST)
        self._more = error_margin / shares
        self._background = min(max(failure_rate or 0.0, _LEAST_RATE), 1.0 - _LEAST_RATE)
        self._lately: deque[tuple[int, int, int]] = deque()
        self._usual, self._error_margin = self._rate_and_margin()
        slower = np.minimum(USUALLY_SLOW * (1.0 + LATENCY_MARGIN / shares), _MOST)
        self._slow_margin: Floats = np.log(_odds(slower) / _odds(USUALLY_SLOW))
        one, size = np.zeros(1), (len(SHARES_BP),)
        ceiling = self.needed + KEPT
        self._compares = bool(failure_rate)
        own_ceiling = ceiling + np.log(2.0)
        own = np.full(len(_FRACTIONS), -np.log(len(_FRACTIONS)))
        self._errors = Evidence(size, one, dispersion=errors_dispersion, ceiling=own_ceiling)
        self._own = Evidence(size, own, dispersion=errors_dispersion, ceiling=own_ceiling)
        self._latency = Evidence(size, one, dispersion=latency_dispersion, ceiling=ceiling)
        self._tempering = errors_dispersion, latency_dispersion
        self._is_shown = np.zeros(size, dtype=bool)
        self._stayed_s = np.zeros(size, dtype=np.int64)

    def take(self, *, errors: Tables, slow: Tables | None, canary: Fates, seconds: int) -> None:
        """Take what was seen in some seconds; `slow` is None while no threshold is known."""
        ones = np.zeros(len(SHARES_BP))
        if self._compares:
            self._errors.add(log_ratios(errors, ones, log_null=self._error_margin).sum(axis=0)[:, None])
            self._note_lately(errors, seconds)
        limit = self._limit[:, None]
        good = canary.total - canary.failed
        self._own.add(log_bernoulli_ratios(canary.failed, good, alternative=limit * _FRACTIONS, null=limit))
        if slow is not None:
            self._latency.add(log_ratios(slow, ones, log_null=self._slow_margin).sum(axis=0)[:, None])
        weakest = np.minimum(self.log_errors(), self._latency.log_value())
        self._is_shown = weakest >= np.where(self._is_shown, self.needed - GIVEN_BACK, self.needed)
        self._stayed_s = np.where(self._is_shown, self._stayed_s + seconds, 0)

    def interrupt(self) -> None:
        """Note that a second is missing: what was shown must stay so anew."""
        self._stayed_s[:] = 0

    def largest_share_bp(self) -> int:
        """Return the largest share that is shown and has stayed so; 0 = none. A larger share shows the smaller ones."""
        stayed = np.flatnonzero(self._stayed_s >= STAY_S)
        return SHARES_BP[int(stayed[-1])] if len(stayed) else 0

    def log_errors(self) -> Floats:
        """Return the evidence about failures, by share."""
        own = self._own.log_value()
        return np.logaddexp(self._errors.log_value(), own) - np.log(2.0) if self._compares else own

    def log_value(self, share_bp: int) -> float:
        """Return the evidence for a share: that of what is shown least."""
        place = _place(share_bp)
        return float(min(self.log_errors()[place], self._latency.log_value()[place]))

    def lacks_latency(self, share_bp: int) -> bool:
        """Tell whether failures are shown for a share, and only latency is not."""
        place = _place(share_bp)
        return bool(self.log_errors()[place] >= self.needed > self._latency.log_value()[place])

    def missing(self, share_bp: int, *, present_share: float, canary_per_s: float) -> Missing:
        """Return what is expected to be missing for a share, if the new version is like the old one."""
        place = _place(share_bp)
        pace = self._pace_of_errors(place, present_share), self._pace_of_latency(place, present_share)
        lacking = self.needed - self.log_errors()[place], self.needed - self._latency.log_value()[place]
        if any(lack > 0.0 >= speed for lack, speed in zip(lacking, pace, strict=True)):
            return Missing(requests=None, seconds=None)
        requests = max(float(lack / speed) if lack > 0.0 else 0.0 for lack, speed in zip(lacking, pace, strict=True))
        stay_s = float(STAY_S - min(STAY_S, int(self._stayed_s[place])))
        seconds = requests / canary_per_s + stay_s if canary_per_s > 0.0 else None
        part, times = self._slowed({part: pace[part] for part, lack in enumerate(lacking) if lack > 0.0})
        return Missing(requests=int(np.ceil(requests)), seconds=seconds, part=part, times=times)

    def _slowed(self, pace: Mapping[int, float]) -> tuple[str | None, float]:
        """Return the slowest of these parts, and how many times as many requests it takes as if none were tempered."""
        if not pace:
            return None, 1.0
        slowest = min(pace, key=pace.__getitem__)
        return PARTS[slowest], min(pace[part] * self._tempering[part] for part in pace) / pace[slowest]

    def _rate_and_margin(self) -> tuple[float, Floats]:
        """Return the old version's failure rate, and the logarithm of the odds ratio that the margin is, by share."""
        _, failed, total = (sum(column) for column in zip((0, 0, 0), *self._lately, strict=True))
        surely = (failed - _SURELY * math.sqrt(failed)) / total if total else 0.0
        usual = min(max(self._background, surely), 1.0 - _LEAST_RATE)
        worse = np.minimum(usual + self._more, max(_MOST, (1.0 + usual) / 2.0))
        return usual, np.asarray(np.log(_odds(worse) / _odds(usual)))

    def _note_lately(self, errors: Tables, seconds: int) -> None:
        self._lately.append((seconds, int(errors.baseline_bad.sum()), int(errors.baseline.sum())))
        while sum(one[0] for one in self._lately) > LATELY_S:
            self._lately.popleft()
        self._usual, self._error_margin = self._rate_and_margin()

    def _pace_of_errors(self, place: int, present_share: float) -> float:
        """Return nats for each of the canary's requests."""
        limit = float(self._limit[place])
        rate = self._usual if self._compares else 0.0
        own = rate * np.log(_FRACTIONS) + (1.0 - rate) * np.log((1.0 - limit * _FRACTIONS) / (1.0 - limit))
        compared = _pace(self._usual, float(self._error_margin[place]), present_share) if self._compares else 0.0
        return float(max(own.max(), compared)) / self._tempering[0]

    def _pace_of_latency(self, place: int, present_share: float) -> float:
        return _pace(USUALLY_SLOW, float(self._slow_margin[place]), present_share) / self._tempering[1]


def _pace(rate: float, log_margin: float, share: float) -> float:
    """Return nats for each of the canary's requests, each bad one being a draw between the versions."""
    if not 0.0 < share < 1.0:
        return 0.0
    worse = share * np.exp(log_margin) / (share * np.exp(log_margin) + 1.0 - share)
    divergence = share * np.log(share / worse) + (1.0 - share) * np.log((1.0 - share) / (1.0 - worse))
    return float(rate / share * divergence)


def _place(share_bp: int) -> int:
    """Return the place of the smallest share that is not below this one."""
    return int(np.searchsorted(SHARES_BP, min(share_bp, ALL_TRAFFIC_BP)))


def _odds(rate: Floats | float) -> Floats:
    return np.asarray(rate / (1.0 - rate))
