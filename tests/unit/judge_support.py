"""Traffic for tests of the judge: drawn from a seed, second by second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from hitless.analysis.background import background
from hitless.analysis.counts import LAST_BUCKET, Call, Cell, Fates, Second, bucket_of
from hitless.analysis.judge import Judge
from hitless.analysis.ruling import Call as Verdict
from hitless.analysis.ruling import Judgement, RowReport
from hitless.analysis.settings import Background, JudgeSettings
from hitless.rollout.spec import AnalysisSpec, InstanceId, Region, SloSpec, Version

V1, V2 = Version("v1"), Version("v2")
EU, US = Region("eu"), Region("us")
BEGIN = 1_700_000_000
USUAL_ANALYSIS = AnalysisSpec(warm_up_s=0.0)


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How a version behaves: share of failures, median duration, share of requests that hang, instances."""

    failing: float = 0.001
    median_ms: float = 50.0
    hanging: float = 0.0
    instances: int = 1
    retried: float = 0.0


def cell_of(
    draw: np.random.Generator,
    version: Version,
    requests: int,
    behaviour: Behaviour,
    *,
    region: Region = EU,
    route: str = "/",
) -> Cell:
    hung = int(draw.binomial(requests, behaviour.hanging))
    answered = requests - hung
    bad = draw.random(answered) < behaviour.failing
    served_by = draw.integers(0, behaviour.instances, answered)
    durations = Counter(bucket_of(ms) for ms in draw.lognormal(np.log(behaviour.median_ms), 0.7, answered))
    if hung:
        durations[LAST_BUCKET] += hung
    return Cell(
        region=region,
        route=route,
        version=version,
        requests=Fates(total=answered, failed=int(bad.sum())),
        retried=int(draw.binomial(answered, behaviour.retried)),
        durations=durations,
        instances={
            InstanceId(f"{version}-{i}"): Fates(
                total=int((served_by == i).sum()), failed=int(bad[served_by == i].sum())
            )
            for i in range(behaviour.instances)
            if (served_by == i).any()
        },
    )


def second_of(
    draw: np.random.Generator,
    at: int,
    *,
    rate: float = 100.0,
    share: float = 0.05,
    old: Behaviour = Behaviour(),
    new: Behaviour = Behaviour(),
    region: Region = EU,
) -> Second:
    return Second(
        at=at,
        cells=(
            cell_of(draw, V1, int(draw.poisson(rate * (1 - share))), old, region=region),
            cell_of(draw, V2, int(draw.poisson(rate * share)), new, region=region),
        ),
    )


def together(*seconds: Second) -> Second:
    return Second(
        at=seconds[0].at,
        cells=tuple(cell for second in seconds for cell in second.cells),
        calls=tuple(call for second in seconds for call in second.calls),
    )


def measured(seed: int = 0, *, rate: float = 100.0, old: Behaviour = Behaviour(), seconds: int = 300) -> Background:
    draw = np.random.default_rng(seed)
    before = [second_of(draw, BEGIN - seconds + i, rate=rate, share=0.0, old=old) for i in range(seconds)]
    return background(before, baseline=V1, analysis=AnalysisSpec())


def settings_of(
    *,
    before: Background | None = None,
    analysis: AnalysisSpec = USUAL_ANALYSIS,
    slo: SloSpec | None = None,
) -> JudgeSettings:
    return JudgeSettings(
        canary=V2,
        baseline=V1,
        analysis=analysis,
        slo=slo,
        background=before or USUAL,
        salt="rollout-1",
    )


USUAL = measured()


def judged(
    settings: JudgeSettings,
    seconds: Iterable[Second],
    *,
    share_bp: int = 500,
    next_share_bp: int = 2_500,
    until: Callable[[Judgement], bool] = lambda one: one.ruling.call is Verdict.ROLLBACK,
) -> tuple[Judgement, int]:
    """Judge seconds until something is said; return the last judgement and how many seconds were taken."""
    judge, taken = Judge(settings), 0
    for second in seconds:
        judge.take(second, {EU: share_bp, US: share_bp})
        taken += 1
        if until(judge.judgement(next_share_bp=next_share_bp)):
            break
    return judge.judgement(next_share_bp=next_share_bp), taken


def traffic(
    seed: int,
    seconds: int,
    *,
    rate: float = 100.0,
    share: float = 0.05,
    old: Behaviour = Behaviour(),
    new: Behaviour = Behaviour(),
) -> Iterable[Second]:
    draw = np.random.default_rng(seed)
    return (second_of(draw, BEGIN + i, rate=rate, share=share, old=old, new=new) for i in range(seconds))


def calls_of(version: Version, dependency: str, total: int, failed: int) -> Call:
    return Call(region=EU, version=version, dependency=dependency, fates=Fates(total=total, failed=failed))


def row(rows: tuple[RowReport, ...], name: str) -> RowReport:
    return next(one for one in rows if one.name == name)
