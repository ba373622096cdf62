"""A canary gets its share, and a user stays on a version while it widens."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from hitless.adapters.clock import SystemClock
from hitless.rollout.spec import Address
from hitless.testing.live import LiveProject
from hitless.testing.load import Kind, Load, LoadPlan, Report, RequestSpec, StickySpec

STEPS = {0.01: 12_000, 1.0: 4_000, 5.0: 4_000, 25.0: 4_000}
"""Share in percent, and how many independent requests are counted at it."""

USERS = 10_000
CALM_S = 2.0
"""After a change of weight, until every request that was sent before it has its answer."""


@pytest.mark.acceptance
@pytest.mark.alone
@pytest.mark.timeout(400)
async def test_a_canary_gets_its_share_and_users_only_ever_move_forward(shop: LiveProject) -> None:
    steps = ", ".join(f"{{weight: {share}%, pause: true}}" for share in STEPS)
    shop.write(
        shop.configuration.split("  canary:", maxsplit=1)[0] + f"  canary: {{steps: [{steps}, {{weight: 100%}}]}}\n"
    )
    shop.check("deploy", "--version", "v1", "--strategy", "rolling")
    host, _, port = shop.status("shop")["listen"].rpartition(":")
    kinds = {
        Kind.KEEPALIVE: RequestSpec(rate_rps=550),  # without a cookie: everyone is new, every draw independent
        Kind.STICKY: StickySpec(rate_rps=400, users=USERS, new_user_every=10, connections=32),
    }
    plan = LoadPlan(target=Address(host=host, port=int(port)), kinds=kinds, duration_s=300)
    async with Load(plan, clock=SystemClock()) as load:
        await until(lambda: load.snapshot().kinds[Kind.STICKY].sent > USERS)  # everyone has been here
        await asyncio.to_thread(shop.check, "deploy", "--version", "v2", "--strategy", "canary", "--detach")
        for number, (share, requests) in enumerate(STEPS.items()):
            await asyncio.to_thread(wait_until_waiting, shop, number)
            await asyncio.sleep(CALM_S)
            load.mark(f"{share} %")
            await until(lambda mark=f"{share} %", enough=requests: drawn(load.snapshot(), mark) >= enough)
            load.mark("between")
            await asyncio.to_thread(shop.check, "rollout", "promote", "shop", "--detach")
        report = await load.finish()
    assert report.total.failed == {}, report.examples
    assert_shares(report)
    sticky = report.kinds[Kind.STICKY]
    print(f"{sticky.sent:,} requests of {USERS:,} users: changes {sticky.changes}; {sticky.new_users:,} new users")
    assert set(sticky.changes) <= {"v1->v2"}
    assert set(sticky.new_user_changes) <= {"v1->v2"}  # the weight may grow between their two requests
    for share in STEPS:
        calm = report.by_mark[f"{share} %"][Kind.STICKY]
        assert calm.new_user_changes == {}
        assert calm.new_users > 100


def assert_shares(report: Report) -> None:
    for share in STEPS:
        counted = report.by_mark[f"{share} %"][Kind.KEEPALIVE].versions
        total, canary = sum(counted.values()), counted.get("v2", 0)
        chance = share / 100
        z = (canary - total * chance) / math.sqrt(total * chance * (1 - chance))
        print(f"{share} %: {canary} of {total:,} requests, z {z:+.2f}")
        assert abs(z) <= 4


def drawn(report: Report, mark: str) -> int:
    kinds = report.by_mark.get(mark, {})
    return kinds[Kind.KEEPALIVE].answered if Kind.KEEPALIVE in kinds else 0


def wait_until_waiting(project: LiveProject, stage: int) -> None:
    """Wait until the stage has settled and only a person is missing."""
    for _ in range(600):
        rollout: dict[str, Any] = project.status("shop")["rollout"]
        unmet = [one["name"] for one in rollout["stages"][rollout["stage"]]["until"] if not one["met"]]
        if rollout["stage"] == stage and unmet == ["approved"]:
            return
    raise AssertionError(rollout)


async def until(condition: Any) -> None:
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110 - a report is polled, nothing tells of it
            await asyncio.sleep(0.1)
