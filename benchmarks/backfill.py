"""How fast rows are filled beside one plain UPDATE, and what writers feel meanwhile.

All cases begin from copies of one database on one server, with fsync. Writers are an open loop: each write has
its moment, and its latency counts from there, so a stall counts for everybody who would have come meanwhile.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from benchmarks.results import Goal, Result, Table
from benchmarks.waits import STALL_S, Waits
from hitless.adapters.postgres.backfill import steering
from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.intents import begin
from hitless.adapters.postgres.migrator import Migrator
from hitless.schema.change.standing import Part, Verb
from hitless.testing.postgres import PostgresServer, running_postgres

ROWS, QUICK_ROWS = 2_000_000, 5_000
SMALLER = 10
"""The same with a tenth of the rows."""

RUNS = 3
WRITERS, PER_S = 8, 37.5
"""300 a second, 70 % updates by key, 20 % reads, 10 % inserts."""

ALONE_S, QUICK_ALONE_S = 30.0, 1.0
WRITES, QUICK_WRITES = 20_000, 300
"""Of a closed loop, to see what the triggers cost."""

SETTINGS = {"fsync": "on", "shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "15min"}
QUICK_SETTINGS = {"fsync": "on", "shared_buffers": "64MB"}
CHANGE, SMALL_NAME, LARGE_NAME = "split-full-name", "small", "large"
FILE = """
change: split-full-name
table: users
split:
  from: full_name
  into: {first_name: "split_part(full_name, ' ', 1)", last_name: "substr(full_name, strpos(full_name, ' ') + 1)"}
  inverse: "concat_ws(' ', first_name, last_name)"
