from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hitless.adapters.envoy.layout import Layout, belongs_to, cluster_name, version_of
from hitless.adapters.envoy.refusals import AddressUnusable
from hitless.adapters.envoy.resources import cluster, endpoints, listeners, upstream_idle_timeout_s
from hitless.adapters.envoy.routes import preview_routes, routes
from hitless.rollout.spec import (
    Address,
    BlueGreenSpec,
    CanarySpec,
    CanaryStep,
    InstanceId,
    OverrideSpec,
    RunSpec,
    ServiceSpec,
    StrategySpecs,
    TlsSpec,
    TrafficSpec,
    Version,
)
from hitless.rollout.world import EMPTY_TABLE, Endpoint, EndpointState, Table

LISTEN = Address(host="127.0.0.1", port=8080)
LAYOUT = Layout(Path("/run/hitless/local"))


def _spec(*, strategy: StrategySpecs | None = None, **traffic: object) -> ServiceSpec:
    return ServiceSpec(
        name="shop",
        instances=2,
        run=RunSpec(command=("true",)),
        traffic=TrafficSpec(**{"listen": LISTEN, **traffic}),
        strategy=strategy or StrategySpecs(),
    )


def _end(port: int, state: EndpointState = EndpointState.ACTIVE) -> Endpoint:
    return Endpoint(address=Address(host="127.0.0.1", port=port), state=state)


def _table(weights: dict[str, int], *, preview: str | None = None, salt: str = "") -> Table:
    return Table(
        weights={Version(name): weight for name, weight in weights.items()},
        endpoints={
            Version("v2"): {InstanceId("b"): _end(2)},
            Version("v1"): {InstanceId("a"): _end(1)},
            Version("v0"): {InstanceId("z"): _end(3, EndpointState.DRAINING)},
        },
        preview=Version(preview) if preview else None,
        salt=salt,
    )


def _all_routes(rendered: dict[str, object]) -> list[dict[str, object]]:
    return json.loads(json.dumps(rendered))["virtual_hosts"][0]["routes"]


def test_a_listener_holds_nothing_that_a_rollout_or_another_strategy_changes() -> None:
    one = _spec(sticky_cookie="a", keep_alive_s=5.0, http2=True)
    other = _spec(
        idle_timeout_s=10.0,
        override=OverrideSpec(header="x-v", token="t"),
        strategy=StrategySpecs(canary=CanarySpec(steps=(CanaryStep(weight_bp=1),))),
    )
    assert listeners(one, LAYOUT) == listeners(other, LAYOUT)


def test_preview_and_tls_make_listeners_of_their_own_kind() -> None:
    spec = _spec(
        tls=TlsSpec(cert="c.pem", key="k.pem"),
        strategy=StrategySpecs(blue_green=BlueGreenSpec(preview=Address(host="127.0.0.1", port=8081))),
    )
    found = listeners(spec, LAYOUT)
    assert set(found) == {"shop", "shop@preview"}
    assert all("transport_socket" in listener["filter_chains"][0] for listener in found.values())


def test_a_host_name_is_no_address_to_listen_on() -> None:
    with pytest.raises(AddressUnusable, match="localhost is not an IP address"):
        listeners(_spec(listen=Address(host="localhost", port=80)), LAYOUT)


@pytest.mark.parametrize(("keep_alive_s", "idle_s"), [(75.0, 74.0), (5.0, 4.0), (2.0, 1.0), (1.0, 0.5)])
def test_idle_connections_are_closed_before_the_application_closes_them(keep_alive_s: float, idle_s: float) -> None:
    assert upstream_idle_timeout_s(keep_alive_s) == idle_s


@pytest.mark.parametrize("version", ["1.2.3", "feature/x", "a:b", "../../etc", "ünï", "v@1"])
def test_every_version_has_a_cluster_name_that_is_a_file_name_and_leads_back(version: str) -> None:
    name = cluster_name("shop", Version(version))
    assert version_of(name) == version
    assert belongs_to(name, "shop")
    assert re.fullmatch(r"shop@[\w.~%-]+", name)
    assert LAYOUT.endpoints(name).resolve().parent == (LAYOUT.root / "eds").resolve()


def test_http2_is_spoken_upstream_only_when_asked_for() -> None:
    def options(*, http2: bool) -> str:
        return json.dumps(cluster(_spec(http2=http2), Version("v1"), LAYOUT))

    assert '"http2_protocol_options"' in options(http2=True)
    assert '"HTTP2"' in options(http2=True)
    assert "http2" not in options(http2=False).lower()


