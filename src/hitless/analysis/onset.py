"""Instances that begin to fail, in windows of ten seconds: the comparison that bursts of one instance cannot fool.

Unit is the instance, not the request: a burst of a thousand failures in one instance is one onset. An instance is at
risk in a window if it was seen in the window before and did not fail there; it has an onset if it fails in this one.
Failing is more than three times what the background lets expect of its requests, and at least one. Needs instances of
the old version to be exchangeable with those of the new one: four or more, and a load that is no smaller than theirs.

How likely that is depends on how many requests an instance had, and not evenly: at 1 % of failures, one of 20 requests
is failing (18 % of windows), and of 95 it takes three (7 %). So whoever had more requests than the new version's
instances counts with as many as they had, drawn from its own without replacement, by a salt. Without that 11 of 12
rollouts of a version that was no worse were taken back within 45 minutes (40 requests/s, a share of 5 %, 4 instances,
1 % of failures, no bursts).

Users who keep their version, fail and try again carry their failure to other instances of it, so onsets come together:
without the dispersion of the old version's own onsets (`onsets`), 3 of 40 good versions with 5 of 20 instances were
taken back in ten minutes where each user fails three times.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np
from scipy.special import gammaln

from hitless.analysis.counts import Cell, Second
from hitless.analysis.likelihood import Tables
from hitless.rollout.spec import InstanceId, Region, Version

WINDOW_S = 10
LEAST_INSTANCES = 4
USUAL_TIMES = 3.0
LOAD_TOLERANCE = 1.1


_Key = tuple[Version, InstanceId]
_Window = dict[_Key, list[int]]
"""Requests and failures by instance."""


class Onset:
    """Keeps the window that is being filled, by region."""

    def __init__(self, *, canary: Version, baseline: Version, failure_rate: float, salt: str) -> None:
        self._canary, self._baseline = canary, baseline
        self._failure_rate = failure_rate
        self._salt = salt
        self._windows = 0
        self._filling: dict[Region, _Window] = {}
        self._filled_s: dict[Region, int] = {}
        self._well: dict[Region, set[_Key]] = {}

    def take(self, cells: Iterable[Cell], regions: Collection[Region], *, seconds: int = 1) -> Tables:
        """Take some seconds; return the tables of windows that are full now. A region that is left out begins anew."""
        full = self._fill(cells, regions, seconds)
        rows = [row for region in full if (row := self._close(region)) is not None]
        table = np.array(rows, dtype=np.int64).reshape(-1, 4)
        return Tables(canary=table[:, 0], canary_bad=table[:, 1], baseline=table[:, 2], baseline_bad=table[:, 3])

    def take_alone(self, cells: Iterable[Cell], regions: Collection[Region]) -> tuple[int, int]:
        """Take a second; return how many instances were at risk in windows that are full now, and had an onset."""
        ended = [self._end(region) for region in self._fill(cells, regions, 1)]
        return sum(len(at_risk) for _, at_risk, _ in ended), sum(len(at_risk & bad) for _, at_risk, bad in ended)

    def _fill(self, cells: Iterable[Cell], regions: Collection[Region], seconds: int) -> list[Region]:
        for region in self._filling.keys() - set(regions):
            for kept in (self._filling, self._filled_s, self._well):
                kept.pop(region, None)
        for region in regions:
            self._filling.setdefault(region, {})
            self._filled_s[region] = self._filled_s.get(region, 0) + seconds
        for cell in cells:
            if cell.region in self._filling and cell.version in {self._canary, self._baseline}:
                self._add(cell)
        return [region for region in sorted(self._filling) if self._filled_s[region] >= WINDOW_S]

    def _add(self, cell: Cell) -> None:
        window, version = self._filling[cell.region], cell.version
        for instance, fates in cell.instances.items():
            counted = window.setdefault((version, instance), [0, 0])
            counted[0] += fates.total
            counted[1] += fates.failed

    def _close(self, region: Region) -> tuple[int, int, int, int] | None:
        window, at_risk, failing = self._end(region)
        canary = {key for key in at_risk if key[0] == self._canary}
        baseline = at_risk - canary
        if not canary or not baseline or self._load(canary, window) > LOAD_TOLERANCE * self._load(baseline, window):
            return None
        return len(canary), len(canary & failing), len(baseline), len(baseline & failing)

    def _end(self, region: Region) -> tuple[_Window, set[_Key], set[_Key]]:
        """Begin a new window; return the full one, who was at risk in it and who failed."""
        window, self._filling[region], self._filled_s[region] = self._filling[region], {}, 0
        self._windows += 1
        load = math.ceil(self._load({key for key in window if key[0] == self._canary}, window))
        failing = {key for key, fates in window.items() if self._is_failing(key, *fates, load=load)}
        at_risk = self._well.get(region, set()) & window.keys()
        self._well[region] = window.keys() - failing
        return window, at_risk, failing

    def _is_failing(self, key: _Key, total: int, failed: int, *, load: int) -> bool:
        """Tell whether an instance fails; one with a larger load by as many of its requests as `load`."""
        usual = USUAL_TIMES * self._failure_rate
        if total <= load or not failed:
            return failed > usual * total
        return self._chance(key) < _more_than(math.floor(usual * load), total=total, failed=failed, drawn=load)

    def _chance(self, key: _Key) -> float:
        """Return a number between 0 and 1 that only the salt decides: the more fail, the likelier, never the less."""
        text = f"{self._salt}:{self._windows}:{key[0]}:{key[1]}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64

    @staticmethod
    def _load(keys: set[_Key], window: _Window) -> float:
        return sum(window[key][0] for key in keys) / len(keys) if keys else 0.0


def _more_than(count: int, *, total: int, failed: int, drawn: int) -> float:
    """Return the probability that more than `count` of the failed ones are among those drawn (hypergeometric)."""
    seen = np.arange(max(0, drawn - (total - failed)), min(count, failed, drawn) + 1)
    if drawn == 0 or not len(seen):
        return 0.0 if drawn == 0 else 1.0
    ways = _log_choose(failed, seen) + _log_choose(total - failed, drawn - seen) - _log_choose(total, np.array(drawn))
    return max(0.0, 1.0 - float(np.exp(ways).sum()))


def _log_choose(whole: int, part: np.ndarray) -> np.ndarray:
    return np.asarray(gammaln(whole + 1) - gammaln(part + 1) - gammaln(whole - part + 1))


def onsets(seconds: Sequence[Second], *, version: Version, failure_rate: float) -> list[tuple[int, int, int]]:
    """Return of one version alone: second in which a window ended, instances at risk in it, of them with an onset."""
    onset = Onset(canary=version, baseline=version, failure_rate=failure_rate, salt="")
    regions = {cell.region for second in seconds for cell in second.cells if cell.version == version}
    counted = ((second.at, *onset.take_alone(second.cells, regions)) for second in seconds)
    return [(at, at_risk, began) for at, at_risk, began in counted if at_risk]
