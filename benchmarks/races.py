"""How many requests it takes to see that a version fails more often, beside the least that any test needs.

The bound: a test with false alarms of 1 % and power of 99 % needs 4.503 nats (Wald), and learns no more from a request
than the Jensen-Shannon divergence of the two versions' failure rates at their shares of the traffic, since the old
version's rate is not known but seen beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.trials import NEVER, Ints
from hitless.analysis.evidence import Evidence, Floats
from hitless.analysis.likelihood import Tables, log_ratios
from hitless.analysis.odds import LOG_ODDS, LOG_WEIGHTS
from hitless.analysis.planning import requests_to_find
from hitless.analysis.settings import WEIGHTS

ALPHA = MISSED = 0.01
WALD = (1 - MISSED) * math.log((1 - MISSED) / ALPHA) + MISSED * math.log(MISSED / (1 - ALPHA))

ONE, EIGHT = "one metric", "eight metrics"
NEEDED: Mapping[str, float] = {ONE: math.log(1.0 / ALPHA), EIGHT: math.log(1.0 / (ALPHA * WEIGHTS["errors"]))}
"""Where failed requests decide: alone, and with the weight of their row where a service has every row there is."""

PER_S = 100.0
MOST_BOUNDS = 40.0
"""So many times the bound a race lasts at most."""


@dataclass(frozen=True, kw_only=True)
class Race:
    """Some runs of a version against another one.

    Attributes:
        seconds: until the decision by level and run; `NEVER` where there was none.
        requests: of the canary until then.
        harmed: of them failed.
        counts: all seconds, shape (seconds, 4, runs), the four as in `Tables`; empty unless kept.
    """

    seconds: Mapping[str, Ints]
    requests: Mapping[str, Ints]
    harmed: Mapping[str, Ints]
    counts: Ints


def bound(old: float, new: float, share: float) -> float:
    """Return the least number of the canary's requests."""
    return requests_to_find(share=share, failure_rate=old, factor=new / old, nats=WALD)


def race(seed: int, *, runs: int, old: float, new: float, share: float, seconds: int | None = None) -> Race:
    """Let the judge's test run until all runs are decided, or for some seconds, whose counts are kept then."""
    chance = np.random.default_rng(seed)
    most = seconds or math.ceil(MOST_BOUNDS * bound(old, new, share) / (share * PER_S))
    evidence, sums = Evidence((runs,), LOG_WEIGHTS), np.zeros((4, runs), dtype=np.int64)
    found = {level: np.full((3, runs), NEVER) for level in NEEDED}
    kept: list[Ints] = []
    for at in range(1, most + 1):
        four = _second(chance, runs, old, new, share)
        sums += four
        evidence.add(log_ratios(_tables(four), LOG_ODDS))
        _note(at, evidence.log_value(), sums, found)
        if seconds is not None:
            kept.append(four)
        elif all((one[0] != NEVER).all() for one in found.values()):
            break
    columns = ({level: one[i] for level, one in found.items()} for i in range(3))
    seconds_by, requests, harmed = columns
    return Race(seconds=seconds_by, requests=requests, harmed=harmed, counts=np.array(kept))


def _second(chance: np.random.Generator, runs: int, old: float, new: float, share: float) -> Ints:
    canary, baseline = (chance.poisson(PER_S * part, runs) for part in (share, 1.0 - share))
    return np.array([canary, chance.binomial(canary, new), baseline, chance.binomial(baseline, old)])


def _tables(four: Ints) -> Tables:
    return Tables(canary=four[0], canary_bad=four[1], baseline=four[2], baseline_bad=four[3])


def _note(at: int, values: Floats, sums: Ints, found: Mapping[str, Ints]) -> None:
    for level, needed in NEEDED.items():
        now = (values >= needed) & (found[level][0] == NEVER)
        found[level][:, now] = np.stack([np.full(int(now.sum()), at), sums[0, now], sums[1, now]])
