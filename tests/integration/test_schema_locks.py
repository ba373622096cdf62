"""What the lint says of a statement is what real servers do: the locks, and whether a table is read or written anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from postgres_support import connect, programs, running
from schema_statements import CLUSTER, IN_TRANSACTION, ON_THEIR_OWN, SCHEMA, Tried

from hitless.adapters.postgres.trace import trace, trace_request
from hitless.schema.effects.effect import Lock, Work
from hitless.schema.effects.locks import CONFLICTS, LockMode
from hitless.schema.linting import catalog_of, lint
from hitless.schema.names import Name
from hitless.schema.reading.source import Source
from hitless.schema.rules.rule import Settings

VERSIONS = sorted({*programs(), 16, 18})
CATALOG = catalog_of(Source("schema.sql", SCHEMA))

READ_UNSEEN = {
    "CREATE TABLE logs_3 PARTITION OF logs FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY ages",
    "ALTER DOMAIN positive ADD CONSTRAINT p CHECK (VALUE > 0)",
    "ALTER DOMAIN positive SET NOT NULL",
    "ANALYZE users",
    "ANALYZE logs",
}
"""The server tells nobody that it reads a table for these."""


@dataclass(frozen=True)
class Server:
    version: int
    directory: Path
    connection: psycopg.Connection


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    version = request.param
    with running(version) as directory:
        with connect(directory) as connection:
            connection.autocommit = True
            for statement in CLUSTER.split(";"):
                connection.execute(statement.encode())
        with connect(directory) as connection:
            connection.execute(SCHEMA.encode())
            connection.commit()
            yield Server(version, directory, connection)


def said(statement: str, version: int) -> Mapping[Name, Lock]:
    report = lint([Source("1.sql", statement)], catalog=CATALOG, settings=Settings(postgres=version))
    assert report.unread == ()
    (one,) = report.statements
    return {lock.relation: lock for lock in one.effect.locks if lock.relation not in CATALOG.indexes}


def known(tried: list[Tried], version: int) -> Iterator[str]:
    return (one.text for one in tried if one.since <= version <= one.until)


def test_every_statement_locks_and_does_what_the_lint_says(server: Server) -> None:
    differences = []
    for statement in known(IN_TRANSACTION, server.version):
        real = trace(server.connection, statement)
        server.connection.rollback()
        expected = said(statement, server.version)
        locks = {name: lock.mode for name, lock in expected.items()}
        work = {name: lock.work for name, lock in expected.items() if lock.work is not Work.NONE}
        if real.locks != locks:
            differences.append((statement, "locks", dict(real.locks), locks))
        if real.work != ({} if statement in READ_UNSEEN else work):
            differences.append((statement, "work", dict(real.work), work))
    assert differences == []


def test_every_statement_that_runs_on_its_own_asks_for_the_locks_that_the_lint_says(server: Server) -> None:
    differences = []
    for statement in known(ON_THEIR_OWN, server.version):
        with connect(server.directory) as observer, connect(server.directory) as runner:
            runner.autocommit = True
            observer.execute("LOCK TABLE users, logs, logs_1 IN SHARE UPDATE EXCLUSIVE MODE")
            real = trace_request(runner, observer, statement)
            observer.rollback()
        expected = {name: lock.mode for name, lock in said(statement, server.version).items()}
        asked = {name: mode for name, mode in real.locks.items() if mode > LockMode.ACCESS_SHARE}
        if not asked or any(expected.get(name) != mode for name, mode in asked.items()):
            differences.append((statement, dict(real.locks), expected))
    assert differences == []


def test_the_lint_knows_what_runs_on_its_own() -> None:
    for one in (*IN_TRANSACTION, *ON_THEIR_OWN):
        (found,) = lint([Source("1.sql", one.text)], catalog=CATALOG).statements
        assert found.effect.outside_transaction == (one in ON_THEIR_OWN), one.text


def test_the_server_refuses_in_a_transaction_what_the_lint_says(server: Server) -> None:
    for statement in known(ON_THEIR_OWN, server.version):
        with pytest.raises(psycopg.errors.ActiveSqlTransaction):
            server.connection.execute(statement.encode())
        server.connection.rollback()


def test_modes_of_locks_conflict_as_the_table_says(server: Server) -> None:
    wrong = []
    with connect(server.directory) as other:
        for held in LockMode:
            for wanted in LockMode:
                server.connection.execute(f"LOCK TABLE users IN {held.sql} MODE".encode())
                try:
                    other.execute(f"LOCK TABLE users IN {wanted.sql} MODE NOWAIT".encode())
                    conflicts = False
                except psycopg.errors.LockNotAvailable:
                    conflicts = True
                other.rollback()
                server.connection.rollback()
                if conflicts != (wanted in CONFLICTS[held]):
                    wrong.append((held, wanted))
    assert wrong == []
