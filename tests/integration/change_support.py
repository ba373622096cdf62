"""Plans carried out on a real server, plainly: one session, no patience, no state. And dumps to compare."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psycopg
from postgres_support import connect, server_of

from hitless.config.change_file import parse_change
from hitless.schema.change.dependents import dependents_of
from hitless.schema.change.planner import plan_change
from hitless.schema.change.standing import Part
from hitless.schema.change.steps import Build, Compare, Fill, Plan, Revoke, Step
from hitless.schema.linting import read_schema
from hitless.schema.names import quoted
from hitless.schema.reading.source import Source

TO_THE_SWITCH = (Part.EXPAND, Part.BACKFILL, Part.VERIFY, Part.SWITCH)


def dump(directory: Path, database: str, version: int) -> str:
    """Return what pg_dump says of a schema, without the key that it draws at random."""
    command = [server_of(version) / "pg_dump", "-h", directory, "-U", "postgres", "--schema-only", database]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return "\n".join(line for line in said.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))


def planned(yaml: str, dumped: str, version: int) -> Plan:
    """Plan a change of the schema that a dump tells."""
    catalog, unread = read_schema(Source(name="dump.sql", text=dumped))
    assert not unread
    return plan_change(parse_change(yaml, name="change.yaml"), catalog, version, dependents_of(dumped))


def fresh(directory: Path, name: str, script: str) -> psycopg.Connection:
    """Make a database with a schema and the house of a change."""
    with connect(directory) as admin:
        admin.autocommit = True
        admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        admin.execute(f'CREATE DATABASE "{name}"')
    connection = connect(directory, name)
    connection.autocommit = True
    connection.execute(script)
    return connection


def carry_out(connection: psycopg.Connection, step: Step) -> None:
    """Do a step."""
    for one in step.checks:
        assert connection.execute(one.counted).fetchone() == (0,), one.trouble
        assert connection.execute(one.query).fetchall() == []
    match step:
        case Build():
            connection.execute(step.do)
        case Fill():
            values = ", ".join(f"{quoted(name)} = {text}" for name, text in step.assignments.items())
            connection.execute(f"UPDATE {step.table} SET {values} WHERE {step.todo}")
        case Compare():
            assert wrong_rows(connection, step) == []
        case Revoke():
            pass  # there is no role but the owner
        case _:
            with connection.transaction():
                for statement in step.do:
                    connection.execute(statement)


def wrong_rows(connection: psycopg.Connection, step: Compare) -> list[tuple[object, ...]]:
    """Return the rows in which neither direction holds."""
    shown = ", ".join(map(quoted, step.shown))
    wrong = f"NOT ({step.forward}) AND NOT ({step.backward})"
    return connection.execute(f"SELECT {shown} FROM {step.table} WHERE {wrong}").fetchall()


def take_back(connection: psycopg.Connection, step: Step) -> None:
    """Undo a step."""
    undo = getattr(step, "undo", ())
    if isinstance(step, Build):
        connection.execute(step.undo)
        return
    with connection.transaction():
        for statement in undo:
            connection.execute(statement)
