"""The whole judge, one rollout at a time: a few hundred of them, with instances, an objective, and what only holds."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from benchmarks.figures import quantile
from benchmarks.results import Cell, Table
from benchmarks.trials import NEW, OLD, Ints
from benchmarks.worlds import BURST_EVERY_S, BURST_RATE, BURST_S, CLUSTER, PER_S
from hitless.analysis.background import background
from hitless.analysis.counts import Call, Fates, Second, bucket_of
from hitless.analysis.counts import Cell as Counted
from hitless.analysis.judge import Judge
from hitless.analysis.ruling import Call as Verdict
from hitless.analysis.settings import JudgeSettings
from hitless.rollout.spec import LOCAL, AnalysisSpec, InstanceId, SloSpec, Version

BASE = 0.001
INSTANCES = 20
BEFORE_S = 1_800
PROMISE = SloSpec(success_rate=1.0 - 10.0 * BASE)
"""The old version keeps it in every kind of traffic here: with bursts 0.5 % of its requests fail."""
ANALYSIS = AnalysisSpec(warm_up_s=0.0, dependencies=("payments",))
BUCKETS = tuple(bucket_of(ms) for ms in (20, 50, 80, 120, 160, 260, 430))
PORTIONS = (0.5, 0.25, 0.15, 0.05, 0.04, 0.009, 0.001)

Chance = np.random.Generator


@dataclass(slots=True, kw_only=True)
class Instance:
    """One instance, over which bursts come."""

    name: InstanceId
    bursting_s: int = 0

    def fates(self, chance: Chance, kind: str, failing: float, back: int) -> Fates:
        """Draw a second; `back` users who failed before, or fail for the first time, fail here."""
        total = int(chance.poisson(PER_S / INSTANCES))
        if kind == "sticky":
            return Fates(total=total, failed=min(total, back))
        if kind == "bursts":
            self.bursting_s = BURST_S if chance.random() < 1.0 / BURST_EVERY_S else max(0, self.bursting_s - 1)
        return Fates(total=total, failed=int(chance.binomial(total, BURST_RATE if self.bursting_s else failing)))


@dataclass(slots=True, kw_only=True)
class Traffic:
    """A service with `INSTANCES`, of which some are new."""

    chance: Chance
    kind: str
    new: int
    failing: float = BASE
    old: list[Instance]
    recent: dict[Version, deque[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, seed: int, kind: str, new: int, failing: float = BASE) -> Traffic:
        old = [Instance(name=InstanceId(f"i{number}")) for number in range(INSTANCES)]
        return cls(chance=np.random.default_rng(seed), kind=kind, new=new, failing=failing, old=old)

    def before(self) -> list[Second]:
        return [
            Second(at=at, cells=(self._cell(OLD, self.old, BASE),), calls=(self._calls(OLD, PER_S),))
            for at in range(BEFORE_S)
        ]

    def during(self, seconds: int) -> Iterator[Second]:
        new, old = self.old[: self.new], self.old[self.new :]
        share = self.new / INSTANCES
        for at in range(BEFORE_S, BEFORE_S + seconds):
            yield Second(
                at=at,
                cells=(self._cell(OLD, old, BASE), self._cell(NEW, new, self.failing)),
                calls=(self._calls(OLD, PER_S * (1.0 - share)), self._calls(NEW, PER_S * share)),
            )

    def _cell(self, version: Version, instances: list[Instance], failing: float) -> Counted:
        back = self._back(version, len(instances), failing)
        by_instance = {
            one.name: one.fates(self.chance, self.kind, failing, int(many))
            for one, many in zip(instances, back, strict=True)
        }
        fates = sum(by_instance.values(), Fates())
        durations = self.chance.multinomial(fates.total, PORTIONS)
        return Counted(
            region=LOCAL,
            route="/",
            version=version,
            requests=fates,
            retried=int(self.chance.binomial(fates.total, BASE)),
            durations={bucket: int(count) for bucket, count in zip(BUCKETS, durations, strict=True) if count},
            instances={name: one for name, one in by_instance.items() if one.total},
        )

    def _back(self, version: Version, instances: int, failing: float) -> Ints:
        """Deal users who fail, three times in three seconds, among the instances of their version."""
        recent = self.recent.setdefault(version, deque([0] * (CLUSTER - 1), CLUSTER - 1))
        first = int(self.chance.poisson(PER_S * instances / INSTANCES * failing / CLUSTER))
        dealt = self.chance.multinomial(first + sum(recent), np.full(instances, 1.0 / instances))
        recent.append(first)
        return np.asarray(dealt, dtype=np.int64)

    def _calls(self, version: Version, per_s: float) -> Call:
        total = int(self.chance.poisson(per_s))
        fates = Fates(total=total, failed=int(self.chance.binomial(total, BASE)))
        return Call(region=LOCAL, version=version, dependency="payments", fates=fates)


@dataclass(frozen=True, kw_only=True)
class Told:
    """One rollout: the row that turned it back, and when; None = it was not."""

    row: str | None
    seconds: int | None
    failed: int


def judged(traffic: Traffic, seconds: int) -> Told:
    """Measure the old version, then judge second by second until it is turned back."""
    before = background(traffic.before(), baseline=OLD, analysis=ANALYSIS)
    judge = Judge(
        JudgeSettings(canary=NEW, baseline=OLD, analysis=ANALYSIS, slo=PROMISE, background=before, salt="verdicts")
    )
    share_bp = {LOCAL: 10_000 * traffic.new // INSTANCES}
    failed = 0
    for taken, second in enumerate(traffic.during(seconds), start=1):
        judge.take(second, share_bp)
        failed += second.cells[1].requests.failed
        if traffic.failing == BASE and taken < seconds:
            continue  # a rollback stays: of who is no worse it is enough to ask once
        ruling = judge.judgement(next_share_bp=10_000).ruling
        if ruling.call is Verdict.ROLLBACK:
            return Told(row=ruling.row, seconds=taken, failed=failed)
    return Told(row=None, seconds=None, failed=failed)


KINDS = (
    ("no worse, 1 of 20 new", "alike", 1, BASE),
    ("no worse, 5 of 20 new", "alike", 5, BASE),
    ("no worse, bursts of one instance, 1 of 20 new", "bursts", 1, BASE),
    ("no worse, sticky retries, 5 of 20 new", "sticky", 5, BASE),
    ("1 % fail instead of 0.1, 1 of 20 new", "alike", 1, 0.01),
    ("1 % fail instead of 0.1, bursts, 1 of 20 new", "bursts", 1, 0.01),
    ("all fail, 1 of 20 new", "alike", 1, 1.0),
    ("all fail, 5 of 20 new", "alike", 5, 1.0),
    ("all fail, 10 of 20 new", "alike", 10, 1.0),
)
ALL_FAIL = tuple(kind for kind in KINDS if kind[3] == 1.0)


def measure(runs: int, seconds: int) -> tuple[Table, float]:
    """Return the table, and the median time until a version of which all requests fail is found, of the worst share."""
    told = {kind: _told(*kind[1:], runs=runs, seconds=seconds) for kind in KINDS}
    table = Table(
        title=f"The whole judge, with instances and an objective, for {seconds:,} s",
        columns=("version", "rollouts", "taken back", "rows", "median s", "95 % within s", "failed requests (median)"),
        rows=tuple(_row(kind[0], found, is_worse=kind[3] > BASE) for kind, found in told.items()),
    )
    return table, max(median(one.seconds or seconds for one in told[kind]) for kind in ALL_FAIL)


def _told(kind: str, new: int, failing: float, *, runs: int, seconds: int) -> list[Told]:
    return [judged(Traffic.of(seed, kind, new, failing), seconds) for seed in range(runs)]


def _row(name: str, told: list[Told], *, is_worse: bool) -> tuple[Cell, ...]:
    when = [one.seconds for one in told if one.seconds is not None]
    rows = Counter(one.row for one in told if one.row is not None)
    times: tuple[Cell, ...] = ("", "", "")
    if when and is_worse:
        harmed = median(one.failed for one in told if one.seconds is not None)
        times = (median(when), quantile(when, 0.95), harmed)
    return (name, len(told), len(when), ", ".join(f"{row} {count}" for row, count in rows.most_common()), *times)
