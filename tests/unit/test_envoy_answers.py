from __future__ import annotations

from hitless.adapters.envoy.answers import RECENT_S, AnswerMeter, Counted
from hitless.rollout.spec import Address, InstanceId, Version
from hitless.rollout.world import Answers, Endpoint, EndpointState, Table

V1, V2 = Version("v1"), Version("v2")


def table(**weights: int) -> Table:
    end = Endpoint(address=Address(host="127.0.0.1", port=1), state=EndpointState.ACTIVE)
    return Table(
        weights={Version(name): weight for name, weight in weights.items()},
        endpoints={Version(name): {InstanceId(f"shop-{name}"): end} for name in weights},
    )


def read(meter: AnswerMeter, routed: Table, at: float, **counts: tuple[int, int]) -> dict[Version, Answers]:
    counted = {f"shop@{name}": Counted(completed=done, failed=failed) for name, (done, failed) in counts.items()}
    meter.read("shop", (routed,), counted, at=at)
    return meter.answers("shop")


def test_counting_begins_at_the_first_look_and_says_nothing_of_what_was_before() -> None:
    meter = AnswerMeter()
    assert read(meter, table(v1=10_000), 0, v1=(500, 400)) == {V1: Answers()}
    assert read(meter, table(v1=10_000), 1, v1=(530, 401))[V1] == Answers(
        total=30, failed=1, recent_total=30, recent_failed=1
    )


def test_a_version_is_counted_anew_when_it_gets_a_share_again() -> None:
    meter = AnswerMeter()
    read(meter, table(v1=5_000, v2=5_000), 0, v1=(0, 0), v2=(0, 0))
    assert read(meter, table(v1=5_000, v2=5_000), 1, v1=(40, 0), v2=(40, 40))[V2].failed == 40
    read(meter, table(v1=10_000, v2=0), 2, v1=(40, 0), v2=(40, 40))
    assert read(meter, table(v1=5_000, v2=5_000), 3, v1=(90, 0), v2=(40, 40))[V2] == Answers()


def test_what_a_version_did_before_it_lost_its_share_is_not_told_of_it() -> None:
    meter = AnswerMeter()
    read(meter, table(v1=5_000, v2=5_000), 0, v1=(0, 0), v2=(0, 0))
    read(meter, table(v1=5_000, v2=5_000), 1, v1=(40, 0), v2=(40, 40))
    left = read(meter, table(v1=10_000, v2=0), 2, v1=(80, 0), v2=(45, 45))[V2]
    assert (left.total, left.failed) == (0, 0)


def test_an_outage_that_hits_both_is_told_of_both_however_well_one_did_before() -> None:
    meter = AnswerMeter()
    for quarter in range(40):
        read(meter, table(v1=10_000), quarter / 4, v1=(25 * quarter, 0))
    read(meter, table(v1=7_500, v2=2_500), 9.9, v1=(1_000, 0), v2=(0, 0))
    seen = read(meter, table(v1=7_500, v2=2_500), 11.2, v1=(1_095, 95), v2=(30, 30))
    assert (seen[V1].recent_total, seen[V1].recent_failed) == (95, 95)


def test_recent_is_where_the_last_requests_were_even_if_they_are_long_ago() -> None:
    meter = AnswerMeter()
    for second in range(30):
        seen = read(meter, table(v1=10_000), second, v1=(100 * second, 0))
    assert seen[V1].total == 2_900
    assert 100 * RECENT_S <= seen[V1].recent_total <= 100 * (RECENT_S + 2)
    later = read(meter, table(v1=0, v2=10_000), 600, v1=(2_900, 0), v2=(50, 50))
    assert later[V1].recent_total == seen[V1].recent_total


def test_an_envoy_that_began_anew_is_counted_from_there() -> None:
    meter = AnswerMeter()
    read(meter, table(v1=10_000), 0, v1=(900, 0))
    assert read(meter, table(v1=10_000), 1, v1=(5, 0)) == {V1: Answers()}
    assert read(meter, table(v1=10_000), 2, v1=(8, 3))[V1].total == 3


def test_what_is_not_counted_is_not_known_and_what_is_not_listed_is_forgotten() -> None:
    meter = AnswerMeter()
    assert read(meter, table(v1=10_000, v2=0), 0, v1=(1, 0)).keys() == {V1}
    assert read(meter, table(v2=10_000), 1, v1=(1, 0), v2=(7, 7)).keys() == {V2}
    assert read(meter, table(v2=10_000), 2, v2=(9, 9))[V2].total == 2
    assert meter.answers("another") == {}
    meter.forget("shop")
    assert meter.answers("shop") == {}
