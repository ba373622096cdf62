from __future__ import annotations

from collections.abc import Iterable

import pytest
from judge_support import BEGIN, EU, V1, V2, settings_of

from hitless.analysis.counts import Cell, Fates, Second
from hitless.analysis.judge import Judge
from hitless.analysis.objective import Objective
from hitless.analysis.ruling import Call
from hitless.rollout.spec import SloSpec


def guarded(failures: list[int]) -> bool:
    """Tell whether a canary of five requests a second is below 99 % for long, beside an old version that is not."""
    objective = Objective(success_rate=0.99, success_for_s=60.0, dispersion=1.0)
    below = False
    for at, failed in enumerate(failures):
        objective.take(at, Fates(total=5, failed=failed), Fates(total=95))
        below = below or objective.is_below_for_long
    return below


def test_a_burst_of_seconds_with_a_lone_failure_before_and_after_is_not_below_for_a_minute() -> None:
    for rest in range(10, 35):
        assert not guarded([0] * 60 + [4, 5, 2, 5, 2] + [0] * rest + [1] + [0] * 60)


def test_a_version_that_fails_all_the_time_is_below_within_its_minute() -> None:
    assert guarded([1] * 62)


def test_one_that_fails_a_little_too_often_all_the_time_is_below_too() -> None:
    assert guarded([1, 0, 0] * 40)


@pytest.mark.parametrize("success_for_s", [0.01, 1.0, 2.0, 3.0, 60.0])
def test_what_fails_altogether_is_below_for_however_short_a_time_is_set(success_for_s: float) -> None:
    objective = Objective(success_rate=0.99, success_for_s=success_for_s, dispersion=1.0)
    taken = 0
    while not objective.is_below_for_long:
        objective.take(taken, Fates(total=100, failed=100), Fates(total=100))
        taken += 1
        assert taken <= max(3, success_for_s + 1)


def is_taken_back(told: Iterable[tuple[Fates, Fates, int]]) -> bool:
    """Judge seconds of the new version's requests, the old one's, and the new one's share in basis points."""
    judge = Judge(settings_of(slo=SloSpec(success_rate=0.99)))
    for at, (new, old, share_bp) in enumerate(told, BEGIN):
        cells = tuple(
            Cell(region=EU, route="/", version=version, requests=fates)
            for version, fates in ((V2, new), (V1, old))
            if fates.total
        )
        judge.take(Second(at=at, cells=cells), {EU: share_bp})
    return judge.judgement(next_share_bp=10_000).ruling.call is Call.ROLLBACK


@pytest.mark.parametrize("left", [Fates(), Fates(total=1), Fates(total=1, failed=1)])
def test_what_the_old_version_still_ends_excuses_no_new_one_that_has_all_of_the_traffic(left: Fates) -> None:
    good = [(Fates(total=100), left if at == 5 else Fates(), 10_000) for at in range(10)]
    bad = [(Fates(total=100, failed=20), Fates(), 10_000)] * 20
    assert is_taken_back([*good, *bad])


def test_an_outage_of_both_excuses_nobody_once_the_new_version_has_served_alone_for_a_minute() -> None:
    fine, down = Fates(total=50), Fates(total=50, failed=25)
    both = [(fine, fine, 5_000)] * 10 + [(down, down, 5_000)] * 10
    alone = [(Fates(total=100), Fates(), 10_000)] * 70
    assert not is_taken_back([*both, *alone])
    assert is_taken_back([*both, *alone, *[(Fates(total=100, failed=20), Fates(), 10_000)] * 70])
