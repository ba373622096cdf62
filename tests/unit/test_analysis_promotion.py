from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from judge_support import BEGIN, EU, USUAL, Behaviour, judged, measured, second_of, settings_of, traffic

from hitless.analysis.counts import Fates, Second
from hitless.analysis.judge import LEANING, Judge
from hitless.analysis.likelihood import Tables
from hitless.analysis.promotion import SHARES_BP
from hitless.analysis.ruling import Call, Judgement, Why
from hitless.analysis.settings import STAY_S
from hitless.analysis.weighing import Weighing
from hitless.rollout.spec import AnalysisSpec

NOTHING_FAILS = Behaviour(failing=0.0)


def promoted(last: Judgement) -> bool:
    return last.ruling.call is Call.PROMOTE


def test_an_early_step_is_shown_with_a_few_hundred_requests() -> None:
    seconds = traffic(3, 400, share=0.01)
    last, taken = judged(settings_of(), seconds, share_bp=100, next_share_bp=500, until=promoted)
    assert (last.ruling.call, last.ruling.why) == (Call.PROMOTE, Why.NOT_WORSE)
    assert taken <= 350
    assert last.ruling.promotes_to(500)
    assert not last.ruling.promotes_to(10_000)


def test_all_of_the_traffic_is_shown_with_thousands_of_requests_only() -> None:
    last, taken = judged(
        settings_of(), traffic(3, 900, share=0.5), share_bp=5_000, next_share_bp=10_000, until=promoted
    )
    assert last.ruling.promotes_to(10_000)
    assert 4_000 < taken * 50 < 40_000
    assert "0.1 percentage points" in last.ruling.sentence


def test_where_nothing_fails_on_either_side_the_canarys_own_rate_shows_it() -> None:
    spotless = measured(old=NOTHING_FAILS)
    seconds = traffic(3, 300, share=0.25, old=NOTHING_FAILS, new=NOTHING_FAILS)
    last, _ = judged(settings_of(before=spotless), seconds, share_bp=2_500, next_share_bp=10_000, until=promoted)
    assert last.ruling.promotes_to(10_000)


def test_a_version_that_is_worse_than_the_margin_is_hardly_ever_promoted() -> None:
    promotions = 0
    for seed in range(12):
        worse = Behaviour(failing=0.025)  # at a tenth of the traffic: 0.24 pp more for all users
        last, _ = judged(
            settings_of(),
            traffic(seed, 150, share=0.1, new=worse),
            share_bp=1_000,
            next_share_bp=1_000,
            until=lambda one: one.ruling.call is not Call.HOLD,
        )
        promotions += promoted(last)
    assert promotions <= 2


def held(dispersion: dict[str, float], *, error_margin: float = 0.001) -> Judgement:
    analysis = AnalysisSpec(warm_up_s=0.0, error_margin=error_margin)
    settings = settings_of(before=replace(USUAL, seconds=2_400, dispersion=dispersion), analysis=analysis)
    seconds = traffic(3, 60, share=0.05, old=NOTHING_FAILS, new=NOTHING_FAILS)
    return judged(settings, seconds, share_bp=500, next_share_bp=10_000)[0]


@pytest.mark.parametrize(
    ("name", "words", "error_margin"),
    [
        ("errors", "failures of v1 came in bursts", 0.001),
        ("latency.p95", "slow answers of v1 came in bursts", 0.05),
    ],
)
def test_a_promotion_that_takes_long_because_of_what_was_before_says_so(
    name: str, words: str, error_margin: float
) -> None:
    plain, slowed = (held(one, error_margin=error_margin) for one in ({}, {name: 9.0}))
    assert "bursts" not in plain.detail
    assert slowed.detail.endswith(
        f"; {words} in the 40 min before (dispersion 9): that takes about 5 times as many requests"
    )
    assert plain.missing_requests is not None
    assert slowed.missing_requests is not None
    assert slowed.missing_requests > 4 * plain.missing_requests
    assert slowed.ruling == replace(plain.ruling, settings=slowed.ruling.settings)  # what is journaled has no figures


def test_a_little_dispersion_is_no_news_and_none_is_of_a_part_that_does_not_take_longest() -> None:
    assert "bursts" not in held({"errors": 1.5, "latency.p95": 1.4}).detail
    assert "bursts" not in held({"latency.p95": 9.0}).detail  # failures take longer all the same


