"""What a proxy costs: direct calls, hitless' Envoy and HAProxy before the same application, in the same minutes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import shutil
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.figures import MICROSECONDS, MILLISECONDS, median, quantile
from benchmarks.load import Seen, load_for
from benchmarks.results import Cell, Goal, Result, Table
from benchmarks.stage import HAPROXY, cpu_s, envoy, haproxy, upstream
from hitless.rollout.spec import Address

CONNECTIONS = (1, 2, 16)
ROUNDS, QUICK_ROUNDS = 7, 1
ROUND_S, QUICK_ROUND_S = 2.0, 0.2
DIRECT, ENVOY, RIVAL = "direct", "Envoy by hitless", "HAProxy"
FOREIGN_LIMIT = 0.12
"""Rounds in which others took more of the machine do not count, unless fewer than `ROUNDS_NEEDED` are left."""

ROUNDS_NEEDED = 3
WRK = shutil.which("wrk")
_NOTES = (
    "load: benchmarks/client.py, one closed-loop process on the same cores as everything else: trust ratios",
    "rounds in which others took more than 12 % of the machine are left out while three are left",
    "the client's own CPU stands in every row: ratios are kinder to proxies than those of a client that costs nothing",
    "Envoy writes hitless' access log, retries and counts as in production; HAProxy does the least that it can",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something to ask; `pid` of the proxy, None = there is none."""

    name: str
    address: Address
    pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One short load."""

    rps: float
    p50_ms: float
    p99_ms: float
    proxy_us: float
    client_us: float
    foreign: float
    failed: int


Rounds = dict[tuple[int, str], list[Round]]


def run(*, quick: bool) -> Result:
    """Measure short rounds in random order, and compare their medians."""
    rounds, checks = asyncio.run(_measure(QUICK_ROUNDS if quick else ROUNDS, QUICK_ROUND_S if quick else ROUND_S))
    failed = sum(one.failed for cell in rounds.values() for one in cell)
    rounds = {key: _quiet(cell) for key, cell in rounds.items()}
    return Result(
        tables=(_table(rounds), *([_cross_check(checks)] if checks else [])),
        goals=tuple(_goals(rounds)),
        notes=(
            *_NOTES,
            *(() if HAPROXY else ("HAProxy is not installed (Debian: haproxy): its rows are left out",)),
            *(() if WRK else ("wrk is not installed: no cross-check",)),
        ),
        broken=(f"{failed} requests failed",) if failed else (),
    )


async def _measure(rounds: int, seconds: float) -> tuple[Rounds, dict[str, float]]:
    found: Rounds = defaultdict(list)
    async with _targets() as targets:
        order = [(connections, target) for connections in CONNECTIONS for target in targets] * rounds
        random.shuffle(order)
        for connections, target in order:
            found[connections, target.name].append(await asyncio.to_thread(_round, target, connections, seconds))
        checks = {target.name: await asyncio.to_thread(_wrk, target, seconds) for target in targets} if WRK else {}
    return found, checks


@contextlib.asynccontextmanager
async def _targets() -> AsyncIterator[list[Target]]:
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        application = stack.enter_context(upstream("v1"))
        async with envoy(directory) as plane:
            await plane.route({"v1": 10_000}, [application])
            targets = [
                Target(name=DIRECT, address=application.address),
                Target(name=ENVOY, address=plane.listen, pid=plane.pid),
            ]
            if HAPROXY:
                address, pid = stack.enter_context(haproxy(application.address, directory))
                targets.append(Target(name=RIVAL, address=address, pid=pid))
            yield targets


def _round(target: Target, connections: int, seconds: float) -> Round:
    before, busy_s, ours_s, began_s = _proxy_s(target), _busy_s(), _ours_s(target), time.monotonic()
    seen = load_for(seconds, target.address, connections=connections)
    ours_s = _ours_s(target) - ours_s + seen.cpu_s
    there_was_s = (time.monotonic() - began_s) * len(os.sched_getaffinity(0))
    foreign = max(_busy_s() - busy_s - ours_s, 0.0) / there_was_s
    return _judge(seen, _proxy_s(target) - before, foreign)


def _proxy_s(target: Target) -> float:
    return cpu_s(target.pid) if target.pid else 0.0


def _busy_s() -> float:
    """CPU time that was used, or taken away by the host, on all cores."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


