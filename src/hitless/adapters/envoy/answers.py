"""What became of each version's requests, from Envoy's counters.

Envoy counts per cluster, and a cluster is a version: `upstream_rq_completed`, and `upstream_rq_5xx` of them, answers
that Envoy gave in the version's place included. The counters run from Envoy's start; what is reported begins where a
version gets its first share of the traffic, or where this controller first looks, and begins anew with a new Envoy.
What a version did before it lost its share says nothing of it when it is rolled out again. What is recent of versions
that serve side by side is what they did at the same time: an outage that hits all of them is told of all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from hitless.adapters.envoy.layout import cluster_name
from hitless.rollout.spec import Version
from hitless.rollout.world import Answers, Table

RECENT_S = 10.0
SIDE_BY_SIDE_EVERY_S, ALONE_EVERY_S = 0.25, 1.0
"""How often to look: a version that is alone is looked at because it may be a baseline soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Envoy's counters of one cluster."""

    completed: int = 0
    failed: int = 0


Counts = Mapping[str, Counted]
"""By cluster."""


@dataclass(slots=True)
class _Series:
    began_at: float
    start: Counted
    has_share: bool
    seen: deque[tuple[float, Counted]] = field(default_factory=deque)

    def add(self, now: Counted, *, at: float) -> None:
        """Take in one read; the window stays where the last requests were."""
        if self.seen and now == self.seen[-1][1]:
            return
        self.seen.append((at, now))
        while len(self.seen) > 1 and self.seen[1][0] < at - RECENT_S:
            self.seen.popleft()

    def answers(self, *, side_by_side_since: float) -> Answers:
        newest = self.seen[-1][1]
        start = self.start if self.has_share else newest
        oldest = self._at(side_by_side_since) if self.has_share else self.seen[0][1]
        return Answers(
            total=newest.completed - start.completed,
            failed=newest.failed - start.failed,
            recent_total=newest.completed - oldest.completed,
            recent_failed=newest.failed - oldest.failed,
        )

    def _at(self, moment: float) -> Counted:
        before = [counted for at, counted in self.seen if at <= moment]
        return before[-1] if before else self.seen[0][1]


class AnswerMeter:
    """Follows the versions of all services; begins from nothing in every controller."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, Version], _Series] = {}

    def read(self, service: str, tables: Collection[Table], counts: Counts, *, at: float) -> None:
        """Take in what Envoy counted at `at` (monotonic seconds)."""
        versions = _versions(tables)
        for key in [key for key in self._series if key[0] == service and key[1] not in versions]:
            del self._series[key]
        for version in versions:
            now = counts.get(cluster_name(service, version))
            if now is not None:
                self._read(service, version, now, at=at, has_share=any(one.weight_bp(version) for one in tables))

    def _read(self, service: str, version: Version, now: Counted, *, at: float, has_share: bool) -> None:
        series = self._series.get((service, version))
        if series is None or now.completed < series.seen[-1][1].completed or (has_share and not series.has_share):
            series = self._series[service, version] = _Series(at, now, has_share)
        series.has_share = has_share
        series.add(now, at=at)

    def answers(self, service: str) -> dict[Version, Answers]:
        """Return what is known of the service's versions."""
        known = {version: series for (name, version), series in self._series.items() if name == service}
        since = max((one.began_at for one in known.values() if one.has_share), default=0.0)
        return {version: series.answers(side_by_side_since=since) for version, series in known.items()}

    def forget(self, service: str) -> None:
        """Begin from nothing."""
        for key in [key for key in self._series if key[0] == service]:
            del self._series[key]


def look_every_s(tables: Collection[Table]) -> float:
    """Return how fresh the counts must be."""
    return SIDE_BY_SIDE_EVERY_S if len(_versions(tables)) > 1 else ALONE_EVERY_S


def _versions(tables: Collection[Table]) -> frozenset[Version]:
    return frozenset(version for table in tables for version in table.endpoints)
