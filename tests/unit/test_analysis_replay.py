"""Replays: requests become seconds, shares are measured, and a judge takes them as if it were now."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitless.analysis.counts import LAST_BUCKET, Cell, Fates, Second, bucket_of
from hitless.analysis.replay import replay, without_holes
from hitless.analysis.requests import BASELINE, CANARY, BadRequestError, Counting, Request, read_request
from hitless.analysis.ruling import Call, Judgement, Ruling, Why
from hitless.analysis.shares import constant_share, measured_shares
from hitless.rollout.spec import InstanceId, Region, Version

EU = Region("eu")
LINE = {"t": 12.034, "arm": "canary", "region": "eu", "route": "/pay", "ok": True, "ms": 31.5, "instance": "a"}


def counted(*requests: Request) -> tuple[Second, ...]:
    counting = Counting()
    for request in requests:
        counting.take(request)
    return counting.seconds()


def a_request(t: float, *, ms: float = 10, ok: bool = True, version: Version = CANARY) -> Request:
    return Request(t=t, version=version, is_ok=ok, ms=ms, region=EU, route="/pay", instance=InstanceId("a"))


def test_a_line_says_a_request_and_what_is_left_out_has_a_usual_value() -> None:
    assert read_request(json.dumps(LINE)) == a_request(12.034, ms=31.5)
    short = {key: LINE[key] for key in ("t", "arm", "ok", "ms")}
    assert read_request(json.dumps(short)) == Request(t=12.034, version=CANARY, is_ok=True, ms=31.5)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"arm": "blue"}, '`arm` is "blue", not one of canary and baseline'),
        ({"arm": None}, "`arm` is null"),
        ({"ok": 1}, "`ok` is 1, not true or false"),
        ({"t": "12"}, '`t` is "12", not a number'),
        ({"t": -1}, "`t` is -1"),
        ({"t": True}, "`t` is true"),
        ({"ms": None}, "`ms` is null"),
        ({"ms": float("nan")}, "`ms` is NaN"),
        ({"ms": float("inf")}, "`ms` is Infinity"),
        ({"region": 7}, "`region` is 7, not a text"),
    ],
)
def test_a_line_that_says_none_is_told_why(changed: Mapping[str, object], says: str) -> None:
    with pytest.raises(BadRequestError, match="^" + says.replace("(", r"\(")):
        read_request(json.dumps({**LINE, **changed}))


@pytest.mark.parametrize("line", ["", "{", "[]", "7", "nonsense"])
def test_what_is_no_json_object_is_no_request(line: str) -> None:
    with pytest.raises(BadRequestError, match="no JSON"):
        read_request(line)


def test_a_request_belongs_to_the_second_in_which_its_fate_was_known() -> None:
    one, two = counted(a_request(0.9, ms=50), a_request(0.9, ms=200, ok=False))
    assert (one.at, two.at) == (0, 1)
    assert one.cells[0].requests == Fates(total=1)
    assert two.cells == (
        Cell(
            region=EU,
            route="/pay",
            version=CANARY,
            requests=Fates(total=1, failed=1),
            durations={bucket_of(200): 1},
            instances={InstanceId("a"): Fates(total=1, failed=1)},
        ),
    )


def test_a_request_that_hangs_is_slow_when_it_hangs_and_has_its_outcome_later_and_counts_once_in_each() -> None:
    seconds = counted(a_request(1.0, ms=8_000, ok=False))
    assert [second.at for second in seconds] == [6, 7, 8, 9]
    hangs, *between, ends = seconds
    assert (hangs.cells[0].durations, hangs.cells[0].requests) == ({LAST_BUCKET: 1}, Fates())
    assert [second.cells for second in between] == [(), ()]
    assert (ends.cells[0].durations, ends.cells[0].requests) == ({}, Fates(total=1, failed=1))


def test_a_second_without_a_line_is_without_traffic_and_no_gap() -> None:
    seconds = counted(a_request(0), a_request(3))
    assert [(second.at, len(second.cells), second.gap) for second in seconds] == [
        (0, 1, None),
        (1, 0, None),
        (2, 0, None),
        (3, 1, None),
    ]
    assert counted() == ()


def test_lines_may_be_five_seconds_out_of_order_and_no_more() -> None:
    assert counted(a_request(5.0), a_request(0.0)) == counted(a_request(0.0), a_request(5.0))
    with pytest.raises(BadRequestError, match=r"5\.100 s before one above it"):
        counted(a_request(5.1), a_request(0.0))
    with pytest.raises(BadRequestError, match="more than a week"):
        counted(a_request(0.0), a_request(1e9))


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 9_000), st.booleans()), max_size=30), st.randoms())
def test_the_order_of_lines_changes_nothing_and_no_request_is_lost(
    drawn: list[tuple[float, float, bool]], chance: object
) -> None:
    requests = [a_request(t, ms=ms, ok=ok) for t, ms, ok in drawn]
    shuffled = list(requests)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random
    seconds = counted(*requests)
    assert [normal(second) for second in counted(*shuffled)] == [normal(second) for second in seconds]
    cells = [cell for second in seconds for cell in second.cells]
    assert sum(cell.requests.total for cell in cells) == len(requests)
    assert sum(cell.requests.failed for cell in cells) == sum(not ok for _, _, ok in drawn)
    assert sum(sum(cell.durations.values()) for cell in cells) == len(requests)


def normal(second: Second) -> object:
    return second.at, [(c.version, c.requests, sorted(c.durations.items())) for c in second.cells]


def test_a_recordings_missing_seconds_are_gaps() -> None:
    found = list(without_holes([Second(at=3), Second(at=6, gap="Envoy was silent"), Second(at=7)]))
    assert [(one.at, one.gap) for one in found] == [
        (3, None),
        (4, "not recorded"),
        (5, "not recorded"),
        (6, "Envoy was silent"),
        (7, None),
    ]


def drawn(shares: list[float], *, rate: float = 100.0, seed: int = 1) -> list[Second]:
    chance = np.random.default_rng(seed)
    seconds = []
    for at, share in enumerate(shares):
        total = int(chance.poisson(rate))
        mine = int(chance.binomial(total, share))
        cells = [
            Cell(region=EU, route="/", version=version, requests=Fates(total=count))
            for version, count in ((CANARY, mine), (BASELINE, total - mine))
        ]
        seconds.append(Second(at=50 + at, cells=tuple(cells)))
    return seconds


def test_a_share_that_stays_is_measured_as_one() -> None:
    for seed in range(5):
        shares = measured_shares(drawn([0.05] * 1800, seed=seed), canary=CANARY)
        found = {shares(at)[EU] for at in range(50, 1850)}
        assert len(found) == 1
        assert 480 <= found.pop() <= 520


def test_the_steps_of_a_ramp_are_found_near_where_they_are() -> None:
    shares = measured_shares(
        drawn([0.0] * 100 + [0.01] * 300 + [0.05] * 400 + [0.25] * 300 + [1.0] * 60), canary=CANARY
    )
    found = [shares(at)[EU] for at in range(50, 50 + 1160)]
    changes = [number for number in range(1, 1160) if found[number] != found[number - 1]]
    assert len(changes) == 4
    assert all(abs(seen - real) <= 12 for seen, real in zip(changes, (100, 400, 800, 1100), strict=True))
    assert found[0] == 0
    assert found[-1] == 10_000
    assert 60 <= found[300] <= 140


def test_outside_of_what_was_seen_nothing_is_known_of_shares() -> None:
    shares = measured_shares(drawn([0.05] * 100), canary=CANARY)
    assert shares(49) == shares(150) == {}
    assert measured_shares([], canary=CANARY)(0) == {}
    assert constant_share(drawn([0.05] * 3), 700)(9) == {EU: 700}


class Scripted:
    """A judge that says what it was told to say, second by second."""

    def __init__(self, *calls: Call) -> None:
        self.calls = (Call.HOLD, *calls)
        self.taken: list[tuple[int, Mapping[Region, int]]] = []

    def take(self, second: Second, share_bp: Mapping[Region, int]) -> None:
        self.taken.append((second.at, share_bp))

    def judgement(self, *, next_share_bp: int) -> Judgement:
        ruling = Ruling(call=self.calls[len(self.taken)], why=Why.TOO_FEW, sentence="", next_share_bp=next_share_bp)
        return Judgement(at=len(self.taken), ruling=ruling, detail="")


H, P, R = Call.HOLD, Call.PROMOTE, Call.ROLLBACK


@pytest.mark.parametrize(
    ("calls", "call", "fell_at", "taken"),
    [
        ((H, H, R, R), R, 12, 3),
        ((H, P, P, P), P, 11, 4),
        ((P, H, P, P), P, 12, 4),
        ((P, P, R, H), R, 12, 3),
        ((P, P, H, H), H, None, 4),
        ((H, H, H, H), H, None, 4),
        ((P, P, P, P), P, 10, 4),
    ],
)
def test_a_verdict_falls_in_the_second_since_which_it_stood(
    calls: tuple[Call, ...], call: Call, fell_at: int | None, taken: int
) -> None:
    judge = Scripted(*calls)
    seconds = [Second(at=at) for at in range(10, 14)]
    found = replay(seconds, judge, shares=lambda at: {EU: at}, next_share_bp=500)
    assert (found.judgement.ruling.call, found.fell_at, found.seconds) == (call, fell_at, taken)
    assert judge.taken == [(at, {EU: at}) for at in range(10, 10 + taken)]
