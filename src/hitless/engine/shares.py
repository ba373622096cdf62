"""The canary's share of the traffic, as it was seen, so that it can be said of a whole second.

Rules. A share is known of a second if one look at the proxy was over before it began, another began after it had ended,
and both of them, and all between, saw the same weights acknowledged and nothing pending. That is enough because only
this controller changes weights, and it looks before every change.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from hitless.rollout.spec import Region, Version
from hitless.rollout.world import Observation, RoutingView

KEPT = 100
"""Spans by region; each ends with a change, so these are many more than the seconds that metrics lag behind."""


@dataclass(slots=True)
class Span:
    """One share, seen from `since` (the end of a look) until `until` (the beginning of one); seconds since 1970."""

    share_bp: int | None
    since: float
    until: float


@dataclass(slots=True, kw_only=True)
class Shares:
    """One rollout's shares by region."""

    canary: Version
    _spans: dict[Region, deque[Span]] = field(default_factory=dict)

    def note(self, observed: Observation, *, begun: datetime) -> None:
        """Take in what one look saw, which had begun at `begun`."""
        for region in {*self._spans, *observed.routing}:
            share_bp = self._share_of(observed.routing.get(region))
            spans = self._spans.setdefault(region, deque(maxlen=KEPT))
            if spans and spans[-1].share_bp == share_bp:
                spans[-1].until = begun.timestamp()
            else:
                spans.append(Span(share_bp, since=observed.now.timestamp(), until=begun.timestamp()))

    def during(self, second: int) -> Mapping[Region, int]:
        """Return the shares that held all through the second; a region of which none did is missing."""
        found = {region: _of_second(spans, second) for region, spans in self._spans.items()}
        return {region: share_bp for region, share_bp in found.items() if share_bp is not None}

    def _share_of(self, view: RoutingView | None) -> int | None:
        if view is None or view.acknowledged is None or view.pending is not None or _is_silent(view):
            return None
        return view.acknowledged.weight_bp(self.canary)


def _is_silent(view: RoutingView) -> bool:
    """Tell whether the proxy did not answer: it says so and counts nothing. Other trouble moves no weights."""
    return view.problem is not None and all(one.count is None for one in view.open_requests.values())


def _of_second(spans: deque[Span], second: int) -> int | None:
    return next((one.share_bp for one in reversed(spans) if one.since <= second and one.until >= second + 1), None)
