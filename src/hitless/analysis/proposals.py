"""Settings that fit a service's own traffic and variance, measured; what cannot be measured is not proposed.

*Margin*: the smallest that is shown within each step's hold most of the time (`SLACK` times the mean, times what the
evidence is tempered by). *Warm-up*: how long a version that came within the data was slower than it was later.
*Margin of latency*: how far instances of one version differ, where durations are known by instance.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from hitless.analysis.background import latency_bounds
from hitless.analysis.counts import Second, bound_ms
from hitless.analysis.odds import allowed_for
from hitless.analysis.planning import SLACK, requests_to_promote
from hitless.rollout.spec import ALL_TRAFFIC_BP, AnalysisSpec, CanaryStep, InstanceId, Version

LEAST_MARGIN, MOST_MARGIN = 1e-5, 0.1
"""More than 10 percentage points of failures are no margin, they are an outage."""

ERROR_MARGIN, LATENCY_MARGIN, WARM_UP = "analysis.error_rate.margin", "analysis.latency.margin", "analysis.warm_up"
WINDOW_S = 10
WATCHED_S = 300
LEAST_ANSWERS = 1_000
USUAL_SLOW = 0.05
DEVIATIONS = 4.0
COMPARED = ("p50", "p75", "p90", "p95")
"""Of `background.QUANTILES`: the tail of a few thousand answers is chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One setting.

    Attributes:
        key: in `hitless.yaml`.
        present, proposed: shares, or seconds for the warm-up; `proposed` None = nothing can be proposed.
        why: the reason, with its figures.
    """

    key: str
    present: float
    proposed: float | None
    why: str


def propose_margin(
    steps: Sequence[CanaryStep],
    *,
    requests_per_s: float,
    failure_rate: float,
    dispersion: float,
    analysis: AnalysisSpec,
) -> Proposal:
    """Propose how many more requests may fail: the present margin where it can be shown, else the smallest that can.

    Args:
        steps: of the canary.
        requests_per_s: of all versions together, above 0.
        failure_rate: of the old version, above 0 and below 1.
        dispersion: of its failures.
        analysis: the present settings.
    """

    def can_be_shown(margin: float) -> bool:
        settings = replace(analysis, error_margin=margin)
        return all(
            SLACK
            * allowed_for(dispersion)
            * requests_to_promote(
                share=step.weight_bp / ALL_TRAFFIC_BP,
                next_share=following.weight_bp / ALL_TRAFFIC_BP,
                failure_rate=failure_rate,
                analysis=settings,
            )
            <= requests_per_s * step.weight_bp / ALL_TRAFFIC_BP * step.hold_s
            for step, following in compared
        )

    key, present = ERROR_MARGIN, analysis.error_margin
    compared = [(step, after) for step, after in pairwise(steps) if step.hold_s > 0]
    if not compared:
        return Proposal(key=key, present=present, proposed=None, why="no step of the canary has a hold")
    if not can_be_shown(MOST_MARGIN):
        why = f"no margin up to {100 * MOST_MARGIN:g}pp is shown within the holds: they are too short for this traffic"
        return Proposal(key=key, present=present, proposed=None, why=why)
    least = _least(can_be_shown)
    smallest = f"{100 * least:.2g}pp is the smallest that is shown within every hold most of the time"
    return Proposal(key=key, present=present, proposed=max(present, least), why=smallest)


def _least(can_be_shown: Callable[[float], bool]) -> float:
    low, high = LEAST_MARGIN, MOST_MARGIN
    for _ in range(40):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if can_be_shown(middle) else (middle, high)
    return _rounded_up(high)


def _rounded_up(value: float) -> float:
    """Round up to two digits."""
    unit: float = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(round(value / unit, 6)) * unit:.2g}")


def propose_warm_up(seconds: Sequence[Second], *, analysis: AnalysisSpec) -> Proposal:
    """Propose how long a new version's durations are left out, from versions that came within the data."""
    key, present = WARM_UP, analysis.warm_up_s
    seen = {version: took for version in _newcomers(seconds) if (took := warm_up_of(seconds, version)) is not None}
    if not seen:
        why = f"no version came within the data and was seen for {WATCHED_S} s and more after that"
        return Proposal(key=key, present=present, proposed=None, why=why)
    version, took = max(seen.items(), key=lambda one: one[1])
    why = f"{version} was slower than later for its first {took:g} s"
    return Proposal(key=key, present=present, proposed=max(present, took), why=why)


