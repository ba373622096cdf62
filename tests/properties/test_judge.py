"""Whatever is seen: a judge says something, and what speaks against a rollback never brings one about.

The row of onsets is left out of the comparisons (fewer than four instances): there, an instance of the old version that
fails leaves the risk set of the next window, so no order of outcomes is promised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from hitless.analysis.counts import LAST_BUCKET, Cell, Fates, Second
from hitless.analysis.judge import Judge
from hitless.analysis.ruling import Call, Judgement
from hitless.analysis.settings import Background, JudgeSettings
from hitless.rollout.spec import AnalysisSpec, Region, SloSpec, Version

V1, V2 = Version("v1"), Version("v2")
REGIONS = (Region("eu"), Region("us"))
few = settings(max_examples=min(settings.default.max_examples if settings.default else 100, 150))

SHARES = dict.fromkeys(REGIONS, 2000)
SETTINGS = JudgeSettings(
    canary=V2,
    baseline=V1,
    analysis=AnalysisSpec(warm_up_s=0.0),
    slo=SloSpec(success_rate=0.9, success_for_s=5.0),
    background=Background(
        seconds=600,
        requests_per_s=60.0,
        failure_rate=0.01,
        latency_bounds=(100, 110, 120, 130, 140, 150),
        usual_duration_s=0.2,
    ),
    salt="rollout-1",
)


@st.composite
def cells(draw: st.DrawFn, version: Version, most: int) -> Cell:
    total = draw(st.integers(0, most))
    return Cell(
        region=draw(st.sampled_from(REGIONS)),
        route=draw(st.sampled_from(["/", "/pay"])),
        version=version,
        requests=Fates(total=total, failed=draw(st.integers(0, total))),
        retried=draw(st.integers(0, total)),
        durations={draw(st.sampled_from([90, 125, 155, LAST_BUCKET])): total},
    )


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Second, ...]:
    """Some seconds, a few of them gaps; each kind of second comes several times in a row."""
    kinds = draw(
        st.lists(
            st.tuples(st.lists(st.one_of(cells(V1, 60), cells(V2, 20)), max_size=5), st.booleans(), st.integers(1, 4)),
            max_size=5,
        )
    )
    seconds: list[Second] = []
    for seen, is_gap, times in kinds:
        for _ in range(times):
            at = len(seconds)
            gap = "unread" if is_gap and times == 1 else None
            seconds.append(Second(at=at, cells=() if gap else tuple(seen), gap=gap))
    return tuple(seconds)


def verdict(seconds: tuple[Second, ...]) -> Judgement:
    judge = Judge(SETTINGS)
    for second in seconds:
        judge.take(second, SHARES)
    return judge.judgement(next_share_bp=5_000)


def changed(seconds: tuple[Second, ...], version: Version, change: Callable[[Fates], Fates]) -> tuple[Second, ...]:
    def new(cell: Cell) -> Cell:
        return replace(cell, requests=change(cell.requests)) if cell.version == version else cell

    return tuple(replace(second, cells=tuple(new(cell) for cell in second.cells)) for second in seconds)


def without_retries(seconds: tuple[Second, ...]) -> tuple[Second, ...]:
    """One more request, failed at once, is one more that needed no other attempt: in that row it speaks otherwise."""
    return tuple(replace(second, cells=tuple(replace(cell, retried=0) for cell in second.cells)) for second in seconds)


def rollbacks(judgement: Judgement) -> bool:
    return judgement.ruling.call is Call.ROLLBACK


@few
@given(seconds=worlds().map(without_retries))
def test_failures_of_the_old_version_never_make_a_rollback_likelier(seconds: tuple[Second, ...]) -> None:
    worse = changed(seconds, V1, lambda fates: Fates(total=fates.total + 1, failed=fates.failed + 1))
    failing = changed(seconds, V1, lambda fates: Fates(total=fates.total, failed=fates.total))
    assert rollbacks(verdict(worse)) <= rollbacks(verdict(seconds))
    assert rollbacks(verdict(failing)) <= rollbacks(verdict(seconds))


@few
@given(seconds=worlds())
def test_successes_of_the_new_version_never_make_a_rollback_likelier(seconds: tuple[Second, ...]) -> None:
    better = changed(seconds, V2, lambda fates: Fates(total=fates.total + 3, failed=fates.failed))
    mended = changed(seconds, V2, lambda fates: Fates(total=fates.total, failed=max(0, fates.failed - 1)))
    assert rollbacks(verdict(better)) <= rollbacks(verdict(seconds))
    assert rollbacks(verdict(mended)) <= rollbacks(verdict(seconds))


@few
@given(seconds=worlds())
def test_the_same_seconds_give_the_same_judgement(seconds: tuple[Second, ...]) -> None:
    assert verdict(seconds) == verdict(seconds)


@few
@given(seconds=worlds(), next_share_bp=st.integers(0, 10_000))
def test_every_judgement_is_whole_and_a_promotion_covers_what_was_asked(
    seconds: tuple[Second, ...], next_share_bp: int
) -> None:
    judge = Judge(SETTINGS)
    was_turned_back = False
    for second in seconds:
        judge.take(second, SHARES)
        last = judge.judgement(next_share_bp=next_share_bp)
        assert last.at == second.at
        assert last.ruling.sentence
        assert last.detail.startswith(last.ruling.sentence)
        assert last.ruling.settings == SETTINGS.digest
        assert last.ruling.call is not Call.PROMOTE or last.ruling.promotes_to(next_share_bp)
        assert not was_turned_back or rollbacks(last)
        was_turned_back = rollbacks(last)
        for row in last.rows:
            assert row.log_evidence is None or row.log_evidence == row.log_evidence


@few
@given(seconds=worlds())
def test_where_the_versions_behave_alike_to_the_request_nothing_is_taken_back(seconds: tuple[Second, ...]) -> None:
    def alike(second: Second) -> Second:
        ours = [replace(cell, version=version) for cell in second.cells for version in (V1, V2)]
        return replace(second, cells=tuple(ours))

    judge = Judge(replace(SETTINGS, slo=None))
    for second in seconds:
        judge.take(alike(second), dict.fromkeys(REGIONS, 5_000))
    assert not rollbacks(judge.judgement(next_share_bp=5_000))
