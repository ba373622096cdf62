from __future__ import annotations

import math
from dataclasses import replace

import pytest
from judge_support import BEGIN, EU, V1, V2, Behaviour, calls_of, settings_of, traffic

from hitless.analysis.counts import LAST_BUCKET, Cell, Fates, Second, Transfer
from hitless.analysis.judge import Judge
from hitless.analysis.ruling import Call, Why
from hitless.rollout.spec import InstanceId

NAN: int = math.nan  # type: ignore[assignment]  # what a source says must not be trusted to be a number


TEN = Fates(total=10)


def cell(requests: Fates = TEN, **other: object) -> Cell:
    return replace(Cell(region=EU, route="/", version=V2, requests=requests), **other)  # type: ignore[arg-type]


def transfer(*, answers: int = 1, received_bytes: int = 0, sent_bytes: int = 0) -> Transfer:
    return Transfer(answers=answers, received_bytes=received_bytes, sent_bytes=sent_bytes)


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (Second(at=BEGIN, cells=(cell(Fates(total=NAN)),)), "requests of v2"),
        (Second(at=BEGIN, cells=(cell(Fates(total=5, failed=NAN)),)), "requests of v2"),
        (Second(at=BEGIN, cells=(cell(Fates(total=-5)),)), "requests of v2"),
        (Second(at=BEGIN, cells=(cell(Fates(total=5, failed=6)),)), "requests of v2"),
        (Second(at=BEGIN, cells=(cell(Fates(total=10**9)),)), "requests of v2"),
        (Second(at=BEGIN, cells=(cell(retried=11),)), "retried"),
        (Second(at=BEGIN, cells=(cell(instances={InstanceId("a"): Fates(total=-1)}),)), "instance a"),
        (Second(at=BEGIN, cells=(cell(durations={3: NAN}),)), "durations"),
        (Second(at=BEGIN, cells=(cell(durations={3: -1}),)), "durations"),
        (Second(at=BEGIN, cells=(cell(durations={LAST_BUCKET + 1: 1}),)), "durations"),
        (Second(at=BEGIN, cells=(cell(transfer=transfer(answers=0)),)), "bytes of v2"),
        (Second(at=BEGIN, cells=(cell(transfer=transfer(sent_bytes=-1)),)), "bytes of v2"),
        (Second(at=BEGIN, cells=(cell(transfer=transfer(received_bytes=NAN)),)), "bytes of v2"),
        (Second(at=BEGIN, calls=(calls_of(V1, "payments", 3, 4),)), "payments"),
        (Second(at=BEGIN, cells=(cell(),), gap="the log is gone"), "gap"),
        (Second(at=NAN), "whole number"),
    ],
)
def test_counts_that_cannot_be_are_refused_by_name_and_change_nothing(second: Second, words: str) -> None:
    judge = Judge(settings_of())
    for good in traffic(1, 20):
        judge.take(good, {EU: 500})
    before = judge.judgement(next_share_bp=2_500)
    with pytest.raises(ValueError, match=words):
        judge.take(replace(second, at=second.at + 100), {EU: 500})
    assert judge.judgement(next_share_bp=2_500) == before


@pytest.mark.parametrize("share", [-1, 10_001, NAN])
def test_shares_that_are_none_are_refused(share: int) -> None:
    judge = Judge(settings_of())
    with pytest.raises(ValueError, match="share of region eu"):
        judge.take(Second(at=BEGIN), {EU: share})
    with pytest.raises(ValueError, match="share of region next"):
        judge.judgement(next_share_bp=share)


def test_seconds_that_come_twice_or_out_of_order_count_once() -> None:
    once, twice = Judge(settings_of()), Judge(settings_of())
    seconds = list(traffic(1, 40, new=Behaviour(failing=0.02)))
    for i, second in enumerate(seconds):
        once.take(second, {EU: 500})
        twice.take(second, {EU: 500})
        twice.take(second, {EU: 500})
        twice.take(seconds[max(0, i - 3)], {EU: 500})
    assert once.judgement(next_share_bp=2_500).rows == twice.judgement(next_share_bp=2_500).rows


def test_a_clock_that_steps_back_holds_and_says_so() -> None:
    judge = Judge(settings_of())
    for second in traffic(1, 40):
        judge.take(second, {EU: 500})
    for second in traffic(2, 12, new=Behaviour(failing=1.0)):
        judge.take(replace(second, at=second.at - 3_600), {EU: 500})
    last = judge.judgement(next_share_bp=2_500)
    assert (last.ruling.call, last.ruling.why) == (Call.HOLD, Why.NO_DATA)
    assert "clock" in last.ruling.sentence


def test_a_clock_that_steps_forward_is_a_gap() -> None:
    judge = Judge(settings_of())
    for i, second in enumerate(traffic(1, 150, share=0.25)):
        judge.take(replace(second, at=second.at + (86_400 if i >= 149 else 0)), {EU: 2_500})
        if i == 148:
            assert judge.judgement(next_share_bp=500).ruling.call is Call.PROMOTE
    assert judge.judgement(next_share_bp=500).ruling.why is Why.TOO_FEW


def test_gaps_add_nothing_and_ten_of_them_hold() -> None:
    judge = Judge(settings_of())
    for second in traffic(1, 40):
        judge.take(second, {EU: 500})
    before = [row.log_evidence for row in judge.judgement(next_share_bp=2_500).rows]
    whys = []
    for i in range(12):
        judge.take(Second(at=BEGIN + 40 + i, gap="Envoy is silent"), {EU: 500})
        whys.append(judge.judgement(next_share_bp=2_500).ruling.why)
    assert whys == [Why.TOO_FEW] * 9 + [Why.NO_DATA] * 3
    assert [row.log_evidence for row in judge.judgement(next_share_bp=2_500).rows] == before


def test_nothing_read_at_all_holds() -> None:
    last = Judge(settings_of()).judgement(next_share_bp=2_500)
    assert (last.ruling.call, last.ruling.why) == (Call.HOLD, Why.NO_DATA)


def test_a_canary_that_serves_what_the_old_version_does_not_cannot_be_compared() -> None:
    judge = Judge(settings_of())
    for second in traffic(1, 60, share=0.2):
        old, new = second.cells
        judge.take(replace(second, cells=(old, replace(new, route="/new"))), {EU: 2_000})
    last = judge.judgement(next_share_bp=2_500)
    assert (last.ruling.call, last.ruling.why) == (Call.HOLD, Why.NO_DATA)
    assert "compared" in last.ruling.sentence


def test_a_third_version_and_a_second_without_traffic_add_nothing() -> None:
    judge, alone = Judge(settings_of()), Judge(settings_of())
    for i, second in enumerate(traffic(1, 30)):
        other = replace(second.cells[1], version="v0", requests=Fates(total=50, failed=50))
        judge.take(replace(second, at=BEGIN + 2 * i, cells=(*second.cells, other)), {EU: 500})
        judge.take(Second(at=BEGIN + 2 * i + 1), {EU: 500})
        alone.take(replace(second, at=BEGIN + 2 * i), {EU: 500})
        alone.take(Second(at=BEGIN + 2 * i + 1), {EU: 500})
    assert judge.judgement(next_share_bp=2_500).rows == alone.judgement(next_share_bp=2_500).rows
