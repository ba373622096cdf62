from __future__ import annotations

import pytest

from hitless.errors import Refused, UserError
from hitless.rollout.spec import Address
from hitless.testing.load import BadLoadPlan, Kind, LoadOptions, LoadPlan, RequestSpec, StreamSpec, usual_mix
from hitless.testing.load.command import parse_address, parse_kinds
from hitless.testing.load.plan import USUAL, KindSpec

HERE = Address(host="127.0.0.1", port=8080)
GETS: dict[Kind, KindSpec] = {Kind.KEEPALIVE: RequestSpec(rate_rps=1)}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_is_a_target(host: str) -> None:
    assert LoadPlan(target=Address(host=host, port=80), kinds=GETS, duration_s=1).target.host == host


@pytest.mark.parametrize("host", ["192.0.2.1", "example.test", "localhost.example.test", "0.0.0.0", "::"])
def test_another_machine_is_refused_unless_it_is_allowed(host: str) -> None:
    target = Address(host=host, port=80)
    with pytest.raises(Refused) as refusal:
        LoadPlan(target=target, kinds=GETS, duration_s=1)
    assert any("--allow-remote" in hint for hint in refusal.value.hints)
    assert LoadPlan(target=target, kinds=GETS, duration_s=1, allow_remote=True)


@pytest.mark.parametrize(
    ("kinds", "duration_s", "max_requests"),
    [
        ({}, 1, 1),
        (GETS, 0, 1),
        (GETS, 1, 0),
        ({Kind.KEEPALIVE: RequestSpec(rate_rps=0)}, 1, 1),
        ({Kind.KEEPALIVE: RequestSpec(rate_rps=1, connections=0)}, 1, 1),
        ({Kind.SSE: StreamSpec(streams=0, path="/events")}, 1, 1),
        ({Kind.POST: RequestSpec(rate_rps=1)}, 1, 1),
        ({Kind.KEEPALIVE: StreamSpec(streams=1, path="/")}, 1, 1),
    ],
)
def test_a_plan_without_work_or_bounds_or_with_another_kinds_spec_is_an_error(
    kinds: dict[Kind, KindSpec], duration_s: float, max_requests: int
) -> None:
    with pytest.raises(UserError):
        LoadPlan(target=HERE, kinds=kinds, duration_s=duration_s, max_requests=max_requests)


def test_the_usual_mix_spreads_the_whole_rate_over_the_kinds_that_are_asked_for() -> None:
    for kinds in (USUAL, (Kind.KEEPALIVE, Kind.POST), (Kind.SLOW,)):
        mix = usual_mix(500, kinds=kinds)
        assert set(mix) == set(kinds)
        assert sum(spec.rate_rps for spec in mix.values() if isinstance(spec, RequestSpec)) == pytest.approx(500)


def test_options_become_a_plan() -> None:
    plan = LoadOptions(target="[::1]:8080", rate_rps=10, duration_s=2, kinds=("post", "sse"), streams=4).plan()
    assert plan.target == Address(host="::1", port=8080)
    assert set(plan.kinds) == {Kind.POST, Kind.SSE}
    assert plan.kinds[Kind.SSE] == StreamSpec(streams=4, path="/events")


@pytest.mark.parametrize("text", ["", "8080", "127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:http", "127.0.0.1:70000"])
def test_a_target_that_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(BadLoadPlan):
        parse_address(text)


def test_an_unknown_kind_is_an_error_that_lists_the_kinds() -> None:
    with pytest.raises(BadLoadPlan) as problem:
        parse_kinds(("keepalive", "carrier-pigeon"))
    assert "carrier-pigeon" in problem.value.message
    assert "websocket" in problem.value.hints[0]
