"""What reading what users met costs: per line of the log, at rest, and how long the event loop is held up by it."""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.results import Goal, Result, Table
from hitless.adapters.envoy.request_log import MOST_BYTES, Look, RequestLog
from hitless.adapters.envoy.tail import LogTail
from hitless.adapters.metrics.exposition import parse_calls
from hitless.adapters.metrics.history import History
from hitless.analysis.counts import Cell, Fates, Second
from hitless.rollout.spec import LOCAL, InstanceId, Version

BEGIN = 1_796_040_000.0
PER_SECOND = 1_000
LINES, QUICK_LINES = 60_000, 3_000
LOGS, LOOKS = 500, 5
PATHS = ("/", "/pay", "/cart/{0}", "/item/{0}", "/search/x{0}", "/api/orders/{0}")


def run(*, quick: bool) -> Result:
    """Write a log as Envoy does, and read it as the control plane does."""
    count = QUICK_LINES if quick else LINES
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shop.jsonl"
        path.write_text("".join(_lines(count)))
        line_us, seconds = _read(path, count)
        delay_ms = asyncio.run(_delay_ms(_log(path), _looks(path)))
        rest_ms = _rest_ms(Path(folder), 20 if quick else LOGS)
    share = line_us * PER_SECOND / 1e6
    rows: tuple[tuple[str, str], ...] = (
        ("a line of the log", f"{line_us:.1f} us"),
        ("1,000 lines", f"{line_us:.1f} ms"),
        ("share of a core at 1,000 requests/s", f"{share:.2%}"),
        ("longest delay of the event loop meanwhile", f"{delay_ms:.1f} ms"),
        (f"a look at {20 if quick else LOGS} logs without a new line", f"{rest_ms:.1f} ms"),
        ("a second with 40 cells into the history, packed", f"{_history_ms(300):.2f} ms"),
        ("10,000 lines of an instance's figures", f"{_figures_ms():.1f} ms"),
    )
    return Result(
        tables=(Table(title="Reading what users met", columns=("what", "cost"), rows=rows),),
        goals=(
            Goal(name="share of a core at 1,000 requests/s", measured=share * 100, limit=2.0, unit=" %"),
            Goal(name="longest delay of the event loop", measured=delay_ms, limit=20.0, unit=" ms"),
        ),
        broken=() if seconds == count else (f"{seconds} of {count} requests were counted",),
    )


def _lines(count: int) -> Iterator[str]:
    draw = random.Random(7)
    for number in range(count):
        began_s = BEGIN + number / PER_SECOND
        line = {
            "attempts": 1,
            "cluster": "shop@v2" if draw.random() < 0.1 else "shop@v1",
            "content": "application/json",
            "details": "via_upstream",
            "duration_us": draw.randrange(500, 90_000),
            "first_byte_us": 1_159,
            "flags": "-",
            "host": f"127.0.0.1:{5_000 + draw.randrange(4)}",
            "method": "GET",
            "path": draw.choice(PATHS).format(draw.randrange(10**6)),
            "received_bytes": 0,
            "received_us": 17,
            "request_id": f"728caa37-8b8a-4b4e-af75-{number:012x}",
            "sent_bytes": draw.randrange(200, 90_000),
            "status": 500 if draw.random() < 0.001 else 200,
            "time": f"{began_s:.6f}",
            "told": f"{began_s:.6f}",
            "type": "DownstreamEnd",
            "upstream_us": 312,
        }
        yield json.dumps(line, separators=(",", ":")) + "\n"


def _log(path: Path) -> RequestLog:
    look = Look(now_s=BEGIN, offset_s=0.0)
    tail = LogTail(path, at_end=False)
    return RequestLog(tail, region=LOCAL, look=look, name=InstanceId, from_s=BEGIN)


def _read(path: Path, count: int) -> tuple[float, int]:
    """Return microseconds per line, and how many requests were counted."""
    log, looks = _log(path), _looks(path)
    seconds: list[Second] = []
    began_s = time.process_time()
    for _ in range(looks):
        seconds += log.read(Look(now_s=BEGIN + 1, offset_s=0.0))
    seconds += log.read(Look(now_s=BEGIN + 5, offset_s=0.0))
    spent_s = time.process_time() - began_s
    log.close()
    return spent_s / count * 1e6, sum(cell.requests.total for one in seconds for cell in one.cells)


def _looks(path: Path) -> int:
    return 2 + path.stat().st_size // MOST_BYTES


async def _delay_ms(log: RequestLog, looks: int) -> float:
    """Return the longest time for which the event loop did not turn while a thread read everything."""
    longest_s = 0.0
    reading = asyncio.create_task(asyncio.to_thread(_read_all, log, looks))
    while not reading.done():
        began_s = time.perf_counter()
        await asyncio.sleep(0.001)
        longest_s = max(longest_s, time.perf_counter() - began_s - 0.001)
    await reading
    log.close()
    return longest_s * 1e3


def _read_all(log: RequestLog, looks: int) -> None:
    for _ in range(looks):
        log.read(Look(now_s=BEGIN + 1, offset_s=0.0))


def _rest_ms(folder: Path, count: int) -> float:
    logs = []
    for number in range(count):
        path = folder / f"s{number}.jsonl"
        path.touch()
        logs.append(_log(path))
    began_s = time.process_time()
    for look in range(1, LOOKS + 1):
        for log in logs:
            log.read(Look(now_s=BEGIN + look, offset_s=0.0))
    spent_s = time.process_time() - began_s
    for log in logs:
        log.close()
    return spent_s / LOOKS * 1e3


def _history_ms(count: int) -> float:
    cells = tuple(
        Cell(
            region=LOCAL,
            route=f"GET /{route}",
            version=Version(version),
            requests=Fates(total=25),
            durations={100 + 3 * bucket: 1 for bucket in range(20)},
            instances={InstanceId(f"{version}-{one}"): Fates(total=8) for one in range(3)},
        )
        for route in range(20)
        for version in ("v1", "v2")
    )
    history = History(upcoming=0)
    began_s = time.process_time()
    for at in range(count):
        history.add(Second(at=at, cells=cells))
    return (time.process_time() - began_s) / count * 1e3


def _figures_ms() -> float:
    lines = ["# TYPE hitless_dependency_calls_total counter"]
    lines += [f'hitless_dependency_calls_total{{dependency="d{one}",outcome="ok"}} {one}' for one in range(20)]
    lines += ["# TYPE http_seconds histogram"]
    lines += [f'http_seconds_bucket{{path="/{one}",le="0.1"}} {one}' for one in range(10_000)]
    began_s = time.process_time()
    parse_calls("\n".join(lines) + "\n")
    return (time.process_time() - began_s) * 1e3
