"""How long a writer waits behind a statement that changes the schema, with a long transaction in the way.

Writers are an open loop: each write has its moment, and its latency counts from there, so a stall counts for everybody
who would have come meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from benchmarks.results import Goal, Result, Table
from benchmarks.waits import STALL_S, Waits
from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.migrator import Migrator
from hitless.schema.change.standing import Part, Verb
from hitless.schema.change.steps import Build, Ddl, Plan, Validate
from hitless.schema.names import Name
from hitless.testing.postgres import PostgresServer, running_postgres

ROWS, QUICK_ROWS = 200_000, 2_000
IN_THE_WAY_S, QUICK_IN_THE_WAY_S = 8.0, 1.0
WRITERS, PER_S = 4, 50.0
"""Per writer."""

GOAL_S = 0.25
DATABASE = "shop"
READ, WRITE = "SELECT count(*) FROM users", "UPDATE users SET name = name WHERE id = 1"

CHANGE = "address"
FUNCTION = """
CREATE FUNCTION hitless."address_sync"() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN NEW.address := NEW.email; RETURN NEW; END'
"""
TRIGGER = """
CREATE TRIGGER zzz_hitless_address_ins BEFORE INSERT ON public.users FOR EACH ROW
WHEN (NEW.address IS NULL) EXECUTE FUNCTION hitless."address_sync"()
"""
PLAN = Plan(
    change=CHANGE,
    steps=(
        Ddl(
            id="expand.1",
            part=Part.EXPAND,
            title="adds a column and a trigger",
            do=("ALTER TABLE public.users ADD COLUMN address text", FUNCTION, TRIGGER),
            undo=(
                "DROP TRIGGER zzz_hitless_address_ins ON public.users",
                'DROP FUNCTION hitless."address_sync"()',
                "ALTER TABLE public.users DROP COLUMN address",
            ),
        ),
    ),
)
INDEX = Plan(
    change="index",
    steps=(
        Build(
            id="expand.1",
            part=Part.EXPAND,
            title="builds an index",
            index=Name("users_email_idx", "public"),
            do="CREATE INDEX CONCURRENTLY users_email_idx ON public.users (email)",
            undo="DROP INDEX CONCURRENTLY users_email_idx",
        ),
    ),
)
CHECK = Plan(
    change="check",
    steps=(
        Ddl(
            id="expand.1",
            part=Part.EXPAND,
            title="adds a check",
            do=("ALTER TABLE public.users ADD CONSTRAINT there CHECK (email IS NOT NULL) NOT VALID",),
            undo=("ALTER TABLE public.users DROP CONSTRAINT there",),
        ),
        Validate(
            id="expand.2",
            part=Part.EXPAND,
            title="validates it",
            do=("ALTER TABLE public.users VALIDATE CONSTRAINT there",),
        ),
    ),
)


def run(*, quick: bool) -> Result:
    in_the_way_s = QUICK_IN_THE_WAY_S if quick else IN_THE_WAY_S
    with running_postgres() as server:
        _make(server, QUICK_ROWS if quick else ROWS)
        cases: dict[str, tuple[Waits, float]] = {}
        for name, act, other in _cases(server):
            cases[name] = _measure(server, act, other, in_the_way_s)
    rows = tuple(
        (name, f"{took_s:.1f} s", len(one.took_s), _ms(one.at(0.5)), _ms(one.at(0.99)), _ms(one.longest_s), one.stalled)
        for name, (one, took_s) in cases.items()
    )
    ours = max(one.longest_s for name, (one, _) in cases.items() if name.startswith("hitless"))
    lost = sum(one.failed for one, _ in cases.values())
    return Result(
        tables=(
            Table(
                title=f"Writers behind a change of their table, {in_the_way_s:.0f} s transaction in the way",
                columns=("what", "took", "writes", "p50", "p99", "longest", f"over {STALL_S * 1_000:.0f} ms"),
                rows=rows,
            ),
        ),
        goals=(Goal(name="longest wait behind any statement of hitless", measured=ours, limit=GOAL_S, unit=" s"),),
        notes=(f"{WRITERS} writers, {WRITERS * PER_S:.0f} writes a second, latency from the moment of each write",),
        broken=(f"{lost} writes failed",) if lost else (),
    )


def _cases(server: PostgresServer) -> Iterator[tuple[str, Callable[[], None], str]]:
    migrator = Migrator(database=Database(server.url(DATABASE)), actor="benchmark")

    def carried(plan: Plan) -> Callable[[], None]:
        def act() -> None:
            migrator.register({"change": plan.change}, plan)
            migrator.carry_out(plan.change, Verb.EXPAND)

        return act

    def undone(plan: Plan) -> Callable[[], None]:
        return lambda: _ignore(migrator.undo(plan.change))

    yield "nobody changes anything", lambda: None, READ
    yield "ALTER TABLE without lock_timeout", lambda: _alter(server, None), READ
    yield "ALTER TABLE, lock_timeout 2 s, tried again at once", lambda: _alter(server, 2_000), READ
    yield "hitless: column and trigger", carried(PLAN), READ
    yield "hitless: taken back", undone(PLAN), READ
    yield "hitless: check, then validated", carried(CHECK), WRITE
    yield "hitless: check taken back", undone(CHECK), WRITE
    yield "hitless: index, built concurrently", carried(INDEX), WRITE
    yield "hitless: index taken back", undone(INDEX), WRITE


def _ignore(_: object) -> None:
    return None


def _make(server: PostgresServer, rows: int) -> None:
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {DATABASE}".encode())
    with server.connect(DATABASE) as connection:
        connection.execute("CREATE TABLE users (id bigint PRIMARY KEY, email text, name text NOT NULL)")
        connection.execute(
            "INSERT INTO users SELECT n, 'user' || n || '@example.com', 'User ' || n FROM generate_series(1, %s) n",
            (rows,),
        )
        connection.execute("VACUUM ANALYZE users")


def _alter(server: PostgresServer, timeout_ms: int | None) -> None:
    with server.connect(DATABASE) as connection:
        connection.execute(f"SET lock_timeout = {timeout_ms or 0}".encode())
        while True:
            try:
                connection.execute("ALTER TABLE users ADD COLUMN plain text")
            except psycopg.errors.LockNotAvailable:
                continue
            connection.execute("ALTER TABLE users DROP COLUMN plain")
            return


def _measure(server: PostgresServer, act: Callable[[], None], other: str, in_the_way_s: float) -> tuple[Waits, float]:
    waits = Waits()
    with _writing(server, waits), _in_the_way(server, other, in_the_way_s):
        began_s = time.monotonic()
        act()
        took_s = time.monotonic() - began_s
    return waits, took_s


@contextmanager
def _in_the_way(server: PostgresServer, statement: str, for_s: float) -> Iterator[None]:
    """Hold a transaction open for a time, whatever becomes of the act."""
    with psycopg.connect(server.url(DATABASE), application_name="report") as connection:
        connection.execute(statement.encode())
        holder = threading.Timer(for_s, connection.rollback)
        holder.start()
        yield
        holder.join()


@contextmanager
def _writing(server: PostgresServer, waits: Waits) -> Iterator[None]:
    over, lock = threading.Event(), threading.Lock()

    def write(number: int) -> None:
        with server.connect(DATABASE) as connection:
            began_s = time.monotonic() + number / (PER_S * WRITERS)
            for count in range(1_000_000):
                due_s = began_s + count / PER_S
                if over.wait(max(0.0, due_s - time.monotonic())):
                    return
                try:
                    connection.execute(
                        "UPDATE users SET name = name WHERE id = %s", (2 + number + WRITERS * (count % 400),)
                    )
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


def _ms(seconds: float) -> str:
    return f"{seconds * 1_000:,.0f} ms"
