"""What fails as instances are restarted behind HAProxy, under load, with hitless.lifecycle and without?

`python -m benchmarks.drain [server ...]` measures some servers alone.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.balanced import INSTANCES, SERVERS, Balanced, Server, balanced
from benchmarks.figures import median
from benchmarks.results import Cell, Goal, Result, Table, to_markdown
from benchmarks.stage import HAPROXY
from hitless.adapters.clock import SystemClock
from hitless.rollout.spec import Address
from hitless.testing.load import Kind, KindSpec, Load, LoadPlan, PostSpec, Report, RequestSpec

WITH, WITHOUT = "with", "without"
_MIX = "kept connections, a connection per request, POSTs with ids, requests of 0.4 s"
_MASKS = (
    "HAProxy: `option httpchk`, `inter 200ms fall 3 rise 2`, `timeout check 2s`, `retries 0`, no redispatch; its "
    "default of 3 retries, a second apart, would hide refused connections of servers that are back soon"
)
_TOO_LONG_S = 600.0
_COLUMNS = (
    "server",
    "hitless.lifecycle",
    "restarts",
    "requests",
    "failed",
    "by cause",
    "SIGTERM to end, median",
    "longest",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """At least so many restarts and requests for each row."""

    restarts: int
    requests: int
    rate_rps: float


FULL = Size(restarts=20, requests=50_000, rate_rps=550.0)
QUICK = Size(restarts=1, requests=200, rate_rps=100.0)
QUICK_SERVERS = ("uvicorn",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one server showed.

    Attributes:
        exits: exit codes by count.
        blackouts: how often HAProxy had no instance left: beyond what a restart does, probes came back too late.
    """

    server: str
    with_library: bool
    report: Report
    drains_s: tuple[float, ...]
    exits: Counter[int]
    blackouts: int

    @property
    def failed(self) -> int:
        """Requests without the right answer."""
        return self.report.failed


def run(*, quick: bool) -> Result:
    """Measure all servers."""
    return measure_all(QUICK_SERVERS if quick else tuple(SERVERS), QUICK if quick else FULL)


def measure_all(names: Sequence[str], size: Size) -> Result:
    """Measure some servers, each with the library and without."""
    if HAPROXY is None:
        raise RuntimeError("haproxy is not installed: apt-get install haproxy")
    rows = [measure(SERVERS[name], size, with_library=one) for name in names for one in (True, False)]
    ours = [row for row in rows if row.with_library]
    return Result(
        tables=(Table(title="Restarts behind HAProxy", columns=_COLUMNS, rows=tuple(_cells(row) for row in rows)),),
        goals=(
            Goal(name="failed requests with hitless.lifecycle", measured=sum(row.failed for row in ours), limit=0),
            Goal(
                name="fewest requests of a row",
                measured=min(row.report.sent for row in rows),
                limit=size.requests,
                at_least=True,
            ),
            Goal(
                name="fewest restarts of a row",
                measured=min(len(row.drains_s) for row in rows),
                limit=size.restarts,
                at_least=True,
            ),
        ),
        notes=(f"{INSTANCES} instances, restarted in turn; {size.rate_rps:g} requests/s: {_MIX}", _MASKS),
        broken=tuple(_broken(ours)),
    )


def measure(server: Server, size: Size, *, with_library: bool) -> Row:
    """Restart a server's instances in turn under load."""
    with (
        tempfile.TemporaryDirectory() as folder,
        balanced(server, Path(folder), with_library=with_library) as found,
    ):
        report = asyncio.run(_load(found, size))
        return Row(
            server=server.name,
            with_library=with_library,
            report=report,
            drains_s=tuple(found.drains_s),
            exits=Counter(found.exits),
            blackouts=found.blackouts,
        )


async def _load(found: Balanced, size: Size) -> Report:
    async with Load(plan(found.listen, size.rate_rps), clock=SystemClock()) as load:
        deadline = time.monotonic() + _TOO_LONG_S
        for instance in itertools.cycle(found.instances):
            is_enough = len(found.drains_s) >= size.restarts and load.snapshot().sent >= size.requests
            if is_enough or time.monotonic() > deadline:
                break
            await asyncio.to_thread(found.restart, instance)
        return await load.finish()


def plan(target: Address, rate_rps: float) -> LoadPlan:
    """Return the mix: mostly kept connections, as load balancers see it."""
    mix: dict[Kind, KindSpec] = {
        Kind.KEEPALIVE: RequestSpec(rate_rps=0.7 * rate_rps),
        Kind.CLOSE: RequestSpec(rate_rps=0.15 * rate_rps),
        Kind.POST: PostSpec(rate_rps=0.14 * rate_rps, executions_path=None),
        Kind.SLOW: RequestSpec(rate_rps=0.01 * rate_rps, path="/slow?seconds=0.4&id={id}"),
    }
    return LoadPlan(target=target, kinds=mix, duration_s=_TOO_LONG_S)


def _cells(row: Row) -> tuple[Cell, ...]:
    causes = ", ".join(f"{cause} {count:,}" for cause, count in sorted(row.report.total.failed.items()))
    spread = f"{median(row.drains_s):.1f} s", f"{max(row.drains_s):.1f} s"
    which = WITH if row.with_library else WITHOUT
    return row.server, which, len(row.drains_s), row.report.sent, row.failed, causes or "-", *spread


def _broken(rows: Sequence[Row]) -> list[str]:
    failed = [
        f"{row.server}: {row.failed} requests failed: {dict(row.report.total.failed)}" for row in rows if row.failed
    ]
    starved = [f"{row.server}: HAProxy had no instance {row.blackouts} times" for row in rows if row.blackouts]
    unclean = [f"{row.server}: exit codes {dict(row.exits)}" for row in rows if set(row.exits) - {0}]
    return failed + starved + unclean


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drain", description=__doc__)
    parser.add_argument("servers", nargs="*", metavar="server", help=f"of {', '.join(SERVERS)}; none = all")
    asked = parser.parse_args()
    outcome = measure_all(asked.servers or tuple(SERVERS), FULL)
    print(to_markdown("drain", outcome))
    sys.exit(1 if outcome.broken else 0)
