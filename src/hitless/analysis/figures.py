"""Two columns of numbers, for a figure that is not per request: is the new version's mean larger?

Each arm's mean has an asymptotic confidence sequence (see `means`) at half of the error rate; the difference lies
between the sum of their ends. Values are taken in the order of arrival and in turn from both arms, as much of each
column as of the other. Nothing is said before `FEWEST_VALUES` of each. What that is worth for skewed values is measured
there; values that depend on the ones before them are outside of what is promised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hitless.analysis.means import FEWEST_VALUES, Moments, half_width, tightest_at
from hitless.analysis.ruling import Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How two columns compare.

    Attributes:
        call: ROLLBACK = worse for sure; PROMOTE = not worse than the margin for sure; HOLD = neither is shown.
        fell_at: after so many values of the new version; None = a HOLD.
        difference: of the means, new less old; None = a column is empty.
        low, high: where the truth lies; None = nothing can be said yet.
        margin: what would still not be worse, in the figure's unit.
    """

    call: Call
    fell_at: int | None
    baseline: tuple[int, float]
    canary: tuple[int, float]
    difference: float | None
    low: float | None
    high: float | None
    margin: float


def compare(
    baseline: Sequence[float], canary: Sequence[float], *, alpha: float, margin_share: float, is_more_worse: bool = True
) -> Comparison:
    """Compare two columns value by value.

    Args:
        baseline: of the old version, in order of arrival.
        canary: of the new version.
        alpha: at most this probability of calling a version worse that is not, whenever it is looked at.
        margin_share: so much of the old mean more (or less) is still not worse.
        is_more_worse: a larger mean is the worse one.
    """
    old, new = Moments(), Moments()
    found = _so_far(old, new, alpha, margin_share, is_more_worse=is_more_worse)
    longest = max(len(baseline), len(canary))
    for number in range(1, longest + 1):
        for moments, values in ((old, baseline), (new, canary)):
            due = number * len(values) // longest
            if moments.count < due:
                moments.take(values[due - 1])
        before = found
        found = _so_far(old, new, alpha, margin_share, is_more_worse=is_more_worse)
        if before.call is found.call and before.fell_at is not None:
            found = replace(found, fell_at=before.fell_at)
        if found.call is Call.ROLLBACK:
            break
    return found


def _so_far(old: Moments, new: Moments, alpha: float, margin_share: float, *, is_more_worse: bool) -> Comparison:
    margin = margin_share * abs(old.mean)
    difference = new.mean - old.mean if old.count and new.count else None
    low = high = None
    if difference is not None and min(old.count, new.count) >= FEWEST_VALUES:
        width = sum(half_width(one.count, one.deviation, alpha=alpha / 2, rho=_rho(alpha)) for one in (old, new))
        low, high = difference - width, difference + width
    call = _call(low, high, margin) if is_more_worse else _call(_minus(high), _minus(low), margin)
    return Comparison(
        call=call,
        fell_at=None if call is Call.HOLD else new.count,
        baseline=(old.count, old.mean),
        canary=(new.count, new.mean),
        difference=difference,
        low=low,
        high=high,
        margin=margin,
    )


def _rho(alpha: float) -> float:
    return tightest_at(5 * FEWEST_VALUES, alpha=alpha / 2)


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _call(low: float | None, high: float | None, margin: float) -> Call:
    """A difference that is within the margin for sure is none, even where it is above 0 for sure."""
    if low is None or high is None:
        return Call.HOLD
    if high <= margin:
        return Call.PROMOTE
    return Call.ROLLBACK if low > 0 else Call.HOLD
