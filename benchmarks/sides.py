"""hitless beside others in the same runs, an hour each, on one metric: which share of requests failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from statistics import median

import numpy as np

from benchmarks.incumbents import (
    FLAGGER_DEFAULT,
    FLAGGER_TUTORIAL,
    argo,
    equally_large,
    flagger,
    kayenta,
    minutes,
)
from benchmarks.races import EIGHT, ONE, race
from benchmarks.results import Cell, Table
from benchmarks.trials import NEVER, Ints

HOUR_S = 3_600
SHARES = (0.01, 0.05, 0.25)
SAME = ((0.0005, 0.0005), (0.001, 0.001), (0.01, 0.01))
WORSE = ((0.0005, 0.0015), (0.001, 0.002), (0.001, 0.01), (0.01, 0.05))

JUDGES = ("hitless", "hitless among 8", "Flagger, threshold 1", "Flagger, threshold 5", "Argo Rollouts", "Kayenta")


def tables(runs: int, seconds: int = HOUR_S) -> tuple[Table, Table]:
    """Return who turns back a version that is no worse, and who finds one that is worse, and when."""
    columns = ("failures", "share", *JUDGES)
    return (
        Table(
            title=f"False rollbacks within {seconds:,} s, one metric, {runs:,} runs each",
            columns=columns,
            rows=tuple(_rows(SAME, runs, seconds, _rate)),
        ),
        Table(
            title=f"Found within {seconds:,} s, and median time to it, one metric, {runs:,} runs each",
            columns=columns,
            rows=tuple(_rows(WORSE, runs, seconds, _found)),
        ),
    )


def _rows(
    jumps: tuple[tuple[float, float], ...], runs: int, seconds: int, say: Callable[[Ints], Cell]
) -> Iterator[tuple[Cell, ...]]:
    seed = 1_000
    for old, new in jumps:
        for share in SHARES:
            seed += 1
            words = f"{100 * old:g} %" if old == new else f"{100 * old:g} -> {100 * new:g} %"
            told = _turned_back(seed, runs=runs, old=old, new=new, share=share, seconds=seconds)
            yield (words, f"{100 * share:g} %", *(say(told[name]) for name in JUDGES))


def _turned_back(seed: int, *, runs: int, old: float, new: float, share: float, seconds: int) -> Mapping[str, Ints]:
    found = race(seed, runs=runs, old=old, new=new, share=share, seconds=seconds)
    canary, canary_bad = found.counts[:, 0], found.counts[:, 1]
    by = (
        found.seconds[ONE],
        found.seconds[EIGHT],
        flagger(canary, canary_bad, threshold=FLAGGER_DEFAULT),
        flagger(canary, canary_bad, threshold=FLAGGER_TUTORIAL),
        argo(canary, canary_bad),
        _kayenta(seed, found.counts),
    )
    return dict(zip(JUDGES, by, strict=True))


def _kayenta(seed: int, counts: Ints) -> Ints:
    """Judge once, at the end, a point a minute."""
    canary, canary_bad, baseline, baseline_bad = (minutes(counts[:, i]) for i in range(4))
    experiment = 100.0 * canary_bad / np.maximum(1, canary)
    control = equally_large(np.random.default_rng(seed), canary, baseline, baseline_bad)
    worse = [kayenta(control[:, run], experiment[:, run]) for run in range(canary.shape[1])]
    return np.where(worse, len(counts), NEVER)


def _rate(at: Ints) -> Cell:
    return f"{np.mean(at != NEVER):.1%}"


def _found(at: Ints) -> Cell:
    when = at[at != NEVER]
    if not len(when):
        return "never"
    return f"{np.mean(at != NEVER):.0%}" + (f", {median(when.tolist()):,.0f} s" if 2 * len(when) >= len(at) else "")
