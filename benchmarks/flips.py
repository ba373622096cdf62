"""From a decision to the last request that still met the old version."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import MILLISECONDS, quantile, spread_ms
from benchmarks.load import Seen, closed_loop, last_sent_s
from benchmarks.results import Goal, Result, Table
from benchmarks.shop import LEAST_PATH, NAME, Shop, is_settled, routed_bp, shop
from benchmarks.stage import Plane, Upstream, envoy, upstream

FLIPS, QUICK_FLIPS = 150, 10
ABORTS, QUICK_ABORTS = 25, 1
CONNECTIONS = 8
ABORT_RATE_RPS = 1_000.0  # leaves the cores to the instances that start; a candidate at 25 % answers one every 4 ms
CANARY = "[{weight: 25%, hold: 1h}, {weight: 100%}]"
CANARY_BP = 2_500
ALL_BP = 10_000

Flip = tuple[float, str]
"""When it was decided, and the version that is to get nothing more."""


def run(*, quick: bool) -> Result:
    """Measure flips of the router alone, then aborts through the API."""
    flips_s, applies_s, flipped = asyncio.run(_flip(QUICK_FLIPS if quick else FLIPS))
    answers_s, aborts_s, aborted = _abort(QUICK_ABORTS if quick else ABORTS)
    rows = (
        ("apply() called -> last request sent that met the old version", flips_s),
        ("apply() called -> Envoy has confirmed, apply() returns", applies_s),
        ("abort sent to the API -> last request sent that met the candidate", aborts_s),
        ("abort sent to the API -> its answer (decision is durable)", answers_s),
    )
    table = Table(
        title="Flips",
        columns=("what", "n", "p50 ms", "p95 ms", "p99 ms", "max ms"),
        rows=tuple((name, len(values), *spread_ms(values)) for name, values in rows),
    )
    failed = Counter(flipped.failed) + Counter(aborted.failed)
    return Result(
        tables=(table,),
        goals=(
            Goal(name="flip, p99", measured=quantile(flips_s, 0.99) * MILLISECONDS, limit=100.0, unit=" ms"),
            Goal(name="abort to weight 0, max", measured=max(aborts_s) * MILLISECONDS, limit=1_000.0, unit=" ms"),
        ),
        notes=(
            f"flips 0 <-> 100 % under {CONNECTIONS} closed-loop connections, {len(flipped.started_at):,} requests",
            f"aborts at 25 % under {ABORT_RATE_RPS:,.0f} requests a second, {len(aborted.started_at):,} requests",
        ),
        broken=tuple(f"{count} requests failed: {cause}" for cause, count in failed.items()),
    )


async def _flip(times: int) -> tuple[list[float], list[float], Seen]:
    with tempfile.TemporaryDirectory() as folder, upstream("v1") as one, upstream("v2") as two:
        async with envoy(Path(folder)) as plane:
            await plane.route({"v1": ALL_BP}, [one, two])
            with closed_loop(plane.listen, connections=CONNECTIONS) as load:
                flips, applies_s = await _flip_to_and_fro(plane, [one, two], times)
                seen = await asyncio.to_thread(load.finish)
    return _last_old_s(flips, seen), applies_s, seen


async def _flip_to_and_fro(plane: Plane, upstreams: Sequence[Upstream], times: int) -> tuple[list[Flip], list[float]]:
    flips, applies_s = [], []
    old, new = "v1", "v2"
    for _ in range(times):
        await asyncio.sleep(random.uniform(0.1, 0.2))
        at = time.monotonic()
        await plane.route({new: ALL_BP}, upstreams)
        applies_s.append(time.monotonic() - at)
        flips.append((at, old))
        old, new = new, old
    await asyncio.sleep(0.2)
    return flips, applies_s


def _last_old_s(flips: list[Flip], seen: Seen) -> list[float]:
    answered = {version: seen.answered_by(version) for version in seen.versions}
    ends = [at for at, _ in flips[1:]] + [float("inf")]
    return [last_sent_s(answered[old], since=at, until=end) for (at, old), end in zip(flips, ends, strict=True)]


def _abort(times: int) -> tuple[list[float], list[float], Seen]:
    with (
        shop(steps=CANARY) as project,
        closed_loop(project.listen, connections=CONNECTIONS, rate_rps=ABORT_RATE_RPS, path=LEAST_PATH) as load,
    ):
        rounds = [_abort_once(project, f"canary-{number}") for number in range(times)]
        seen = load.finish()
    return [answer_s for answer_s, _ in rounds], _last_old_s([flip for _, flip in rounds], seen), seen


def _abort_once(project: Shop, version: str) -> tuple[float, Flip]:
    project.deploy(version, "canary")
    project.until(lambda view: routed_bp(view, version) == CANARY_BP)
    time.sleep(random.uniform(0.2, 0.4))
    at = time.monotonic()
    project.client.act(NAME, "abort", actor="user:bench", reason=None)
    answer_s = time.monotonic() - at
    project.until(is_settled)
    return answer_s, (at, version)
