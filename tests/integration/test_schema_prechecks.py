"""The queries that findings bring find the rows on which a real server fails, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
from postgres_support import connect, programs, running

from hitless.schema.linting import catalog_of, lint
from hitless.schema.reading.cutting import cut
from hitless.schema.reading.source import Source
from hitless.schema.rules.rule import Settings

SCHEMA = """
CREATE TABLE guests (number bigint PRIMARY KEY);
CREATE TABLE stays (
  id bigint PRIMARY KEY, guest bigint, room text, code text, nights integer, paid numeric(8, 2), at timestamptz,
  ratio double precision
);
INSERT INTO guests VALUES (1), (2);
INSERT INTO stays VALUES (1, 1, 'a', '11', 3, 10, '2026-01-01 00:00', 1), (2, 2, 'b', '12', 4, 20, '2026-01-02', 2);
"""
DEPENDENTS = """
CREATE VIEW long_stays AS SELECT id, nights FROM stays WHERE nights > 7;
ALTER TABLE stays ADD twice integer GENERATED ALWAYS AS (nights * 2) STORED;
ALTER TABLE stays ADD FOREIGN KEY (guest) REFERENCES guests;
"""


@dataclass(frozen=True)
class Try:
    """A statement, the rule whose query finds what is in its way, and a row that is."""

    rule: str
    statement: str
    row: str
    is_silent: bool = False  # the server takes it, and changes the value


ODD = "INSERT INTO stays (id, guest, room, code, nights, paid, at, ratio) VALUES "
TRIES = (
    Try(
        "unique-may-fail",
        "ALTER TABLE stays ADD CONSTRAINT one UNIQUE (room)",
        ODD + "(3, 1, 'a', '1', 1, 1, now(), 1)",
    ),
    Try("unique-may-fail", "CREATE UNIQUE INDEX one ON stays (lower(room))", ODD + "(3, 1, 'A', '1', 1, 1, now(), 1)"),
    Try(
        "unique-may-fail",
        "CREATE UNIQUE INDEX one ON stays (room, code) WHERE nights > 1",
        ODD + "(3, 1, 'a', '11', 2, 1, now(), 1)",
    ),
    Try("not-null-may-fail", "ALTER TABLE stays ALTER room SET NOT NULL", ODD + "(3, 1, NULL, '1', 1, 1, now(), 1)"),
    Try("constraint-may-fail", "ALTER TABLE stays ADD CHECK (nights > 0)", ODD + "(3, 1, 'c', '1', 0, 1, now(), 1)"),
    Try(
        "constraint-may-fail",
        "ALTER TABLE stays ADD FOREIGN KEY (guest) REFERENCES guests",
        ODD + "(3, 99, 'c', '1', 1, 1, now(), 1)",
    ),
    Try(
        "type-loses-values", "ALTER TABLE stays ALTER nights TYPE smallint", ODD + "(3, 1, '', '', 40000, 1, now(), 1)"
    ),
    Try("type-loses-values", "ALTER TABLE stays ALTER room TYPE varchar(2)", ODD + "(3, 1, 'abc', '', 1, 1, now(), 1)"),
    Try(
        "type-loses-values",
        "ALTER TABLE stays ALTER code TYPE integer USING code::integer",
        ODD + "(3, 1, 'c', 'x', 1, 1, now(), 1)",
    ),
    Try(
        "type-loses-values", "ALTER TABLE stays ALTER paid TYPE bigint", ODD + "(3, 1, '', '1', 1, 1.5, now(), 1)", True
    ),
    Try(
        "type-loses-values",
        "ALTER TABLE stays ALTER ratio TYPE integer",
        ODD + "(3, 1, '', '1', 1, 1, now(), 0.5)",
        True,
    ),
    Try(
        "type-loses-values",
        "ALTER TABLE stays ALTER paid TYPE numeric(8, 1)",
        ODD + "(3, 1, 'c', '1', 1, 1.25, now(), 1)",
        True,
    ),
    Try(
        "type-loses-values",
        "ALTER TABLE stays ALTER at TYPE date",
        ODD + "(3, 1, '', '1', 1, 1, '2026-01-01 03:04', 1)",
        True,
    ),
)
REFUSED = (
    "ALTER TABLE stays DROP COLUMN nights",
    "ALTER TABLE stays ALTER COLUMN nights TYPE bigint",
    "DROP TABLE stays",
    "DROP TABLE guests",
)


@pytest.fixture(scope="module", params=sorted({*programs(), 16, 18}))
def server(request: pytest.FixtureRequest) -> Iterator[tuple[int, psycopg.Connection]]:
    with running(request.param) as directory, connect(directory) as connection:
        yield request.param, connection


def finds_something(connection: psycopg.Connection, query: str) -> bool:
    try:
        row = connection.execute(query.encode()).fetchone()
    except psycopg.errors.DataError:
        return True  # a value that is none of the new type
    return row is not None and row[-1] > 0


def query_of(one: Try, version: int) -> str:
    report = lint(
        [Source("1.sql", one.statement)],
        catalog=catalog_of(Source("schema.sql", SCHEMA)),
        settings=Settings(postgres=version),
    )
    (finding,) = [found for found in report.findings if found.rule == one.rule]
    return next(cut(finding.fix)).text


@pytest.mark.parametrize("one", TRIES, ids=lambda one: one.statement)
def test_a_query_finds_the_rows_that_are_in_the_way(server: tuple[int, psycopg.Connection], one: Try) -> None:
    version, connection = server
    with connection.transaction(force_rollback=True):
        connection.execute(SCHEMA.encode())
        assert not finds_something(connection, query_of(one, version))
        with connection.transaction(force_rollback=True):
            connection.execute(one.statement.encode())
        connection.execute(one.row.encode())
        with connection.transaction(force_rollback=True):
            assert finds_something(connection, query_of(one, version))
        if not one.is_silent:
            with pytest.raises(psycopg.Error), connection.transaction():
                connection.execute(one.statement.encode())


@pytest.mark.parametrize("statement", REFUSED)
def test_what_depends_on_it_keeps_it(server: tuple[int, psycopg.Connection], statement: str) -> None:
    version, connection = server
    known = catalog_of(Source("schema.sql", SCHEMA + DEPENDENTS))
    found = lint([Source("1.sql", statement)], catalog=known, settings=Settings(postgres=version)).findings
    assert "dependents-refuse" in {one.rule for one in found}
    with connection.transaction(force_rollback=True):
        connection.execute((SCHEMA + DEPENDENTS).encode())
        with pytest.raises(psycopg.Error), connection.transaction():
            connection.execute(statement.encode())


def test_the_text_of_a_function_keeps_nothing(server: tuple[int, psycopg.Connection]) -> None:
    _, connection = server
    with connection.transaction(force_rollback=True):
        connection.execute(SCHEMA.encode())
        connection.execute(b"CREATE FUNCTION rooms() RETURNS bigint LANGUAGE sql AS 'SELECT count(room) FROM stays'")
        connection.execute(b"SELECT rooms()")
        connection.execute(b"ALTER TABLE stays DROP COLUMN room")
        with pytest.raises(psycopg.errors.UndefinedColumn), connection.transaction():
            connection.execute(b"SELECT rooms()")


def test_a_view_that_is_replaced_forgets_its_options(server: tuple[int, psycopg.Connection]) -> None:
    _, connection = server
    options = b"SELECT reloptions FROM pg_class WHERE relname = 'open_stays'"
    with connection.transaction(force_rollback=True):
        connection.execute(SCHEMA.encode())
        connection.execute(b"CREATE VIEW open_stays WITH (security_invoker = true) AS SELECT id FROM stays")
        assert connection.execute(options).fetchone() == (["security_invoker=true"],)
        connection.execute(b"CREATE OR REPLACE VIEW open_stays AS SELECT id FROM stays")
        assert connection.execute(options).fetchone() == (None,)


def test_json_has_no_equality(server: tuple[int, psycopg.Connection]) -> None:
    _, connection = server
    with connection.transaction(force_rollback=True):
        connection.execute(SCHEMA.encode())
        connection.execute(b"SELECT DISTINCT * FROM guests")
        connection.execute(b"ALTER TABLE guests ADD COLUMN extra json")
        with pytest.raises(psycopg.errors.UndefinedFunction), connection.transaction():
            connection.execute(b"SELECT DISTINCT * FROM guests")
