"""A copy of a schema is a database of its own that has all of it and no rows, and is gone at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from postgres_support import connect, programs, running
from schema_statements import CLUSTER, SCHEMA

from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.dump import schema_of
from hitless.adapters.postgres.scratch import SchemaText, ScratchFailed, copied, scratch, sweep

VERSIONS = sorted({*programs(), 16, 18})


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[int, Path]]:
    with running(request.param) as directory:
        with connect(directory) as connection:
            connection.autocommit = True
            for statement in CLUSTER.split(";"):
                connection.execute(statement.encode())
            connection.execute("CREATE DATABASE shop")
            connection.execute("CREATE ROLE narrow LOGIN")
        with connect(directory, "shop") as connection:
            connection.execute(SCHEMA.encode())
        yield request.param, directory


def at(directory: Path, database: str = "shop", user: str = "postgres") -> Database:
    return Database(f"host={directory} user={user} dbname={database}")


def scratches(directory: Path) -> list[str]:
    with connect(directory) as connection:
        found = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'hitless%'").fetchall()
    return [name for (name,) in found]


def lines(database: Database, version: int) -> list[str]:
    """A dump's lines, without the key that pg_dump draws anew each time."""
    text = schema_of(database, "--no-owner", "--no-privileges", "--no-subscriptions", version=version)
    return [line for line in text.splitlines() if "restrict" not in line]


def test_a_copy_has_the_same_schema_and_is_gone_at_the_end(server: tuple[int, Path]) -> None:
    version, directory = server
    with copied(at(directory)) as copy:
        ours, theirs = (lines(one, version) for one in (copy, at(directory)))
        assert ours == theirs
        assert len(scratches(directory)) == 1
    assert scratches(directory) == []


def test_a_copy_is_gone_when_its_use_fails(server: tuple[int, Path]) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable), copied(at(server[1])) as copy, copy.connect() as connection:
        connection.execute("SELECT * FROM nowhere")
    assert scratches(server[1]) == []


def test_a_schema_that_does_not_fit_is_refused_with_the_statement(server: tuple[int, Path]) -> None:
    broken = SchemaText(text="CREATE TABLE a (b nowhere);", name="dump.sql", options={})
    with pytest.raises(ScratchFailed) as refused, scratch(broken, server=at(server[1])):
        pass
    assert refused.value.evidence == ("CREATE TABLE a (b nowhere)",)
    assert scratches(server[1]) == []


def test_a_role_without_createdb_is_told_what_to_do(server: tuple[int, Path]) -> None:
    empty = SchemaText(text="", name="dump.sql", options={})
    with pytest.raises(ScratchFailed) as refused, scratch(empty, server=at(server[1], user="narrow")):
        pass
    assert "narrow may not create a database" in refused.value.message


def test_a_copy_that_was_left_behind_is_swept_away(server: tuple[int, Path]) -> None:
    with connect(server[1]) as connection:
        connection.autocommit = True
        connection.execute("CREATE DATABASE hitless_scratch_left")
        assert sweep(connection) == ("hitless_scratch_left",)
    assert scratches(server[1]) == []
