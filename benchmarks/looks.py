"""What judging costs: one look at a large service, and five hundred small rollouts in every second."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from benchmarks.figures import median, quantile
from benchmarks.results import Goal, Table
from benchmarks.trials import NEW, OLD
from hitless.analysis.background import background
from hitless.analysis.counts import Call, Cell, Fates, Second, bucket_of
from hitless.analysis.judge import Judge
from hitless.analysis.settings import JudgeSettings
from hitless.rollout.spec import AnalysisSpec, InstanceId, Region, SloSpec, Version

REGIONS, ROUTES = 10, 20
PER_CELL = 5
SHARE_BP = 2_500
ANALYSIS = AnalysisSpec(warm_up_s=0.0, dependencies=("payments",))


def measure(*, looks: int, rollouts: int, rounds: int) -> tuple[Table, tuple[Goal, ...]]:
    """Return what was measured.

    Args:
        looks: at the large service.
        rollouts: small ones, each judged once a round.
        rounds: of them.
    """
    one_ms = _looks_ms(REGIONS, ROUTES, looks)
    many_s = _rounds_s(rollouts, rounds)
    many = f"{rollouts} rollouts judged each second, 1 region x 3 routes"
    table = Table(
        title="What judging costs (a second taken, and the judgement)",
        columns=("what", "median", "99 % within"),
        rows=(
            (f"8 metrics x {REGIONS} regions x {ROUTES} routes x 2 versions", *_ms(one_ms)),
            ("8 metrics x 1 region x 3 routes x 2 versions", *_ms(_looks_ms(1, 3, looks))),
            (many, f"{median(many_s):.2f} s of a core a second", f"{max(many_s):.2f} s"),
        ),
    )
    per_500 = median(many_s) * 500 / rollouts
    return table, (
        Goal(
            name="one look at 8 metrics x 10 regions x 20 routes (median)",
            measured=median(one_ms),
            limit=5.0,
            unit=" ms",
        ),
        Goal(name="500 rollouts judged each second, of a core", measured=per_500, limit=1.0, unit=" s"),
    )


def _ms(values: list[float]) -> tuple[str, str]:
    return f"{median(values):.2f} ms", f"{quantile(values, 0.99):.2f} ms"


def _looks_ms(regions: int, routes: int, looks: int) -> list[float]:
    chance = np.random.default_rng(1)
    judge, shares = _judge(chance, regions, routes), _shares(regions)
    spent: list[float] = []
    for at in range(looks):
        second = _second(chance, at, regions, routes)
        began_s = time.process_time()
        judge.take(second, shares)
        judge.judgement(next_share_bp=10_000)
        spent.append(1_000.0 * (time.process_time() - began_s))
    return spent[2:]


def _rounds_s(rollouts: int, rounds: int) -> list[float]:
    chance = np.random.default_rng(2)
    judges, shares = [_judge(chance, 1, 3) for _ in range(rollouts)], _shares(1)
    spent: list[float] = []
    for at in range(rounds + 2):
        seconds = [_second(chance, at, 1, 3) for _ in judges]
        began_s = time.process_time()
        for judge, second in zip(judges, seconds, strict=True):
            judge.take(second, shares)
            judge.judgement(next_share_bp=10_000)
        spent.append(time.process_time() - began_s)
    return spent[2:]  # the first seconds of a share are left out


def _judge(chance: np.random.Generator, regions: int, routes: int) -> Judge:
    before = [_second(chance, at, regions, routes, arms=((OLD, 4 * PER_CELL),)) for at in range(-60, 0)]
    return Judge(
        JudgeSettings(
            canary=NEW,
            baseline=OLD,
            analysis=ANALYSIS,
            slo=SloSpec(success_rate=0.99),
            background=background(before, baseline=OLD, analysis=ANALYSIS),
            salt="looks",
        )
    )


def _shares(regions: int) -> Mapping[Region, int]:
    return {Region(f"r{region}"): SHARE_BP for region in range(regions)}


def _second(
    chance: np.random.Generator,
    at: int,
    regions: int,
    routes: int,
    arms: tuple[tuple[Version, int], ...] = ((OLD, 3 * PER_CELL), (NEW, PER_CELL)),
) -> Second:
    cells, calls = [], []
    for region in map(Region, (f"r{number}" for number in range(regions))):
        for version, many in arms:
            cells += [_cell(chance, region, f"/{route}", version, many) for route in range(routes)]
            fates = Fates(total=many * routes, failed=int(chance.binomial(many * routes, 0.002)))
            calls.append(Call(region=region, version=version, dependency="payments", fates=fates))
    return Second(at=1_000 + at, cells=tuple(cells), calls=tuple(calls))


def _cell(chance: np.random.Generator, region: Region, route: str, version: Version, many: int) -> Cell:
    total = int(chance.poisson(many))
    durations: dict[int, int] = {}
    for took_ms in chance.lognormal(np.log(50.0), 0.7, total):
        durations[bucket_of(took_ms)] = durations.get(bucket_of(took_ms), 0) + 1
    fates = Fates(total=total, failed=int(chance.binomial(total, 0.002)))
    dealt = chance.multinomial(total, (0.25,) * 4)
    return Cell(
        region=region,
        route=route,
        version=version,
        requests=fates,
        durations=durations,
        instances={InstanceId(f"{version}-{number}"): Fates(total=int(one)) for number, one in enumerate(dealt)},
    )
