"""Calibration: how a version is split from itself, what the judge makes of that, what is proposed and what is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judge_support import BEGIN, EU, US, V1, V2, Behaviour, cell_of, second_of

from hitless.analysis.calibration import ITSELF, LEAST_REQUESTS, LEAST_S, Calibration, Settings, Tried, calibrate
from hitless.analysis.checking import check_second
from hitless.analysis.counts import Call, Cell, Fates, Second, bucket_of
from hitless.analysis.planning import SLACK, outlook
from hitless.analysis.proposals import (
    latency_spread,
    propose_latency_margin,
    propose_margin,
    propose_warm_up,
    warm_up_of,
)
from hitless.analysis.splitting import By, Deal, Splitter, deal, instances_of, share_bp
from hitless.rollout.spec import AnalysisSpec, CanaryStep, InstanceId, SloSpec

ANALYSIS = AnalysisSpec()
STEPS = (
    CanaryStep(weight_bp=500, hold_s=600),
    CanaryStep(weight_bp=2_500, hold_s=600),
    CanaryStep(weight_bp=10_000),
)
A, B, C = InstanceId("a"), InstanceId("b"), InstanceId("c")


USUAL = Behaviour(failing=0.01)


def quiet(seconds: int = 600, *, rate: float = 60.0, old: Behaviour = USUAL) -> list[Second]:
    draw = np.random.default_rng(5)
    drawn = (second_of(draw, BEGIN + at, rate=rate, share=0.0, old=old) for at in range(seconds))
    return [replace(one, cells=one.cells[:1]) for one in drawn]


def calibrated(seconds: Sequence[Second], *, runs: int = 4, slo: SloSpec | None = None) -> Calibration:
    told = Settings(analysis=ANALYSIS, slo=slo, steps=STEPS)
    return calibrate(seconds, baseline=V1, settings=told, runs=runs)


# How it is split


def total_of(cells: Sequence[Cell]) -> tuple[int, int, int, Counter[int]]:
    durations = Counter[int]()
    for cell in cells:
        durations.update(cell.durations)
    totals = (sum(getattr(c.requests, name) for c in cells) for name in ("total", "failed"))
    return (*totals, sum(c.retried for c in cells), durations)


@given(st.integers(0, 300), st.integers(1, 6), st.floats(0.001, 0.9), st.integers(0, 10_000))
@settings(deadline=None)
def test_by_request_nothing_is_lost_and_what_is_made_is_possible(
    requests: int, instances: int, share: float, seed: int
) -> None:
    behaviour = Behaviour(failing=0.2, hanging=0.1, instances=instances, retried=0.1)
    cell = cell_of(np.random.default_rng(seed), V1, requests, behaviour)
    second = Second(
        at=BEGIN, cells=(cell,), calls=(Call(region=EU, version=V1, dependency="db", fates=Fates(total=9)),)
    )
    split = Splitter(version=V1, other=ITSELF, salt=str(seed)).split(second, {EU: Deal(share=share)})
    check_second(split)
    assert {one.version for one in split.cells} == {V1, ITSELF}
    made, had = total_of(split.cells), total_of([cell])
    assert made[:2] == had[:2]
    assert made[2] <= had[2]
    assert made[3] == had[3]
    assert sum(call.fates.total for call in split.calls) == 9


def test_shares_are_as_asked_on_average() -> None:
    splitter = Splitter(version=V1, other=ITSELF, salt="x")
    cells = [splitter.split(one, {EU: Deal(share=0.25)}).cells for one in quiet(200)]
    new = sum(cell.requests.total for both in cells for cell in both if cell.version == ITSELF)
    everybodys = sum(cell.requests.total for both in cells for cell in both)
    assert new / everybodys == pytest.approx(0.25, abs=0.02)


def test_by_instance_no_instance_is_in_both_parts_and_the_share_is_as_asked() -> None:
    seconds = quiet(200, old=Behaviour(instances=5))
    known = instances_of(seconds, V1)[EU]
    chosen = deal(known, share=0.1, by=By.INSTANCES, salt="x")
    splitter = Splitter(version=V1, other=ITSELF, salt="x")
    cells = [cell for one in seconds for cell in splitter.split(one, {EU: chosen}).cells]
    new = {i for cell in cells if cell.version == ITSELF for i in cell.instances}
    old = {i for cell in cells if cell.version == V1 for i in cell.instances}
    assert new == chosen.chosen
    assert new | old == known.keys()
    assert not new & old
    counted = [sum(cell.requests.total for cell in cells if cell.version == version) for version in (ITSELF, V1)]
    assert counted[0] / sum(counted) == pytest.approx(0.1, abs=0.01)
    assert share_bp({EU: chosen})[EU] == pytest.approx(1_000, abs=1)


@given(st.dictionaries(st.sampled_from("abcdefg"), st.integers(1, 10_000), min_size=1), st.floats(0.01, 0.99))
def test_both_parts_have_an_instance_and_no_part_gets_more_than_it_has(requests: dict[str, int], share: float) -> None:
    known = {InstanceId(name): count for name, count in requests.items()}
    made = deal(known, share=share, by=By.INSTANCES, salt="x")
    assert 0 < made.share <= share + 1e-9
    assert 0 < made.kept <= 1
    assert len(made.chosen) < len(known)
    assert bool(made.chosen) is (len(known) > 1)


def test_durations_of_a_cell_that_is_of_one_instance_go_with_it() -> None:
    slow, fast = bucket_of(500), bucket_of(5)
    cells = tuple(
        Cell(
            region=EU,
            route="/",
            version=V1,
            requests=Fates(total=10),
            durations={bucket: 10},
            instances={name: Fates(total=10)},
        )
        for name, bucket in ((A, slow), (B, fast))
    )
    chosen = Deal(share=0.5, chosen=frozenset({A}))
    split = Splitter(version=V1, other=ITSELF, salt="x").split(Second(at=BEGIN, cells=cells), {EU: chosen})
    found = {cell.version: cell.durations for cell in split.cells}
    assert found == {ITSELF: {slow: 10}, V1: {fast: 10}}


def test_the_same_salt_splits_alike_and_another_one_does_not() -> None:
    (second,) = quiet(1, rate=500)
    one, same, other = (
        Splitter(version=V1, other=ITSELF, salt=salt).split(second, {EU: Deal(share=0.5)}) for salt in "aab"
    )
    assert one == same != other


def test_gaps_and_other_versions_are_no_traffic_of_it() -> None:
    splitter = Splitter(version=V1, other=ITSELF, salt="x")
    gap = Second(at=BEGIN, gap="Envoy did not answer")
    assert splitter.split(gap, {EU: Deal(share=0.5)}) == gap
    (second,) = quiet(1)
    assert splitter.split(second, {US: Deal(share=0.5)}).cells == ()
    strange = replace(second, cells=tuple(replace(cell, version=V2) for cell in second.cells))
    assert splitter.split(strange, {EU: Deal(share=0.5)}).cells == ()


# What is tried, and when nothing is said


def test_a_quiet_version_is_not_taken_back_and_each_row_has_its_promise() -> None:
    found = calibrated(quiet(old=Behaviour(failing=0.01, instances=3)), slo=SloSpec(success_rate=0.9))
    assert (found.missing, found.fires_too_often, found.silences_itself) == ((), False, False)
    assert [(one.by, one.runs, one.rollbacks, one.guarded) for one in found.tried] == [
        (By.REQUESTS, 2, 0, 0),
        (By.INSTANCES, 2, 0, 0),
    ]
    assert {"errors", "latency", "objective"} <= {row.name for row in found.rows}
    assert sum(row.promised for row in found.rows) == pytest.approx(0.01)
    assert found.requests == pytest.approx(600 * 60, rel=0.05)


def test_rows_by_instance_are_tried_by_instance_only() -> None:
    found = calibrated(quiet(old=Behaviour(failing=0.01, instances=5)), runs=2)
    assert [("onset" in one.fired, "errors" in one.fired) for one in found.tried] == [(False, True), (True, True)]
    (second,) = quiet(1, old=Behaviour(instances=5))
    split = Splitter(version=V1, other=ITSELF, salt="x").split(second, {EU: Deal(share=0.5)})
    assert {cell.version for cell in split.cells if cell.instances} == {V1}


def test_one_instance_is_split_by_request_only() -> None:
    assert [one.by for one in calibrated(quiet(), runs=1).tried] == [By.REQUESTS]


def test_bursts_of_single_instances_that_the_background_does_not_show_are_found_by_instance_only() -> None:
    seconds = quiet(rate=120, old=Behaviour(failing=0.0, instances=2))
    whole = [burst(one) if 440 <= at < 450 else one for at, one in enumerate(seconds)]
    told = Settings(analysis=ANALYSIS, slo=None, steps=(CanaryStep(weight_bp=5_000, hold_s=600),))
    found = calibrate(whole, baseline=V1, settings=told, runs=12)
    fired = {one.by: one.fired["errors"] for one in found.tried}
    assert fired[By.REQUESTS] == 0
    assert fired[By.INSTANCES] > 0


def test_a_slow_instance_is_found_and_the_margin_that_is_proposed_is_tried_too() -> None:
    draw = np.random.default_rng(8)
    seconds = [
        Second(at=BEGIN + at, cells=tuple(of_one_instance(draw, name, ms) for name, ms in (("a", 50.0), ("b", 75.0))))
        for at in range(600)
    ]
    told = Settings(analysis=ANALYSIS, slo=None, steps=(CanaryStep(weight_bp=5_000, hold_s=600),))
    found = calibrate(seconds, baseline=V1, settings=told, runs=8)
    assert [row.name for row in found.too_often] == ["latency"]
    assert found.fires_too_often
    assert {one.by: one.rollbacks for one in found.tried_again} == {By.REQUESTS: 0, By.INSTANCES: 0}


def burst(second: Second) -> Second:
    """Have the first instance fail half of its requests."""
    (cell,) = second.cells
    first = min(cell.instances)
    fates = cell.instances[first]
    failing = Fates(total=fates.total, failed=fates.total // 2)
    requests = Fates(total=cell.requests.total, failed=cell.requests.failed + failing.failed)
    return replace(second, cells=(replace(cell, requests=requests, instances={**cell.instances, first: failing}),))


@pytest.mark.parametrize(
    ("seconds", "word"),
    [
        (quiet(LEAST_S - 1, rate=10), "s were measured"),
        (quiet(LEAST_S, rate=1), "requests"),
        ([], "s were measured"),
        ([Second(at=BEGIN + at, gap="Envoy did not answer") for at in range(1_200)], "0 s were measured"),
    ],
)
def test_with_too_few_data_nothing_is_said(seconds: list[Second], word: str) -> None:
    found = calibrated(seconds)
    assert word in " ".join(found.missing)
    assert (found.rows, found.tried, found.proposals) == ((), (), ())
    assert not found.fires_too_often


def test_a_version_that_was_never_there_has_no_calibration() -> None:
    found = calibrate(quiet(), baseline=V2, settings=Settings(analysis=ANALYSIS, slo=None, steps=STEPS), runs=1)
    assert any("0 requests" in one and f"{LEAST_REQUESTS:,}" in one for one in found.missing)


def test_limits_are_those_of_clopper_and_pearson() -> None:
    def tried(runs: int) -> Tried:
        return Tried(by=By.REQUESTS, runs=runs, rollbacks=0, guarded=0, silenced=0, promoted=0, fired={})

    assert tried(59).at_most(0) == pytest.approx(0.05, abs=0.001)  # the rule of three
    assert tried(40).at_least(0) == 0.0
    assert tried(40).at_most(40) == 1.0
    assert tried(20).at_least(2) == pytest.approx(0.0181, abs=0.0005)


# What is proposed


def test_the_margin_that_is_proposed_is_shown_within_the_holds_and_a_smaller_one_is_not() -> None:
    strict = replace(ANALYSIS, error_margin=1e-5)
    found = propose_margin(STEPS, requests_per_s=50.0, failure_rate=0.001, dispersion=1.0, analysis=strict)
    assert found.proposed is not None
    assert found.proposed > strict.error_margin

    def worst(margin: float) -> float:
        looked = outlook(
            STEPS, requests_per_s=50.0, failure_rate=0.001, analysis=replace(ANALYSIS, error_margin=margin)
        )
        return max(step.needed_s / step.hold_s for step in looked)

    assert worst(found.proposed) <= 1 / SLACK < worst(found.proposed * 0.85)


def test_a_margin_that_can_be_shown_stays_and_bursts_need_a_larger_one() -> None:
    loose = replace(ANALYSIS, error_margin=0.05)
    kept = propose_margin(STEPS, requests_per_s=50.0, failure_rate=0.001, dispersion=1.0, analysis=loose)
    assert kept.proposed == 0.05
    plain, bursty = (
        propose_margin(STEPS, requests_per_s=50.0, failure_rate=0.001, dispersion=phi, analysis=ANALYSIS).proposed
        for phi in (1.0, 5.0)
    )
    assert plain is not None
    assert bursty is not None
    assert bursty > plain


@pytest.mark.parametrize(
    ("steps", "rate", "word"),
    [(STEPS, 0.01, "too short"), ((CanaryStep(weight_bp=500), CanaryStep(weight_bp=10_000)), 50.0, "no step")],
)
def test_where_no_margin_can_be_shown_none_is_proposed(steps: tuple[CanaryStep, ...], rate: float, word: str) -> None:
    found = propose_margin(steps, requests_per_s=rate, failure_rate=0.01, dispersion=1.0, analysis=ANALYSIS)
    assert found.proposed is None
    assert word in found.why


def newcomer(slow_s: int, *, seconds: int = 700) -> list[Second]:
    draw = np.random.default_rng(7)
    found = []
    for at in range(seconds):
        cells = [cell_of(draw, V1, 20, Behaviour())]
        if at >= 20:
            cells.append(cell_of(draw, V2, 20, Behaviour(median_ms=150.0 if at < 20 + slow_s else 50.0)))
        found.append(Second(at=BEGIN + at, cells=tuple(cells)))
    return found


@pytest.mark.parametrize("slow_s", [0, 60, 90])
def test_how_long_a_version_was_slow_when_it_was_new_is_measured(slow_s: int) -> None:
    assert warm_up_of(newcomer(slow_s), V2) == slow_s
    proposed = propose_warm_up(newcomer(slow_s), analysis=ANALYSIS).proposed
    assert proposed == max(ANALYSIS.warm_up_s, slow_s)


def test_without_a_version_that_came_no_warm_up_is_proposed() -> None:
    assert propose_warm_up(quiet(), analysis=ANALYSIS).proposed is None
    assert propose_warm_up(newcomer(60, seconds=200), analysis=ANALYSIS).proposed is None


def of_one_instance(draw: np.random.Generator, name: str, median_ms: float) -> Cell:
    cell = cell_of(draw, V1, 50, Behaviour(median_ms=median_ms))
    return replace(cell, instances={InstanceId(name): cell.requests})


def test_how_far_instances_differ_is_the_margin_of_latency_where_it_is_known() -> None:
    draw = np.random.default_rng(3)
    seconds = [
        Second(at=BEGIN + at, cells=(of_one_instance(draw, "a", 50.0), of_one_instance(draw, "b", 60.0)))
        for at in range(200)
    ]
    assert latency_spread(seconds, V1) == pytest.approx(0.2, abs=0.06)
    proposed = propose_latency_margin(seconds, baseline=V1, analysis=ANALYSIS).proposed
    assert proposed is not None
    assert 0.14 <= proposed <= 0.27
    unknown = propose_latency_margin(quiet(old=Behaviour(instances=3)), baseline=V1, analysis=ANALYSIS)
    assert unknown.proposed is None
    assert "not known by instance" in unknown.why
