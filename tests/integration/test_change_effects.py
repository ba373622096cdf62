"""What changes do to those who use a table, on real servers: counters, keys that count on, scripts that are pasted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))  # the cases of the unit tests

from change_cases import CASES, IDENTITY, KEYS, USERS
from change_support import carry_out, dump, fresh, planned, take_back
from postgres_support import connect, running, server_of

from hitless.config.change_file import parse_change
from hitless.schema.catalog.catalog import Catalog
from hitless.schema.change.dependents import dependents_of
from hitless.schema.change.footprint import footprints
from hitless.schema.change.planner import plan_change
from hitless.schema.change.script import script_of
from hitless.schema.change.standing import Part
from hitless.schema.change.steps import Plan
from hitless.schema.linting import catalog_of
from hitless.schema.reading.source import Source

VERSIONS = (15, 16, 18)


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[int, Path]]:
    server_of(request.param)
    with running(request.param) as directory:
        with connect(directory) as connection:
            connection.execute("CREATE ROLE reader; CREATE ROLE writer")
        yield request.param, directory


def begun(server: tuple[int, Path], script: str, change: str, *parts: Part) -> tuple[psycopg.Connection, Plan]:
    """Carry out parts of a change."""
    version, directory = server
    connection = fresh(directory, "shop", script)
    plan = planned(f"change: a\n{change}", dump(directory, "shop", version), version)
    connection.execute("CREATE SCHEMA hitless")
    for step in plan.steps:
        if step.part in parts:
            carry_out(connection, step)
    return connection, plan


def counted(connection: psycopg.Connection) -> int:
    last, is_called = connection.execute("SELECT last_value, is_called FROM hitless.a_old_writes").fetchone() or (0, 0)
    return int(last) if is_called else 0


def test_only_writes_that_the_older_release_alone_makes_move_the_counter(server: tuple[int, Path]) -> None:
    connection, plan = begun(server, USERS, "table: users\nrename: {email: mail}", Part.EXPAND)
    with connection:
        for step in plan.of(Part.BACKFILL):
            carry_out(connection, step)
        connection.execute("UPDATE users SET visits = visits + 1")
        connection.execute("INSERT INTO users (mail) VALUES ('new@example.com')")
        connection.execute("UPDATE users SET mail = 'x' || mail")
        connection.execute("UPDATE users SET mail = 'y', email = 'y'")
        connection.execute("UPDATE users SET email = email")
        assert counted(connection) == 0
        connection.execute("INSERT INTO users (email) VALUES ('old@example.com')")
        assert counted(connection) == 1
        connection.execute("UPDATE users SET email = 'older' WHERE id <= 2")
        assert counted(connection) == 3
        with connection.transaction(force_rollback=True):
            connection.execute("UPDATE users SET email = 'undone' WHERE id = 1")
        assert counted(connection) == 4  # a rollback hides no writer


def test_what_stands_in_for_null_is_written_and_counted_while_an_older_release_writes_null(
    server: tuple[int, Path],
) -> None:
    parts = (Part.EXPAND, Part.BACKFILL, Part.SWITCH)
    connection, _ = begun(server, USERS, "table: users\nnot_null: {bio: \"'none'\"}", *parts)
    with connection:
        connection.execute("INSERT INTO users (full_name) VALUES ('x')")
        connection.execute("UPDATE users SET bio = NULL WHERE id = 1")
        found = connection.execute("SELECT DISTINCT bio FROM users ORDER BY 1").fetchall()
        assert found == [("navy",), ("none",)]
        assert counted(connection) == 2


def test_a_role_that_may_only_write_the_table_may_write_it_during_a_change(server: tuple[int, Path]) -> None:
    connection, _ = begun(server, USERS, "table: users\nrename: {email: mail}", Part.EXPAND)
    with connection:
        connection.execute(
            "GRANT SELECT, INSERT, UPDATE ON users TO writer; GRANT USAGE ON SEQUENCE users_id_seq TO writer"
        )
        connection.execute("SET ROLE writer")
        connection.execute("INSERT INTO users (email) VALUES ('old'), ('older')")
        connection.execute("UPDATE users SET mail = 'new' WHERE email = 'old'")
        connection.execute("UPDATE users SET email = 'newer' WHERE mail = 'new'")
        found = connection.execute(
            "SELECT email, mail FROM users WHERE mail IN ('newer', 'older') ORDER BY 1"
        ).fetchall()
        assert found == [("newer", "newer"), ("older", "older")]


@pytest.mark.parametrize("script", [KEYS, IDENTITY])
def test_a_key_counts_on_through_the_swap_and_past_what_an_integer_holds_in_the_end(
    server: tuple[int, Path], script: str
) -> None:
    parts = (Part.EXPAND, Part.BACKFILL, Part.VERIFY, Part.SWITCH)
    connection, plan = begun(server, script, "table: parents\nprimary_key: {id: bigint}")
    with connection:
        before = inserted(connection)
        for step in plan.steps:
            if step.part in parts:
                carry_out(connection, step)
        after = inserted(connection)
        assert after > before
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.execute("INSERT INTO children VALUES (9, 999)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(f"INSERT INTO parents (id) VALUES ({after})")
        for step in plan.of(Part.DROP):
            carry_out(connection, step)
        connection.execute("SELECT setval(pg_get_serial_sequence('parents', 'id'), 3000000000)")
        assert inserted(connection) > 3_000_000_000
        connection.execute("UPDATE parents SET twin = NULL; DELETE FROM parents WHERE id = 1")
        assert connection.execute("SELECT count(*) FROM children WHERE parent = 1").fetchone() == (0,)


def inserted(connection: psycopg.Connection) -> int:
    row = connection.execute("INSERT INTO parents (name) VALUES ('new') RETURNING id").fetchone()
    assert row is not None
    return int(row[0])


def test_what_was_written_after_the_swap_is_there_after_the_way_back(server: tuple[int, Path]) -> None:
    parts = (Part.EXPAND, Part.BACKFILL, Part.SWITCH)
    connection, plan = begun(server, USERS, "table: users\ntype: {visits: bigint}", *parts)
    with connection:
        connection.execute("UPDATE users SET visits = 77 WHERE id = 1; INSERT INTO users (visits) VALUES (78)")
        connection.execute("INSERT INTO users (full_name) VALUES ('by default')")
        with pytest.raises(psycopg.errors.NumericValueOutOfRange):
            connection.execute("UPDATE users SET visits = 3000000000")
        for step in reversed(plan.of(Part.SWITCH)):
            take_back(connection, step)
        found = connection.execute("SELECT visits FROM users WHERE visits IN (77, 78) OR full_name = 'by default'")
        assert sorted(found.fetchall()) == [(0,), (77,), (78,)]


@pytest.mark.parametrize("case", ["split", "rename", "type", "several", "key", "rename in a partitioned table", "drop"])
def test_what_is_printed_can_be_pasted_to_its_end(server: tuple[int, Path], case: str) -> None:
    version, directory = server
    script, change = CASES[case]
    with fresh(directory, "shop", script):
        before = dump(directory, "shop", version)
        catalog = catalog_of(Source("s.sql", before))
        plan = plan_change(parse_change(f"change: a\n{change}", name="a"), catalog, version, dependents_of(before))
        paste(server, script_of(plan, footprints(plan, catalog, version)))
        paste(server, "DROP SCHEMA hitless;")


@pytest.mark.parametrize(
    "case", ["split", "rename", "rename numeric", "type", "not null", "index", "unique", "check", "drop"]
)
def test_a_plan_that_was_made_without_a_schema_can_be_pasted_too(server: tuple[int, Path], case: str) -> None:
    script, change = CASES[case]
    with fresh(server[1], "shop", script):
        plan = plan_change(parse_change(f"change: a\n{change}", name="a"))
        paste(server, script_of(plan, footprints(plan, Catalog(), 15)))
        paste(server, "DROP SCHEMA hitless;")


def paste(server: tuple[int, Path], script: str) -> None:
    version, directory = server
    command = [
        server_of(version) / "psql",
        "-h",
        directory,
        "-U",
        "postgres",
        "-d",
        "shop",
        "-qX",
        "-v",
        "ON_ERROR_STOP=1",
    ]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
