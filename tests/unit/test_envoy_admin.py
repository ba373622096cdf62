"""Envoy's listing of endpoints is parsed only when it says something new."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hitless.adapters.envoy.admin import Admin
from hitless.rollout.spec import Address


def listing(*clusters: dict[str, Any]) -> bytes:
    """Write as Envoy does: one space an indent."""
    return json.dumps({"cluster_statuses": list(clusters)}, indent=1).encode()


def cluster(name: str, *, port: int, active: int = 0, failed: bool = False) -> dict[str, Any]:
    health = {"eds_health_status": "HEALTHY", **({"failed_active_health_check": True} if failed else {})}
    return {
        "name": name,
        "host_statuses": [
            {
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                "stats": [{"name": "rq_total"}, {"type": "GAUGE", "value": str(active), "name": "rq_active"}],
                "health_status": health,
            }
        ],
    }


class Telling(Admin):
    """Envoy's admin interface with answers of the test's."""

    def __init__(self) -> None:
        super().__init__(Path("admin.sock"))
        self.answer = b""

    async def _request(self, *_asked: str) -> bytes:
        return self.answer


async def test_another_order_is_nothing_new() -> None:
    admin, (a, b, c) = Telling(), (cluster(name, port=port) for port, name in enumerate("abc", start=1))
    admin.answer = listing(a, b, c)
    first = await admin.hosts()
    for order in [(c, b, a), (b, c, a), (a, c, b)]:
        admin.answer = listing(*order)
        assert await admin.hosts() is first


@pytest.mark.parametrize("other", [cluster("b", port=2, active=1), cluster("b", port=3), cluster("x", port=2)])
async def test_any_other_word_is_read(other: dict[str, Any]) -> None:
    admin, a = Telling(), cluster("a", port=1)
    admin.answer = listing(a, cluster("b", port=2))
    first = await admin.hosts()
    admin.answer = listing(a, other)
    assert await admin.hosts() != first


async def test_a_cluster_that_is_gone_is_missed() -> None:
    admin, a, b = Telling(), cluster("a", port=1), cluster("b", port=2)
    admin.answer = listing(a, b)
    assert set(await admin.hosts()) == {"a", "b"}
    admin.answer = listing(b)
    assert set(await admin.hosts()) == {"b"}


async def test_the_health_check_has_a_word_of_its_own() -> None:
    admin = Telling()
    admin.answer = listing(cluster("a", port=1), cluster("b", port=2, failed=True))
    hosts = await admin.hosts()
    assert hosts["a"][Address(host="127.0.0.1", port=1)].passes is True
    assert hosts["b"][Address(host="127.0.0.1", port=2)].passes is False
    assert not hosts["b"][Address(host="127.0.0.1", port=2)].is_usable