def _ours_s(target: Target) -> float:
    """CPU time of applications, this process, and the proxy, which may be nobody's child; the client is no more."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    known = {one.pid for one in family}
    spent = sum(cpu_s(pid) for pid in known)
    return spent if target.pid in known else spent + _proxy_s(target)


def _quiet(cell: list[Round]) -> list[Round]:
    """Leave out rounds that others have disturbed."""
    ordered = sorted(cell, key=lambda one: one.foreign)
    return [one for rank, one in enumerate(ordered) if rank < ROUNDS_NEEDED or one.foreign <= FOREIGN_LIMIT]


def _judge(seen: Seen, proxy_cpu_s: float, foreign: float) -> Round:
    answered = len(seen.took_s)
    return Round(
        rps=answered / seen.span_s,
        p50_ms=quantile(seen.took_s, 0.5) * MILLISECONDS,
        p99_ms=quantile(seen.took_s, 0.99) * MILLISECONDS,
        proxy_us=proxy_cpu_s / answered * MICROSECONDS,
        client_us=seen.cpu_s / answered * MICROSECONDS,
        foreign=foreign,
        failed=sum(seen.failed.values()),
    )


def _table(rounds: Rounds) -> Table:
    names = [name for name in (DIRECT, ENVOY, RIVAL) if (CONNECTIONS[0], name) in rounds]
    return Table(
        title="A no-op application, medians of rounds that others did not disturb",
        columns=_COLUMNS,
        rows=tuple(_row(rounds, connections, name) for connections in CONNECTIONS for name in names),
    )


_COLUMNS = (
    *("connections", "way", "rounds", "requests/s", "of direct", "p50 ms", "p99 ms"),
    *("proxy CPU us", "client CPU us", "foreign CPU"),
)


def _row(rounds: Rounds, connections: int, name: str) -> tuple[Cell, ...]:
    cell = rounds[connections, name]
    p50_ms, p99_ms = median([one.p50_ms for one in cell]), median([one.p99_ms for one in cell])
    proxy = f"{median([one.proxy_us for one in cell]):.0f}" if name != DIRECT else ""
    client = f"{median([one.client_us for one in cell]):.0f}"
    rps, share = _rps(rounds, connections, name), _of_direct(rounds, connections, name)
    foreign = f"{median([one.foreign for one in cell]):.0%}"
    figures = (round(rps), f"{share:.2f}", f"{p50_ms:.2f}", f"{p99_ms:.2f}")
    return connections, name, len(cell), *figures, proxy, client, foreign


def _goals(rounds: Rounds) -> list[Goal]:
    shares = [_of_direct(rounds, connections, ENVOY) for connections in CONNECTIONS if connections > 1]
    more_ms = median([one.p50_ms for one in rounds[1, ENVOY]]) - median([one.p50_ms for one in rounds[1, DIRECT]])
    return [
        Goal(
            name="Envoy's requests/s of direct, 2 or more connections, worst",
            measured=min(shares),
            limit=0.4,
            at_least=True,
        ),
        Goal(name="Envoy's p50 above direct, 1 connection", measured=more_ms, limit=0.5, unit=" ms"),
    ]


def _rps(rounds: Rounds, connections: int, name: str) -> float:
    return median([one.rps for one in rounds[connections, name]])


def _of_direct(rounds: Rounds, connections: int, name: str) -> float:
    return _rps(rounds, connections, name) / _rps(rounds, connections, DIRECT)


def _wrk(target: Target, seconds: float) -> float:
    assert WRK is not None
    command = [WRK, "-t1", f"-c{CONNECTIONS[-1]}", f"-d{max(round(seconds), 1)}s", f"http://{target.address}/"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found is not None, said
    return float(found[1])


def _cross_check(checks: dict[str, float]) -> Table:
    rows = tuple((name, round(rps), f"{rps / checks[DIRECT]:.2f}") for name, rps in checks.items())
    return Table(title=f"wrk, {CONNECTIONS[-1]} connections", columns=("way", "requests/s", "of direct"), rows=rows)
