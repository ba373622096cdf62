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

STEPS = {0.01: 25_000, 1.0: 10_000, 5.0: 10_000, 25.0: 10_000}
"""Share in percent, and how many independent requests are counted at it."""

USERS = 10_000


@pytest.mark.acceptance
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
        Kind.STICKY: StickySpec(rate_rps=450, users=USERS, new_user_every=10, connections=32),
    }
    plan = LoadPlan(target=Address(host=host, port=int(port)), kinds=kinds, duration_s=300)
    async with Load(plan, clock=SystemClock()) as load:
        await until(lambda: load.snapshot().kinds[Kind.STICKY].sent > 2 * USERS)  # everyone has been here
        await asyncio.to_thread(shop.check, "deploy", "--version", "v2", "--strategy", "canary", "--detach")
        for number, (share, requests) in enumerate(STEPS.items()):
            await asyncio.to_thread(wait_until_waiting, shop, number)
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
    assert set(sticky.new_user_changes) <= {"v1->v2"}
    assert sum(sticky.new_user_changes.values()) <= 5  # the weight grew between their first and second request
    assert sticky.new_users > 1_000


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
        while not condition():
            await asyncio.sleep(0.1)
