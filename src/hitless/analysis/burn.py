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

from collections.abc import Callable

import numpy as np

from hitless.analysis.budget import PERIOD_MINUTES, WINDOWS, BudgetState, Burn, Promise, Window, promises
from hitless.analysis.counts import Cell, Fates, Second, bucket_of
from hitless.rollout.spec import SloSpec

MINUTE_S = 60
KNOWN_SHARE = 0.8


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
    return {name: budget_of(promise) for name, promise in promises(slo).items()}


def budget_of(promise: Promise) -> Budget:
    """Return an objective's budget, untouched."""
    return Budget(promise.share, requests_of if promise.at_most_ms is None else slower_than(promise.at_most_ms))


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
        self._ring = np.zeros((3, PERIOD_MINUTES), dtype=np.int32)  # bad, all, seconds that were seen
        self._everything = np.zeros(3, dtype=np.int64)  # its sum: 30 days are too long to add up every few seconds
        self._first: int | None = None
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
        counted = (fates.failed, fates.total, 1)
        self._ring[:, second.at // MINUTE_S % PERIOD_MINUTES] += counted
        self._everything += counted
        self._first = second.at if self._first is None else self._first

    def state(self) -> BudgetState:
        """Return what is left of the budget, and how fast it burns, as of the last second taken."""
        bad, total, seen_s = (int(one) for one in self._everything)
        burn = {window.name: self._burn(window) for window in WINDOWS}
        return BudgetState(
            objective=self._objective,
            budget_left=1 - bad / total / (1 - self._objective) if total else None,
            known=seen_s / (PERIOD_MINUTES * MINUTE_S),
            since=self._since() if seen_s else None,
            burn=burn,
            alerts=tuple(window for window in WINDOWS if burn[window.name].is_above(window.factor)),
        )

    def _forget_until(self, minute: int) -> None:
        """Empty the minutes that begin anew; they hold what was 30 days ago."""
        if self._last is None:
            return
        before = self._last // MINUTE_S
        begun = np.arange(max(before + 1, minute - PERIOD_MINUTES + 1), minute + 1)
        self._everything -= self._ring[:, begun % PERIOD_MINUTES].sum(axis=1)
        self._ring[:, begun % PERIOD_MINUTES] = 0

    def _since(self) -> int | None:
        if self._first is None or self._last is None:
            return None
        return max(self._first, (self._last // MINUTE_S - PERIOD_MINUTES + 1) * MINUTE_S)

    def _sum(self, minutes: int) -> tuple[int, int, int]:
        if self._last is None:
            return 0, 0, 0
        end = self._last // MINUTE_S % PERIOD_MINUTES + 1
        sums = self._ring[:, max(end - minutes, 0) : end].sum(axis=1)
        if end < minutes:  # the window goes around the ring's end
            sums = sums + self._ring[:, end - minutes :].sum(axis=1)
        bad, total, seen_s = sums.tolist()
        return bad, total, seen_s

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
