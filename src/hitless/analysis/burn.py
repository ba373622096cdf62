"""Error budgets and how fast they burn, over hours and days, of all versions together.

The budget of an objective (99.95 %) is what may go wrong in 30 days (0.05 % of the requests). Its burn rate is how many
times faster than that it goes. An alert needs a long window, so that what it says matters, and a short one, so that it
is still going on and ends soon after it is over (Google, *The Site Reliability Workbook*, chapter 5; windows as in
sloth's `google-30d.yaml`): the factor is budget share x 30 days / long window.

Rules. Seconds that could not be read, or were not seen, are unknown: they are in no window, never good. A rate is known
only where the short window is, by 80 %: with fewer data 3 to 12 % of quiet hours raised an alarm at 1 to 5 requests/s,
with all of 5 minutes none did (measured). For paging and for people; what a rollout does is decided by its judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from hitless.analysis.counts import Cell, Fates, Second, bucket_of
from hitless.rollout.spec import SloSpec

MINUTE_S = 60
PERIOD_MINUTES = 30 * 24 * 60
KNOWN_SHARE = 0.8


class Urgency(StrEnum):
    """What an alert is for."""

    PAGE = "page"
    TICKET = "ticket"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Two windows and the burn rate above which both must be."""

    name: str
    long_minutes: int
    short_minutes: int
    factor: float
    urgency: Urgency


WINDOWS = (
    Window(name="1h", long_minutes=60, short_minutes=5, factor=14.4, urgency=Urgency.PAGE),
    Window(name="6h", long_minutes=360, short_minutes=30, factor=6.0, urgency=Urgency.PAGE),
    Window(name="1d", long_minutes=1_440, short_minutes=120, factor=3.0, urgency=Urgency.TICKET),
    Window(name="3d", long_minutes=4_320, short_minutes=360, factor=1.0, urgency=Urgency.TICKET),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Burn:
    """How fast a budget burns in one pair of windows.

    Attributes:
        long, short: burn rates; None = not known, or no request was seen.
        known: share of the long window that was seen.
    """

    long: float | None
    short: float | None
    known: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """One objective's budget.

    Attributes:
        budget_left: 1 = untouched, below 0 = overspent, of what was seen in 30 days; None = no request was seen.
        known: share of the 30 days that was seen.
        burn: by the long window's name.
        alerts: windows in which both rates are above the factor, the most urgent first.
    """

    objective: float
    budget_left: float | None
    known: float
    burn: Mapping[str, Burn]
    alerts: tuple[Window, ...]


def requests_of(cell: Cell) -> Fates:
    """Count requests that failed."""
    return cell.requests


def slower_than(at_most_ms: float) -> Callable[[Cell], Fates]:
    """Count answers that took longer, those that hang among them."""
    limit = bucket_of(at_most_ms)

    def count(cell: Cell) -> Fates:
        slow = sum(number for bucket, number in cell.durations.items() if bucket > limit)
        return Fates(total=sum(cell.durations.values()), failed=slow)

    return count


def budgets(slo: SloSpec) -> dict[str, Budget]:
    """Return a budget for each objective of a service: `success_rate`, `latency.p99` and so on."""
    found = {
        f"latency.p{100 * one.quantile:g}": Budget(one.quantile, slower_than(one.at_most_ms)) for one in slo.latency
    }
    return ({"success_rate": Budget(slo.success_rate)} if slo.success_rate is not None else {}) | found


class Budget:
    """One objective's budget, in a ring of minutes.

    Args:
        objective: least share of what is counted that is good, above 0 and below 1.
        count: what is counted, and what of it is bad.
    """

    def __init__(self, objective: float, count: Callable[[Cell], Fates] = requests_of) -> None:
        if not 0 < objective < 1:
            raise ValueError(f"an objective lies between 0 and 1, not at {objective}")
        self._objective = objective
        self._count = count
        self._ring = np.zeros((3, PERIOD_MINUTES), dtype=np.int64)  # bad, all, seconds that were seen
        self._last: int | None = None

    def take(self, second: Second) -> None:
        """Take a second; one that is not later than the last one is left out."""
        if self._last is not None and second.at <= self._last:
            return
        self._forget_until(second.at // MINUTE_S)
        self._last = second.at
        if second.gap is not None:
            return
        fates = sum((self._count(cell) for cell in second.cells), Fates())
        self._ring[:, second.at // MINUTE_S % PERIOD_MINUTES] += (fates.failed, fates.total, 1)

    def state(self) -> BudgetState:
        """Return what is left of the budget, and how fast it burns, as of the last second taken."""
        bad, total, seen_s = self._sum(PERIOD_MINUTES)
        burn = {window.name: self._burn(window) for window in WINDOWS}
        return BudgetState(
            objective=self._objective,
            budget_left=1 - bad / total / (1 - self._objective) if total else None,
            known=seen_s / (PERIOD_MINUTES * MINUTE_S),
            burn=burn,
            alerts=tuple(window for window in WINDOWS if _is_above(burn[window.name], window.factor)),
        )

    def _forget_until(self, minute: int) -> None:
        """Empty the minutes that begin anew; they hold what was 30 days ago."""
        if self._last is None:
            return
        before = self._last // MINUTE_S
        begun = np.arange(max(before + 1, minute - PERIOD_MINUTES + 1), minute + 1)
        self._ring[:, begun % PERIOD_MINUTES] = 0

    def _sum(self, minutes: int) -> tuple[int, int, int]:
        if self._last is None:
            return 0, 0, 0
        newest = self._last // MINUTE_S
        places = np.arange(newest - minutes + 1, newest + 1) % PERIOD_MINUTES
        bad, total, seen_s = self._ring[:, places].sum(axis=1)
        return int(bad), int(total), int(seen_s)

    def _burn(self, window: Window) -> Burn:
        short, long = self._sum(window.short_minutes), self._sum(window.long_minutes)
        is_known = short[2] >= KNOWN_SHARE * window.short_minutes * MINUTE_S
        return Burn(
            long=self._rate(*long[:2]) if is_known else None,
            short=self._rate(*short[:2]) if is_known else None,
            known=long[2] / (window.long_minutes * MINUTE_S),
        )

    def _rate(self, bad: int, total: int) -> float | None:
        return bad / total / (1 - self._objective) if total else None


def _is_above(burn: Burn, factor: float) -> bool:
    return all(rate is not None and rate > factor for rate in (burn.long, burn.short))
