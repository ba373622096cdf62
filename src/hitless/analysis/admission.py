"""Which seconds of which regions may be compared: decided by what was known before them, never by what they show.

That keeps the bound: leaving out by rule, in advance, is free; leaving out what looks odd is not.

- A region counts while the canary's share of it is known, stays, and is neither nothing nor all. Where it is all, the
  canary is still watched against the objective.
- After each change, so many seconds of a class of routes are left out as its answers usually take, one at least: what
  fails at once is known sooner than what succeeds slowly, so the first seconds of a larger share would show failures
  and not yet the successes that belong to them. One figure for all routes is too short for a slow one (with 4 % of
  requests that take 3 s or fail at once, 1 in 20, 44 of 150 good versions were taken back), or too long for the rest.
- After a decrease it is as long as until a request is told to hang: those of the larger share would be held against the
  few of the smaller one.
- After the canary's first traffic in a region, and after each increase of its share (which new, cold instances carry),
  durations and calls of `warm_up_s` are left out, on both sides: whoever is cold is slow. Failures count at once, since
  nobody has to fail for being cold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hitless.analysis.counts import Cell, Second
from hitless.analysis.settings import STAY_S
from hitless.rollout.spec import ALL_TRAFFIC_BP, Region


@dataclass(slots=True)
class _Standing:
    share_bp: int | None = None
    highest_bp: int = 0
    changed_at: int = 0
    least_s: int = 1
    warm_at: int = 0


class Admission:
    """Keeps what each region's share was, and what time it is by the seconds taken."""

    def __init__(self, *, usual_duration_s: float, usual_durations_s: Mapping[str, float], warm_up_s: float) -> None:
        self._settle_s = _whole_s(usual_duration_s)
        self._settle_of = {route: _whole_s(seconds) for route, seconds in usual_durations_s.items()}
        self._warm_up_s = math.ceil(warm_up_s)
        self._regions: dict[Region, _Standing] = {}
        self.last: int | None = None
        self.unread_s = 0
        """So many seconds at the end could not be read."""
        self.ignored = 0
        """So many seconds in a row that were taken already, or are older than the last one."""
        self.is_warming_up = False
        self.warm: frozenset[Region] = frozenset()
        """Of the regions admitted last, those in which it counts how long answers take."""
        self.watched: frozenset[Region] = frozenset()
        """Regions in which the canary's own requests count, those included that it has all to itself."""
        self.broke = False
        """Before this second some were missing."""

    def is_news(self, second: Second) -> bool:
        """Tell whether this second comes after all others; what does not is ignored."""
        self.ignored = self.ignored + 1 if self.last is not None and second.at <= self.last else 0
        return self.ignored == 0

    def admit(self, second: Second, share_bp: Mapping[Region, int]) -> frozenset[Region]:
        """Return the regions whose counts may be compared in this second."""
        self.broke = self.last is not None and second.at > self.last + 1
        self.last = second.at
        self.unread_s = self.unread_s + 1 if second.gap is not None else 0
        for region in self._regions.keys() - share_bp.keys():
            self._regions[region].share_bp = None
        for region, share in share_bp.items():
            self._note(region, share, second.at)
        if second.gap is not None:
            self.watched = self.warm = frozenset()
            return self.watched
        served = {r: s for r, s in self._regions.items() if s.share_bp}
        self.is_warming_up = bool(served) and all(second.at < s.warm_at for s in served.values())
        self.watched = frozenset(r for r, s in served.items() if second.at >= s.changed_at + s.least_s)
        admitted = frozenset(r for r in self.watched if served[r].share_bp != ALL_TRAFFIC_BP)
        self.warm = frozenset(r for r in admitted if second.at >= served[r].warm_at)
        return admitted

    def settled(self, cells: Iterable[Cell], *, at: int) -> tuple[Cell, ...]:
        """Leave out routes of which only the quick answers can be known yet."""
        return tuple(cell for cell in cells if self._has_settled(cell, at))

    def _has_settled(self, cell: Cell, at: int) -> bool:
        standing = self._regions.get(cell.region)
        return standing is None or at >= standing.changed_at + self._settle_of.get(cell.route, self._settle_s)

    def _note(self, region: Region, share_bp: int, at: int) -> None:
        standing = self._regions.setdefault(region, _Standing())
        if standing.share_bp == share_bp:
            return
        standing.share_bp = share_bp
        standing.changed_at = at
        standing.least_s = STAY_S if share_bp < standing.highest_bp else 1
        if share_bp > standing.highest_bp:
            standing.highest_bp = share_bp
            standing.warm_at = at + self._warm_up_s


def _whole_s(seconds: float) -> int:
    return max(1, math.ceil(seconds))