def test_what_is_shown_must_stay_shown_before_it_is_promoted() -> None:
    judge, shown = Judge(settings_of()), []
    for second in traffic(3, 200, share=0.25, old=NOTHING_FAILS, new=NOTHING_FAILS):
        judge.take(second, {EU: 2_500})
        last = judge.judgement(next_share_bp=2_500)
        report = next(one for one in last.rows if one.name == "promotion")
        assert report.log_evidence is not None
        assert report.log_needed is not None
        shown.append((report.log_evidence >= report.log_needed, last.ruling.call is Call.PROMOTE))
    first_shown = next(i for i, (is_shown, _) in enumerate(shown) if is_shown)
    first_promoted = next(i for i, (_, is_promoted) in enumerate(shown) if is_promoted)
    assert first_promoted - first_shown == STAY_S - 1


def test_a_gap_interrupts_what_must_stay_shown() -> None:
    judge = Judge(settings_of())
    seconds = list(traffic(3, 120, share=0.25))
    for second in seconds[:100]:
        judge.take(second, {EU: 2_500})
    assert judge.judgement(next_share_bp=1_000).ruling.call is Call.PROMOTE
    judge.take(Second(at=BEGIN + 100, gap="the log is gone"), {EU: 2_500})
    last = judge.judgement(next_share_bp=1_000)
    assert last.ruling.why is Why.TOO_FEW
    assert "shown now, and must stay so for 6 s more; a second that cannot be read begins this time anew" in last.detail
    for second in seconds[101 : 101 + STAY_S]:
        judge.take(second, {EU: 2_500})
    assert judge.judgement(next_share_bp=1_000).ruling.call is Call.PROMOTE


def test_a_version_that_gets_worse_loses_what_it_was_shown() -> None:
    judge = Judge(settings_of())
    draw = np.random.default_rng(3)
    for i in range(300):
        judge.take(second_of(draw, BEGIN + i, share=0.25), {EU: 2_500})
    assert judge.judgement(next_share_bp=2_500).ruling.call is Call.PROMOTE
    for i in range(300, 310):
        judge.take(second_of(draw, BEGIN + i, share=0.25, new=Behaviour(failing=0.1)), {EU: 2_500})
    assert judge.judgement(next_share_bp=2_500).ruling.call is not Call.PROMOTE


def test_a_version_whose_answers_hang_is_not_promoted_before_that_can_be_known() -> None:
    judge = Judge(settings_of())
    draw = np.random.default_rng(3)
    calls = set()
    for i in range(30):
        second = second_of(draw, BEGIN + i, share=0.25, new=Behaviour(failing=0.0, hanging=0.9 if i >= 5 else 0.0))
        if i < 5:  # nothing of what hangs is known yet
            old, new = second.cells
            few = replace(new, requests=Fates(total=2), durations={200: 2}, instances={})
            second = replace(second, cells=(old, few))
        judge.take(second, {EU: 2_500})
        calls.add(judge.judgement(next_share_bp=500).ruling.call)
    assert calls == {Call.HOLD, Call.ROLLBACK}


def test_nothing_is_promoted_while_a_row_speaks_against_it() -> None:
    judge, leaning = Judge(settings_of()), 0
    for second in traffic(8, 400, share=0.25, new=Behaviour(failing=0.006)):
        judge.take(second, {EU: 2_500})
        last = judge.judgement(next_share_bp=500)
        errors = next(one for one in last.rows if one.name == "errors")
        if errors.log_evidence is not None and LEANING <= errors.log_evidence < (errors.log_needed or 0.0):
            leaning += 1
            assert last.ruling.call is Call.ROLLBACK or (last.ruling.call is Call.HOLD and "speaks" in last.detail)
    assert leaning


def test_slower_answers_are_not_promoted_though_nothing_fails() -> None:
    slower = Behaviour(median_ms=65.0)
    last, _ = judged(
        settings_of(),
        traffic(3, 250, share=0.5, new=slower),
        share_bp=5_000,
        next_share_bp=10_000,
        until=lambda one: one.ruling.call is not Call.HOLD,
    )
    assert last.ruling.call is Call.ROLLBACK


def test_without_any_threshold_for_latency_nothing_is_promoted() -> None:
    judge = Judge(settings_of(before=replace(USUAL, latency_bounds=())))
    for second in traffic(1, 100, share=0.5):
        judge.take(replace(second, cells=tuple(replace(cell, durations={}) for cell in second.cells)), {EU: 5_000})
    assert judge.judgement(next_share_bp=1_000).ruling.why is Why.TOO_FEW


