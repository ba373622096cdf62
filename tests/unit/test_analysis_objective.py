from __future__ import annotations

import pytest

from hitless.analysis.counts import Fates
from hitless.analysis.objective import Objective


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
