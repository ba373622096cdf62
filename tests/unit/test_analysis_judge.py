"""The judge of one rollout: what it finds, what it says of it, and what takes its word away."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from judge_support import (
    BEGIN,
    EU,
    USUAL,
    V1,
    V2,
    Behaviour,
    calls_of,
    cell_of,
    judged,
    measured,
    row,
    second_of,
    settings_of,
    traffic,
)

from hitless.analysis.counts import Second
from hitless.analysis.judge import Judge
from hitless.analysis.likelihood import Tables, log_ratios
from hitless.analysis.odds import LOG_ODDS, OddsTests
from hitless.analysis.ruling import Call, RowReport, Why
from hitless.analysis.settings import Background
from hitless.rollout.spec import AnalysisSpec, InstanceId, LatencyObjective, SloSpec

FINE = Behaviour()
NEARLY_SPOTLESS = Behaviour(failing=0.0005)


def test_a_version_that_is_no_worse_is_never_taken_back() -> None:
    for seed in range(6):
        last, taken = judged(settings_of(), traffic(seed, 300))
        assert last.ruling.call is not Call.ROLLBACK
        assert taken == 300


def test_one_percent_of_failures_instead_of_a_thousandth_is_found() -> None:
    times = []
    for seed in range(5):
        last, taken = judged(settings_of(), traffic(seed, 600, new=Behaviour(failing=0.01)))
        assert (last.ruling.call, last.ruling.why, last.ruling.row) == (Call.ROLLBACK, Why.WORSE, "errors")
        times.append(taken)
    assert np.median(times) <= 200


def test_what_is_said_of_a_worse_version_has_the_figures_and_the_bound() -> None:
    last, _ = judged(settings_of(), traffic(1, 600, new=Behaviour(failing=0.05)))
    assert last.ruling.sentence.startswith("errors: ")
    assert "requests to v2" in last.ruling.sentence
    assert "to v1" in last.ruling.sentence
    assert "times the odds" in last.ruling.sentence
    assert last.ruling.sentence.endswith("false alarms of this judge are at most 1 %")


@pytest.mark.parametrize("share", [0.01, 0.05, 0.25, 0.5])
def test_a_version_that_fails_altogether_is_found_in_two_seconds_with_traffic(share: float) -> None:
    seconds = list(traffic(3, 60, share=share, new=Behaviour(failing=1.0)))
    last, taken = judged(settings_of(), seconds, share_bp=round(share * 10_000))
    assert last.ruling.call is Call.ROLLBACK
    assert sum(second.cells[1].requests.total > 0 for second in seconds[1:taken]) <= 2


def test_answers_that_take_three_times_as_long_are_found_within_seconds() -> None:
    last, taken = judged(settings_of(), traffic(1, 100, new=Behaviour(median_ms=150.0)))
    assert (last.ruling.call, last.ruling.row) == (Call.ROLLBACK, "latency")
    assert "took longer than" in last.ruling.sentence
    assert taken <= 20


def test_requests_that_hang_are_found_though_none_of_them_fails() -> None:
    last, taken = judged(settings_of(), traffic(1, 200, new=Behaviour(hanging=0.05)))
    assert (last.ruling.call, last.ruling.row) == (Call.ROLLBACK, "latency")
    assert taken <= 100


def test_answers_slower_by_less_than_the_margin_are_not_slower() -> None:
    last, _ = judged(settings_of(), traffic(2, 500, share=0.5, new=Behaviour(median_ms=52.0)), share_bp=5_000)
    assert last.ruling.call is not Call.ROLLBACK


def test_an_objective_for_latency_is_a_threshold_too() -> None:
    slo = SloSpec(latency=(LatencyObjective(quantile=0.99, at_most_ms=20_000.0),))
    never_so_slow = measured(old=Behaviour(median_ms=5.0))
    seconds = traffic(2, 100, share=0.2, old=Behaviour(median_ms=5.0), new=Behaviour(median_ms=5.0, hanging=0.1))
    last, _ = judged(settings_of(before=never_so_slow, slo=slo), seconds, share_bp=2_000)
    assert last.ruling.row == "latency"


def test_hidden_failures_that_another_attempt_made_good_are_found() -> None:
    last, _ = judged(settings_of(), traffic(1, 300, share=0.2, new=Behaviour(retried=0.1)), share_bp=2_000)
    assert (last.ruling.call, last.ruling.row) == (Call.ROLLBACK, "retried")
    assert "needed another attempt" in last.ruling.sentence


def test_calls_to_a_dependency_that_fail_are_found_before_users_see_it() -> None:
    draw = np.random.default_rng(0)
    seconds = (
        replace(
            second_of(draw, BEGIN + i),
            calls=(calls_of(V1, "payments", 50, 0), calls_of(V2, "payments", 5, i % 2), calls_of(V2, "other", 5, 5)),
        )
        for i in range(100)
    )
    last, _ = judged(settings_of(analysis=AnalysisSpec(dependencies=("payments",), warm_up_s=0.0)), seconds)
    assert (last.ruling.call, last.ruling.row) == (Call.ROLLBACK, "dependencies.payments")
    assert "calls to payments by v2" in last.ruling.sentence


def test_what_both_versions_suffer_at_once_is_no_regression() -> None:
    draw = np.random.default_rng(4)
    seconds = (
        second_of(draw, BEGIN + i, share=0.3, old=Behaviour(failing=rate), new=Behaviour(failing=rate))
        for i, rate in enumerate([0.001] * 100 + [0.8] * 30 + [0.001] * 100)
    )
    last, _ = judged(settings_of(), seconds, share_bp=3_000)
    assert last.ruling.call is not Call.ROLLBACK


def test_rows_that_a_service_has_not_give_their_weight_to_the_others() -> None:
    def weights(before: Background, slo: SloSpec | None = None) -> dict[str, float]:
        rows = Judge(settings_of(before=before, slo=slo)).judgement(next_share_bp=500).rows
        return {one.name: one.weight for one in rows if one.weight}

    few, many = weights(USUAL), weights(replace(USUAL, baseline_instances=4), SloSpec(success_rate=0.99))
    assert sum(few.values()) == pytest.approx(1.0)
    assert few["errors"] == pytest.approx(0.5)
    assert many == pytest.approx({"errors": 0.3, "onset": 0.15, "latency": 0.35, "objective": 0.1, "retried": 0.1})


def test_an_instance_that_bursts_is_tempered_and_a_row_of_onsets_goes_on_judging() -> None:
    bursty = replace(USUAL, baseline_instances=4, dispersion={"errors": 40.0})
    draw = np.random.default_rng(9)
    seconds = []
    for i in range(120):
        failing = 0.5 if 50 <= i < 55 else 0.001  # one burst of the canary's only instance
        seconds.append(second_of(draw, BEGIN + i, old=Behaviour(instances=8), new=Behaviour(failing=failing)))
    last, _ = judged(settings_of(before=bursty), seconds)
    assert last.ruling.call is not Call.ROLLBACK
    assert row(last.rows, "onset").log_evidence is not None
    plain, _ = judged(settings_of(), seconds)
    assert plain.ruling.call is Call.ROLLBACK


def test_an_instance_that_begins_to_fail_again_and_again_is_found_by_its_onsets() -> None:
    bursty = replace(USUAL, baseline_instances=8, dispersion={"errors": 1_000.0}, failure_rate=0.0)
    draw = np.random.default_rng(9)
    good = Behaviour(failing=0.0, instances=8)
    seconds = (
        second_of(draw, BEGIN + i, old=good, new=Behaviour(failing=0.9 if i % 20 == 15 else 0.0)) for i in range(400)
    )
    last, _ = judged(settings_of(before=bursty), seconds)
    assert (last.ruling.call, last.ruling.row) == (Call.ROLLBACK, "onset")


@pytest.mark.parametrize(("rate", "share", "failing"), [(20.0, 0.5, 0.05), (5.0, 0.3, 0.1), (100.0, 0.05, 1.0)])
def test_next_to_a_version_without_a_failure_it_is_said_how_much_worse_at_least(
    rate: float, share: float, failing: float
) -> None:
    spotless = Behaviour(failing=0.0)
    for seed in range(4):
        last, _ = judged(
            settings_of(before=measured(old=spotless)),
            traffic(seed, 400, rate=rate, share=share, old=spotless, new=Behaviour(failing=failing)),
            share_bp=round(10_000 * share),
        )
        assert (last.ruling.call, last.ruling.row) == (Call.ROLLBACK, "errors")
        assert re.search(r"at least [0-9.]*[1-9][0-9.]* times the odds", last.ruling.sentence)


@pytest.mark.parametrize("odds_ratio", [0.4, 1.0, 3.0, 12.0])
def test_the_confidence_sequence_is_never_narrower_than_the_likelihood_makes_it(odds_ratio: float) -> None:
    draw = np.random.default_rng(round(10 * odds_ratio))
    fine = np.linspace(np.log(0.01), np.log(5_000.0), 2_000)
    for _ in range(20):
        canary, baseline = draw.poisson(30, 40), draw.poisson(70, 40)
        bad = draw.binomial(canary, min(0.01 * odds_ratio, 1.0)), draw.binomial(baseline, 0.01)
        tables = Tables(canary=canary, canary_bad=bad[0], baseline=baseline, baseline_bad=bad[1])
        tests = OddsTests({"errors": 1.0}, level=0.01)
        tests.take([("errors", tables)])
        found = tests.estimate("errors")
        grid = log_ratios(tables, np.insert(LOG_ODDS, 3, 0.0)).sum(axis=0)
        kept = fine[log_ratios(tables, fine).sum(axis=0) > np.log(np.exp(grid).mean() * 0.01)]
        assert (found.low or 0.0) <= np.exp(kept[0]) * 1.01
        assert (found.high or np.inf) >= np.exp(kept[-1]) * 0.99


def test_a_canary_that_gets_no_traffic_holds() -> None:
    judge = Judge(settings_of())
    for second in traffic(1, 120):
        judge.take(replace(second, cells=second.cells[:1]), {EU: 500})
    last = judge.judgement(next_share_bp=2_500)
    assert (last.ruling.call, last.ruling.why) == (Call.HOLD, Why.SPLIT)


def test_users_who_ask_more_than_once_are_no_wrong_split() -> None:
    draw = np.random.default_rng(0)
    judge = Judge(settings_of())
    for i in range(900):
        clump = 5 * int(draw.poisson(1.0))
        seconds = (
            cell_of(draw, V1, 95, FINE),
            cell_of(draw, V2, clump, FINE),
        )
        judge.take(Second(at=BEGIN + i, cells=seconds), {EU: 500})
        assert judge.judgement(next_share_bp=10_000).ruling.why is not Why.SPLIT


def test_an_old_version_that_differs_from_itself_takes_the_judges_word_away() -> None:
    draw = np.random.default_rng(0)
    judge = Judge(settings_of())
    for i in range(120):
        flaky = InstanceId(f"v1-{i // 30 % 2}")
        old = cell_of(draw, V1, 95, Behaviour(failing=0.0, instances=2))
        shaken = {name: replace(f, failed=f.total // 2 if name == flaky else 0) for name, f in old.instances.items()}
        failed = sum(f.failed for f in shaken.values())
        old = replace(old, instances=shaken, requests=replace(old.requests, failed=failed))
        new = cell_of(draw, V2, 20, Behaviour(failing=0.25 if i < 110 else 1.0))
        judge.take(Second(at=BEGIN + i, cells=(old, new)), {EU: 1_700})
    last = judge.judgement(next_share_bp=2_500)
    assert (last.ruling.call, last.ruling.why) == (Call.HOLD, Why.PLACEBO)
    assert row(last.rows, "errors").since is not None


def test_one_incident_of_the_old_version_is_one_alarm() -> None:
    draw = np.random.default_rng(0)
    judge = Judge(settings_of())
    for i in range(120):
        old = cell_of(draw, V1, 95, Behaviour(failing=0.0, instances=2))
        if 20 <= i < 50:
            first = InstanceId("v1-0")
            failing = replace(old.instances[first], failed=old.instances[first].total)
            old = replace(
                old,
                instances={**old.instances, first: failing},
                requests=replace(old.requests, failed=failing.total),
            )
        judge.take(Second(at=BEGIN + i, cells=(old, cell_of(draw, V2, 20, FINE))), {EU: 1_700})
    last = judge.judgement(next_share_bp=10_000)
    assert row(last.rows, "placebo").detail == "false alarms so far: 1"
    assert last.ruling.why is not Why.PLACEBO


def test_a_resource_that_grows_holds_and_its_rows_are_shown() -> None:
    class Growing:
        taken = 0

        def take(self, second: Second) -> None:
            assert second.at
            self.taken += 1

        def reports(self) -> tuple[RowReport, ...]:
            return (RowReport(name="memory", title="memory", acts=Call.HOLD),)

        def problem(self) -> str | None:
            return "memory of v2 grows"

    growing = Growing()
    judge = Judge(settings_of(), growing)
    for second in traffic(1, 5):
        judge.take(second, {EU: 500})
    last = judge.judgement(next_share_bp=2_500)
    assert (last.ruling.why, last.ruling.sentence) == (Why.RESOURCES, "memory of v2 grows")
    assert "memory" in {one.name for one in last.rows}
    assert growing.taken == 5


def test_a_ruling_of_the_same_kind_is_the_same_ruling_second_after_second() -> None:
    judge = Judge(settings_of())
    seen = set()
    for second in traffic(1, 60):
        judge.take(second, {EU: 500})
        seen.add(judge.judgement(next_share_bp=10_000).ruling)
    assert len(seen) == 1


def test_a_verdict_stays_when_the_evidence_fades() -> None:
    judge = Judge(settings_of())
    for second in traffic(1, 10, new=Behaviour(failing=1.0)):
        judge.take(second, {EU: 500})
    first = judge.judgement(next_share_bp=2_500).ruling
    for i, second in enumerate(traffic(2, 120)):
        judge.take(replace(second, at=BEGIN + 10 + i), {EU: 500})
    assert first.call is Call.ROLLBACK
    assert judge.judgement(next_share_bp=2_500).ruling == first


def test_what_is_slow_is_learnt_where_nothing_was_seen_before() -> None:
    seconds = traffic(1, 100, new=Behaviour(median_ms=500.0))
    last, _ = judged(settings_of(before=Background()), seconds)
    assert (last.ruling.call, last.ruling.row) == (Call.ROLLBACK, "latency")
    assert "learnt" in last.promise


def test_the_promise_says_what_is_only_measured_where_instances_are_few() -> None:
    few = Judge(settings_of()).judgement(next_share_bp=500).promise
    many = Judge(settings_of(before=replace(USUAL, baseline_instances=9))).judgement(next_share_bp=500).promise
    assert "at most 1 %" in few
    assert "fewer than 4 instances" in few
    assert "the row of onsets holds" in many


def test_nothing_is_judged_by_thresholds_that_it_has_shown_itself() -> None:
    judge = Judge(settings_of(before=Background()))
    draw = np.random.default_rng(0)
    slow = Behaviour(median_ms=5_000.0)
    evidence = []
    for i in range(4):
        judge.take(second_of(draw, BEGIN + i, rate=3_000.0, share=0.5, new=slow), {EU: 5_000})
        rows = {row.name: row for row in judge.judgement(next_share_bp=10_000).rows}
        evidence.append(rows["latency"].log_evidence or 0.0)
    assert evidence[:2] == [0.0, 0.0]  # the first is left out: the share has just begun
    assert evidence[2] > 10.0


def test_an_incident_that_hits_both_versions_is_held_against_neither() -> None:
    """One of them is always found out first; the other one fails as often."""
    slo = SloSpec(success_rate=0.99, success_for_s=5.0)
    fine, down = Behaviour(failing=0.0), Behaviour(failing=0.2)
    for seed in range(30):
        settings = settings_of(analysis=AnalysisSpec(warm_up_s=0.0), slo=slo)
        calm = traffic(seed, 10, share=0.5, old=fine, new=fine)
        draw = np.random.default_rng(seed)
        incident = [second_of(draw, BEGIN + 10 + i, share=0.5, old=down, new=down) for i in range(20)]
        last, _ = judged(settings, [*calm, *incident], share_bp=5_000)
        assert last.ruling.call is Call.HOLD, last.detail
        assert last.ruling.why is Why.ENVIRONMENT
