"""What else writes rows during a change, or stands beside it: defaults, foreign keys, replication, paths, collations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from change_support import TO_THE_SWITCH, carry_out, dump, fresh, planned
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
