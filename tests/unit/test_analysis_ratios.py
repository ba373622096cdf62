"""Ratios of the application before the judge: what is worse is taken back, what is within its margin is not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge_support import BEGIN, EU, USUAL, V1, V2, calls_of, judged, second_of, settings_of

from hitless.analysis.background import background
from hitless.analysis.counts import Call as Told
from hitless.analysis.counts import Fates, Second
from hitless.analysis.judge import Judge
from hitless.analysis.likelihood import Tables
from hitless.analysis.odds import LOG_ODDS, OddsTests, log_weights_above
from hitless.analysis.ruling import Call, RowReport
from hitless.analysis.settings import JudgeSettings, RatioRule, ratio_rules
from hitless.rollout.spec import AnalysisSpec, MetricsSpec, RatioSpec, Version

ORDERS = {"orders": RatioRule()}


def settings(
    ratios: dict[str, RatioRule] = ORDERS, *, warm_up_s: float = 0.0, dependencies: tuple[str, ...] = ()
) -> JudgeSettings:
    analysis = AnalysisSpec(warm_up_s=warm_up_s, dependencies=dependencies)
    return replace(settings_of(analysis=analysis), ratios=ratios)


def seconds(*told: tuple[Version, int, float], count: int = 200, seed: int = 0) -> Iterator[Second]:
    """Seconds of ordinary traffic, with orders of these versions, of which a share is bad."""
    draw = np.random.default_rng(seed)
    for i in range(count):
        calls = tuple(calls_of(one, "ratios:orders", total, int(draw.binomial(total, bad))) for one, total, bad in told)
        yield replace(second_of(draw, BEGIN + i), calls=calls)


def table(canary: int, canary_bad: int, baseline: int, baseline_bad: int) -> Tables:
    one, bad, other, other_bad = (np.array([n]) for n in (canary, canary_bad, baseline, baseline_bad))
    return Tables(canary=one, canary_bad=bad, baseline=other, baseline_bad=other_bad)


def row(rows: tuple[RowReport, ...], name: str) -> RowReport:
    return next(one for one in rows if one.name == name)


def test_orders_that_fail_take_a_version_back_whose_requests_all_succeed() -> None:
    last, _ = judged(settings(), seconds((V1, 50, 0.01), (V2, 5, 0.4)))
    assert (last.ruling.call, last.ruling.row) == (Call.ROLLBACK, "ratios.orders")
    assert "orders of v2" in last.ruling.sentence
    assert "were bad" in last.ruling.sentence


def test_a_ratio_shares_the_weight_of_what_users_do_not_see_with_dependencies_of_the_same_name() -> None:
    judge = Judge(settings({"orders": RatioRule(), "cache": RatioRule()}, dependencies=("orders",)))
    rows = judge.judgement(next_share_bp=5_000).rows
    names = ("retried", "dependencies.orders", "ratios.orders", "ratios.cache")
    weights = [row(rows, name).weight for name in names]
    assert weights == pytest.approx([weights[0]] * 4)
    assert sum(one.weight for one in rows) == pytest.approx(1.0)
    assert row(rows, "ratios.orders").acts is Call.ROLLBACK


def test_what_is_promised_names_the_ratios_and_what_each_allows() -> None:
    judge = Judge(settings({"orders": RatioRule(), "cache": RatioRule(margin=0.1)}))
    promise = judge.judgement(next_share_bp=5_000).promise
    assert "(no more failures, no more bad ones of orders, cache (up to 1.1 times the odds), answers not" in promise


def test_what_is_cold_only_is_forgiven_in_the_warm_up() -> None:
    told = seconds((V1, 50, 0.0), (V2, 20, 0.9), count=50)
    last, _ = judged(settings(warm_up_s=60.0), told)
    assert last.ruling.call is not Call.ROLLBACK


def test_a_ratio_that_nobody_tells_is_never_fine() -> None:
    last, _ = judged(settings(), seconds(count=5))
    found = row(last.rows, "ratios.orders")
    assert found.log_evidence is None
    assert found.detail == "nothing to compare yet; nothing was told of it by v2 and v1"
    assert found.untold == "nothing was told of it by v2 and v1"
    last, _ = judged(settings(), seconds((V1, 5, 0.1), count=5))
    assert row(last.rows, "ratios.orders").untold == "nothing was told of it by v2"


def test_more_bad_ones_within_the_margin_take_nobody_back_and_beyond_it_they_do() -> None:
    margin = {"orders": RatioRule(margin=1.0)}
    within, _ = judged(settings(margin), seconds((V1, 300, 0.10), (V2, 300, 0.16), count=300))
    assert within.ruling.call is not Call.ROLLBACK
    assert "2 times is allowed" in row(within.rows, "ratios.orders").detail
    plain, _ = judged(settings(), seconds((V1, 300, 0.10), (V2, 300, 0.16), count=300))
    assert plain.ruling.row == "ratios.orders"
    beyond, _ = judged(settings(margin), seconds((V1, 300, 0.10), (V2, 300, 0.35), count=300))
    assert beyond.ruling.row == "ratios.orders"


def test_the_estimate_does_not_depend_on_the_margin() -> None:
    told = [table(90, 9, 400, bad) for bad in (20, 25, 18, 22)]
    estimates = []
    for null in (0.0, np.log(1.1), np.log(2.0)):
        tests = OddsTests({"errors": 1.0, "ratios.x": 3.0}, level=0.01, log_nulls={"ratios.x": float(null)})
        for one in told:
            tests.take([("ratios.x", one), ("errors", one)])
        estimates.append(tests.estimate("ratios.x"))
    for one in estimates[1:]:
        assert one.value == pytest.approx(estimates[0].value)
        assert (one.low, one.high) == pytest.approx((estimates[0].low, estimates[0].high))


@given(margin=st.floats(0.0, 1.0))
def test_alternatives_within_the_margin_have_no_weight_and_the_others_have_all_of_it(margin: float) -> None:
    weights = np.exp(log_weights_above(np.log1p(margin)))
    assert float(weights.sum()) == pytest.approx(1.0)
    assert (weights[np.log1p(margin) >= LOG_ODDS] == 0.0).all()


@given(
    canary=st.integers(1, 30),
    baseline=st.integers(1, 30),
    bad=st.integers(0, 60),
    margin=st.floats(0.0, 1.0),
    truth=st.floats(0.1, 1.0),
)
def test_on_average_it_is_no_evidence_up_to_the_margin(
    canary: int, baseline: int, bad: int, margin: float, truth: float
) -> None:
    """`truth`: where between no odds and the most that the margin allows the new version's are."""
    bad = min(bad, canary + baseline)
    mine = range(max(0, bad - baseline), min(bad, canary) + 1)
    odds = truth * (1.0 + margin)
    ways = np.array([math.comb(canary, x) * math.comb(baseline, bad - x) * odds**x for x in mine])
    chance = ways / ways.sum()  # scipy's aborts the process where odds are almost 1
    values = []
    for x in mine:
        tests = OddsTests({"ratios.x": 1.0}, level=0.01, log_nulls={"ratios.x": float(np.log1p(margin))})
        tests.take([("ratios.x", table(canary, x, baseline, bad - x))])
        values.append(float(np.exp(tests.log_values()[0])))
    assert float(np.sum(chance * values)) <= 1.0 + 1e-6


