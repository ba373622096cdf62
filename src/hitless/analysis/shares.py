"""The canary's share of the traffic where nobody says what the weights were: measured, and cut where it changes.

A judge compares only while a share stays, so each region's seconds are cut where the canary's part of the requests
changes for good (binary segmentation by likelihood, Scott and Knott 1974). Only which version a request went to is
looked at, never how it ended. What is measured so cannot show that a version did not get the traffic that was meant
for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitless.analysis.counts import Second
from hitless.rollout.spec import ALL_TRAFFIC_BP, Region, Version

_Floats = NDArray[np.float64]
_LEAST_SEGMENT_S = 20
_LEAST_GAIN = 12.0
"""Nats of likelihood for one more change: in five half hours none was invented, nor missed in a ramp (the tests)."""

Shares = Callable[[int], Mapping[Region, int]]
"""The canary's share by region, basis points, in a second."""


def constant_share(seconds: Iterable[Second], share_bp: int) -> Shares:
    """Return a share that somebody said, the same in every region and second."""
    shares = {cell.region: share_bp for second in seconds for cell in second.cells}
    return lambda _: shares


def measured_shares(seconds: Sequence[Second], *, canary: Version) -> Shares:
    """Measure the canary's share of each region, cut where it changes for good."""
    if not seconds:
        return lambda _: {}
    first = seconds[0].at
    found = {region: _steps(*counts) for region, counts in _by_region(seconds, canary).items()}

    def shares(at: int) -> Mapping[Region, int]:
        return {region: int(steps[at - first]) for region, steps in found.items() if 0 <= at - first < len(steps)}

    return shares


def _by_region(seconds: Sequence[Second], canary: Version) -> dict[Region, tuple[_Floats, _Floats]]:
    counts: dict[Region, tuple[_Floats, _Floats]] = {}
    for number, second in enumerate(seconds):
        for cell in second.cells:
            if cell.region not in counts:
                counts[cell.region] = np.zeros(len(seconds)), np.zeros(len(seconds))
            mine, everybodys = counts[cell.region]
            everybodys[number] += cell.requests.total
            if cell.version == canary:
                mine[number] += cell.requests.total
    return counts


def _steps(mine: _Floats, everybodys: _Floats) -> _Floats:
    """Return the share of every second, basis points, constant between changes."""
    sums = np.concatenate([[0.0], np.cumsum(mine)]), np.concatenate([[0.0], np.cumsum(everybodys)])
    steps = np.zeros(len(mine))
    waiting = [(0, len(mine))]
    while waiting:
        start, end = waiting.pop()
        cut = _best_cut(sums, start, end)
        if cut is None:
            steps[start:end] = _share_bp(sums[0][end] - sums[0][start], sums[1][end] - sums[1][start])
        else:
            waiting += [(start, cut), (cut, end)]
    return steps


def _share_bp(mine: float, everybodys: float) -> int:
    """Round to basis points, but some is never none, nor all."""
    if mine in (0, everybodys):
        return ALL_TRAFFIC_BP if mine else 0
    return min(max(round(ALL_TRAFFIC_BP * mine / everybodys), 1), ALL_TRAFFIC_BP - 1)


def _best_cut(sums: tuple[_Floats, _Floats], start: int, end: int) -> int | None:
    cuts = np.arange(start + _LEAST_SEGMENT_S, end - _LEAST_SEGMENT_S + 1)
    if not len(cuts):
        return None
    mine, everybodys = sums
    both = _log_likelihood(mine[end] - mine[start], everybodys[end] - everybodys[start])
    left = _log_likelihood(mine[cuts] - mine[start], everybodys[cuts] - everybodys[start])
    right = _log_likelihood(mine[end] - mine[cuts], everybodys[end] - everybodys[cuts])
    gains = left + right - both
    best = int(np.argmax(gains))
    return int(cuts[best]) if gains[best] > _LEAST_GAIN else None


def _log_likelihood(mine: Any, everybodys: Any) -> Any:
    """Return the binomial likelihood at its maximum, without what all cuts have in common."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(everybodys > 0, mine / everybodys, 0.0)
        found = mine * np.log(share) + (everybodys - mine) * np.log1p(-share)
    return np.where((share > 0) & (share < 1), found, 0.0)
