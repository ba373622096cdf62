"""What is asked of whom: the settings that were deployed last decide what is read of both versions' figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from hitless.bootstrap import Loops, _asked
from hitless.rollout.spec import (
    Address,
    MetricsSpec,
    PrometheusSpec,
    RatioSpec,
    RunSpec,
    ServiceSpec,
    TrafficSpec,
    Version,
)
from hitless.rollout.state import Outcome, Rollout, ServiceState

V1, V2 = Version("v1"), Version("v2")
ORDERS = RatioSpec(name="orders", good="paid_total", total="orders_total", is_query=True)
CACHE = RatioSpec(name="cache", bad="misses_total", total="lookups_total")
PROMETHEUS = PrometheusSpec(url="http://127.0.0.1:9090")
OLD, NEW = MetricsSpec(), MetricsSpec(ratios=(ORDERS, CACHE), prometheus=PROMETHEUS)


@dataclass
class Candidate:
    """What of a rollout is looked at."""

    candidate: Version = V2
    outcome: Outcome | None = None


@dataclass
class Loop:
    state: ServiceState


def state(new: MetricsSpec | None, *, outcome: Outcome | None = None, stable: Version = V1) -> ServiceState:
    spec = ServiceSpec(
        name="shop",
        instances=1,
        run=RunSpec(command=("shop",)),
        traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=8080)),
        metrics=OLD,
    )
    return ServiceState(
        service="shop",
        specs={V1: spec, V2: replace(spec, metrics=new)},
        stable=stable,
        rollout=cast("Rollout", Candidate(outcome=outcome)),
    )


def test_a_version_that_comes_in_says_what_is_read_and_one_that_was_taken_back_does_not() -> None:
    assert state(NEW).figures_wanted == NEW
    assert state(NEW, outcome=Outcome.ROLLED_BACK).figures_wanted == OLD
    assert state(NEW, outcome=Outcome.COMPLETED, stable=V2).figures_wanted == NEW


async def test_a_prometheus_is_asked_for_the_ratios_that_are_queries_and_for_every_version() -> None:
    async def asked(new: MetricsSpec) -> list[tuple[object, ...]]:
        found = await _asked(cast("Loops", {"shop": Loop(state(new))}))
        return [(one.service, one.prometheus, one.ratios, one.versions) for one in found]

    assert await asked(NEW) == [("shop", PROMETHEUS, (ORDERS,), frozenset({V1, V2}))]
    assert await asked(replace(NEW, ratios=(CACHE,))) == []
    assert await asked(replace(NEW, prometheus=None)) == []