def ever_above(*, margin: float, odds: float, runs: int = 1_000, strata: int = 150, allowed: float = 100.0) -> int:
    """Play rollouts side by side, each a test of its own; return how many ever reach the bound."""
    draw = np.random.default_rng(11)
    names = [f"ratios.{run}" for run in range(runs)]
    tests = OddsTests(dict.fromkeys(names, 1.0), level=0.01, log_nulls=dict.fromkeys(names, float(np.log1p(margin))))
    base = 0.05
    worse = odds * base / (1.0 - base + odds * base)
    ever = np.zeros(runs, dtype=bool)
    for _ in range(strata):
        canary, baseline = draw.poisson(20, runs), draw.poisson(60, runs)
        bad, others = draw.binomial(canary, worse), draw.binomial(baseline, base)
        four = zip(canary, bad, baseline, others, strict=True)
        tests.take([(name, table(*counts)) for name, counts in zip(names, four, strict=True)])
        ever |= tests.log_values() >= np.log(allowed)
    return int(ever.sum())


def test_versions_at_their_margin_are_hardly_ever_taken_back_and_those_beyond_it_are() -> None:
    assert ever_above(margin=0.5, odds=1.5, runs=400) <= 8  # 4 are allowed on average
    assert ever_above(margin=0.0, odds=1.5, runs=100) > 50  # the same versions, nothing allowed
    assert ever_above(margin=0.5, odds=4.0, runs=100) > 90


def test_what_is_told_late_counts_once_it_cannot_be_of_the_warm_up() -> None:
    late = {"orders": RatioRule(lag_s=90)}
    told = list(seconds((V1, 50, 0.0), (V2, 50, 0.9), count=120))
    early, _ = judged(settings(late), told[:90])
    assert row(early.rows, "ratios.orders").canary == (0, 0)
    last, taken = judged(settings(late), told)
    assert last.ruling.row == "ratios.orders"
    assert 90 < taken <= 100


def test_bursts_of_bad_ones_before_the_rollout_temper_the_evidence_also_where_they_are_told_now_and_then() -> None:
    draw = np.random.default_rng(5)
    every_s = 30

    def before(burst: int) -> list[Second]:
        found = []
        for number in range(80):
            bad = int(draw.binomial(400, 0.05)) + (burst if number % 3 == 0 else 0)
            call = Told(region=EU, version=V1, dependency="ratios:orders", fates=Fates(total=400, failed=bad))
            found.append(Second(at=BEGIN + every_s * number, calls=(call,)))
        return found

    calm = background(before(0), baseline=V1, analysis=AnalysisSpec()).dispersion["ratios.orders"]
    bursty = background(before(80), baseline=V1, analysis=AnalysisSpec()).dispersion["ratios.orders"]
    assert calm < 2.0
    assert bursty > 10.0


def test_settings_say_how_each_ratio_is_compared_and_older_recordings_keep_their_digest() -> None:
    metrics = MetricsSpec(
        ratios=(
            RatioSpec(name="a", good="x", bad="y", margin=0.1),
            RatioSpec(name="b", good="x", bad="y", is_query=True),
        )
    )
    assert ratio_rules(metrics) == {"a": RatioRule(margin=0.1), "b": RatioRule(lag_s=90)}
    assert ratio_rules(None) == {}
    assert settings({}).digest != settings().digest
    assert replace(settings_of(before=USUAL), ratios={}, pools=()).digest == settings_of(before=USUAL).digest
