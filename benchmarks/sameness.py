"""How often a version that is no worse is taken back: batched, in each kind of world, by the judge and by others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from benchmarks.incumbents import FLAGGER_DEFAULT, FLAGGER_TUTORIAL, flagger
from benchmarks.results import Cell, Goal, Table
from benchmarks.trials import NEVER, TESTS, Ints, Trials, settings_of
from benchmarks.worlds import (
    COLD_S,
    RAMP,
    SECONDS,
    Clustered,
    Regions,
    Steady,
    bursts,
    sticky_retries,
)

BASES = (0.0005, 0.001, 0.01)
SHARES_BP = (100, 500, 2_500, 5_000)
AT_ONCE = 2_000
CLUSTERED_AT_ONCE = 1_000
"""Forty minutes of every instance before every fourth run are kept while dispersion is measured."""

LIMIT = 1.0
CONFIDENCE = 0.95

World = Steady | Regions | Clustered


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of some runs: how many were taken back, by the judge and by others."""

    runs: int
    judge: int
    rows: Mapping[str, int]
    others: Mapping[str, int]

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            runs=self.runs + other.runs,
            judge=self.judge + other.judge,
            rows={name: count + other.rows[name] for name, count in self.rows.items()},
            others={name: count + other.others[name] for name, count in self.others.items()},
        )

    @property
    def upper_percent(self) -> float:
        return 100.0 * upper_limit(self.judge, of=self.runs)


def upper_limit(hits: int, *, of: int) -> float:
    """Return the one-sided upper limit of Clopper and Pearson for a share."""
    return 1.0 if hits >= of else float(beta.ppf(CONFIDENCE, hits + 1, of - hits))


def of_cells(runs: int, seconds: int = SECONDS) -> Iterator[tuple[str, str, Outcome]]:
    """Play the twelve cells, and the ramp at each base rate."""
    seed = 0
    for base in BASES:
        for share in SHARES_BP:
            seed += 1
            yield _percent(base), f"{share / 100:g} %", _played(_steady(base, ((0, share),)), seed, runs, seconds)
        seed += 1
        yield _percent(base), "1, 5, 25, 50 %", _played(_steady(base, RAMP), seed, runs, seconds)


def of_kinds(runs: int, seconds: int = SECONDS) -> Iterator[tuple[str, Outcome]]:
    """Play the other kinds of worlds."""
    for seed, (name, world, at_once) in enumerate(_KINDS, start=101):
        yield name, _played(world, seed, runs, seconds, at_once=at_once)


def cells_table(found: list[tuple[str, str, Outcome]]) -> Table:
    return Table(
        title="False rollbacks: a version that is no worse, 100,000 requests a run, a look every second",
        columns=("failures", "share", *_COLUMNS),
        rows=(
            *((base, share, *_row(outcome)) for base, share, outcome in found),
            ("all", "", *_row(_sum([outcome for _, _, outcome in found]))),
        ),
    )


def kinds_table(found: list[tuple[str, Outcome]]) -> Table:
    return Table(
        title="False rollbacks where requests are not alike",
        columns=("world", *_COLUMNS),
        rows=(
            *((name, *_row(outcome)) for name, outcome in found),
            ("all", *_row(_sum([outcome for _, outcome in found]))),
        ),
    )


def goal_of(name: str, outcomes: list[Outcome]) -> Goal:
    worst = max(outcome.upper_percent for outcome in outcomes)
    return Goal(name=name, measured=worst, limit=LIMIT, unit=" %")


_COLUMNS = (
    "runs",
    "taken back",
    "rate",
    "95 % upper limit",
    "by row",
    "Flagger, threshold 1",
    "Flagger, threshold 5",
)


def _row(outcome: Outcome) -> tuple[Cell, ...]:
    by_row = ", ".join(f"{name} {count}" for name, count in outcome.rows.items() if count)
    return (
        outcome.runs,
        outcome.judge,
        f"{outcome.judge / outcome.runs:.2%}",
        f"{outcome.upper_percent:.2f} %",
        by_row,
        *(f"{count / outcome.runs:.1%}" for count in outcome.others.values()),
    )


