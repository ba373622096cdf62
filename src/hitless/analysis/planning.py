"""Before a rollout: how many requests each step needs, and what it can and cannot show in its time.

To be promoted. A step is left for share s once it is shown that at most `error_margin / s` more of the new version's
requests fail. Its evidence grows, if the new version is like the old one, by a Kullback-Leibler divergence for each
request; ln(1 / false_promotion) is needed, and ln 2 more because two tests share the weight: one compares the versions,
one holds the new version's own failures against the margin. The faster of the two counts. That no more answers are slow
is shown beside it, once the warm-up is over, and both must have stayed shown for `STAY_S`. This is the mean; half of
the steps take less than it, one in ten about twice as long, and failures that come in bursts multiply it by their
dispersion.

To be found. Lower bound of Wald for a test of this error rate and 99 % power, with the old version's rate unknown and
estimated beside it from the rest of the traffic (Jensen-Shannon divergence, the least favourable common rate). The
judge's mixture takes `EFFICIENCY` times as many (measured, 1.30 to 1.44), and a row with weight w needs ln(1 / w) more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hitless.analysis.settings import LATENCY_MARGIN, STAY_S, USUALLY_SLOW, WEIGHTS
from hitless.rollout.spec import ALL_TRAFFIC_BP, AnalysisSpec, CanaryStep

EFFICIENCY = 1.35
MISSED = 0.01
FACTORS = (2.0, 3.0, 10.0)
SLACK = 1.5
"""A proposed hold is so many times the mean: about three steps of four are decided in it."""

_LEAST_RATE = 1e-6
_OWN_FRACTIONS = 4
_MOST_FACTOR = 1e6
_ROUND_S = ((120, 10), (1_200, 60), (7_200, 300), (math.inf, 1_800))


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """A version that fails `factor` times as often: how long until it is found, on average.

    Attributes:
        requests: of the new version.
        failed: of them, more than the old version would have failed: users who are harmed.
        is_within_hold: the step lasts so long.
    """

    factor: float
    requests: int
    seconds: float
    failed: float
    is_within_hold: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutlook:
    """What one step of a canary needs and shows.

    Attributes:
        margin: so many more of the new version's requests may fail and it still gets the next share.
        needed_requests: of the new version, until it may; after `needed_s` from the step's beginning.
        least_factor: what is found within the hold; None = nothing is, however bad.
        proposed_hold_s: long enough for a verdict most of the time, and to find ten times the failures.
    """

    share_bp: int
    next_share_bp: int
    hold_s: float
    margin: float
    needed_requests: int
    needed_s: float
    is_enough: bool
    detections: tuple[Detection, ...]
    least_factor: float | None
    proposed_hold_s: float


def outlook(
    steps: Sequence[CanaryStep],
    *,
    requests_per_s: float,
    failure_rate: float,
    analysis: AnalysisSpec,
    has_objective: bool = False,
) -> tuple[StepOutlook, ...]:
    """Return what each step but the last needs and shows.

    Args:
        steps: of the canary, the last one with all traffic.
        requests_per_s: of all versions together, above 0.
        failure_rate: of the old version; 0 is taken for one in a million.
        analysis: error rates, margin, dependencies.
        has_objective: a success rate is promised: one row more.

    Raises:
        ValueError: a rate cannot be.
    """
    if not requests_per_s > 0 or not 0 <= failure_rate < 1:
        raise ValueError("requests per second must be above 0, the failure rate at least 0 and below 1")
    rate = max(failure_rate, _LEAST_RATE)
    nats = _nats_to_find(analysis, has_objective=has_objective)
    return tuple(
        _step(step, following, requests_per_s=requests_per_s, rate=rate, analysis=analysis, nats=nats)
        for step, following in pairwise(steps)
        if step.weight_bp < ALL_TRAFFIC_BP
    )


def requests_to_promote(*, share: float, next_share: float, failure_rate: float, analysis: AnalysisSpec) -> float:
    """Return how many requests of the canary show that it may get `next_share`, on average."""
    margin = min(analysis.error_margin / next_share, 0.95)
    needed = math.log(1 / analysis.false_promotion) + math.log(2)
    worse = min(failure_rate + margin, 0.95)
    odds = worse / (1 - worse) / (failure_rate / (1 - failure_rate))
    compared = failure_rate / share * _divergence(share, share * odds / (share * odds + 1 - share))
    alone = _divergence(failure_rate, margin) if failure_rate < margin else 0.0
    found = [needed / compared, (needed + math.log(_OWN_FRACTIONS)) / alone if alone > 0 else math.inf]
    return min(found)


def requests_to_show_quick(*, share: float, next_share: float, analysis: AnalysisSpec) -> float:
    """Return how many answers of the canary show that all users together meet few more slow ones, on average."""
    slower = min(USUALLY_SLOW * (1 + LATENCY_MARGIN / next_share), 0.95)
    odds = slower / (1 - slower) / (USUALLY_SLOW / (1 - USUALLY_SLOW))
    each = USUALLY_SLOW / share * _divergence(share, share * odds / (share * odds + 1 - share))
    return math.log(1 / analysis.false_promotion) / each


def requests_to_find(*, share: float, failure_rate: float, factor: float, nats: float) -> float:
    """Return how many requests of the canary show that it fails `factor` times as often, on average."""
    worse = min(failure_rate * factor, 1.0)
    common = share * worse + (1 - share) * failure_rate
    each = share * _divergence(worse, common) + (1 - share) * _divergence(failure_rate, common)
    return share * nats / each


def _nats_to_find(analysis: AnalysisSpec, *, has_objective: bool) -> float:
    alpha = analysis.false_rollback
    wald = (1 - MISSED) * math.log((1 - MISSED) / alpha) + MISSED * math.log(MISSED / (1 - alpha))
    present = sum(weight for row, weight in WEIGHTS.items() if row != "objective" or has_objective)
    return EFFICIENCY * wald + math.log(present / WEIGHTS["errors"])


def _step(
    step: CanaryStep,
    following: CanaryStep,
    *,
    requests_per_s: float,
    rate: float,
    analysis: AnalysisSpec,
    nats: float,
) -> StepOutlook:
    share, next_share = step.weight_bp / ALL_TRAFFIC_BP, following.weight_bp / ALL_TRAFFIC_BP
    canary_per_s = requests_per_s * share
    needed_s = _seconds_to_promote(share, next_share, canary_per_s=canary_per_s, rate=rate, analysis=analysis)
    detections = tuple(
        _detection(factor, share=share, canary_per_s=canary_per_s, rate=rate, nats=nats, hold_s=step.hold_s)
        for factor in _factors(rate)
    )
    found_s = min((one.seconds for one in detections if one.factor >= FACTORS[-1]), default=detections[-1].seconds)
    return StepOutlook(
        share_bp=step.weight_bp,
        next_share_bp=following.weight_bp,
        hold_s=step.hold_s,
        margin=min(analysis.error_margin / next_share, 1.0),
        needed_requests=math.ceil(needed_s * canary_per_s),
        needed_s=needed_s,
        is_enough=needed_s <= step.hold_s,
        detections=detections,
        least_factor=_least_factor(share, rate, nats, canary_per_s * step.hold_s),
        proposed_hold_s=_rounded_up(SLACK * max(needed_s, found_s)),
    )


def _seconds_to_promote(
    share: float, next_share: float, *, canary_per_s: float, rate: float, analysis: AnalysisSpec
) -> float:
    """Return when both kinds of evidence are there, and have stayed."""
    errors = requests_to_promote(share=share, next_share=next_share, failure_rate=rate, analysis=analysis)
    slow = requests_to_show_quick(share=share, next_share=next_share, analysis=analysis)
    return max(errors / canary_per_s, analysis.warm_up_s + slow / canary_per_s) + STAY_S


def _factors(rate: float) -> Iterable[float]:
    """Leave out what is more than every request."""
    possible = [factor for factor in FACTORS if factor * rate <= 1]
    return possible or [1 / rate]


def _detection(
    factor: float, *, share: float, canary_per_s: float, rate: float, nats: float, hold_s: float
) -> Detection:
    requests = requests_to_find(share=share, failure_rate=rate, factor=factor, nats=nats)
    seconds = requests / canary_per_s
    return Detection(
        factor=factor,
        requests=math.ceil(requests),
        seconds=seconds,
        failed=requests * rate * (factor - 1),
        is_within_hold=seconds <= hold_s,
    )


def _least_factor(share: float, rate: float, nats: float, requests: float) -> float | None:
    """Find the factor that takes just so many requests; fewer are enough for a larger one."""
    low, high = 1.0, min(1 / rate, _MOST_FACTOR)
    if requests_to_find(share=share, failure_rate=rate, factor=high, nats=nats) > requests:
        return None
    for _ in range(60):
        middle = math.sqrt(low * high)
        if requests_to_find(share=share, failure_rate=rate, factor=middle, nats=nats) > requests:
            low = middle
        else:
            high = middle
    return high


def _divergence(one: float, other: float) -> float:
    """Return the Kullback-Leibler divergence of two rates, nats."""
    first = one * math.log(one / other) if one > 0 else 0.0
    return first + ((1 - one) * math.log((1 - one) / (1 - other)) if one < 1 else 0.0)


def _rounded_up(seconds: float) -> float:
    step = next(size for limit, size in _ROUND_S if seconds <= limit)
    return float(max(math.ceil(seconds / step) * step, 10))
