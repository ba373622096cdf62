"""Pools against a database's limits: what fits, what does not, and what would make it fit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hitless.schema.headroom import Limit, Reserve, Taker, fit, remedies, too_many

SERVER = Limit(what="server", connections=100, kept_back=3, others=7, is_server=True)
POOLS = (
    Taker(who="1.4", connections=40, because="4 instances x 10", is_of_instances=True),
    Taker(who="jobs", connections=5),
)


def test_what_fits_is_said_with_its_figures() -> None:
    (found,) = fit(POOLS, [SERVER], reserve=Reserve(share_bp=1_000))
    assert found.fits
    assert found.sentence == "server: 62 of 97 connections at the peak, fits"
    assert found.rows == (
        "40  1.4 (4 instances x 10)",
        " 5  jobs",
        " 7  others, open now",
        "10  reserve (kept free)",
    )


def test_what_does_not_fit_says_by_how_much() -> None:
    (found,) = fit((*POOLS, Taker(who="1.5", connections=40)), [SERVER], reserve=Reserve(count=10))
    assert not found.fits
    assert found.sentence == "server: 102 of 97 connections at the peak, 5 too many"
    assert too_many([found]) == 5


def test_a_limit_of_the_instances_role_counts_them_alone_and_keeps_no_reserve() -> None:
    role = Limit(what="role shop_app", connections=40, is_of_role=True)
    (found,) = fit(POOLS, [role], reserve=Reserve(count=10))
    assert (found.taken, found.fits) == (40, True)


def test_the_tightest_limit_comes_first_and_a_limit_that_is_none_does_not_come() -> None:
    found = fit(
        POOLS,
        [SERVER, Limit(what="database shop", connections=45), Limit(what="role x", connections=-1)],
        reserve=Reserve(),
    )
    assert [one.what for one in found] == ["database shop", "server"]


def test_a_database_without_any_room_left_fits_nothing() -> None:
    full = Limit(what="server", connections=3, kept_back=5, is_server=True)
    (found,) = fit(POOLS, [full], reserve=Reserve(share_bp=1_000))
    assert (found.room, found.fits) == (0, False)


@given(
    per_instance=st.integers(1, 50), instances=st.integers(1, 20), surge=st.integers(1, 20), excess=st.integers(1, 300)
)
def test_what_is_advised_would_make_it_fit(per_instance: int, instances: int, surge: int, excess: int) -> None:
    at_peak = instances + surge
    for advice in remedies(excess, per_instance=per_instance, instances=instances, at_peak=at_peak):
        if "max_surge" in advice:
            allowed = int(advice.rpartition(" ")[2].rstrip("`"))
            assert allowed >= 1
            assert (surge - allowed) * per_instance >= excess
        if "per_instance" in advice:
            opened = int(advice.rpartition(" ")[2].rstrip("`"))
            assert (per_instance - opened) * at_peak >= excess
