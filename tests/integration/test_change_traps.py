"""What else writes rows during a change, or stands beside it: defaults, foreign keys, replication, paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import psycopg
import pytest
from change_support import TO_THE_SWITCH, carry_out, dump, fresh, planned, take_back
from postgres_support import running, server_of

from hitless.schema.change.standing import Part
from hitless.schema.change.steps import Plan

VERSIONS = (15, 16, 18)


@dataclass(frozen=True)
class World:
    """A database in which a change stands somewhere."""

    connection: psycopg.Connection
    plan: Plan

    def __call__(self, statement: str) -> list[tuple[object, ...]]:
        cursor = self.connection.execute(statement)
        return cursor.fetchall() if cursor.description else []

    def go(self, *parts: Part) -> None:
        for step in self.plan.steps:
            if step.part in parts:
                carry_out(self.connection, step)

    @property
    def is_counted(self) -> bool:
        return self("SELECT is_called FROM hitless.c_old_writes") == [(True,)]


Make = Callable[[str, str], AbstractContextManager[World]]


@pytest.fixture(scope="module", params=VERSIONS)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    server_of(request.param)

    @contextmanager
    def made(script: str, change: str) -> Iterator[World]:
        with fresh(directory, "traps", script) as connection:
            plan = planned(f"change: c\n{change}", dump(directory, "traps", request.param), request.param)
            connection.execute("CREATE SCHEMA hitless")
            yield World(connection, plan)

    with running(request.param) as directory:
        yield made


ORDERS = (
    "CREATE TABLE t (id int PRIMARY KEY, status text NOT NULL DEFAULT 'new', token uuid DEFAULT gen_random_uuid());"
)


def test_rows_that_leave_a_column_to_its_default_do_not_count_as_writes_of_the_older_release(make: Make) -> None:
    with make(ORDERS, "table: t\nrename: {status: state, token: ticket}") as world:
        world.go(*TO_THE_SWITCH)
        world("INSERT INTO t (id) VALUES (1)")
        assert world("SELECT state, ticket = token FROM t") == [("new", True)]
        assert not world.is_counted
        world("INSERT INTO t (id, status) VALUES (2, 'paid')")
        assert world.is_counted


PARTNERS = """
CREATE TABLE p (code text PRIMARY KEY); INSERT INTO p VALUES ('A');
CREATE TABLE t (id int PRIMARY KEY, pc text REFERENCES p ON UPDATE CASCADE ON DELETE SET NULL);
INSERT INTO t VALUES (1, 'A');
"""


def test_what_a_foreign_key_writes_reaches_both_sides_and_counts_for_no_release(make: Make) -> None:
    with make(PARTNERS, "table: t\nrename: {pc: partner}") as world:
        world.go(*TO_THE_SWITCH)
        world("UPDATE p SET code = 'B'")
        assert world("SELECT pc, partner FROM t") == [("B", "B")]
        world("DELETE FROM p")
        assert world("SELECT pc, partner FROM t") == [(None, None)]
        assert not world.is_counted
        world("INSERT INTO p VALUES ('C'); UPDATE t SET pc = 'C'")
        assert world.is_counted


def test_rows_that_replication_applies_are_kept_the_same(make: Make) -> None:
    with make("CREATE TABLE t (id int PRIMARY KEY, a text, n int)", "table: t\nrename: {a: b}") as world:
        world.go(*TO_THE_SWITCH)
        world("SET session_replication_role = replica")  # as an apply worker has it
        world("INSERT INTO t (id, a) VALUES (1, 'x')")
        assert world("SELECT a, b FROM t") == [("x", "x")]


UTIL = """
CREATE SCHEMA util; CREATE FUNCTION util.tidy(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower($1)';
CREATE TABLE t (id int PRIMARY KEY, a text, b text);
"""


@pytest.mark.parametrize(
    "change", ["split: {from: a, into: {c: tidy(a)}, inverse: c}\nverify: {lossy: report}", "not_null: {b: tidy(a)}"]
)
def test_what_only_the_path_of_a_session_finds_fails_in_the_expansion_and_not_in_writes(
    make: Make, change: str
) -> None:
    with make(UTIL, f"table: t\n{change}") as world:
        world("SET search_path = util, public")
        step = world.plan.of(Part.EXPAND)[0]
        with pytest.raises(psycopg.errors.UndefinedFunction):
            carry_out(world.connection, replace(step, checks=()))  # those are asked by the session's path
        world("INSERT INTO t VALUES (1, 'X')")


FOLDED = """
CREATE TABLE t (id int PRIMARY KEY, a text COLLATE "C", price int UNIQUE CHECK (price < 1000));
INSERT INTO t VALUES (1, 'x', 500), (2, 'y', 501);
"""


def test_a_column_of_another_type_keeps_its_collation(make: Make) -> None:
    with make(FOLDED, 'table: t\ntype: {a: {to: varchar(10), using: "left(a, 10)"}}\nverify: {lossy: report}') as world:
        world.go(*TO_THE_SWITCH)
        found = "SELECT attcollation::regcollation::text FROM pg_attribute WHERE attrelid = 't'::regclass"
        assert world(f"{found} AND attname = 'a'") == [('"C"',)]


@pytest.mark.parametrize(("using", "inverse"), [("price * 100", "price / 100"), ("price / 10", "price * 10")])
def test_nobody_is_held_to_a_constraint_that_other_values_break(make: Make, using: str, inverse: str) -> None:
    change = f"table: t\ntype: {{price: {{to: bigint, using: {using}, inverse: {inverse}}}}}\nverify: {{lossy: report}}"
    with make(FOLDED, change) as world:
        with pytest.raises(AssertionError, match="would fail in these rows"):
            world.go(*TO_THE_SWITCH)
        world("UPDATE t SET price = 600 WHERE id = 1")


def test_a_column_that_some_rows_leave_null_is_not_said_to_be_never_null(make: Make) -> None:
    script = "CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL, n int); INSERT INTO t VALUES (1, 'x')"
    using = "CASE WHEN code ~ '^[0-9]{1,9}$' THEN code::int END"
    change = f'table: t\ntype: {{code: {{to: integer, using: "{using}", inverse: "code::text"}}}}\n'
    with make(script, change + "verify: {lossy: report}") as world:
        with pytest.raises(AssertionError, match="is NULL in these rows"):
            world.go(*TO_THE_SWITCH)
        world("UPDATE t SET n = 1")


def test_an_enum_that_a_function_takes_is_not_exchanged(make: Make) -> None:
    script = """CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TABLE t (id int PRIMARY KEY, m mood);
        CREATE FUNCTION f(mood) RETURNS int LANGUAGE sql AS 'SELECT 1'"""
    change = "table: t\nenum: {mood: {column: m, values: [glad], map: {sad: glad}}}"
    with make(script, change) as world, pytest.raises(AssertionError, match="functions take or give mood"):
        world.go(Part.EXPAND)


@pytest.mark.parametrize("rows", ["SELECT 1, repeat('x', 20)", "SELECT g, 'x' FROM generate_series(1, 300000) AS g"])
def test_a_wider_type_that_cannot_be_taken_back_at_once_does_not_hold_up_the_undo(make: Make, rows: str) -> None:
    script = """CREATE TABLE t (id int PRIMARY KEY, a varchar(10)) PARTITION BY RANGE (id);
        CREATE TABLE part PARTITION OF t DEFAULT"""
    with make(script, "table: t\ntype: {a: text}") as world:
        world.go(Part.EXPAND)
        world(f"INSERT INTO t {rows}")
        files = world("SELECT pg_relation_filenode('part')")
        for step in world.plan.of(Part.EXPAND):
            take_back(world.connection, step)
        assert world("SELECT pg_relation_filenode('part')") == files


NOCASE = """
CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE t (id int PRIMARY KEY, a text COLLATE nocase); INSERT INTO t VALUES (1, 'jean');
"""


def test_case_that_only_a_collation_passes_over_is_kept_the_same(make: Make) -> None:
    with make(UTIL, "table: t\nrename: {a: c}") as world:
        try:
            world("CREATE COLLATION probe (provider = icu, locale = 'und')")
        except psycopg.errors.FeatureNotSupported:
            pytest.skip("no ICU in this build")
    change = "table: t\nsplit: {from: a, into: {b: trim(a)}, inverse: b}"
    with make(NOCASE, change) as world:
        world.go(*TO_THE_SWITCH)
        world("UPDATE t SET b = 'Jean'")
        assert world("SELECT a, b FROM t") == [("Jean", "Jean")]


def test_the_default_of_a_domain_is_nothing_that_a_newer_release_wrote(make: Make) -> None:
    script = "CREATE DOMAIN word AS text DEFAULT 'k'; CREATE TABLE t (id int PRIMARY KEY, a word, n int)"
    with make(script, "table: t\nrename: {a: b}") as world:
        world.go(*TO_THE_SWITCH)
        world("INSERT INTO t (id, a) VALUES (1, 'foo')")
        assert world("SELECT a, b FROM t") == [("foo", "foo")]
        world.go(Part.HIDE, Part.DROP)
        world("INSERT INTO t (id) VALUES (2)")
        assert world("SELECT b FROM t WHERE id = 2") == [("k",)]
