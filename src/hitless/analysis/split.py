"""Whether the versions get the traffic that the weights say: a canary that refuses connections loses it.

A region's canary requests against its share, one e-process over all of them. Users keep their version and ask more than
once, so requests are no independent draws: odds within a factor of `TOLERANCE` are no mismatch, and `SESSION` requests
count as one. Alarms at alpha 1/1000 (Fabijan et al. 2019 for why there is such a check at all), and only hold.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hitless.analysis.evidence import Evidence, Floats, log_bernoulli_ratios
from hitless.rollout.spec import ALL_TRAFFIC_BP, Region

ALPHA = 1e-3
TOLERANCE = 1.5
SESSION = 10.0
_TIMES: Floats = np.array([0.01, 0.1, 0.33, 3.0, 10.0])
_FORGETTING = 5.0
"""Nats above the bound that are kept: a mismatch that has ended is forgotten within about as much traffic again."""


class Split:
    """Counts requests by region against the shares that were in force."""

    def __init__(self) -> None:
        self.log_needed = float(np.log(1.0 / ALPHA))
        self._evidence = Evidence(
            (),
            np.full(len(_TIMES), -np.log(len(_TIMES))),
            dispersion=SESSION,
            ceiling=self.log_needed + _FORGETTING,
        )

    def take(self, counts: Mapping[Region, tuple[int, int]], share_bp: Mapping[Region, int]) -> None:
        """Take the canary's and the baseline's requests of each region that counts."""
        increments = np.zeros(len(_TIMES))
        for region, (canary, baseline) in counts.items():
            odds = share_bp[region] / (ALL_TRAFFIC_BP - share_bp[region])
            null = odds * np.where(_TIMES < 1.0, 1.0 / TOLERANCE, TOLERANCE)
            increments += log_bernoulli_ratios(canary, baseline, alternative=_share(odds * _TIMES), null=_share(null))
        self._evidence.add(increments)

    @property
    def log_value(self) -> float:
        """The logarithm of the e-value."""
        return float(self._evidence.log_value())

    @property
    def is_off(self) -> bool:
        """Whether the versions do not get what the weights say."""
        return self.log_value >= self.log_needed


def _share(odds: Floats) -> Floats:
    return odds / (1.0 + odds)
