"""What the judge compares with what: the same second, region and class of routes; nothing cold, nothing unsettled."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from judge_support import (
    BEGIN,
    EU,
    US,
    USUAL,
    V1,
    V2,
    Behaviour,
    cell_of,
    judged,
    measured,
    row,
    second_of,
    settings_of,
    together,
    traffic,
)

from hitless.analysis.background import background
from hitless.analysis.counts import LAST_BUCKET, Cell, Fates, Second
from hitless.analysis.judge import Judge
from hitless.analysis.ruling import Call, Why
from hitless.rollout.spec import AnalysisSpec

FINE = Behaviour()


def test_two_regions_of_different_quality_and_different_shares_are_no_regression() -> None:
    draw = np.random.default_rng(4)
    bad = Behaviour(failing=0.03)
    seconds = (
        together(
            second_of(draw, BEGIN + i, share=0.05, old=FINE, new=FINE),
            second_of(draw, BEGIN + i, share=0.5, old=bad, new=bad, region=US),
        )
        for i in range(400)
    )
    judge = Judge(settings_of())
    for second in seconds:
        judge.take(second, {EU: 500, US: 5_000})
    assert judge.judgement(next_share_bp=2_500).ruling.call is not Call.ROLLBACK


def test_how_slow_a_cold_start_is_is_left_out_and_said() -> None:
    draw = np.random.default_rng(4)
    settings = settings_of(analysis=AnalysisSpec(warm_up_s=60.0))
    seconds = [
        second_of(draw, BEGIN + i, new=Behaviour(failing=0.001, median_ms=300 if i < 60 else 50)) for i in range(200)
    ]
    early, _ = judged(settings, seconds[:30])
    assert (early.ruling.call, early.ruling.why) == (Call.HOLD, Why.WARMING_UP)
    late, _ = judged(settings, seconds)
    assert late.ruling.call is not Call.ROLLBACK
    warm, _ = judged(settings_of(), seconds)
    assert (warm.ruling.call, warm.ruling.row) == (Call.ROLLBACK, "latency")


def test_whoever_is_cold_need_not_fail() -> None:
    settings = settings_of(analysis=AnalysisSpec(warm_up_s=60.0))
    last, _ = judged(settings, traffic(4, 30, share=0.3, new=Behaviour(failing=0.3)), share_bp=3_000)
    assert (last.ruling.call, last.ruling.row) == (Call.ROLLBACK, "errors")


def test_after_a_change_of_the_share_what_fails_at_once_is_left_out_until_success_can_be_known() -> None:
    slow = replace(USUAL, usual_duration_s=3.4, usual_durations_s={})
    fails_at_once = Second(
        at=BEGIN,
        cells=(
            Cell(region=EU, route="/", version=V1, requests=Fates(total=100)),
            Cell(region=EU, route="/", version=V2, requests=Fates(total=20, failed=20)),
        ),
    )
    judge = Judge(settings_of(before=slow))
    calls = []
    for i in range(6):
        judge.take(replace(fails_at_once, at=BEGIN + i), {EU: 500})
        calls.append(judge.judgement(next_share_bp=2_500).ruling.call)
    assert calls == [Call.HOLD] * 4 + [Call.ROLLBACK] * 2


def test_each_class_of_routes_is_left_out_for_as_long_as_its_own_answers_take() -> None:
    """What fails at once here fails as often as before; its successes come three seconds later."""

    def known_after(seconds: int) -> Cell:
        late = 38 if seconds >= 3 else 0
        return Cell(region=EU, route="/export", version=V2, requests=Fates(total=late + 2, failed=2))

    usual = Cell(region=EU, route="/export", version=V1, requests=Fates(total=400, failed=20))
    judge = Judge(settings_of(before=replace(USUAL, usual_durations_s={"/": 0.2, "/export": 2.9})))
    for i in range(60):
        quick = [
            Cell(region=EU, route="/", version=V1, requests=Fates(total=400)),
            Cell(region=EU, route="/", version=V2, requests=Fates(total=40)),
        ]
        judge.take(Second(at=BEGIN + i, cells=(*quick, usual, known_after(i))), {EU: 1_000})
        canary = row(judge.judgement(next_share_bp=2_500).rows, "errors").canary
        exported = max(0, i - 2)
        assert canary == (2 * exported, 40 * i + 40 * exported)
    assert judge.judgement(next_share_bp=2_500).ruling.call is not Call.ROLLBACK


def test_a_region_whose_share_is_unknown_is_not_compared() -> None:
    judge = Judge(settings_of())
    for second in traffic(1, 30, new=Behaviour(failing=1.0)):
        judge.take(second, {})
    last = judge.judgement(next_share_bp=2_500)
    assert last.ruling.call is Call.HOLD
    assert row(last.rows, "errors").log_evidence is None


def test_with_little_traffic_seconds_are_pooled_until_there_is_something_to_compare() -> None:
    rare = replace(USUAL, requests_per_s=1.0)
    settings = settings_of(before=rare)
    last, _ = judged(settings, traffic(1, 400, rate=1.0, share=0.3, new=Behaviour(failing=1.0)), share_bp=3_000)
    assert last.ruling.call is Call.ROLLBACK
    quiet, _ = judged(settings, traffic(1, 400, rate=1.0, share=0.3), share_bp=3_000)
    assert (quiet.ruling.call, quiet.ruling.why) == (Call.HOLD, Why.TOO_FEW)


def test_where_one_version_has_no_traffic_it_is_not_said_that_no_request_was_seen() -> None:
    judge = Judge(settings_of())
    for second in traffic(1, 30, share=1.0):
        judge.take(second, {EU: 10_000})
    assert "none seen while both versions had traffic" in judge.judgement(next_share_bp=10_000).detail


def over_routes(draw: np.random.Generator, at: int, *, rate: float, share: float, routes: int) -> Second:
    arms = ((V1, 1.0 - share), (V2, share))
    counts = [(version, i, int(draw.poisson(rate * part / routes))) for version, part in arms for i in range(routes)]
    return Second(at=at, cells=tuple(cell_of(draw, version, n, FINE, route=f"/{i}") for version, i, n in counts if n))


@pytest.mark.parametrize(("rate", "share", "routes"), [(1.0, 0.9, 1), (50.0, 0.75, 20), (100.0, 0.9, 20)])
def test_where_little_of_the_old_version_is_left_in_a_second_more_of_them_are_compared_together(
    rate: float, share: float, routes: int
) -> None:
    draw = np.random.default_rng(1)
    before = [over_routes(draw, BEGIN - 600 + i, rate=rate, share=0.0, routes=routes) for i in range(600)]
    settings = settings_of(before=background(before, baseline=V1, analysis=AnalysisSpec()))
    seconds = (over_routes(draw, BEGIN + i, rate=rate, share=share, routes=routes) for i in range(300))
    last, _ = judged(settings, seconds, share_bp=round(10_000 * share), next_share_bp=10_000)
    assert last.ruling.why is not Why.NO_DATA
    assert (last.rows[0].coverage or 0.0) > 0.7


def test_what_hung_at_a_larger_share_is_not_held_against_a_smaller_one() -> None:
    draw = np.random.default_rng(0)
    settings = settings_of(before=measured(rate=1_000.0))
    judge = Judge(settings)
    for i, share in enumerate([0.5] * 20 + [0.05] * 20):
        hung = 10 if 19 <= i < 25 else 0  # of the 500 requests to either version 5 s before, when something stood still
        cells = second_of(draw, BEGIN + i, rate=1_000.0, share=share).cells
        told = tuple(replace(cell, durations=Counter(cell.durations) + Counter({LAST_BUCKET: hung})) for cell in cells)
        judge.take(Second(at=BEGIN + i, cells=told), {EU: round(10_000 * share)})
    assert judge.judgement(next_share_bp=2_500).ruling.call is not Call.ROLLBACK