def test_what_is_missing_is_said_and_becomes_less() -> None:
    judge, missing = Judge(settings_of()), []
    for second in traffic(3, 140, share=0.05):
        judge.take(second, {EU: 500})
        last = judge.judgement(next_share_bp=2_500)
        if last.missing_requests is not None and last.ruling.why is Why.TOO_FEW:
            missing.append(last.missing_requests)
    assert missing[0] > 500
    assert missing[-1] < missing[0] / 1.5
    assert "more are needed" in last.detail
    assert not any(digit in last.ruling.sentence.replace("v2", "").replace("25 %", "") for digit in "0123456789")


def test_the_forecast_is_about_what_it_takes() -> None:
    settings = settings_of()
    judge = Judge(settings)
    seconds = list(traffic(5, 900, share=0.25))
    for second in seconds[:10]:
        judge.take(second, {EU: 2_500})
    forecast = judge.judgement(next_share_bp=10_000).missing_s
    _, taken = judged(settings, seconds, share_bp=2_500, next_share_bp=10_000, until=promoted)
    assert forecast is not None
    assert forecast / 4 < taken < 4 * forecast


def test_nothing_is_known_of_what_is_missing_without_traffic() -> None:
    judge = Judge(settings_of())
    judge.take(Second(at=BEGIN), {EU: 500})
    last = judge.judgement(next_share_bp=2_500)
    assert last.ruling.why is Why.TOO_FEW
    assert last.missing_s is None


def test_a_looser_margin_is_shown_sooner() -> None:
    def taken(margin: float) -> int:
        settings = settings_of(analysis=AnalysisSpec(error_margin=margin, warm_up_s=0.0))
        return judged(settings, traffic(3, 900, share=0.25), share_bp=2_500, next_share_bp=5_000, until=promoted)[1]

    assert taken(0.01) < taken(0.001)


@pytest.mark.parametrize("share_bp", [0, 1, 250, 10_000])
def test_every_share_can_be_asked_for(share_bp: int) -> None:
    assert Judge(settings_of()).judgement(next_share_bp=share_bp).ruling.call is Call.HOLD


def test_shares_that_can_be_shown_end_with_all_of_the_traffic() -> None:
    assert list(SHARES_BP) == sorted(SHARES_BP)
    assert SHARES_BP[-1] == 10_000


def test_where_failures_have_become_more_common_the_margin_stays_what_it_says() -> None:
    before, old, new = measured(seconds=900), Behaviour(failing=0.01), Behaviour(failing=0.015)
    promotions = 0
    for seed in range(8):
        last, _ = judged(
            settings_of(before=before),
            traffic(seed, 300, rate=200.0, share=0.25, old=old, new=new),
            share_bp=2_500,
            next_share_bp=10_000,
            until=lambda one: one.ruling.call is not Call.HOLD,
        )
        promotions += promoted(last)
    assert promotions <= 1  # half of them while the margin was that of the rate before


@pytest.mark.parametrize("failing", [0.97, 1.0])
def test_next_to_a_version_that_hardly_ever_answers_nothing_is_shown(failing: float) -> None:
    hopeless = Behaviour(failing=failing)
    last, _ = judged(
        settings_of(before=measured(old=hopeless)), traffic(1, 200, share=0.25, old=hopeless, new=hopeless)
    )
    assert last.ruling.call is Call.HOLD


def test_while_a_row_speaks_against_it_no_number_of_requests_is_promised() -> None:
    judge = Judge(settings_of())
    told = []
    for second in traffic(3, 200, share=0.25, new=Behaviour(failing=0.004)):
        judge.take(second, {EU: 2_500})
        told.append(judge.judgement(next_share_bp=10_000))
    leaning = [one for one in told if "speaks against it" in one.detail]
    assert leaning
    assert all((one.missing_requests, one.missing_s) == (None, None) for one in leaning)


def test_bursts_between_instances_temper_promotions_as_they_were_measured() -> None:
    """A canary with bursts of its own shows nothing by some quiet minutes; an outage of everybody is bounded."""
    quiet = [Tables(canary=one(5), canary_bad=one(0), baseline=one(95), baseline_bad=one(0))] * 1_600

    def shown(dispersion: dict[str, float]) -> bool:
        before = replace(USUAL, failure_rate=0.004, dispersion={**USUAL.dispersion, **dispersion})
        promotion = Weighing(settings_of(before=before)).promotion
        for tables in quiet:
            promotion.take(errors=tables, slow=None, canary=Fates(total=5), seconds=1)
        return bool(promotion.log_errors()[SHARES_BP.index(2_500)] >= promotion.needed)

    assert shown({"errors": 12.0, "instances": 1.0})
    assert not shown({"errors": 12.0, "instances": 12.0})


def one(count: int) -> np.ndarray:
    return np.array([count])
