"""How far failures come in bursts, measured before a rollout: the Fano factor that evidence is tempered by.

Theory. The tests' null variance is that of the hypergeometric distribution. Dispersion is the observed squared
deviation over it, with parts of the old version in the roles of the two versions: each instance against all others in
the same second where there are several, summed over windows of a minute so that a burst shows in full; neighbouring
windows of ten seconds where there is one instance only, or nothing is known by instance. The second also sees what
would have hit both versions alike: it is too large then, which costs time and no bound.

Bursts that are rare hardly show in that mean, and one of them is enough: a burst of twelve failures in the canary's
only instance says as much as twelve failures. So where at least two windows stand out by more than chance, dispersion
is no smaller than the median size of such a burst: then a burst counts as about one failure.

An instance that warms up, or one bad minute, must not blind the judge for the whole rollout: the first `WARM_UP_S` of
an instance that appears are left out, and for the mean, of the blocks of five minutes, the worst one, of 16 and more
the worst eighth. What chance alone would give (a standard deviation) counts as 1.

Users who try again and fail again come in clusters too, and meet other instances each time. Where there are several
instances, the comparison over time is made as well, without the worst quarter of the blocks (outages of everybody are
not what is looked for, and what remains of them is bounded in `promotion`), and the larger one of both counts. Whoever
fails for longer than a window is in both neighbours alike, so it is also made between windows of a minute: a client
that asks once a second and fails 20 times in a row shows as 2.9 between those of ten seconds and as 12.6 between those
of a minute (medians of 12), and 62 of 200 good versions were taken back within an hour by the former alone, 1 by both;
60 times in a row 25 and 4 of 100. What is cut into single failures shows as 1 in both.

Measured: with 20 instances that fail half of their requests for five seconds every 10 or 60 minutes, 0 of 1,200
rollouts of half an hour were taken back (plain evidence: 38 to 99 %). Every 3 hours: 0 to 2 % (plain: 11 to 37 %),
because the 40 minutes before a rollout do not always show two bursts: what was not seen cannot be allowed for. Users
who fail three times in a row, an hour: 2 of 480 (plain: 30 %).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hitless.analysis.counts import Cell, Fates, Second
from hitless.rollout.spec import InstanceId, Region, Version

BLOCK_S = 300
WINDOW_S = 60
WARM_UP_S = 120
NEIGHBOUR_S, LONG_S = 10, 60
LEAST_BLOCKS = 4
SETTLED_S = 10
"""Whoever has served by then was there before."""
BURST_LEAST, BURST_DEVIATIONS, LEAST_BURSTS = 3.0, 4.0, 2
LEAST_VARIANCE = 5.0
"""Expected squared deviation, in failures; with less nothing can be said."""


_Window = dict[tuple[Region, InstanceId], list[float]]
"""Deviation and variance by instance."""


@dataclass(slots=True)
class _Block:
    squares: float = 0.0
    variance: float = 0.0
    units: int = 0
    bursts: list[float] = field(default_factory=list)

    def add(self, deviation: float, variance: float, *, size: float) -> None:
        if variance > 0.0:
            self.squares += deviation * deviation
            self.variance += variance
            self.units += 1
            if abs(deviation) > BURST_LEAST + BURST_DEVIATIONS * math.sqrt(variance):
                self.bursts.append(size)


def fano(blocks: Iterable[_Block], *, with_bursts: bool, steady: bool = False) -> float:
    """Return the dispersion that blocks show, the worst eighth (quarter, if `steady`) left out; 1 without any."""
    told = sorted((b for b in blocks if b.variance > 0.0), key=lambda b: b.squares / b.variance)
    left_out = max(1, len(told) // (4 if steady else 8)) if len(told) >= LEAST_BLOCKS else 0
    kept = told[: len(told) - left_out]
    variance = sum(b.variance for b in kept)
    if variance < LEAST_VARIANCE:
        return 1.0
    ratio = sum(b.squares for b in kept) / variance
    chance = math.sqrt(2.0 / sum(b.units for b in kept))
    bursts = [size for block in told for size in block.bursts]
    burst = statistics.median(bursts) if with_bursts and len(bursts) >= LEAST_BURSTS else 1.0
    return max(burst, ratio if ratio > 1.0 + chance else 1.0)


def dispersion_between_instances(
    seconds: Sequence[Second], *, version: Version, warm_up_s: float = 0.0
) -> float | None:
    """Return the dispersion of failures over instances; None where no second had two of them."""
    blocks: dict[int, _Block] = {}
    window: _Window = {}
    newcomers = _Newcomers(max(float(WARM_UP_S), warm_up_s))
    begun, several = seconds[0].at if seconds else 0, False
    for second in seconds:
        if second.at - begun >= WINDOW_S:
            _close(window, blocks.setdefault(begun // BLOCK_S, _Block()))
            begun = second.at
        for cell in second.cells:
            if cell.version == version:
                warm = newcomers.warm_ones(cell, second.at)
                several = several or len(warm) > 1
                _add(window, cell.region, warm)
    _close(window, blocks.setdefault(begun // BLOCK_S, _Block()))
    return fano(blocks.values(), with_bursts=True) if several else None


class _Newcomers:
    """Knows since when each instance has been there; those of the very first second have been for long."""

    def __init__(self, warm_up_s: float) -> None:
        self._warm_up_s = warm_up_s
        self._begin: int | None = None
        self._warm_at: dict[InstanceId, float] = {}

    def warm_ones(self, cell: Cell, at: int) -> dict[InstanceId, Fates]:
        self._begin = at if self._begin is None else self._begin
        for instance in cell.instances.keys() - self._warm_at.keys():
            self._warm_at[instance] = at if at <= self._begin + SETTLED_S else at + self._warm_up_s
        return {instance: fates for instance, fates in cell.instances.items() if self._warm_at[instance] <= at}


def _add(window: _Window, region: Region, fates: dict[InstanceId, Fates]) -> None:
    """Add what each instance failed more than its share, and the variance of that."""
    failed, total = sum(f.failed for f in fates.values()), sum(f.total for f in fates.values())
    if len(fates) < 2 or not 0 < failed < total:  # noqa: PLR2004  (one has nothing beside it)
        return
    for instance, one in fates.items():
        share = one.total / total
        kept = window.setdefault((region, instance), [0.0, 0.0])
        kept[0] += one.failed - failed * share
        kept[1] += failed * share * (1.0 - share) * (total - failed) / (total - 1)


def _close(window: _Window, block: _Block) -> None:
    for deviation, variance in window.values():
        block.add(deviation, variance, size=max(0.0, deviation))
    window.clear()


def dispersion_over_time(
    counts: Sequence[tuple[int, int, int]],
    *,
    with_bursts: bool = True,
    steady: bool = False,
    window_s: int = NEIGHBOUR_S,
) -> float:
    """Return the dispersion between neighbouring windows of one series.

    Args:
        counts: second, how many, how many of them bad; ascending.
        with_bursts: see above; not for slow answers, which come and go with the load of the whole machine.
        steady: look for what is there all the time, such as users who try again, and not for outages.
        window_s: how long the windows are that are compared.
    """
    windows: dict[int, tuple[int, int]] = {}
    for at, total, bad in counts:
        before = windows.get(at // window_s, (0, 0))
        windows[at // window_s] = before[0] + total, before[1] + bad
    blocks: dict[int, _Block] = {}
    for number, (total, bad) in windows.items():
        if number % 2 == 0 and number + 1 in windows:
            others, others_bad = windows[number + 1]
            _compare(total, bad, others, others_bad, blocks.setdefault(number * window_s // BLOCK_S, _Block()))
    return fano(blocks.values(), with_bursts=with_bursts, steady=steady)


def _compare(total: int, bad: int, others: int, others_bad: int, block: _Block) -> None:
    everything, all_bad = total + others, bad + others_bad
    if total and others and everything > 1:
        share = total / everything
        variance = all_bad * share * (1.0 - share) * (everything - all_bad) / (everything - 1)
        deviation = bad - all_bad * share
        block.add(deviation, variance, size=2.0 * abs(deviation))