def test_draining_endpoints_stay_listed_as_draining() -> None:
    rendered = endpoints("shop@v1", {InstanceId("a"): _end(1), InstanceId("b"): _end(2, EndpointState.DRAINING)})
    states = [one["health_status"] for one in rendered["endpoints"][0]["lb_endpoints"]]
    assert states == ["HEALTHY", "DRAINING"]


def test_without_weights_the_answer_is_503_with_a_reason_and_a_time_to_come_back() -> None:
    (only,) = _all_routes(routes(_spec(), EMPTY_TABLE))
    assert only["direct_response"] == {
        "status": 503,
        "body": {"inline_string": "hitless: no version of shop serves yet\n"},
    }
    assert "retry-after" in json.dumps(only["response_headers_to_add"])


def test_weights_keep_their_order_and_zero_weights_are_left_out() -> None:
    (only,) = _all_routes(routes(_spec(), _table({"v2": 1, "v1": 9_999, "v0": 0})))
    assert only["route"]["weighted_clusters"] == {
        "clusters": [{"name": "shop@v2", "weight": 1}, {"name": "shop@v1", "weight": 9_999}]
    }


def test_no_route_has_a_deadline_and_every_route_only_safe_retries() -> None:
    spec = _spec(sticky_cookie="uid", override=OverrideSpec(header="x-v", token="t"))
    for one in _all_routes(routes(spec, _table({"v1": 10_000}))):
        assert one["route"]["timeout"] == "0s"
        assert "per_try_timeout" not in one["route"]["retry_policy"]
        assert one["route"]["retry_policy"]["retry_on"] == "connect-failure,refused-stream,reset-before-request"


def test_sticky_routes_hash_the_salted_cookie_or_the_request_id_that_becomes_it() -> None:
    known, new = _all_routes(routes(_spec(sticky_cookie="u.id"), _table({"v2": 100, "v1": 9_900}, salt=r"r\1")))
    assert known["route"]["hash_policy"][0]["header"]["header_name"] == "cookie"
    assert known["route"]["hash_policy"][0]["header"]["regex_rewrite"]["substitution"] == r"r\\1:\1"
    assert new["route"]["hash_policy"][0]["header"]["header_name"] == "x-request-id"
    assert new["response_headers_to_add"][0]["header"]["value"].startswith("u.id=%REQ(X-REQUEST-ID)%; ")
    assert known["route"]["weighted_clusters"] == new["route"]["weighted_clusters"]


def test_the_cookie_is_found_among_others_and_not_in_longer_names() -> None:
    known, _ = _all_routes(routes(_spec(sticky_cookie="u.id"), _table({"v1": 10_000})))
    pattern = re.compile(known["match"]["headers"][0]["string_match"]["safe_regex"]["regex"])
    for header in ("u.id=7", "a=b; u.id=7", "a=b;u.id=7; c=d"):
        found = pattern.fullmatch(header)
        assert found is not None
        assert found[1] == "7"
    for header in ("xu.id=7", "uxid=7", "u.id=", "a=u.id", "a=b"):
        assert pattern.fullmatch(header) is None


@pytest.mark.parametrize("has_tls", [True, False])
def test_the_cookie_is_secure_exactly_under_tls(has_tls: bool) -> None:
    tls = TlsSpec(cert="c", key="k") if has_tls else None
    text = json.dumps(routes(_spec(sticky_cookie="u", tls=tls), _table({"v1": 10_000})))
    assert "HttpOnly; SameSite=Lax" in text
    assert ("; Secure" in text) == has_tls


def test_override_routes_need_the_token_exist_for_active_versions_and_hide_their_headers() -> None:
    rendered = routes(_spec(override=OverrideSpec(header="x-v", token="secret")), _table({"v1": 10_000}))
    chosen = [one for one in _all_routes(rendered) if "cluster" in one["route"]]
    assert [one["route"]["cluster"] for one in chosen] == ["shop@v2", "shop@v1"]
    assert all({"name": "x-v-token", "string_match": {"exact": "secret"}} in one["match"]["headers"] for one in chosen)
    assert rendered["virtual_hosts"][0]["request_headers_to_remove"] == ["x-v", "x-v-token"]


def test_the_preview_shows_its_version_or_says_that_there_is_none() -> None:
    (shown,) = _all_routes(preview_routes(_spec(), _table({"v1": 10_000}, preview="v2")))
    assert shown["route"]["cluster"] == "shop@v2"
    for preview in (None, "v0", "v9"):
        (none,) = _all_routes(preview_routes(_spec(), _table({"v1": 10_000}, preview=preview)))
        assert none["direct_response"]["status"] == 503