def _percent(rate: float) -> str:
    return f"{100 * rate:g} %"


_Made = Callable[[np.random.Generator, int], World]


def _steady(
    base: float,
    steps: tuple[tuple[int, int], ...],
    *,
    swing: float = 0.0,
    is_cold: bool = False,
    warm_up_s: float = 0.0,
) -> _Made:
    def make(chance: np.random.Generator, runs: int) -> World:
        return Steady(
            chance=chance, runs=runs, base=base, steps=steps, swing=swing, is_cold=is_cold, warm_up_s=warm_up_s
        )

    return make


def _clustered(failures: Callable[[Clustered, Ints], Iterator[Ints]], *, new: int) -> _Made:
    def make(chance: np.random.Generator, runs: int) -> World:
        return Clustered(chance=chance, runs=runs, base=0.001, instances=20, new=new, failures=failures)

    return make


def _regions(chance: np.random.Generator, runs: int) -> World:
    return Regions(chance=chance, runs=runs)


_FIVE, _HALF = ((0, 500),), ((0, 5_000),)
_KINDS: tuple[tuple[str, _Made, int], ...] = (
    ("bursts of one instance, 1 of 20 new", _clustered(bursts, new=1), CLUSTERED_AT_ONCE),
    ("bursts of one instance, 5 of 20 new", _clustered(bursts, new=5), CLUSTERED_AT_ONCE),
    ("sticky retries, 1 of 20 new", _clustered(sticky_retries, new=1), CLUSTERED_AT_ONCE),
    ("sticky retries, 5 of 20 new", _clustered(sticky_retries, new=5), CLUSTERED_AT_ONCE),
    ("two regions, 0.1 and 1 %, shares 5 and 50 %", _regions, AT_ONCE),
    ("daily swing of 90 %, share 5 %", _steady(0.001, _FIVE, swing=0.9), AT_ONCE),
    ("daily swing of 90 %, ramp", _steady(0.001, RAMP, swing=0.9), AT_ONCE),
    ("warm-up, share 5 %", _steady(0.001, _FIVE, is_cold=True, warm_up_s=COLD_S), AT_ONCE),
    ("warm-up, share 50 %", _steady(0.001, _HALF, is_cold=True, warm_up_s=COLD_S), AT_ONCE),
    ("warm-up, ramp", _steady(0.001, RAMP, is_cold=True, warm_up_s=COLD_S), AT_ONCE),
)


def _played(make: _Made, seed: int, runs: int, seconds: int, *, at_once: int = AT_ONCE) -> Outcome:
    chance = np.random.default_rng(seed)
    sizes = [min(at_once, runs - begun) for begun in range(0, runs, at_once)]
    first, *others = (_play(make(chance, size), size, seconds) for size in sizes)
    return _sum([first, *others])


def _play(world: World, runs: int, seconds: int) -> Outcome:
    trials = Trials(runs, settings_of(warm_up_s=world.warm_up_s), dispersion=world.dispersion())
    canary = np.zeros((seconds, 2, runs), dtype=np.int64)
    for at in range(seconds):
        counts = world.counts(at)
        canary[at] = counts[:, :, TESTS.index("errors"), :2].sum(axis=1).T
        trials.take(at, world.share_bp(at), counts)
    total, failed = canary[:, 0], canary[:, 1]
    by_others = {
        "flagger 1": flagger(total, failed, threshold=FLAGGER_DEFAULT),
        "flagger 5": flagger(total, failed, threshold=FLAGGER_TUTORIAL),
    }
    return Outcome(
        runs=runs,
        judge=_count(trials.is_taken_back),
        rows={name: _count(at != NEVER) for name, at in trials.reached_at.items()},
        others={name: _count(at != NEVER) for name, at in by_others.items()},
    )


def _sum(outcomes: list[Outcome]) -> Outcome:
    return sum(outcomes[1:], outcomes[0])


def _count(which: NDArray[np.bool_]) -> int:
    return int(which.sum())
