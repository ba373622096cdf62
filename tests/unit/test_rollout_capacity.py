from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hitless.rollout.capacity import carried_weights
from hitless.rollout.spec import Version

V1, V2, V3 = Version("v1"), Version("v2"), Version("v3")


def test_a_rolling_update_gives_the_new_version_what_its_instances_carry() -> None:
    assert carried_weights({V2: 10_000}, serving={V1: 3, V2: 1}, full_strength=4) == {V1: 7_500, V2: 2_500}


def test_a_canary_gets_exactly_its_step_when_it_can_carry_it() -> None:
    wanted = {V2: 1, V1: 9_999}
    assert carried_weights(wanted, serving={V1: 4, V2: 1}, full_strength=4) == wanted


def test_a_canary_that_lost_instances_is_held_back_and_the_warm_version_takes_over() -> None:
    wanted = {V2: 5_000, V1: 5_000}
    assert carried_weights(wanted, serving={V1: 4, V2: 1}, full_strength=4) == {V1: 7_500, V2: 2_500}


def test_trouble_of_the_stable_version_never_raises_the_canary() -> None:
    wanted = {V2: 100, V1: 9_900}
    assert carried_weights(wanted, serving={V1: 1, V2: 1}, full_strength=4) == wanted


def test_a_version_on_its_way_out_carries_what_the_stable_one_cannot_yet() -> None:
    assert carried_weights({V1: 10_000}, serving={V1: 1, V2: 3}, full_strength=4) == {V1: 2_500, V2: 7_500}


def test_the_only_version_that_serves_gets_everything() -> None:
    assert carried_weights({V2: 100, V1: 9_900}, serving={V1: 0, V2: 1}, full_strength=4) == {V2: 10_000}


def test_nobody_serves_and_nothing_is_invented() -> None:
    assert carried_weights({V1: 10_000}, serving={V1: 0}, full_strength=4) == {}


@given(
    shares=st.lists(st.integers(0, 10_000), min_size=2, max_size=2).map(sorted),
    serving=st.dictionaries(st.sampled_from([V1, V2, V3, Version("v0")]), st.integers(0, 9)),
    full_strength=st.integers(0, 9),
)
def test_weights_sum_to_all_traffic_over_versions_that_serve(
    shares: list[int], serving: dict[Version, int], full_strength: int
) -> None:
    wanted = {V3: shares[0], V2: shares[1] - shares[0], V1: 10_000 - shares[1]}
    carried = carried_weights(wanted, serving=serving, full_strength=full_strength)
    able = {version for version, count in serving.items() if count}
    assert set(carried) <= able
    assert all(weight >= 0 for weight in carried.values())
    assert sum(carried.values()) == (10_000 if able else 0)
