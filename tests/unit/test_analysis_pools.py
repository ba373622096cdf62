"""Pools: a new version that uses one up while the old one does not is held, and whatever is seen is said."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hitless.analysis.checking import check_second
from hitless.analysis.counts import PoolReading, Second
from hitless.analysis.pools import LEAST_READINGS, Pools
from hitless.analysis.resources import Resources
from hitless.analysis.ruling import Call
from hitless.analysis.settings import Background, JudgeSettings
from hitless.rollout.spec import LOCAL, AnalysisSpec, InstanceId, Version

V1, V2 = Version("v1"), Version("v2")
HELD = "pool database of the new version is used up, the old version's is not"


def settings(warm_up_s: float = 0.0) -> JudgeSettings:
    return JudgeSettings(
        canary=V2,
        baseline=V1,
        analysis=AnalysisSpec(warm_up_s=warm_up_s),
        slo=None,
        background=Background(),
        salt="checkout-r7",
        pools=("database",),
    )


def reading(version: Version, used: float, *, number: int = 0, pool: str = "database") -> PoolReading:
    name = InstanceId(f"{version}-{number}")
    return PoolReading(instance=name, region=LOCAL, version=version, pool=pool, used=used, size=20.0)


def seconds(*told: PoolReading, count: int = 60, begin: int = 1_000) -> Iterator[Second]:
    return (Second(at=begin + at, pools=told) for at in range(count))


def watched(*parts: Iterator[Second], warm_up_s: float = 0.0) -> Pools:
    pools = Pools(settings(warm_up_s))
    for part in parts:
        for second in part:
            pools.take(second)
    return pools


def test_a_pool_that_the_new_version_alone_uses_up_holds_and_both_utilisations_are_said() -> None:
    pools = watched(seconds(reading(V1, 8), reading(V2, 19)))
    assert pools.problem() == HELD
    (row,) = pools.reports()
    assert (row.name, row.acts, row.since, row.detail) == (
        "pools.database",
        Call.HOLD,
        1_000 + LEAST_READINGS - 1,
        "v2: 95 % in use, v1: 40 % in use",
    )


@pytest.mark.parametrize(("old", "new"), [(19, 19), (19, 8), (8, 17.9)])
def test_what_both_use_up_or_only_the_old_one_does_or_nobody_holds_nothing_and_is_said(old: float, new: float) -> None:
    pools = watched(seconds(reading(V1, old), reading(V2, new)))
    assert pools.problem() is None
    assert "v2: " in pools.reports()[0].detail


def test_peaks_in_less_than_half_of_the_readings_hold_nothing() -> None:
    pools = Pools(settings())
    for at in range(120):
        pools.take(Second(at=at, pools=(reading(V1, 2), reading(V2, 20 if at % 5 < 2 else 3))))
        assert pools.problem() is None


def test_one_instance_of_three_that_is_full_is_no_pool_that_is_used_up() -> None:
    told = (reading(V1, 2), *(reading(V2, used, number=number) for number, used in enumerate((20, 5, 6))))
    assert watched(seconds(*told)).problem() is None


def test_it_is_let_go_once_the_pool_is_free_again() -> None:
    old = reading(V1, 2)
    pools = watched(seconds(old, reading(V2, 20)), seconds(old, reading(V2, 5), count=40, begin=1_060))
    assert pools.problem() is None
    assert pools.reports()[0].since is None


@pytest.mark.parametrize("told", [(), (reading(V2, 20),), (reading(V1, 3),)])
def test_a_version_that_tells_nothing_is_not_told_and_neither_held_nor_fine(told: tuple[PoolReading, ...]) -> None:
    pools = watched(seconds(*told))
    assert pools.problem() is None
    (row,) = pools.reports()
    silent = [version for version in (V2, V1) if version not in {one.version for one in told}]
    assert all(f"{version}: not told" in row.detail for version in silent)
    assert row.untold == f"nothing was told of it by {' and '.join(silent)}"


def test_too_few_readings_decide_nothing() -> None:
    told = (reading(V1, 2), reading(V2, 20))
    assert watched(seconds(*told, count=LEAST_READINGS - 1)).problem() is None
    assert watched(seconds(*told, count=LEAST_READINGS)).problem() == HELD


def test_the_warm_up_of_an_instance_is_left_out() -> None:
    old = reading(V1, 2)
    cold = seconds(old, reading(V2, 20), count=60)
    assert watched(cold, seconds(old, reading(V2, 5), begin=1_060), warm_up_s=60.0).problem() is None
    late = seconds(old, reading(V2, 20), count=60 + LEAST_READINGS)
    assert watched(late, warm_up_s=60.0).problem() == HELD


def test_another_pool_is_not_this_one() -> None:
    assert watched(seconds(reading(V1, 2), reading(V2, 20, pool="workers"))).reports()[0].detail.startswith("v2: not")


def test_pools_stand_beside_memory_and_processor_time() -> None:
    resources = Resources(settings())
    for second in seconds(reading(V1, 2), reading(V2, 20)):
        resources.take(second)
    assert resources.problem() == HELD
    assert [row.name for row in resources.reports()] == ["memory", "descriptors", "cpu", "network", "pools.database"]


@pytest.mark.parametrize("used", [-1.0, float("nan"), float("inf")])
def test_a_pool_that_cannot_be_is_refused(used: float) -> None:
    with pytest.raises(ValueError, match="pool database of instance v2-0"):
        check_second(Second(at=1, pools=(reading(V2, used),)))
