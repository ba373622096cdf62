"""What stands in the schema `hitless`: written in the transaction of whatever it is a record of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from hitless.adapters.postgres.hold import Hold
from hitless.adapters.postgres.house import SCHEMA, TABLES
from hitless.schema.change.standing import Standing

HOUSE_LOCK = "SELECT pg_advisory_xact_lock(hashtext('hitless.house'))"
"""Held while the house is made or taken away: two changes may begin and end at once."""

_IS_THERE = "SELECT to_regclass('hitless.event') IS NOT NULL AND to_regclass('hitless.change') IS NOT NULL"

_STRANGERS = """
SELECT EXISTS (SELECT FROM pg_class c WHERE relnamespace = 'hitless'::regnamespace AND relname <> ALL (%s)
               AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
               AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'i'))
    OR EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'hitless'::regnamespace)
    OR EXISTS (SELECT FROM pg_type WHERE typnamespace = 'hitless'::regnamespace AND typtype IN ('d', 'e', 'r'))
"""
_OURS = [found[1] for one in TABLES if (found := re.match(r"CREATE TABLE IF NOT EXISTS hitless\.(\w+)", one))]


_OF_CHANGES = frozenset({"change", "step", "backfill", "event", "fingerprint"})


def is_there(connection: psycopg.Connection) -> bool:
    """Tell whether the schema is there."""
    row = connection.execute(_IS_THERE).fetchone()
    return bool(row and row[0])


def make(connection: psycopg.Connection) -> None:
    """Make the schema and its tables, in the open transaction, as far as they are not there."""
    connection.execute(HOUSE_LOCK)
    connection.execute("SET LOCAL client_min_messages = warning")
    first, *tables = TABLES
    if connection.execute("SELECT to_regnamespace('hitless')").fetchone() == (None,):  # or it asks for a right in vain
        connection.execute(first.encode())
    for statement in tables:
        connection.execute(statement.encode())


def is_ours_alone(connection: psycopg.Connection) -> bool:
    """Tell whether nothing but our own tables is in the schema."""
    row = connection.execute(_STRANGERS, (_OURS,)).fetchone()
    return row is not None and not row[0]


def is_needed(connection: psycopg.Connection) -> bool:
    """Tell whether something is kept in the schema beside what belongs to changes, such as roles of versions."""
    return any(_has_rows(connection, one) for one in _OURS if one not in _OF_CHANGES)


def _has_rows(connection: psycopg.Connection, table: str) -> bool:
    if connection.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.{table}",)).fetchone() == (None,):
        return False
    query = sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(SCHEMA, table))
    return connection.execute(query).fetchone() is not None


def pull_down(connection: psycopg.Connection) -> bool:
    """Drop the schema in the open transaction, where nothing else is in it; tell whether it was dropped."""
    if not is_ours_alone(connection) or is_needed(connection):
        return False
    for table in reversed(_OURS):
        connection.execute(f"DROP TABLE IF EXISTS {SCHEMA}.{table}".encode())
    connection.execute(f"DROP SCHEMA {SCHEMA}".encode())
    return True


def record(connection: psycopg.Connection, hold: Hold, step: str, evidence: Mapping[str, Any]) -> None:
    """Record that a step is done; what is known of it already stays."""
    connection.execute(
        "INSERT INTO hitless.step AS s (change, id, evidence) VALUES (%s, %s, %s)"
        " ON CONFLICT (change, id) DO UPDATE SET evidence = s.evidence || excluded.evidence",
        (hold.change, step, Jsonb(dict(evidence))),
    )


def forget(connection: psycopg.Connection, hold: Hold, step: str) -> None:
    """Record that a step is taken back."""
    connection.execute("DELETE FROM hitless.step WHERE change = %s AND id = %s", (hold.change, step))
    connection.execute("DELETE FROM hitless.backfill WHERE change = %s AND step = %s", (hold.change, step))


def done(connection: psycopg.Connection, change: str) -> dict[str, dict[str, Any]]:
    """Return the evidence of the steps that are done."""
    found = connection.execute("SELECT id, evidence FROM hitless.step WHERE change = %s", (change,)).fetchall()
    return dict(found)


def stand(connection: psycopg.Connection, hold: Hold, standing: Standing) -> None:
    """Record where a change stands."""
    connection.execute(
        "UPDATE hitless.change SET standing = %s, changed_at = clock_timestamp() WHERE id = %s",
        (standing.value, hold.change),
    )


def want(connection: psycopg.Connection, hold: Hold, wanted: Standing) -> None:
    """Record where somebody wants it to stand."""
    connection.execute("UPDATE hitless.change SET wanted = %s WHERE id = %s", (wanted.value, hold.change))


def tell(connection: psycopg.Connection, change: str, actor: str, type_: str, **data: Any) -> None:
    """Write an event."""
    connection.execute(
        "INSERT INTO hitless.event (change, actor, type, data) VALUES (%s, %s, %s, %s)",
        (change, actor, type_, Jsonb(data)),
    )


def has_begun(connection: psycopg.Connection, change: str, step: str) -> bool:
    """Tell whether a step was begun that cannot commit together with its record, and was not taken back since."""
    row = connection.execute(
        "SELECT type FROM hitless.event WHERE change = %s AND type IN ('step.began', 'step.undone')"
        " AND data ->> 'step' = %s ORDER BY number DESC LIMIT 1",
        (change, step),
    ).fetchone()
    return row is not None and row[0] == "step.began"


def moment(value: datetime | None) -> str | None:
    """Write a moment as RFC 3339."""
    return value.isoformat().replace("+00:00", "Z") if value else None
