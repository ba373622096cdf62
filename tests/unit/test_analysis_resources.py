"""Resources: what grows is found and held, what only warms up, swings or is noisy is not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from hitless.analysis.counts import Cell, Fates, Second, Transfer, Usage
from hitless.analysis.growth import DAY_S
from hitless.analysis.means import Moments, half_width, one_sided_width, tightest_at
from hitless.analysis.network import size
from hitless.analysis.resources import Resources
from hitless.analysis.ruling import Call, RowReport
from hitless.analysis.settings import Background, JudgeSettings
from hitless.analysis.trend import trend_of
from hitless.rollout.spec import AnalysisSpec, InstanceId, Region, Version

V1, V2, LOCAL = Version("v1"), Version("v2"), Region("local")
MB = 1_000_000
SETTINGS = JudgeSettings(
    canary=V2, baseline=V1, analysis=AnalysisSpec(warm_up_s=0.0), slo=None, background=Background(), salt="checkout-r7"
)
STEP_S = 10

Curve = Callable[[float], float]


def usage(name: str, version: Version, age_s: float, **read: float | None) -> Usage:
    return Usage(instance=InstanceId(name), region=LOCAL, version=version, age_s=age_s, **read)  # type: ignore[arg-type]  # readings by name


def seconds(canary: Curve, *, minutes: int, swing: Curve = lambda _: 0.0, aged_s: float = 9_000) -> Iterator[Second]:
    """One new instance beside two old ones, read every ten seconds, each with noise of 0.2 MB."""
    chance = np.random.default_rng(7)
    for at in range(0, minutes * 60, STEP_S):
        noise = chance.normal(0, 0.2 * MB, 3)
        young = usage("c", V2, at, memory_bytes=int(200 * MB + canary(at) + noise[0]))
        old = [
            usage(f"b{n}", V1, aged_s + at, memory_bytes=int(200 * MB + swing(at + 97 * n) + noise[n])) for n in (1, 2)
        ]
        yield Second(at=1_000_000 + at, usage=(young, *old))


def watched(found: Iterator[Second], resources: Resources | None = None) -> tuple[Resources, int | None]:
    """Return the watch, and after how many seconds it first held."""
    resources = resources or Resources(SETTINGS)
    first = None
    for second in found:
        resources.take(second)
        if first is None and resources.problem():
            first = second.at - 1_000_000
    return resources, first


def row(resources: Resources, name: str) -> RowReport:
    return next(one for one in resources.reports() if one.name == name)


def leak(mb_an_hour: float) -> Curve:
    return lambda at: mb_an_hour * MB * at / 3600


def warm_up(mb: float, time_constant_s: float) -> Curve:
    return lambda at: mb * MB * (1 - math.exp(-at / time_constant_s))


def sawtooth(mb: float, period_s: float) -> Curve:
    return lambda at: mb * MB * (at % period_s) / period_s


def test_a_leak_of_60_mb_an_hour_is_found_within_a_quarter_of_an_hour_and_said_with_its_figures() -> None:
    resources, first = watched(seconds(leak(60), minutes=16))
    assert first is not None
    assert first <= 900
    assert resources.problem() == "memory of the new version grows beside the old one's, and no end is in sight"
    found = row(resources, "memory")
    assert found.detail.startswith("memory grows by ")
    assert 50 < float(found.detail.removeprefix("memory grows by ").partition(" MB")[0]) < 70
    assert "aged baseline" in found.detail
    assert found.since is not None


@pytest.mark.parametrize("curve", [warm_up(30, 60), warm_up(60, 300), warm_up(100, 600), warm_up(190, 1800)])
def test_a_warm_up_that_levels_off_below_its_own_size_holds_nothing(curve: Curve) -> None:
    assert watched(seconds(curve, minutes=60))[1] is None


@pytest.mark.parametrize("period_s", [150, 600, 1500])
def test_a_garbage_collector_that_both_versions_have_holds_nothing(period_s: float) -> None:
    swing = sawtooth(40, period_s)
    assert watched(seconds(lambda at: swing(at + 31), minutes=60, swing=swing))[1] is None


def test_a_leak_beneath_a_garbage_collector_is_found_once_it_is_more_than_its_swing() -> None:
    swing = sawtooth(20, 150)
    _, first = watched(seconds(lambda at: swing(at) + leak(240)(at), minutes=30, swing=swing))
    assert first is not None


def test_what_holds_is_said_in_the_same_words_as_long_as_it_holds() -> None:
    resources, said = Resources(SETTINGS), set()
    for second in seconds(leak(240), minutes=30):
        resources.take(second)
        said.add(resources.problem())
    assert len(said) == 2  # nothing, then one sentence: it is journaled when it changes


def test_a_step_is_no_leak() -> None:
    assert watched(seconds(lambda at: 80.0 * MB if at > 700 else 0.0, minutes=40))[1] is None


def test_what_both_versions_do_holds_nothing() -> None:
    assert watched(seconds(leak(120), minutes=30, swing=leak(120)))[1] is None


def test_a_leak_that_ends_holds_no_more() -> None:
    resources, first = watched(seconds(lambda at: leak(240)(min(at, 1200)), minutes=60))
    assert first is not None
    assert resources.problem() is None
    assert row(resources, "memory").since is None


def test_an_old_instance_seen_at_the_same_age_is_what_a_young_one_is_compared_with() -> None:
    curve = warm_up(400, 1200)
    resources = Resources(SETTINGS)
    for at in range(0, 5400, STEP_S):
        old = usage("b", V1, at, memory_bytes=int(200 * MB + curve(at)))
        young = [usage("c", V2, at - 1800, memory_bytes=int(210 * MB + curve(at - 1800)))] if at >= 1800 else []
        resources.take(Second(at=at, usage=(old, *young)))
        assert resources.problem() is None
    assert "(age-matched baseline)" in row(resources, "memory").detail


def test_a_leak_beside_a_baseline_of_the_same_age_is_found() -> None:
    resources = Resources(SETTINGS)
    curve = warm_up(400, 1200)
    for at in range(0, 5400, STEP_S):
        old = usage("b", V1, at, memory_bytes=int(200 * MB + curve(at)))
        grown = curve(at - 1800) + leak(60)(at - 1800) if at >= 1800 else 0
        young = [usage("c", V2, at - 1800, memory_bytes=int(200 * MB + grown))] if at >= 1800 else []
        resources.take(Second(at=at, usage=(old, *young)))
    assert resources.problem() is not None
    assert "age-matched baseline" in row(resources, "memory").detail


def test_memory_that_will_be_used_up_within_the_bake_is_said_with_the_time() -> None:
    resources = Resources(SETTINGS, memory_bytes=400 * MB, bake_s=7_200)
    found, first = watched(seconds(leak(150), minutes=20), resources)
    assert first is not None
    assert "would be used up in 1." in row(found, "memory").detail


def test_readings_that_are_missing_are_said_and_are_never_zero() -> None:
    resources, first = watched(
        Second(at=1_000_000 + at, usage=(usage("c", V2, at), usage("b", V1, 9_000 + at))) for at in range(0, 900, 10)
    )
    assert first is None
    assert row(resources, "memory").detail == (
        "nothing to compare yet: no reading of both versions at the same time, after the first minute of each"
    )


def test_a_rollout_that_is_young_is_told_when_its_memory_can_be_judged() -> None:
    resources, _ = watched(seconds(lambda _: 0.0, minutes=4))
    assert row(resources, "memory").detail == "too early to tell: 120 s more"
    assert row(resources, "cpu").detail == "too few requests with a reading of processor time on both sides"
    assert [one.name for one in resources.reports()] == ["memory", "descriptors", "cpu", "network"]
    assert {one.acts for one in resources.reports()} == {Call.HOLD}
    assert {one.weight for one in resources.reports()} == {0.0}


def test_without_an_old_instance_nothing_is_compared() -> None:
    found = (Second(at=at, usage=(usage("c", V2, at, memory_bytes=at * MB),)) for at in range(0, 1800, 10))
    assert watched(found)[1] is None


def test_descriptors_that_are_never_closed_are_found() -> None:
    found = (
        Second(
            at=1_000_000 + at,
            usage=(
                usage("c", V2, at, descriptors=40 + at // 20),
                usage("b", V1, 9_000 + at, descriptors=40 + at % 3),
            ),
        )
        for at in range(0, 1200, 10)
    )
    resources, first = watched(found)
    assert first is not None
    assert (resources.problem() or "").startswith("open descriptors of the new version grow")
    assert row(resources, "descriptors").detail.startswith("descriptors grow by 1")


def served(cost: float, *, load: float = 1.0, minutes: int = 10, is_restarted: bool = False) -> Iterator[Second]:
    """A new instance with `cost` times the processor time per request, and `load` times the requests."""
    for at in range(0, minutes * 60, STEP_S):
        requests = int(at * 20 * load)
        back = 3000 * load if is_restarted and at > 200 else 0
        young = usage("c", V2, 100 + at, cpu_s=round(0.005 * cost * (requests - back), 2), requests=requests - back)
        old = [usage(f"b{n}", V1, 9_000 + at, cpu_s=round(0.1 * at, 2), requests=at * 20) for n in (1, 2)]
        yield Second(at=1_000_000 + at, usage=(young, *old))


@pytest.mark.parametrize(("cost", "is_held"), [(1.0, False), (1.08, False), (1.2, True), (3.0, True)])
def test_processor_time_per_request_holds_only_above_the_margin(cost: float, is_held: bool) -> None:
    resources, first = watched(served(cost))
    assert (first is not None) is is_held
    estimate = row(resources, "cpu").estimate
    assert estimate is not None
    assert estimate.value == pytest.approx(cost, rel=0.02)
    assert estimate.low is not None
    assert estimate.low < cost


def test_instances_with_another_load_are_not_compared_and_that_is_said() -> None:
    resources, first = watched(served(3.0, load=0.2))
    assert first is None
    assert row(resources, "cpu").detail == (
        "an instance of the new version has 0.2 times the requests of an old one: not comparable"
    )


def test_counters_that_begin_anew_cost_a_batch_and_nothing_else() -> None:
    assert watched(served(1.0, is_restarted=True))[1] is None


def cell(version: Version, answers: int, sent_bytes: int, *, route: str = "/", received_bytes: int = 0) -> Cell:
    transfer = Transfer(answers=answers, received_bytes=received_bytes, sent_bytes=sent_bytes)
    return Cell(region=LOCAL, route=route, version=version, requests=Fates(total=answers), transfer=transfer)


def network(*found: tuple[Cell, ...]) -> RowReport:
    resources = Resources(SETTINGS)
    for at, cells in enumerate(found):
        resources.take(Second(at=at, cells=cells))
    assert resources.problem() is None
    return row(resources, "network")


def test_a_larger_answer_is_told_with_its_figures_and_holds_nothing() -> None:
    old, new = cell(V1, 100, 1_200_000), cell(V2, 10, 1_230_000, received_bytes=12_000)
    found = network(*[(old, new)] * 900)
    assert found.detail == "123 kB an answer, 10.25 times that of the old version; 1.2 kB a request"
    assert found.estimate is not None
    assert (found.estimate.value, found.estimate.low) == (pytest.approx(10.25), None)
    assert found.since is None


def test_which_pages_are_asked_for_shows_in_no_comparison_of_bytes() -> None:
    small_old, small_new = cell(V1, 90, 90_000, route="GET /a"), cell(V2, 1, 1_000, route="GET /a")
    large_old, large_new = cell(V1, 1, 500_000, route="GET /b"), cell(V2, 90, 45_000_000, route="GET /b")
    evening = cell(V1, 500, 500_000_000)  # before the new version had any traffic
    found = network((evening,), (small_old, large_old, small_new, large_new)).estimate
    assert found is not None
    assert found.value == pytest.approx(1.0)


@pytest.mark.parametrize(
    "cells",
    [
        (),
        (cell(V1, 10, 1_000),),
        (cell(V2, 10, 1_000),),
        (cell(V1, 10, 1_000), cell(V2, 10, 1_000, route="GET /new")),
        (cell(V1, 10, 1_000), replace(cell(V2, 10, 0), transfer=None)),
    ],
)
def test_bytes_that_only_one_version_tells_are_compared_with_nothing(cells: tuple[Cell, ...]) -> None:
    found = network(cells, cells)
    assert found.detail.startswith("nothing to compare yet")
    assert found.estimate is None


def test_an_old_version_that_sends_nothing_is_no_factor() -> None:
    found = network((cell(V1, 10, 0), cell(V2, 10, 500)))
    assert found.detail == "50 B an answer, those of the old version are empty; 0 B a request"
    assert found.estimate is None


def test_sizes_are_rounded_to_three_digits_of_the_right_unit() -> None:
    amounts = (0, 0.25, 999, 999.7, 12_345, 1e6, 4.56e9)
    assert [size(one) for one in amounts] == ["0 B", "0.25 B", "999 B", "1 kB", "12.3 kB", "1 MB", "4.56 GB"]


def test_a_straight_line_goes_on_and_a_curve_that_levels_off_ends() -> None:
    moments = np.arange(30) * 60.0
    line = trend_of([(moments, moments * 2)])
    assert line is not None
    assert line.slope == pytest.approx(2)
    assert line.to_come(DAY_S) == pytest.approx(2 * DAY_S)
    assert line.is_steady
    curve = trend_of([(moments, 1000 * (1 - np.exp(-moments / 600)))])
    assert curve is not None
    assert curve.to_come(DAY_S) == pytest.approx(1000 * math.exp(-1470 / 600), rel=0.1)  # from its last third on


def test_series_on_different_levels_are_not_compared_with_each_other() -> None:
    moments = np.arange(12) * 30.0
    flat = np.random.default_rng(1).normal(0, 1, (2, 12))
    both = trend_of([(moments, flat[0]), (moments, flat[1] + 1000)])
    assert both is not None
    assert abs(both.z) < 2.5


def test_mann_kendall_and_theil_sen_are_those_of_the_books() -> None:
    from scipy import stats  # noqa: PLC0415 - the oracle of this test alone

    chance = np.random.default_rng(3)
    moments, values = np.arange(20.0), np.round(chance.normal(0, 2, 20) + np.arange(20) * 0.1)
    found = trend_of([(moments, values)])
    assert found is not None
    assert found.slope == pytest.approx(stats.theilslopes(values, moments).slope)
    tau_p = stats.kendalltau(moments, values, method="asymptotic").pvalue
    assert 2 * stats.norm.sf(abs(found.z)) == pytest.approx(tau_p, rel=0.25)  # scipy's has no correction for continuity


def test_the_confidence_sequence_for_a_mean_holds_at_every_moment() -> None:
    chance = np.random.default_rng(5)
    alpha, runs, rho = 0.05, 400, tightest_at(100, alpha=0.05)
    missed = 0
    for _ in range(runs):
        moments = Moments()
        for number, value in enumerate(chance.normal(1.0, 1.0, 500), start=1):
            moments.take(value)
            width = half_width(number, moments.deviation, alpha=alpha, rho=rho)
            if number >= 20 and abs(moments.mean - 1.0) > width:
                missed += 1
                break
    assert missed / runs <= alpha


def test_a_one_sided_sequence_is_narrower_and_one_value_says_nothing() -> None:
    rho = tightest_at(50, alpha=0.01)
    assert one_sided_width(50, 1.0, alpha=0.01, rho=rho) < half_width(50, 1.0, alpha=0.01, rho=rho)
    assert one_sided_width(1, 1.0, alpha=0.01, rho=rho) == half_width(1, 1.0, alpha=0.01, rho=rho) == math.inf
