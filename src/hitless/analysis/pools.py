"""Utilisation of the application's pools (connections, workers, threads), as its instances tell it.

Rule. A reading is a second in which instances of a version told a pool: the median over them of used / size. A pool is
exhausted where at least half of a version's readings of the last minute stand at `FULL` or more; a rollout is held
while a pool of the new version is, and the old version's is told and is not. Two environments that open two sets of
pools make both full: that is not the new version's doing, and shows in the old one's figures. What was read in the
warm-up of an instance counts in neither version: pools open then. No theorem bounds how often that is wrong, so it only
holds.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable

from hitless.analysis.counts import PoolReading, Second
from hitless.analysis.ruling import Call, RowReport
from hitless.analysis.settings import JudgeSettings
from hitless.rollout.spec import InstanceId, Version

FULL = 0.9
LATELY_S = 60
LEAST_READINGS = 30
"""Of each version within `LATELY_S`; with fewer nothing is said."""

_HALF = 0.5


class PoolWatch:
    """One pool of both versions."""

    def __init__(self, name: str, settings: JudgeSettings) -> None:
        self.name = name
        self._versions = settings.canary, settings.baseline
        self._readings: dict[Version, deque[tuple[int, float]]] = {one: deque() for one in self._versions}
        self._now = 0
        self.since: int | None = None

    def take(self, at: int, readings: Iterable[PoolReading]) -> None:
        """Take what was told of this pool in one second, by instances that are warm."""
        self._now = at
        told: dict[Version, list[float]] = {}
        for one in readings:
            told.setdefault(one.version, []).append(one.used / one.size)
        for version, kept in self._readings.items():
            if version in told:
                kept.append((at, statistics.median(told[version])))
            while kept and kept[0][0] <= at - LATELY_S:
                kept.popleft()
        is_held = self.is_exhausted(self._versions[0]) is True and self.is_exhausted(self._versions[1]) is False
        self.since = (self.since or at) if is_held else None

    def is_exhausted(self, version: Version) -> bool | None:
        """Tell whether a version's pool is used up; None = too little was told of it."""
        kept = self._readings[version]
        if len(kept) < LEAST_READINGS:
            return None
        return sum(share >= FULL for _, share in kept) >= _HALF * len(kept)

    def report(self) -> RowReport:
        """Return its row."""
        silent = [version for version in self._versions if not self._readings[version]]
        return RowReport(
            name=f"pools.{self.name}",
            title=f"pool {self.name}",
            acts=Call.HOLD,
            since=self.since,
            detail=", ".join(self._words(version) for version in self._versions),
            untold=f"nothing was told of it by {' and '.join(silent)}" if silent else "",
        )

    def _words(self, version: Version) -> str:
        kept = self._readings[version]
        if not kept:
            return f"{version}: not told"
        return f"{version}: {math.floor(100 * statistics.median(share for _, share in kept))} % in use"


class Pools:
    """All pools of one rollout.

    Args:
        settings: of the rollout's judge; names the pools, and how long an instance warms up.
    """

    def __init__(self, settings: JudgeSettings) -> None:
        self._watches = tuple(PoolWatch(name, settings) for name in settings.pools)
        self._warm_up_s = settings.analysis.warm_up_s
        self._first: dict[InstanceId, int] = {}
        self._began_at: int | None = None

    def take(self, second: Second) -> None:
        """Take what was read in one second; seconds come in order."""
        if not self._watches:
            return
        began_at = self._began_at = second.at if self._began_at is None else self._began_at
        for one in second.pools:
            self._first.setdefault(one.instance, second.at)
        warm = [one for one in second.pools if second.at >= max(self._first[one.instance], began_at) + self._warm_up_s]
        for watch in self._watches:
            watch.take(second.at, (one for one in warm if one.pool == watch.name))

    def reports(self) -> tuple[RowReport, ...]:
        """Return a row for each pool; none of them is in the sum of the judge."""
        return tuple(watch.report() for watch in self._watches)

    def problem(self) -> str | None:
        """Say what holds the rollout, without figures, which are in the rows; None = nothing does."""
        names = [watch.name for watch in self._watches if watch.since is not None]
        return (
            "; ".join(f"pool {name} of the new version is used up, the old version's is not" for name in names) or None
        )
