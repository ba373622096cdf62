"""One quantity of instances that should not grow without end (memory, descriptors): does the new version's?

Blocks. A reading every second is worth little: it depends on the one before. What is compared are medians of 30 s, over
the last half hour, and medians of 5 minutes, over the last six hours.

Reference. From each value of the new version that of the old one is taken off. Where an instance of the old version was
seen at the same age, it is that one's value at that age (*age-matched*: whatever both do when they are young cancels).
Where none was, it is the mean of the old instances at the same moment (*aged baseline*): then the first minute, and the
declared warm-up, are left out, and a curve that levels off is extrapolated to where it ends (see `trend`).

A quantity grows when all of it holds:

1. Mann-Kendall's z is above 3.1 (30 s) or 2.6 (5 min);
2. it has gained more than an old instance swings by itself in the same time (garbage collection), and more than a least
   amount;
3. it gains in every third of the time: no step;
4. what is still to come within 24 h is more than the headroom: as much again as the instance has, at least a least
   amount. Where the memory that there is is known, also: what is to come within `bake_s` is more than what is left.

It must hold in `IN_A_ROW` blocks after each other, and what holds no more is taken back.

No theorem covers this. Measured: an hour, a look every 30 s, one new instance of 200 MB beside two aged ones, a reading
every 10 s; 200 hours without a leak (share with any alarm), 60 with one of 60 and of 240 MB/h (found, median minutes).

| readings | false | 60 MB/h | 240 MB/h |
| --- | --- | --- | --- |
| noise 0.1 MB | 0 % | 100 %, 12 | 100 %, 9 |
| noise 2 MB | 0 % | 100 %, 20 | 100 %, 12 |
| noise 2 MB, AR(1) 0.9 | 0.5 % | 100 %, 24 | 100 %, 12 |
| noise 2 MB, AR(1) 0.98 | 6 % | 100 %, 18 | 100 %, 10 |
| sawtooth of 40 MB in 5 min | 1 % | 80 %, 45 | 100 %, 25 |
| sawtooth of 50 MB in 10 min | 0 % | 42 %, 50 | 100 %, 30 |
| sawtooth of 50 MB in 30 min | 1.5 % | 22 %, 44 | 98 %, 21 |

Warm-up curves that an aged baseline does not show (30 to 190 MB, time constants of 3 to 30 min), 100 hours each: with
noise of 0.1 MB no alarm; with 2 MB none up to 10 min, 38 % at 30 min; with 2 MB and AR(1) 0.9 5 to 7 % up to 5 min,
19 % at 10 min, 79 % at 30 min. An alarm stands for one to four minutes then: so long a leak and a curve cannot be told
apart, and a step waits. `python -m benchmarks resources` measures all of it anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from hitless.analysis.counts import Second, Usage
from hitless.analysis.trend import Series, Trend, trend_of
from hitless.rollout.spec import InstanceId, Version

BLOCK_S = 30
DAY_S = 86_400
YOUNG_S = 60.0
IN_A_ROW = 6
"""Blocks: what grows only now and then is noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How long a block is, how many are looked at, and how sure one must be.

    Attributes:
        blocks: 30-second blocks in one of this scale.
        fewest, most: of this scale's blocks.
    """

    blocks: int
    fewest: int
    most: int
    z: float


SCALES = (Scale(blocks=1, fewest=10, most=60, z=3.1), Scale(blocks=10, fewest=9, most=72, z=2.6))
_KEPT_BLOCKS = max(scale.blocks * scale.most for scale in SCALES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What counts as growth of one quantity.

    Attributes:
        least_growth: less is not worth a word, absolute and as a share of what the instance has.
        headroom: least gain within a day that is too much; the instance's own size where that is more.
    """

    least_growth: float
    least_growth_share: float
    headroom: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A quantity that grows: how fast, since when it was looked at, and against what.

    Attributes:
        per_hour: units.
        size: mean of the new version's instances.
        is_age_matched: what it was compared with had the same age.
        exhausted_after_s: until the memory that there is is used up; None = not known, or not within the bake.
    """

    per_hour: float
    size: float
    span_s: float
    is_age_matched: bool
    exhausted_after_s: float | None = None


@dataclass(slots=True)
class _Life:
    """One instance's medians by block, with its age then."""

    medians: dict[int, tuple[float, float]]
    readings: list[float]
    age_s: float = 0.0


