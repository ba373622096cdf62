"""Simulated traffic to two versions that are equally good: what a judge must not take back.

Each kind of world draws a second of all its runs at once, as `Trials.take` wants it. "No worse" is its hardest case
everywhere: the new version fails exactly as often as the old one, and is slower by exactly the margin that is allowed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.trials import OLD, TESTS, Ints
from hitless.analysis.background import background
from hitless.analysis.counts import Cell, Fates, Second
from hitless.analysis.evidence import Floats
from hitless.rollout.spec import LOCAL, AnalysisSpec, InstanceId, Region

Chance = np.random.Generator

SECONDS = 1_000
PER_S = 100.0
"""100,000 requests in a run."""

SLOW = (0.5, 0.25, 0.1, 0.05, 0.01, 0.001)
COLD_S, COLD_TIMES = 120, 5.0
RAMP = ((0, 100), (250, 500), (500, 2_500), (750, 5_000))
"""From which second on the new version has how much, basis points."""

BEFORE_S = 2_400
RUNS_BEHIND = 4
BURST_S, BURST_RATE, BURST_EVERY_S = 5, 0.5, 600.0
CLUSTER = 3


@dataclass(frozen=True, kw_only=True)
class Steady:
    """Requests assigned at random, each failing on its own.

    Attributes:
        base: failure rate, also of calls and of first attempts.
        steps: from which second on the new version has how much, basis points.
        swing: part by which traffic and failure rate rise and fall, a whole day in one run.
        is_cold: the new version's answers are slow five times as often for two minutes after each step.
    """

    chance: Chance
    runs: int
    base: float
    steps: Sequence[tuple[int, int]] = ((0, 500),)
    swing: float = 0.0
    is_cold: bool = False
    region: Region = LOCAL
    warm_up_s: float = 0.0

    def share_bp(self, at: int) -> Mapping[Region, int]:
        return {self.region: next(share for since, share in reversed(self.steps) if since <= at)}

    def counts(self, at: int) -> Ints:
        wave = 1.0 + self.swing * np.sin(2.0 * np.pi * at / SECONDS)
        share = self.share_bp(at)[self.region] / 10_000
        since = max(since for since, _ in self.steps if since <= at)
        cold = COLD_TIMES if self.is_cold and at - since < COLD_S else 1.0
        arms = [
            _arm(self.chance, self.chance.poisson(PER_S * wave * part, self.runs), self.base * wave, slower)
            for part, slower in ((share, cold), (1.0 - share, 1.0))
        ]
        return np.concatenate(arms, axis=2)[:, None]

    def dispersion(self) -> Floats | None:
        return None


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Two regions of different quality, with different shares of the new version (Simpson's paradox when pooled)."""

    chance: Chance
    runs: int
    warm_up_s: float = 0.0
    _parts: tuple[Steady, ...] = field(init=False)

    def __post_init__(self) -> None:
        parts = tuple(
            Steady(chance=self.chance, runs=self.runs, base=base, steps=((0, share),), region=Region(name))
            for name, base, share in (("eu", 0.001, 500), ("us", 0.01, 5_000))
        )
        object.__setattr__(self, "_parts", parts)

    def share_bp(self, at: int) -> Mapping[Region, int]:
        return {region: share for part in self._parts for region, share in part.share_bp(at).items()}

    def counts(self, at: int) -> Ints:
        return np.concatenate([part.counts(at) for part in self._parts], axis=1)

    def dispersion(self) -> Floats | None:
        return None