def _newcomers(seconds: Sequence[Second]) -> Iterator[Version]:
    """Yield versions whose first traffic is in the data: another one had some before."""
    known: set[Version] = set()
    for second in seconds:
        fresh = {cell.version for cell in second.cells if cell.durations} - known
        if known:
            yield from sorted(fresh)
        known |= fresh


def warm_up_of(seconds: Sequence[Second], version: Version) -> float | None:
    """Return for how long a version was slower than it was later; None = too few answers.

    Slow is what lies above its own p95 later on. Windows of ten seconds from its first answer on count until two in a
    row are as usual.
    """
    answers = [(second.at, _durations(second, version)) for second in seconds]
    begun = next((at for at, durations in answers if durations), None)
    if begun is None:
        return None
    later = sum((durations for at, durations in answers if at >= begun + WATCHED_S), Counter[int]())
    if later.total() < LEAST_ANSWERS:
        return None
    slow_above = latency_bounds(later)[COMPARED.index("p95")]
    usual = sum(count for bucket, count in later.items() if bucket > slow_above) / later.total()
    took = quiet = 0
    for start in range(begun, begun + WATCHED_S, WINDOW_S):
        window = sum((d for at, d in answers if start <= at < start + WINDOW_S), Counter[int]())
        quiet = 0 if _is_slow(window, slow_above, usual) else quiet + 1
        took = start + WINDOW_S - begun if quiet == 0 else took
        if quiet > 1:
            break
    return float(took)


def _is_slow(window: Counter[int], slow_above: int, usual: float) -> bool:
    number = window.total()
    slow = sum(count for bucket, count in window.items() if bucket > slow_above)
    return number > 0 and slow > number * usual + DEVIATIONS * math.sqrt(number * max(usual, 1 / number))


def _durations(second: Second, version: Version) -> Counter[int]:
    found = Counter[int]()
    for cell in second.cells:
        if cell.version == version:
            found.update(cell.durations)
    return found


def propose_latency_margin(seconds: Iterable[Second], *, baseline: Version, analysis: AnalysisSpec) -> Proposal:
    """Propose how much slower is not slower: as far as instances of one version differ."""
    key, present = LATENCY_MARGIN, analysis.latency_margin
    spread = latency_spread(seconds, baseline)
    if spread is None:
        why = "durations are not known by instance here, or of fewer than two of them: how far they differ is not known"
        return Proposal(key=key, present=present, proposed=None, why=why)
    why = f"the slowest instance is up to {100 * spread:.1f} % slower than the others, by its quantiles up to p95"
    return Proposal(key=key, present=present, proposed=max(present, math.ceil(100 * spread) / 100), why=why)


def latency_spread(seconds: Iterable[Second], baseline: Version) -> float | None:
    """Return by how much the slowest instance is slower than all others together; None = not known."""
    by_instance: dict[InstanceId, Counter[int]] = {}
    for second in seconds:
        for cell in second.cells:
            if cell.version == baseline and len(cell.instances) == 1:
                (instance,) = cell.instances
                by_instance.setdefault(instance, Counter()).update(cell.durations)
            elif cell.version == baseline and cell.durations:
                return None
    known = {name: one for name, one in by_instance.items() if one.total() >= LEAST_ANSWERS}
    if len(known) < 2:  # noqa: PLR2004  (one has nothing beside it)
        return None
    everybodys = sum(known.values(), Counter[int]())
    return max(0.0, *(_slower(one, everybodys - one) for one in known.values()))


def _slower(one: Counter[int], others: Counter[int]) -> float:
    pairs = zip(latency_bounds(one)[: len(COMPARED)], latency_bounds(others)[: len(COMPARED)], strict=True)
    return max(bound_ms(mine) / bound_ms(theirs) - 1.0 for mine, theirs in pairs)