"""
PLAIN = """
UPDATE users SET first_name = split_part(full_name, ' ', 1), last_name = substr(full_name, strpos(full_name, ' ') + 1)
"""
WRONG = "SELECT count(*) FROM users WHERE concat_ws(' ', first_name, last_name) IS DISTINCT FROM full_name"


@dataclass(frozen=True, slots=True)
class Bench:
    """The server, and the change file."""

    server: PostgresServer
    file: Path
    is_quick: bool

    @contextmanager
    def copy(self, template: str) -> Iterator[str]:
        """Copy a database, so that every case begins from the same pages."""
        name = "bench"
        with self.server.connect() as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
            admin.execute("CHECKPOINT")
        try:
            yield name
        finally:
            with self.server.connect() as admin:
                admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    def migrator(self, name: str) -> Migrator:
        return Migrator(database=Database(self.server.url(name)), actor="benchmark")

    def expand(self, name: str) -> Migrator:
        migrator = self.migrator(name)
        migrator.carry_out(begin(migrator, str(self.file)), Verb.EXPAND)
        return migrator

    def fill(self, name: str, *, heeds: bool) -> float:
        """Fill; return how long it took, in seconds."""
        migrator = self.migrator(name)
        steps = [one.id for one in migrator.state(CHANGE).plan.of(Part.BACKFILL)]
        limits = {"is_heedful": heeds}
        steering.limit(migrator.database, change=CHANGE, steps=steps, actor="benchmark", limits=limits)
        return _timed(lambda: _ignore(migrator.carry_out(CHANGE, Verb.BACKFILL)))

    def count(self, name: str, query: str) -> int:
        with self.server.connect(name) as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0])


def run(*, quick: bool) -> Result:
    rows, settings = (QUICK_ROWS, QUICK_SETTINGS) if quick else (ROWS, SETTINGS)
    with TemporaryDirectory(prefix="hitless-fill-") as folder, running_postgres(None, **settings) as server:
        file = Path(folder) / "split.yaml"
        file.write_text(FILE)
        bench = Bench(server, file, quick)
        for name, of in ((LARGE_NAME, rows), (SMALL_NAME, rows // SMALLER)):
            _make(bench, name, of)
        runs = 1 if quick else RUNS
        speeds = _speeds(bench, rows, runs)
        felt, broken = _felt(bench)
        trigger = _trigger_cost(bench, runs)
        memory = {name: _memory_mb(bench, name) for name in (SMALL_NAME, LARGE_NAME)}
    return Result(
        tables=(_speed_table(speeds, rows), _felt_table(felt), _cost_table(trigger, memory)),
        goals=tuple(_goals(speeds, felt, trigger, memory)),
        notes=(
            f"medians of {runs}; {WRITERS} writers, {WRITERS * PER_S:.0f} a second, latency from the moment of each",
        ),
        broken=broken,
    )


def _goals(
    speeds: Mapping[str, float], felt: Mapping[str, Waits], trigger: tuple[float, float], memory: Mapping[str, float]
) -> Iterator[Goal]:
    plain, ours, small = speeds.values()
    alone, throttled = felt["writers alone, with the triggers"], felt["beside a backfill that heeds them"]
    yield Goal(name="rows/s beside one plain UPDATE", measured=ours / plain, limit=0.85, at_least=True)
    yield Goal(name="rows/s beside a tenth of the rows", measured=ours / small, limit=0.9, at_least=True)
    yield Goal(name="longest wait of a writer", measured=throttled.longest_s * 1_000, limit=250.0, unit=" ms")
    yield Goal(name="p99 of writers, times that without", measured=throttled.at(0.99) / alone.at(0.99), limit=3.0)
    yield Goal(name="what triggers cost a writer", measured=100 * (trigger[1] / trigger[0] - 1), limit=25.0, unit=" %")
    grown = memory[LARGE_NAME] - memory[SMALL_NAME]
    yield Goal(name="memory for ten times the rows, more", measured=grown, limit=10.0, unit=" MB")


def _make(bench: Bench, name: str, rows: int) -> None:
    """190 bytes a row and two indexes: 381 MB and 120 MB for two million."""
    with bench.server.connect() as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
    with bench.server.connect(name) as connection:
        connection.execute(
            "CREATE TABLE users (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, email text NOT NULL,"
            " full_name text NOT NULL, bio text, visits integer NOT NULL DEFAULT 0, seen_at timestamptz)"
        )
        connection.execute(
            "INSERT INTO users (email, full_name, bio, seen_at) SELECT 'user' || n || '@example.com',"
            " 'First' || n || ' Last' || n, repeat('x', 80), now() FROM generate_series(1, %s) AS n",
            (rows,),
        )
        connection.execute("CREATE INDEX users_email ON users (email)")
        connection.execute("VACUUM ANALYZE users")


def _speeds(bench: Bench, rows: int, runs: int) -> dict[str, float]:
    """Return rows a second, nobody else there."""
    plain, ours, small = [], [], []
    for _ in range(runs):  # side by side: what the machine does besides hits all three
        with bench.copy(LARGE_NAME) as name:
            bench.expand(name)
            with bench.server.connect(name) as connection:
                plain.append(rows / _timed(lambda: _ignore(connection.execute(PLAIN.encode()))))
        with bench.copy(LARGE_NAME) as name:
            bench.expand(name)
            ours.append(rows / bench.fill(name, heeds=False))
        with bench.copy(SMALL_NAME) as name:
            bench.expand(name)
            small.append(rows / SMALLER / bench.fill(name, heeds=False))
    return {
        "one plain UPDATE": statistics.median(plain),
        "hitless, unthrottled": statistics.median(ours),
        "hitless, unthrottled, a tenth of the rows": statistics.median(small),
    }


def _felt(bench: Bench) -> tuple[dict[str, Waits], tuple[str, ...]]:
    """Return what writers felt."""
    felt: dict[str, Waits] = {}
    broken: list[str] = []
    alone_s = QUICK_ALONE_S if bench.is_quick else ALONE_S
    cases: dict[str, Callable[[str], object]] = {
        "writers alone, with the triggers": lambda _: time.sleep(alone_s),
        "beside a backfill that heeds them": lambda name: bench.fill(name, heeds=True),
        "beside an unthrottled backfill": lambda name: bench.fill(name, heeds=False),
        "beside one plain UPDATE": lambda name: _plain(bench, name),
    }
    for case, act in cases.items():
        with bench.copy(LARGE_NAME) as name:
            bench.expand(name)
            waits = Waits()
            with _writing(bench, name, waits):
                act(name)
            felt[case] = waits
            if waits.failed:
                broken.append(f"{case}: {waits.failed} writes failed")
            if "backfill" in case and (wrong := bench.count(name, WRONG)):
                broken.append(f"{case}: {wrong} rows are wrong")
    return felt, tuple(broken)


def _plain(bench: Bench, name: str) -> None:
    with bench.server.connect(name) as connection:
        connection.execute(PLAIN.encode())


def _trigger_cost(bench: Bench, runs: int) -> tuple[float, float]:
    """Return seconds for a number of updates by key, one after the other, without and with the triggers."""
    without, with_them = [], []
    for _ in range(runs):
        with bench.copy(SMALL_NAME) as name:
            without.append(_update(bench, name))
        with bench.copy(SMALL_NAME) as name:
            bench.expand(name)
            bench.fill(name, heeds=False)
            with_them.append(_update(bench, name))
    return statistics.median(without), statistics.median(with_them)


def _update(bench: Bench, name: str) -> float:
    """Update names, which fires the triggers; commits wait for no disk, so that their own cost is seen."""
    writes, rows = (QUICK_WRITES if bench.is_quick else WRITES), bench.count(name, "SELECT count(*) FROM users")
    with bench.server.connect(name) as connection:
        connection.execute("SET synchronous_commit = off")

        def act() -> None:
            for number in range(writes):
                connection.execute(
                    "UPDATE users SET full_name = %s WHERE id = %s", (f"New{number} Name", number * 37 % rows + 1)
                )

        return _timed(act)


def _memory_mb(bench: Bench, template: str) -> float:
    """Return the most memory that the command takes, in MB."""
    with bench.copy(template) as name:
        bench.expand(name)
        command = [sys.executable, "-m", "hitless.cli", "migrate", "backfill", CHANGE, "--heedless"]
        process = subprocess.Popen(
            [*command, "--database", bench.server.url(name)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"hitless migrate backfill ended with {process.returncode}")
    return used.ru_maxrss * 1_024 / 1e6


@contextmanager
def _writing(bench: Bench, name: str, waits: Waits) -> Iterator[None]:
    over, lock = threading.Event(), threading.Lock()
    rows = bench.count(name, "SELECT count(*) FROM users")

    def write(number: int) -> None:
        draw = random.Random(number)
        with bench.server.connect(name) as connection:
            began_s = time.monotonic() + number / (PER_S * WRITERS)
            for count in range(10_000_000):
                due_s = began_s + count / PER_S
                if over.wait(max(0.0, due_s - time.monotonic())):
                    return
                try:
                    connection.execute(*_statement(draw, rows))
                except psycopg.Error:
                    waits.failed += 1
                with lock:
                    waits.took_s.append(time.monotonic() - due_s)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for one in threads:
        one.start()
    try:
        yield
    finally:
        over.set()
        for one in threads:
            one.join()


def _statement(draw: random.Random, rows: int) -> tuple[bytes, tuple[object, ...]]:
    kind, key = draw.random(), draw.randrange(1, rows + 1)
    if kind < 0.7:
        return b"UPDATE users SET full_name = %s, visits = visits + 1 WHERE id = %s", (f"New{key} Name{key}", key)
    if kind < 0.9:
        return b"SELECT full_name, visits FROM users WHERE id = %s", (key,)
    return b"INSERT INTO users (email, full_name) VALUES (%s, %s)", (f"new{key}@example.com", f"New{key} Born{key}")


def _speed_table(speeds: Mapping[str, float], rows: int) -> Table:
    return Table(
        title=f"Filling two columns of {rows:,} rows, nobody else there",
        columns=("what", "rows/s"),
        rows=tuple((what, round(speed)) for what, speed in speeds.items()),
    )


def _felt_table(felt: Mapping[str, Waits]) -> Table:
    return Table(
        title="What writers feel",
        columns=("what", "writes", "p50", "p99", "longest", f"over {STALL_S * 1_000:.0f} ms"),
        rows=tuple(
            (what, len(one.took_s), _ms(one.at(0.5)), _ms(one.at(0.99)), _ms(one.longest_s), one.stalled)
            for what, one in felt.items()
        ),
    )


def _cost_table(trigger: tuple[float, float], memory: Mapping[str, float]) -> Table:
    return Table(
        title="What it costs besides",
        columns=("what", "without", "with"),
        rows=(
            ("writes of names, one after the other", f"{trigger[0]:.2f} s", f"{trigger[1]:.2f} s with the triggers"),
            ("memory of the command", f"{memory[SMALL_NAME]:.0f} MB", f"{memory[LARGE_NAME]:.0f} MB at ten times"),
        ),
    )


def _timed(act: Callable[[], None]) -> float:
    began_s = time.perf_counter()
    act()
    return time.perf_counter() - began_s


def _ignore(_: object) -> None:
    return None


def _ms(seconds: float) -> str:
    return f"{seconds * 1_000:,.1f} ms"
