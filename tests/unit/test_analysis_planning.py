"""Outlooks: what a step needs, what it finds, and what it cannot."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitless.analysis.figures import compare
from hitless.analysis.planning import EFFICIENCY, outlook, requests_to_find, requests_to_promote
from hitless.analysis.ruling import Call
from hitless.rollout.spec import AnalysisSpec, CanarySpec, CanaryStep

USUAL = AnalysisSpec()
WALD_1_PERCENT = 4.503


@pytest.mark.parametrize(
    ("rate", "worse", "share", "canary"),
    [
        (0.0005, 0.0015, 0.01, 7_053),
        (0.0005, 0.0015, 0.25, 10_427),
        (0.001, 0.002, 0.05, 12_434),
        (0.001, 0.01, 0.05, 366),
        (0.001, 0.01, 0.5, 1_049),
        (0.01, 0.05, 0.25, 176),
    ],
)
def test_the_bound_is_that_of_the_table_of_wald_and_jensen_shannon(
    rate: float, worse: float, share: float, canary: int
) -> None:
    found = requests_to_find(share=share, failure_rate=rate, factor=worse / rate, nats=WALD_1_PERCENT)
    assert found == pytest.approx(canary, rel=0.002, abs=0.6)  # the table rounds


def test_the_usual_canary_at_100_requests_a_second_is_planned_in_figures() -> None:
    one, five, quarter = outlook(CanarySpec().steps, requests_per_s=100, failure_rate=0.001, analysis=USUAL)
    assert [step.share_bp for step in (one, five, quarter)] == [100, 500, 2_500]
    assert [step.next_share_bp for step in (one, five, quarter)] == [500, 2_500, 10_000]
    assert [step.margin for step in (one, five, quarter)] == pytest.approx([0.02, 0.004, 0.001])
    assert five.detections[-1].factor == 10
    assert 80 <= five.detections[-1].seconds <= 130  # measured 88 s with one metric, at most 130 s wanted with eight
    assert 10_000 <= quarter.needed_requests <= 25_000  # measured 13,000 in the median for x2 at 25 %
    assert all(step.is_enough for step in (one, five, quarter))
    assert not one.detections[0].is_within_hold


@pytest.mark.parametrize(
    ("shares_bp", "margin", "rate", "warm_up_s", "measured_s"),
    [
        ((2_500, 10_000), 0.01, 100, 0.0, 35),
        ((5_000, 10_000), 0.02, 50, 0.0, 35),
        ((2_500, 10_000), 0.01, 100, 30.0, 59),
        ((500, 2_500), 0.02, 400, 30.0, 37),
        ((100, 500), 0.001, 100, 0.0, 178),
    ],
)
def test_what_a_step_needs_is_about_what_the_judge_was_measured_to_need(
    shares_bp: tuple[int, int], margin: float, rate: float, warm_up_s: float, measured_s: float
) -> None:
    step, *_ = outlook(
        [CanaryStep(weight_bp=share_bp) for share_bp in (*shares_bp, 10_000)],
        requests_per_s=rate,
        failure_rate=0.001,
        analysis=AnalysisSpec(error_margin=margin, warm_up_s=warm_up_s),
    )
    assert 0.9 * measured_s <= step.needed_s <= 1.7 * measured_s


def test_a_step_without_a_hold_finds_nothing_and_is_given_one() -> None:
    (step,) = outlook(
        [CanaryStep(weight_bp=500), CanaryStep(weight_bp=10_000)],
        requests_per_s=1,
        failure_rate=0.001,
        analysis=USUAL,
    )
    assert step.least_factor is None
    assert not step.is_enough
    assert step.proposed_hold_s >= step.needed_s


def test_what_is_least_found_takes_just_the_hold() -> None:
    _, five, _ = outlook(CanarySpec().steps, requests_per_s=100, failure_rate=0.001, analysis=USUAL)
    assert five.least_factor is not None
    nats = WALD_1_PERCENT * EFFICIENCY + math.log(0.9 / 0.3)
    needed = requests_to_find(share=0.05, failure_rate=0.001, factor=five.least_factor, nats=nats)
    assert needed == pytest.approx(100 * 0.05 * 900, rel=0.01)


@given(
    st.floats(0.00001, 0.2),
    st.integers(1, 5_000),
    st.integers(1, 4_999),
    st.floats(0.1, 10_000),
    st.floats(0.0001, 0.2),
)
def test_any_plan_has_finite_figures_and_asks_less_for_what_is_worse(
    failure_rate: float, share_bp: int, more_bp: int, requests_per_s: float, margin: float
) -> None:
    steps = [CanaryStep(weight_bp=share_bp, hold_s=600), CanaryStep(weight_bp=share_bp + more_bp)]
    (step,) = outlook(
        steps, requests_per_s=requests_per_s, failure_rate=failure_rate, analysis=AnalysisSpec(error_margin=margin)
    )
    assert 0 < step.needed_s < math.inf
    seconds = [one.seconds for one in step.detections]
    assert seconds == sorted(seconds, reverse=True)
    assert all(0 < one < math.inf for one in seconds)
    assert step.proposed_hold_s >= step.needed_s
    assert step.least_factor is None or step.least_factor >= 1


@given(st.floats(0.0001, 0.05), st.floats(0.01, 0.5))
def test_a_wider_margin_never_needs_more_requests(failure_rate: float, share: float) -> None:
    needed = [
        requests_to_promote(
            share=share, next_share=1.0, failure_rate=failure_rate, analysis=AnalysisSpec(error_margin=margin)
        )
        for margin in (0.0005, 0.001, 0.005, 0.02)
    ]
    assert needed == sorted(needed, reverse=True)


def test_a_service_that_never_fails_is_planned_too() -> None:
    (step, *_) = outlook(CanarySpec().steps, requests_per_s=100, failure_rate=0.0, analysis=USUAL)
    assert 0 < step.needed_s < 600


@pytest.mark.parametrize(("rate", "failures"), [(0.0, 0.1), (-1.0, 0.1), (math.nan, 0.1), (1.0, 1.0), (1.0, -0.1)])
def test_rates_that_cannot_be_are_refused(rate: float, failures: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        outlook(CanarySpec().steps, requests_per_s=rate, failure_rate=failures, analysis=USUAL)


def column(mean: float, count: int, *, seed: int) -> list[float]:
    import numpy as np  # noqa: PLC0415 - the columns of these tests alone

    return list(np.random.default_rng(seed).normal(mean, 1.0, count))


def test_a_larger_mean_is_worse_unless_smaller_is() -> None:
    old, new = column(10, 1000, seed=1), column(11, 1000, seed=2)
    found = compare(old, new, alpha=0.01, margin_share=0.0)
    assert found.call is Call.ROLLBACK
    assert found.low is not None
    assert found.low > 0
    assert found.fell_at is not None
    assert 100 <= found.fell_at < 400
    better = compare(old, new, alpha=0.01, margin_share=0.0, is_more_worse=False)
    assert better.call is Call.PROMOTE


def test_columns_that_differ_by_nothing_are_within_a_tolerance_and_undecided_without() -> None:
    old, new = column(10, 3000, seed=3), column(10, 3000, seed=4)
    assert compare(old, new, alpha=0.01, margin_share=0.05).call is Call.PROMOTE
    assert compare(old, new, alpha=0.01, margin_share=0.0).call is Call.HOLD


def test_few_values_and_none_say_nothing() -> None:
    found = compare(column(1, 99, seed=5), column(9, 99, seed=6), alpha=0.01, margin_share=0.0)
    assert (found.call, found.low, found.high) == (Call.HOLD, None, None)
    empty = compare([], [1.0], alpha=0.01, margin_share=0.0)
    assert (empty.call, empty.difference) == (Call.HOLD, None)


def test_every_value_of_columns_of_different_length_counts_until_something_is_shown() -> None:
    found = compare(column(10, 300, seed=7), column(10, 1000, seed=8), alpha=0.01, margin_share=0.0)
    assert (found.baseline[0], found.canary[0]) == (300, 1000)


def test_equal_columns_raise_an_alarm_in_at_most_the_stated_share_of_runs() -> None:
    alarms = sum(
        compare(column(5, 400, seed=2 * run), column(5, 400, seed=2 * run + 1), alpha=0.05, margin_share=0.0).call
        is Call.ROLLBACK
        for run in range(100, 220)
    )
    assert alarms <= 6
