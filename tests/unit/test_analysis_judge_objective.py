"""The judge and the service's objective: who is below it, for how long, and who is to blame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from judge_support import BEGIN, EU, USUAL, Behaviour, judged, measured, second_of, settings_of, traffic

from hitless.analysis.counts import Fates
from hitless.analysis.judge import Judge
from hitless.analysis.ruling import Call, Why
from hitless.rollout.spec import AnalysisSpec, SloSpec

NEARLY_SPOTLESS = Behaviour(failing=0.0005)


def test_below_the_objective_for_longer_than_allowed_is_turned_back_and_not_before() -> None:
    slo = SloSpec(success_rate=0.99, success_for_s=20.0)
    blind = replace(USUAL, dispersion={"errors": 1e6})  # no row of the sum can decide
    analysis = AnalysisSpec(warm_up_s=0.0)
    seconds = list(traffic(2, 60, share=0.5, new=Behaviour(failing=0.3), old=Behaviour(failing=0.0)))
    last, taken = judged(settings_of(before=blind, slo=slo, analysis=analysis), seconds, share_bp=5_000)
    assert (last.ruling.call, last.ruling.why, last.ruling.row) == (Call.ROLLBACK, Why.OBJECTIVE, "objective")
    assert 20 < taken <= 23
    assert "longer than 20 s" in last.ruling.sentence


def test_a_short_outage_is_not_below_the_objective_for_long() -> None:
    slo = SloSpec(success_rate=0.99, success_for_s=30.0)
    blind = replace(USUAL, dispersion={"errors": 1e6})
    draw = np.random.default_rng(2)
    seconds = (
        second_of(draw, BEGIN + i, share=0.5, old=Behaviour(failing=0), new=Behaviour(failing=0.5 if i < 9 else 0.0))
        for i in range(80)
    )
    last, _ = judged(settings_of(before=blind, slo=slo), seconds, share_bp=5_000)
    assert last.ruling.call is not Call.ROLLBACK


def test_one_failure_of_a_small_canary_is_not_an_outage() -> None:
    slo = SloSpec(success_rate=0.9995, success_for_s=60.0)
    none = Behaviour(failing=0.0)
    draw = np.random.default_rng(2)
    seconds = [second_of(draw, BEGIN + i, share=0.05, old=none, new=none) for i in range(150)]
    for i in (20, 60, 100):
        old, new = seconds[i].cells
        seconds[i] = replace(
            seconds[i], cells=(old, replace(new, requests=Fates(total=max(1, new.requests.total), failed=1)))
        )
    judge = Judge(settings_of(slo=slo))
    for second in seconds:
        judge.take(second, {EU: 500})
        assert judge.judgement(next_share_bp=2_500).ruling.why is not Why.OBJECTIVE


def test_when_both_versions_are_below_the_objective_the_new_one_is_not_blamed() -> None:
    slo = SloSpec(success_rate=0.99, success_for_s=20.0)
    bad = Behaviour(failing=0.2)
    last, _ = judged(settings_of(slo=slo), traffic(2, 80, share=0.3, old=bad, new=bad), share_bp=3_000)
    assert (last.ruling.call, last.ruling.why) == (Call.HOLD, Why.ENVIRONMENT)


def test_a_version_that_has_all_of_the_traffic_is_still_held_against_the_objective() -> None:
    slo = SloSpec(success_rate=0.99, success_for_s=20.0)
    draw = np.random.default_rng(2)
    seconds = [
        replace(second, cells=second.cells[1:])
        for second in (second_of(draw, BEGIN + i, share=1.0, new=Behaviour(failing=0.04)) for i in range(60))
    ]
    last, _ = judged(settings_of(slo=slo), seconds, share_bp=10_000)
    assert (last.ruling.call, last.ruling.row) == (Call.ROLLBACK, "objective")
    good = [second_of(draw, BEGIN + i, share=1.0) for i in range(60)]
    assert judged(settings_of(slo=slo), good, share_bp=10_000)[0].ruling.call is Call.HOLD


def test_after_a_common_outage_the_judge_goes_on() -> None:
    slo = SloSpec(success_rate=0.99, success_for_s=20.0)
    draw = np.random.default_rng(2)
    seconds = (
        second_of(draw, BEGIN + i, share=0.3, old=Behaviour(failing=rate), new=Behaviour(failing=rate))
        for i, rate in enumerate([0.2] * 60 + [0.0] * 400)
    )
    last, _ = judged(settings_of(slo=slo), seconds, share_bp=3_000, next_share_bp=5_000)
    assert last.ruling.why is not Why.ENVIRONMENT


@pytest.mark.parametrize("outage_s", [1, 5, 30])
def test_a_common_outage_is_not_held_against_the_new_version_once_it_is_over(outage_s: int) -> None:
    draw = np.random.default_rng(2)
    before = measured(old=NEARLY_SPOTLESS)
    seconds = (
        second_of(draw, BEGIN + i, share=0.3, old=one, new=one)
        for i, one in enumerate([NEARLY_SPOTLESS] * 60 + [Behaviour(failing=1.0)] * outage_s + [NEARLY_SPOTLESS] * 200)
    )
    settings = settings_of(before=before, slo=SloSpec(success_rate=0.998))
    last, _ = judged(settings, seconds, share_bp=3_000, next_share_bp=5_000)
    assert last.ruling.call is not Call.ROLLBACK
    assert "objective" in {row.name for row in last.rows}


def test_after_a_flip_the_new_version_is_held_against_the_promise_that_the_old_one_kept() -> None:
    slo = SloSpec(success_rate=0.99, success_for_s=5.0)
    settings = settings_of(slo=slo)
    seconds = list(traffic(3, 20, share=1.0, new=Behaviour(failing=0.2)))
    last, _ = judged(settings, seconds, share_bp=10_000)
    assert (last.ruling.call, last.ruling.row) == (Call.ROLLBACK, "objective")
    never_kept = settings_of(slo=slo, before=replace(USUAL, failure_rate=0.2))
    last, _ = judged(never_kept, seconds, share_bp=10_000)
    assert last.ruling.call is Call.HOLD


def test_a_common_outage_is_not_blamed_on_the_version_that_shows_it_first() -> None:
    blamed = 0
    settings = settings_of(before=measured(old=NEARLY_SPOTLESS), slo=SloSpec(success_rate=0.999))
    for seed in range(6):
        draw = np.random.default_rng(seed)
        seconds = (
            second_of(draw, BEGIN + i, share=0.95, old=one, new=one)
            for i, one in enumerate([NEARLY_SPOTLESS] * 60 + [Behaviour(failing=0.1)] * 30 + [NEARLY_SPOTLESS] * 30)
        )
        last, _ = judged(settings, seconds, share_bp=9_500, next_share_bp=10_000)
        blamed += last.ruling.call is Call.ROLLBACK
    assert blamed <= 1  # all but one while the new version's test alone decided


def test_most_of_the_traffic_does_not_keep_a_version_from_being_held_against_the_objective() -> None:
    settings = settings_of(before=measured(old=NEARLY_SPOTLESS), slo=SloSpec(success_rate=0.999))
    seconds = traffic(1, 60, share=0.95, old=NEARLY_SPOTLESS, new=Behaviour(failing=0.05))
    last, taken = judged(settings, seconds, share_bp=9_500, next_share_bp=10_000)
    assert (last.ruling.call, last.ruling.why) == (Call.ROLLBACK, Why.WORSE)
    assert taken <= 40
