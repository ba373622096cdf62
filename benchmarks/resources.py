"""What the watches of memory and processor time raise without a reason, and how soon they find one. Simulated.

Only by name: `python -m benchmarks resources [--quick]`, about a quarter of an hour on one core.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import Cell, Result, Table
from hitless.analysis.counts import Second, Usage
from hitless.analysis.growth import GrowthWatch
from hitless.analysis.processor import ProcessorWatch
from hitless.analysis.resources import MEMORY
from hitless.rollout.spec import InstanceId, Region, Version

V1, V2, LOCAL = Version("v1"), Version("v2"), Region("local")
MB = 1e6
SIZE_MB = 200.0
READ_EVERY_S = 10
HOUR = 360
"""Readings."""

AGED_S = 90_000.0
ALPHA = 0.01

Floats = NDArray[np.float64]
Chance = np.random.Generator
Readings = Callable[[Chance], Floats]


def noise(deviation: float, memory: float = 0.0) -> Readings:
    """Readings that vary by `deviation` MB, each remembering the one before (AR(1))."""

    def draw(chance: Chance) -> Floats:
        pushes = chance.normal(0, deviation * np.sqrt(1 - memory**2), HOUR)
        values = np.empty(HOUR)
        last = chance.normal(0, deviation)
        for number, push in enumerate(pushes):
            last = values[number] = memory * last + push
        return values

    return draw


def sawtooth(height: float, period_s: float) -> Readings:
    """Rise and fall, as under a garbage collector, each instance at a moment of its own."""

    def draw(chance: Chance) -> Floats:
        period = chance.uniform(0.8, 1.2) * period_s
        moments = np.arange(HOUR) * READ_EVERY_S + chance.uniform(0, period)
        return height * (moments % period) / period + chance.normal(0, 0.5, HOUR)

    return draw


KINDS: dict[str, Readings] = {
    "noise 0.1 MB": noise(0.1),
    "noise 2 MB": noise(2),
    "noise 2 MB, AR(1) 0.9": noise(2, 0.9),
    "noise 2 MB, AR(1) 0.98": noise(2, 0.98),
    "sawtooth of 40 MB in 5 min": sawtooth(40, 300),
    "sawtooth of 50 MB in 10 min": sawtooth(50, 600),
    "sawtooth of 50 MB in 30 min": sawtooth(50, 1800),
}
WARM_UPS = ((30.0, 180.0), (60.0, 300.0), (100.0, 600.0), (190.0, 1800.0))
LEAKS = (60.0, 240.0)


def first_alarm_s(readings: Readings, grown: Floats, chance: Chance) -> tuple[float | None, int]:
    """Return after how long one new instance beside two aged ones raised an alarm, and for how many looks it stood."""
    canary = readings(chance) + grown
    old = [readings(chance) for _ in range(2)]
    watch = GrowthWatch(canary=V2, baseline=V1, read=lambda usage: usage.memory_bytes, rule=MEMORY)
    first, stood = None, 0
    for number in range(HOUR):
        at = number * READ_EVERY_S
        rows = [_memory("c", V2, at, canary[number])]
        rows += [_memory(f"b{n}", V1, AGED_S + at, one[number]) for n, one in enumerate(old)]
        if watch.take(Second(at=at, usage=tuple(rows))) and watch.growth is not None:
            stood += 1
            first = at if first is None else first
    return first, stood


def _memory(name: str, version: Version, age_s: float, more_mb: float) -> Usage:
    size = int((SIZE_MB + more_mb) * MB)
    return Usage(instance=InstanceId(name), region=LOCAL, version=version, age_s=age_s, memory_bytes=size)


def first_costly_s(ratio: float, memory: float, spread: float, chance: Chance) -> float | None:
    """Return after how long one new instance beside three old ones was called costlier per request."""
    factors = [ratio * np.exp(chance.normal(0, spread)), *np.exp(chance.normal(0, spread, 3))]
    requests = [chance.poisson(200, HOUR).cumsum() for _ in factors]
    costs = [
        (np.diff(asked, prepend=0) * 0.005 * factor * np.exp(noise(0.1, memory)(chance))).cumsum()
        for asked, factor in zip(requests, factors, strict=True)
    ]
    watch = ProcessorWatch(canary=V2, baseline=V1, alpha=ALPHA)
    for number in range(HOUR):
        at = number * READ_EVERY_S
        rows = tuple(
            Usage(
                instance=InstanceId(str(n)),
                region=LOCAL,
                version=V1 if n else V2,
                age_s=100.0 + at,
                cpu_s=float(np.floor(costs[n][number] * 100) / 100),
                requests=int(requests[n][number]),
            )
            for n in range(len(factors))
        )
        if watch.take(Second(at=at, usage=rows)) and watch.is_costlier:
            return float(at)
    return None


def run(*, quick: bool = False) -> Result:
    """Measure; `quick` shows that it works and measures nothing."""
    runs = 2 if quick else 200
    return Result(
        tables=(_leaks(runs), _warm_ups(max(runs // 2, 1)), _processor(max(runs * 3 // 2, 1))),
        notes=("an hour each, a look every 30 s; false = hours with any alarm; times are medians in minutes",),
    )


def _leaks(runs: int) -> Table:
    moments = np.arange(HOUR) * READ_EVERY_S / 3600
    rows: list[tuple[Cell, ...]] = []
    for name, readings in KINDS.items():
        found = [
            _alarms(readings, leak * moments, runs if not leak else max(runs * 3 // 10, 1)) for leak in (0, *LEAKS)
        ]
        rows.append((name, *(text for one in found for text in _said([first for first, _ in one]))))
    heads = ("readings", "false", "(min)", *(text for leak in LEAKS for text in (f"{leak:g} MB/h", "(min)")))
    return Table(title="Memory: leaks", columns=heads, rows=tuple(rows))


def _warm_ups(runs: int) -> Table:
    moments = np.arange(HOUR) * float(READ_EVERY_S)
    rows: list[tuple[Cell, ...]] = []
    for name in list(KINDS)[:3]:
        for height, constant_s in WARM_UPS:
            found = _alarms(KINDS[name], height * (1 - np.exp(-moments / constant_s)), runs)
            stood = [looks * 0.5 for first, looks in found if first is not None]
            minutes = round(float(np.mean(stood)), 1) if stood else ""
            false = _said([first for first, _ in found])[0]
            rows.append((name, f"{height:g} MB, {constant_s / 60:g} min", false, minutes))
    return Table(
        title="Memory: warm-up beside an aged baseline",
        columns=("readings", "curve", "false", "stood (min)"),
        rows=tuple(rows),
    )


def _processor(runs: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for memory in (0.0, 0.9):
        for spread in (0.0, 0.03):
            for ratio in (1.0, 1.1, 1.2, 1.3):
                firsts = [first_costly_s(ratio, memory, spread, np.random.default_rng(n)) for n in range(runs)]
                rows.append((memory, spread, ratio, *_said(firsts)))
    return Table(
        title="Processor time per request", columns=("AR(1)", "spread", "ratio", "alarms", "(min)"), rows=tuple(rows)
    )


def _alarms(readings: Readings, grown: Floats, runs: int) -> list[tuple[float | None, int]]:
    return [first_alarm_s(readings, grown, np.random.default_rng(number)) for number in range(runs)]


def _said(firsts: Sequence[float | None]) -> tuple[Cell, Cell]:
    seen = [one / 60 for one in firsts if one is not None]
    return f"{len(seen) / len(firsts):.1%}", round(median(seen), 1) if seen else ""
