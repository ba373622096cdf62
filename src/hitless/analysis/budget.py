"""What is known of an objective's error budget, as values; the arithmetic is in `burn`.

Apart from it, because whoever only shows a budget needs no numpy.

Rules. An alert begins once both windows burn faster than its factor. It ends once one of them is known to burn slower
than `ENDS_BELOW` of it: a rate that hovers about the factor is told once, and what is not known ends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hitless.rollout.spec import SloSpec

PERIOD_MINUTES = 30 * 24 * 60
ENDS_BELOW = 0.9
SUCCESS_RATE = "success_rate"


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

    def is_above(self, factor: float) -> bool:
        """Tell whether both windows are known to burn faster."""
        return all(rate is not None and rate > factor for rate in (self.long, self.short))

    def is_below(self, factor: float) -> bool:
        """Tell whether one window is known to burn no faster."""
        return any(rate is not None and rate <= factor for rate in (self.long, self.short))


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """One objective's budget.

    Attributes:
        budget_left: 1 = untouched, below 0 = overspent, of what was seen in 30 days; None = no request was seen.
        known: share of the 30 days that was seen.
        since: the first second of them that was seen, seconds since 1970; None = none was.
        burn: by the long window's name.
        alerts: windows in which both rates are above the factor, the most urgent first.
    """

    objective: float
    budget_left: float | None
    known: float
    since: int | None = None
    burn: Mapping[str, Burn]
    alerts: tuple[Window, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One objective as it was written: at least `share` of what is counted is good.

    Attributes:
        at_most_ms: what an answer may take to be good; None = what counts is that it succeeds.
    """

    share: float
    at_most_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one objective of a service stands.

    Attributes:
        state: None = not looked at yet.
        alerts: since when each window's alert is on, by its name, as far as this control plane saw it.
    """

    name: str
    promise: Promise
    state: BudgetState | None
    alerts: Mapping[str, datetime]


def promises(slo: SloSpec) -> dict[str, Promise]:
    """Return a service's objectives by name: `success_rate`, `latency.p99` ...; one of 100 % has no budget to watch."""
    found = {} if slo.success_rate is None else {SUCCESS_RATE: Promise(share=slo.success_rate)}
    for one in slo.latency:
        found[f"latency.p{100 * one.quantile:g}"] = Promise(share=one.quantile, at_most_ms=one.at_most_ms)
    return {name: promise for name, promise in found.items() if 0 < promise.share < 1}


def burning(state: BudgetState, *, before: frozenset[str]) -> frozenset[str]:
    """Return the windows whose alerts are on, by name, when those of `before` were."""
    return frozenset(_burning(state, before))


def _burning(state: BudgetState, before: frozenset[str]) -> Iterator[str]:
    for window in WINDOWS:
        burn = state.burn[window.name]
        is_on = burn.is_above(window.factor)
        if is_on or (window.name in before and not burn.is_below(ENDS_BELOW * window.factor)):
            yield window.name
