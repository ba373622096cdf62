from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from judge_support import BEGIN, EU, V1, V2, Behaviour, calls_of, cell_of, second_of

from hitless.analysis.background import background, latency_bounds
from hitless.analysis.counts import LAST_BUCKET, Cell, Fates, Second, bound_ms
from hitless.analysis.dispersion import dispersion_over_time
from hitless.rollout.spec import AnalysisSpec, InstanceId

SPEC = AnalysisSpec(dependencies=("payments",))


def test_rates_bounds_and_instances_are_those_of_the_old_version() -> None:
    draw = np.random.default_rng(1)
    old = Behaviour(failing=0.01, instances=3)
    seconds = [second_of(draw, BEGIN + i, share=0.0, old=old) for i in range(600)]
    seconds.insert(300, Second(at=BEGIN + 300, gap="the log is gone"))
    seen = background(seconds, baseline=V1, analysis=SPEC)
    assert seen.seconds == 600
    assert seen.requests_per_s == pytest.approx(100.0, rel=0.05)
    assert seen.failure_rate == pytest.approx(0.01, rel=0.2)
    assert [bound_ms(b) for b in seen.latency_bounds[:5]] == pytest.approx(
        [50 * np.exp(0.7 * z) for z in (0.0, 0.6745, 1.2816, 1.6449, 2.3263)], rel=0.05
    )
    assert seen.usual_duration_s == pytest.approx(0.255, rel=0.05)
    assert set(seen.usual_durations_s.values()) == {seen.usual_duration_s}
    assert seen.baseline_instances == 3
    assert set(seen.dispersion) == {
        *("errors", "instances", "retried", "onset", "dependencies.payments"),
        *(f"latency.{name}" for name in ("p50", "p75", "p90", "p95", "p99", "p99.9")),
    }


def test_nothing_seen_is_not_taken_for_good() -> None:
    nothing = background([Second(at=BEGIN, gap="no source")], baseline=V1, analysis=SPEC)
    assert (nothing.seconds, nothing.failure_rate, nothing.latency_bounds) == (0, None, ())
    quiet = background([Second(at=BEGIN)], baseline=V1, analysis=SPEC)
    assert (quiet.seconds, quiet.failure_rate, quiet.latency_bounds) == (1, None, ())
    assert background([], baseline=V1, analysis=SPEC).baseline_instances == 0


def test_no_more_than_the_share_lies_above_a_bound_and_what_hangs_is_above_all() -> None:
    assert latency_bounds({10: 50, 20: 25, 30: 15, 40: 5, 50: 4, 60: 1}) == (10, 20, 30, 40, 50, 60)
    assert latency_bounds({10: 1, LAST_BUCKET: 99}) == (LAST_BUCKET - 1,) * 6


def test_independent_failures_have_no_dispersion() -> None:
    draw = np.random.default_rng(1)
    for instances in (1, 8):
        old = Behaviour(failing=0.01, instances=instances)
        seconds = [second_of(draw, BEGIN + i, share=0.0, old=old) for i in range(1_200)]
        assert background(seconds, baseline=V1, analysis=SPEC).dispersion["errors"] < 1.3


