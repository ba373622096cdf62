"""A version that keeps 60 MB an hour: how long until its rollout is held, and what it says; users notice nothing."""

from __future__ import annotations

import time

from benchmarks.results import Goal, Result, Table
from benchmarks.shop import NAME, Shop, shop
from hitless.testing.live import live_load

RATE_RPS = 200
STEPS = "[{weight: 50%, hold: 1h}, {weight: 100%}]"
LONGEST_S, SHORT_S = 1_800.0, 5.0
QUICKEST_MIN = 30.0
VERSION = "v2-leaks-60-mb-an-hour"


def run(*, quick: bool) -> Result:
    with shop(steps=STEPS) as live:
        with live_load(str(live.listen), "--rate", str(RATE_RPS), duration_s=LONGEST_S + 60) as load:
            time.sleep(2 if quick else 60)
            live.deploy(VERSION, "canary")
            said, minutes = _held(live, SHORT_S if quick else LONGEST_S)
            rollout = live.view()["rollout"]
            state = rollout["state"] if rollout else "gone"
            report = load.finish()
        live.client.act(NAME, "abort", actor="user:bench", reason=None)
    broken = [f"{report.failed} requests failed: {dict(report.total.failed)}"] if report.failed else []
    broken += [f"the rollout is {state}, not held"] if state != "running" else []
    row = (f"{minutes:.1f}" if said else "not yet", report.sent, report.failed, said or "")
    return Result(
        tables=(
            Table(title="60 MB an hour", columns=("held after, min", "requests", "failed", "it says"), rows=(row,)),
        ),
        goals=() if quick else (Goal(name="held after", measured=minutes, limit=QUICKEST_MIN, unit="min"),),
        notes=(f"{RATE_RPS} requests a second, half of them to the new version; one new instance beside two old ones",),
        broken=tuple(broken),
    )


def _held(live: Shop, within_s: float) -> tuple[str | None, float]:
    """Wait until its memory holds the rollout; return the sentence and the minutes since the deploy."""
    began = time.monotonic()
    while time.monotonic() < began + within_s:
        rollout = live.view()["rollout"]
        judgement = rollout["judgement"] if rollout else None
        if judgement and judgement["why"] == "resources":
            return judgement["detail"], (time.monotonic() - began) / 60
        time.sleep(1)
    return None, within_s / 60
