"""One inquiry: a copy of the schema is made, statements are asked about on it, and it is thrown away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.guard.dependents import dependents_of
from hitless.adapters.postgres.guard.doomed import Doomed, find
from hitless.adapters.postgres.guard.functions import taint_functions
from hitless.adapters.postgres.guard.probe import Prober
from hitless.adapters.postgres.guard.stubs import stand_in
from hitless.adapters.postgres.scratch import copied
from hitless.schema.change.steps import Removal
from hitless.schema.guard.dependents import Dependent
from hitless.schema.guard.evidence import Statement
from hitless.schema.guard.verdict import Answer
from hitless.schema.names import quoted

_PATH = """
SELECT COALESCE((SELECT substr(setting, 13) FROM pg_db_role_setting, unnest(setconfig) setting
    WHERE setrole = 0 AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND setting LIKE 'search_path=%%'), '"$user", public')
"""
"""What sessions have whose role sets none: the database's, or PostgreSQL's own."""


_OURS = r"""
SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE tgname LIKE 'zzz\_hitless\_%' AND NOT tgisinternal
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """What a copy of the schema told.

    Attributes:
        answers: of each statement.
        dependents: what in the catalogue needs what is removed.
        mapped: `(table, column)` as models call it -> what is removed; column `*` for the table.
        notes: what goes with it and hinders nobody.
        troubles: why the copy cannot answer for the contract as it will be; each stops it.
    """

    answers: Mapping[Statement, Answer]
    dependents: tuple[Dependent, ...]
    mapped: Mapping[tuple[str, str], str]
    notes: tuple[str, ...]
    troubles: tuple[str, ...]


def inquire(
    database: Database,
    removals: Sequence[Removal],
    statements: Sequence[Statement],
    *,
    server: Database | None = None,
    undone: Sequence[str] = (),
) -> Inquiry:
    """Ask a copy of a database's schema.

    Args:
        database: whose schema.
        removals: what the contract takes away.
        statements: what to ask about.
        server: where the copy is made; None = on the database's own server.
        undone: statements that bring the copy back to how it was before the contract began.

    Raises:
        DatabaseUnreachable: no answer.
        DumpUnavailable: the schema cannot be read.
        ScratchFailed: no copy can be made, or the whole schema does not fit into it.
    """
    with database.connect() as connection:
        row = connection.execute(_PATH).fetchone()
        path = row[0] if row is not None else ""
    with copied(database, server=server) as copy, copy.connect() as connection:
        connection.execute("SET check_function_bodies = off")
        with database.connect() as original:
            stand_in(connection, original)
        troubles = [trouble for one in undone if (trouble := _run(connection, one)) is not None]
        _drop_ours(connection)  # which the way back has made anew
        found = [find(connection, one) for one in removals]
        doomed = [one for one in found if one is not None]
        troubles += [
            f"there is no {_shown(one)} to look for"
            for one, is_there in zip(removals, found, strict=True)
            if is_there is None
        ]
        for one in doomed:
            taint_functions(connection, one)
        prober = Prober(connection, doomed, path)
        prober.take(statements)
        told = [dependents_of(connection, one) for one in doomed]
        connection.execute("RESET search_path")
        for one in doomed:
            troubles += _apply(connection, one)
        return Inquiry(
            answers=prober.answers(),
            dependents=tuple(dict.fromkeys(one for dependents, _ in told for one in dependents)),
            mapped={name: one.shown for one in doomed for name in _mapped(one)},
            notes=tuple(note for _, notes in told for note in notes),
            troubles=tuple(troubles),
        )


def _drop_ours(connection: psycopg.Connection) -> None:
    """Drop the triggers by which hitless writes both sides: they go before what they need."""
    for table, trigger in connection.execute(_OURS).fetchall():
        connection.execute(f"DROP TRIGGER {quoted(trigger)} ON {table}".encode())


def _apply(connection: psycopg.Connection, doomed: Doomed) -> list[str]:
    """Apply the contract; where it cannot be applied, what is removed goes with all that needs it, and that is said."""
    with connection.transaction():
        trouble = next((told for one in doomed.removal.statements if (told := _run_in(connection, one))), None)
    if trouble is None and not _is_there(connection, doomed):
        return []
    table = doomed.removal.table
    statement = (
        f"DROP TABLE IF EXISTS {table} CASCADE"
        if doomed.is_table
        else f"ALTER TABLE {table} "
        + ", ".join(f"DROP COLUMN IF EXISTS {quoted(one)} CASCADE" for one in doomed.removal.columns)
    )
    forced = _run(connection, statement)
    why = trouble or f"its statements leave {doomed.shown} where it is"
    return [f"the contract cannot be carried out on a copy of the schema: {why}", *([forced] if forced else [])]


def _is_there(connection: psycopg.Connection, doomed: Doomed) -> bool:
    query = "SELECT 1 FROM pg_class WHERE oid = ANY(%s)"
    if not doomed.is_table:
        query = "SELECT 1 FROM pg_attribute WHERE attrelid = ANY(%s) AND attname = ANY(%s) AND NOT attisdropped"
        return connection.execute(query, (list(doomed.tables), list(doomed.removal.columns))).fetchone() is not None
    return connection.execute(query, (list(doomed.tables),)).fetchone() is not None


def _run_in(connection: psycopg.Connection, statement: str) -> str | None:
    """Run one of several statements; what went before it stays, so that what comes after it can be seen."""
    try:
        with connection.transaction():
            connection.execute(statement.encode())
    except psycopg.Error as error:
        return _words(error)
    return None


def _run(connection: psycopg.Connection, statement: str) -> str | None:
    try:
        connection.execute(statement.encode())
    except psycopg.Error as error:
        return _words(error)
    return None


def _words(error: psycopg.Error) -> str:
    detail = f" ({'; '.join((error.diag.message_detail or '').splitlines())})" if error.diag.message_detail else ""
    return f"{error.diag.message_primary or error}{detail}"


def _shown(removal: Removal) -> str:
    return ", ".join(f"{removal.table.shown}.{one}" for one in removal.columns) or removal.table.shown


def _mapped(doomed: Doomed) -> list[tuple[str, str]]:
    """Return the names under which models know what is removed: with the schema, and without it."""
    table = doomed.removal.table
    named = {table.name, f"{table.schema or 'public'}.{table.name}", *doomed.tables.values()}
    columns = [*doomed.removal.columns, "*"] if doomed.removal.columns else ["*"]
    return [(name, column) for name in named for column in columns]
