"""How far failures come in bursts, measured before a rollout: the Fano factor that evidence is tempered by.

Theory. The tests' null variance is that of the hypergeometric distribution. Dispersion is the observed squared
deviation over it, with parts of the old version in the roles of the two versions: each instance against all others in
the same second where there are several, summed over windows of a minute so that a burst shows in full; neighbouring
windows of ten seconds where there is one instance only, or nothing is known by instance. The second also sees what
would have hit both versions alike: it is too large then, which costs time and no bound.

An instance that warms up, or one bad minute, must not blind the judge for the whole rollout: of the blocks of five
minutes the worst quarter is left out. What chance alone would give (two standard deviations) counts as 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hitless.analysis.counts import Second
from hitless.rollout.spec import InstanceId, Region, Version

BLOCK_S = 300
WINDOW_S = 60
NEIGHBOUR_S = 10
LEAST_VARIANCE = 5.0
"""Expected squared deviation, in failures; with less nothing can be said."""


@dataclass(slots=True)
class _Block:
    squares: float = 0.0
    variance: float = 0.0
    units: int = 0

    def add(self, deviation: float, variance: float) -> None:
        if variance > 0.0:
            self.squares += deviation * deviation
            self.variance += variance
            self.units += 1


def fano(blocks: Iterable[_Block]) -> float:
    """Return the dispersion that blocks show, the worst quarter of them left out; 1 where they show none."""
    told = sorted((b for b in blocks if b.variance > 0.0), key=lambda b: b.squares / b.variance)
    kept = told[: len(told) - len(told) // 4]
    variance = sum(b.variance for b in kept)
    if variance < LEAST_VARIANCE:
        return 1.0
    ratio = sum(b.squares for b in kept) / variance
    chance = 2.0 * math.sqrt(2.0 / sum(b.units for b in kept))
    return ratio if ratio > 1.0 + chance else 1.0


def dispersion_between_instances(seconds: Sequence[Second], *, version: Version) -> float | None:
    """Return the dispersion of failures over instances; None where no second had two of them."""
    blocks: dict[int, _Block] = {}
    window: dict[tuple[Region, InstanceId], list[float]] = {}
    begun, several = seconds[0].at if seconds else 0, False
    for second in seconds:
        if second.at - begun >= WINDOW_S:
            _close(window, blocks.setdefault(begun // BLOCK_S, _Block()))
            begun = second.at
        for cell in second.cells:
            if cell.version == version and len(cell.instances) > 1:
                several = True
                failed = sum(f.failed for f in cell.instances.values())
                total = sum(f.total for f in cell.instances.values())
                if not 0 < failed < total:
                    continue
                for instance, fates in cell.instances.items():
                    share = fates.total / total
                    kept = window.setdefault((cell.region, instance), [0.0, 0.0])
                    kept[0] += fates.failed - failed * share
                    kept[1] += failed * share * (1.0 - share) * (total - failed) / (total - 1)
    _close(window, blocks.setdefault(begun // BLOCK_S, _Block()))
    return fano(blocks.values()) if several else None


def _close(window: dict[tuple[Region, InstanceId], list[float]], block: _Block) -> None:
    for deviation, variance in window.values():
        block.add(deviation, variance)
    window.clear()


def dispersion_over_time(counts: Sequence[tuple[int, int, int]]) -> float:
    """Return the dispersion between neighbouring windows of one series.

    Args:
        counts: second, how many, how many of them bad; ascending.
    """
    windows: dict[int, tuple[int, int]] = {}
    for at, total, bad in counts:
        before = windows.get(at // NEIGHBOUR_S, (0, 0))
        windows[at // NEIGHBOUR_S] = before[0] + total, before[1] + bad
    blocks: dict[int, _Block] = {}
    for number, (total, bad) in windows.items():
        if number % 2 == 0 and number + 1 in windows:
            others, others_bad = windows[number + 1]
            _compare(total, bad, others, others_bad, blocks.setdefault(number * NEIGHBOUR_S // BLOCK_S, _Block()))
    return fano(blocks.values())


def _compare(total: int, bad: int, others: int, others_bad: int, block: _Block) -> None:
    everything, all_bad = total + others, bad + others_bad
    if total and others and everything > 1:
        share = total / everything
        variance = all_bad * share * (1.0 - share) * (everything - all_bad) / (everything - 1)
        block.add(bad - all_bad * share, variance)