@dataclass(frozen=True, kw_only=True)
class Clustered:
    """Failures that come together: dispersion is measured by `hitless.analysis` over 40 minutes before each run.

    Attributes:
        instances: of both versions; the new one's come first.
        new: how many of them are new.
        failures: draws those of one second after the other, shape (runs, instances), given an array that holds each
            second's requests in turn.
    """

    chance: Chance
    runs: int
    base: float
    instances: int
    new: int
    failures: Callable[[Clustered, Ints], Iterator[Ints]]
    warm_up_s: float = 0.0
    _running: list[Iterator[tuple[Ints, Ints]]] = field(init=False, default_factory=list)

    def share_bp(self, _: int) -> Mapping[Region, int]:
        return {LOCAL: 10_000 * self.new // self.instances}

    def counts(self, _: int) -> Ints:
        if not self._running:
            self._running.append(self.seconds())
        total, failed = next(self._running[0])
        arms = []
        for part in (slice(0, self.new), slice(self.new, None)):
            one = _arm(self.chance, total[:, part].sum(axis=1), self.base, 1.0)
            one[:, 0, 1] = failed[:, part].sum(axis=1)
            arms.append(one)
        return np.concatenate(arms, axis=2)[:, None]

    def seconds(self) -> Iterator[tuple[Ints, Ints]]:
        totals: list[Ints] = [np.zeros((self.runs, self.instances), dtype=np.int64)]
        failing = self.failures(self, totals[0])
        while True:
            totals[0][:] = self.chance.poisson(PER_S / self.instances, totals[0].shape)
            yield totals[0], np.minimum(next(failing), totals[0])

    def dispersion(self) -> Floats:
        """Measure before; `RUNS_BEHIND` runs follow what was measured once."""
        measured = [self._measured(run) for run in self._histories(math.ceil(self.runs / RUNS_BEHIND))]
        result = np.ones((self.runs, len(TESTS)))
        result[:, TESTS.index("errors")] = np.repeat(measured, RUNS_BEHIND)[: self.runs]
        return result

    def _histories(self, many: int) -> Iterator[tuple[Ints, Ints]]:
        """Return requests and failures of each, shape (seconds, instances)."""
        drawn = itertools.islice(replace(self, runs=many).seconds(), BEFORE_S)
        both = np.array([np.array([total, failed]) for total, failed in drawn])  # the totals' array is used again
        return ((both[:, 0, run], both[:, 1, run]) for run in range(many))

    def _measured(self, history: tuple[Ints, Ints]) -> float:
        names = [InstanceId(f"i{number}") for number in range(self.instances)]
        seconds = [_second(at, total, failed, names) for at, (total, failed) in enumerate(zip(*history, strict=True))]
        return float(background(seconds, baseline=OLD, analysis=AnalysisSpec()).dispersion["errors"])


def bursts(world: Clustered, total: Ints) -> Iterator[Ints]:
    """Let each instance fail half of its requests for five seconds, every ten minutes on average."""
    left = np.zeros(total.shape, dtype=np.int64)
    while True:
        begins = world.chance.random(total.shape) < 1.0 / BURST_EVERY_S
        left = np.where(begins, BURST_S, np.maximum(0, left - 1))
        yield world.chance.binomial(total, np.where(left > 0, BURST_RATE, world.base))


def sticky_retries(world: Clustered, _: Ints) -> Iterator[Ints]:
    """Let users who fail ask again a second later and fail again, three times in all, at any instance of their version.

    The failures of two seconds before are dealt out among the version's instances.
    """
    shape = (world.runs, 2)
    sizes = np.array([world.new, world.instances - world.new]) / world.instances
    recent: list[Ints] = [np.zeros(shape, dtype=np.int64) for _ in range(CLUSTER - 1)]
    while True:
        first = world.chance.poisson(PER_S * sizes * world.base / CLUSTER, shape)
        failing = first + sum(recent)
        recent = [*recent[1:], first]
        yield np.concatenate(
            [
                _dealt(world.chance, failing[:, 0], world.new),
                _dealt(world.chance, failing[:, 1], world.instances - world.new),
            ],
            axis=1,
        )


def _dealt(chance: Chance, many: Ints, places: int) -> Ints:
    return np.asarray(chance.multinomial(many, np.full(places, 1.0 / places)), dtype=np.int64)


def _arm(chance: Chance, total: Ints, base: float, slower: float) -> Ints:
    """Draw what a version did in a second: shape (runs, tests, 2), how many and of them bad."""
    bad = np.empty((len(total), len(TESTS)), dtype=np.int64)
    bad[:, 0] = chance.binomial(total, base)
    left, before = total, 1.0
    for place, slow in enumerate(SLOW, start=1):
        rate = min(0.95, slow * slower)
        left = chance.binomial(left, min(1.0, rate / before))
        bad[:, place], before = left, rate
    bad[:, -2:] = chance.binomial(total[:, None], base, (len(total), 2))
    return np.stack([np.broadcast_to(total[:, None], bad.shape), bad], axis=2)


_FATES: dict[tuple[int, int], Fates] = {}


def _fates(total: int, failed: int) -> Fates:
    """Return equal values once: there are millions of them."""
    return _FATES.setdefault((total, failed), Fates(total=total, failed=failed))


def _second(at: int, total: Ints, failed: Ints, names: Sequence[InstanceId]) -> Second:
    fates = map(_fates, total.tolist(), failed.tolist())
    cell = Cell(
        region=LOCAL,
        route="/",
        version=OLD,
        requests=Fates(total=int(total.sum()), failed=int(failed.sum())),
        instances={name: one for name, one in zip(names, fates, strict=True) if one.total},
    )
    return Second(at=at, cells=(cell,))