class GrowthWatch:
    """One quantity of both versions, second by second; its blocks end `offset_s` before those of the clock."""

    def __init__(
        self,
        *,
        canary: Version,
        baseline: Version,
        read: Callable[[Usage], float | None],
        rule: Rule,
        warm_up_s: float = 0.0,
        limit: float | None = None,
        bake_s: float = 3_600.0,
        offset_s: int = 0,
    ) -> None:
        self._read = read
        self._rule = rule
        self._young_s = max(warm_up_s, YOUNG_S)
        self._limit = limit
        self._bake_s = bake_s
        self._offset_s = offset_s
        self._found: dict[Scale, Growth | None] = {}
        self._lives: Mapping[Version, dict[InstanceId, _Life]] = {canary: {}, baseline: {}}
        self._canary, self._baseline = self._lives[canary], self._lives[baseline]
        self._by_age: dict[int, list[float]] = defaultdict(list)
        self._block: int | None = None
        self._in_a_row = 0
        self.growth: Growth | None = None
        self.is_age_matched = False
        self.compared_blocks = 0

    def take(self, second: Second) -> bool:
        """Take a second's readings; return whether a block has ended and the answer may have changed."""
        block = (second.at + self._offset_s) // BLOCK_S
        has_ended = self._block is not None and block > self._block
        if has_ended:
            self._end_block()
        self._block = block
        for usage in second.usage:
            value, lives = self._read(usage), self._lives.get(usage.version)
            if value is not None and lives is not None:
                life = lives.setdefault(usage.instance, _Life(medians={}, readings=[]))
                life.readings.append(value)
                life.age_s = usage.age_s
        return has_ended

    def _end_block(self) -> None:
        assert self._block is not None
        for lives in self._lives.values():
            for name, life in tuple(lives.items()):
                if life.readings:
                    self._note(life, is_baseline=lives is self._baseline)
                elif max(life.medians) < self._block - _KEPT_BLOCKS:
                    del lives[name]
        found = self._judge()
        self._in_a_row = self._in_a_row + 1 if found else 0
        self.growth = found if self._in_a_row >= IN_A_ROW else None

    def _note(self, life: _Life, *, is_baseline: bool) -> None:
        assert self._block is not None
        value = median(life.readings)
        life.readings.clear()
        life.medians[self._block] = value, life.age_s
        life.medians.pop(self._block - _KEPT_BLOCKS, None)
        age = int(life.age_s // BLOCK_S)
        if is_baseline and age < _KEPT_BLOCKS:
            self._by_age[age].append(value)

    def _judge(self) -> Growth | None:
        assert self._block is not None
        for scale in SCALES:
            if (self._block + 1) % scale.blocks == 0:  # one of its blocks has ended
                self._found[scale] = self._look(scale)
        return next((growth for growth in self._found.values() if growth), None)

    def _look(self, scale: Scale) -> Growth | None:
        assert self._block is not None
        first = self._block + 1 - scale.blocks * scale.most
        is_matched = self._can_match(first)
        series, sizes, longest = [], [], 0
        for life in self._canary.values():
            one = self._differences(life, first, scale, is_matched=is_matched)
            longest = max(longest, len(one[0]))
            if len(one[0]) >= scale.fewest:
                series.append(one)
                sizes.append(next(reversed(life.medians.values()))[0])
        if scale.blocks == 1:
            self.is_age_matched = is_matched
            self.compared_blocks = longest
        trend = trend_of(series)
        if trend is None or trend.z <= scale.z:
            return None
        oldest = self._block - int(trend.span_s // BLOCK_S)
        return self._growth(trend, _mean(sizes), self._swing(oldest, scale), is_matched=is_matched)

    def _can_match(self, first: int) -> bool:
        """Tell whether an old instance was seen at every age that the new ones had in this time."""
        ages = {
            int(age_s // BLOCK_S)
            for life in self._canary.values()
            for block, (_, age_s) in life.medians.items()
            if block >= first
        }
        return bool(ages) and all(age in self._by_age for age in ages)

    def _differences(self, life: _Life, first: int, scale: Scale, *, is_matched: bool) -> Series:
        grouped: dict[int, list[float]] = defaultdict(list)
        for block, difference in self._compared(life, first, is_matched=is_matched):
            grouped[block // scale.blocks].append(difference)
        whole = {group: median(found) for group, found in grouped.items() if 2 * len(found) >= scale.blocks}
        moments = np.array(list(whole), dtype=float) * scale.blocks * BLOCK_S
        return moments, np.array(list(whole.values()), dtype=float)

    def _compared(self, life: _Life, first: int, *, is_matched: bool) -> Iterator[tuple[int, float]]:
        for block, (value, age_s) in life.medians.items():
            if block < first:
                continue
            if is_matched:
                yield block, value - _mean(self._by_age[int(age_s // BLOCK_S)])
            elif age_s >= self._young_s:
                beside = [one.medians[block][0] for one in self._baseline.values() if block in one.medians]
                if beside:
                    yield block, value - _mean(beside)

    def _swing(self, oldest: int, scale: Scale) -> float:
        """Return how far apart an old instance's own values lie in this time, the largest of all instances."""
        found = [0.0]
        for life in self._baseline.values():
            grouped: dict[int, list[float]] = defaultdict(list)
            for block, (value, _) in life.medians.items():
                if block >= oldest:
                    grouped[block // scale.blocks].append(value)
            values = [median(one) for one in grouped.values()]
            found.append(max(values) - min(values) if values else 0.0)
        return max(found)

    def _growth(self, trend: Trend, size: float, swing: float, *, is_matched: bool) -> Growth | None:
        rule = self._rule
        least = max(rule.least_growth, rule.least_growth_share * size, swing)
        if trend.growth <= least or not trend.is_steady:
            return None
        to_come = trend.slope * DAY_S if is_matched else min(trend.to_come(DAY_S), trend.slope * DAY_S)
        exhausted_after_s = self._exhausted_after_s(trend, size, is_matched=is_matched)
        if to_come <= max(rule.headroom, size) and exhausted_after_s is None:
            return None
        return Growth(
            per_hour=trend.slope * 3_600,
            size=size,
            span_s=trend.span_s,
            is_age_matched=is_matched,
            exhausted_after_s=exhausted_after_s,
        )

    def _exhausted_after_s(self, trend: Trend, size: float, *, is_matched: bool) -> float | None:
        if self._limit is None:
            return None
        left = self._limit - size
        to_come = trend.slope * self._bake_s if is_matched else trend.to_come(self._bake_s)
        return left / trend.slope if to_come > left else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)  # of two or three: numpy takes ten times as long