@pytest.mark.parametrize("instances", [1, 10])
def test_bursts_of_single_instances_are_measured(instances: int) -> None:
    draw = np.random.default_rng(1)
    seconds = []
    bursting = -1
    for i in range(1_800):
        if i % 30 == 0:
            bursting = int(draw.integers(0, instances))
        cell = cell_of(draw, V1, 100, Behaviour(failing=0.002, instances=instances))
        if i % 30 < 5:
            name = InstanceId(f"v1-{bursting}")
            mine = cell.instances.get(name, Fates())
            cell = replace(cell, instances={**cell.instances, name: replace(mine, failed=mine.total // 2)})
            failed = sum(fates.failed for fates in cell.instances.values())
            cell = replace(cell, requests=replace(cell.requests, failed=failed))
        seconds.append(Second(at=BEGIN + i, cells=(cell,)))
    assert background(seconds, baseline=V1, analysis=SPEC).dispersion["errors"] > 5.0


def test_an_outage_of_everybody_is_no_dispersion_where_there_are_several_instances() -> None:
    draw = np.random.default_rng(1)
    rates = [0.3 if 300 <= i < 330 else 0.001 for i in range(1_200)]
    seconds = [
        second_of(draw, BEGIN + i, share=0.0, old=Behaviour(failing=rate, instances=6)) for i, rate in enumerate(rates)
    ]
    assert background(seconds, baseline=V1, analysis=SPEC).dispersion["errors"] < 1.3


def test_users_who_try_again_and_fail_again_are_measured_over_all_instances() -> None:
    draw = np.random.default_rng(1)
    seconds = []
    for i in range(2_400):
        old = Behaviour(failing=0.0, instances=8)
        cell = cell_of(draw, V1, 100, old)
        if i % 30 < 3:  # somebody fails three times, each time at another instance
            name = InstanceId(f"v1-{draw.integers(0, 8)}")
            mine = replace(cell.instances[name], failed=1)
            cell = replace(cell, instances={**cell.instances, name: mine}, requests=Fates(total=100, failed=1))
        seconds.append(Second(at=BEGIN + i, cells=(cell,)))
    assert 2.0 < background(seconds, baseline=V1, analysis=SPEC).dispersion["errors"] < 5.0


def test_an_instance_that_warmed_up_does_not_blind_the_judge() -> None:
    draw = np.random.default_rng(1)
    seconds = []
    for i in range(2_400):
        cell = cell_of(draw, V1, 100, Behaviour(failing=0.005, instances=4))
        if 1_000 <= i < 1_090:
            name = InstanceId("v1-new")
            cell = replace(cell, instances={**cell.instances, name: Fates(total=25, failed=12)})
        seconds.append(Second(at=BEGIN + i, cells=(cell,)))
    assert background(seconds, baseline=V1, analysis=SPEC).dispersion["errors"] < 1.5


def test_rare_bursts_are_allowed_for_by_their_size() -> None:
    draw = np.random.default_rng(1)
    seconds = []
    for i in range(2_400):
        cell = cell_of(draw, V1, 100, Behaviour(failing=0.002, instances=10))
        if i in {500, 1_500}:
            name = InstanceId("v1-3")
            cell = replace(cell, instances={**cell.instances, name: Fates(total=20, failed=15)})
        seconds.append(Second(at=BEGIN + i, cells=(cell,)))
    assert background(seconds, baseline=V1, analysis=SPEC).dispersion["errors"] > 10.0


def test_too_few_failures_say_nothing_about_bursts() -> None:
    series = [(at, 10, 3 if at == 50 else 0) for at in range(600)]
    assert dispersion_over_time(series) == 1.0


def test_calls_are_measured_by_dependency_and_other_versions_left_out() -> None:
    seconds = [
        Second(
            at=BEGIN + i,
            cells=(Cell(region=EU, route="/", version=V2, requests=Fates(total=5, failed=5), durations={3: 5}),),
            calls=(calls_of(V1, "payments", 100, 40 if i // 10 % 2 else 0),),
        )
        for i in range(1_200)
    ]
    seen = background(seconds, baseline=V1, analysis=SPEC)
    assert seen.dispersion["dependencies.payments"] > 10.0
    assert seen.failure_rate is None
    assert seen.latency_bounds == ()


@pytest.mark.parametrize(("times", "low", "high"), [(1, 1.0, 1.4), (3, 1.8, 4.0)])
def test_users_who_fail_again_at_another_instance_make_onsets_come_together(
    times: int, low: float, high: float
) -> None:
    draw = np.random.default_rng(1)
    owed = np.zeros((1_803, 20), dtype=int)
    for at in range(1_800):
        for _ in range(draw.poisson(0.1 / times)):
            owed[range(at, at + times), draw.integers(0, 20, times)] += 1
    seconds = [
        Second(
            at=BEGIN + at,
            cells=(
                Cell(
                    region=EU,
                    route="/",
                    version=V1,
                    requests=Fates(total=100, failed=int(failed.sum())),
                    instances={
                        InstanceId(f"i{one}"): Fates(total=5, failed=min(5, int(failed[one]))) for one in range(20)
                    },
                ),
            ),
        )
        for at, failed in enumerate(owed[:1_800])
    ]
    assert low <= background(seconds, baseline=V1, analysis=SPEC).dispersion["onset"] <= high


def test_an_outage_of_everybody_shows_over_time_and_not_between_instances() -> None:
    draw = np.random.default_rng(5)
    down = range(300, 330)
    behaviours = [Behaviour(failing=0.2 if i in down else 0.0, instances=2) for i in range(480)]
    seconds = [second_of(draw, BEGIN + i, share=0.0, old=old) for i, old in enumerate(behaviours)]
    seen = background(seconds, baseline=V1, analysis=SPEC).dispersion
    assert seen["errors"] > 8
    assert seen["instances"] < 1.5


@pytest.mark.parametrize("at_once", [3, 20])
def test_users_who_fail_many_times_at_once_are_allowed_for_as_they_are(at_once: int) -> None:
    draw = np.random.default_rng(at_once)
    seconds = []
    for i, users in enumerate(draw.binomial(100, 0.01 / at_once, 2_400)):
        answers = draw.multinomial(100, [0.1] * 10)
        failures = draw.multinomial(users * at_once, [0.1] * 10)
        fates = {
            InstanceId(f"v1-{k}"): Fates(total=int(good + bad), failed=int(bad))
            for k, (good, bad) in enumerate(zip(answers, failures, strict=True))
        }
        requests = sum(fates.values(), Fates())
        cell = Cell(region=EU, route="/", version=V1, requests=requests, instances=fates)
        seconds.append(Second(at=BEGIN + i, cells=(cell,)))
    seen = background(seconds, baseline=V1, analysis=SPEC).dispersion
    assert 0.6 * at_once < seen["errors"] < 1.4 * at_once
    assert seen["instances"] < 1.5


@pytest.mark.parametrize("in_a_row", [20, 60])
def test_clients_who_fail_each_second_for_long_are_seen_between_minutes(in_a_row: int) -> None:
    draw = np.random.default_rng(in_a_row)
    failing = np.zeros(2_400 + in_a_row, dtype=int)
    for begin in np.flatnonzero(draw.random(2_400) < 0.1 / in_a_row):
        failing[begin : begin + in_a_row] += 1
    seconds = [
        Second(
            at=BEGIN + i,
            cells=(Cell(region=EU, route="/", version=V1, requests=Fates(total=100, failed=int(failing[i]))),),
        )
        for i in range(2_400)
    ]
    assert background(seconds, baseline=V1, analysis=SPEC).dispersion["errors"] > 6.0


def test_single_failures_are_no_clusters_between_minutes() -> None:
    draw = np.random.default_rng(1)
    seconds = [second_of(draw, BEGIN + i, share=0.0, old=Behaviour(instances=3)) for i in range(2_400)]
    assert background(seconds, baseline=V1, analysis=SPEC).dispersion["errors"] < 1.3
