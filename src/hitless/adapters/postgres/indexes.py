"""What is known of an index that a step builds: whether it is there, whole, and the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.errors import InsufficientPrivilege, LockNotAvailable, QueryCanceled

from hitless.errors import HitlessError, Refused
from hitless.schema.actions.objects import CreateIndex
from hitless.schema.names import Name
from hitless.schema.translation.statements import actions_of

_FOUND = """
SELECT i.indisvalid AND i.indisready, pg_get_indexdef(i.indexrelid), n.nspname, c.relname, k.conname
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_namespace n ON n.oid = x.relnamespace
JOIN pg_class c ON c.oid = i.indrelid
LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')
WHERE i.indexrelid = to_regclass(%s)
"""
_PROGRESS = """
SELECT p.pid, p.phase, p.lockers_total, p.lockers_done, p.current_locker_pid, p.blocks_total, p.blocks_done,
       p.tuples_total, p.tuples_done
FROM pg_stat_progress_create_index p WHERE p.{} = %s
"""
_HEAD = re.compile(r"\A\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+(?:CONCURRENTLY\s+)?(?:IF\s+NOT\s+EXISTS\s+)?", re.IGNORECASE)
_BEHIND_TABLE = re.compile(r" ON (?:ONLY )?.*? USING ")
_PROBE = "hitless_probe"
LOOK_FOR_S = 30
"""How long it is looked for rows that are the same."""


class IndexInTheWay(Refused):
    """Another index has the name."""

    code = "HL4526"

    def __init__(self, index: Name, there: str, wanted: str) -> None:
        super().__init__(
            f"an index {index.shown} is there already, and is another one",
            evidence=(f"there:  {there}", f"wanted: {' '.join(wanted.split())}"),
            hints=(
                f"ALTER INDEX {index} RENAME TO ...   # keeps it, under another name",
                "or give the new one another name",
            ),
        )


class DuplicateRows(Refused):
    """Rows have the same values where an index wants them different."""

    code = "HL4527"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An index that is there.

    Attributes:
        is_whole: its build came to an end.
        definition: as PostgreSQL writes it.
        constraint: the one that it serves by now.
    """

    is_whole: bool
    definition: str
    table: Name
    constraint: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a build is; counts are None where the server does not tell them yet."""

    pid: int
    phase: str
    waits_for: int | None
    share: float | None

    @property
    def sentence(self) -> str:
        """Say it in words."""
        share = f" {self.share:.0%}" if self.share is not None else ""
        return f"{self.phase}{share}"


def find(connection: psycopg.Connection, index: Name) -> Found | None:
    """Look for an index."""
    row = connection.execute(_FOUND.encode(), (str(index),)).fetchone()
    if row is None:
        return None
    is_whole, definition, schema, table, constraint = row
    return Found(is_whole=is_whole, definition=definition, table=Name(table, schema), constraint=constraint)


def progress(connection: psycopg.Connection, *, pid: int | None = None, index: Name | None = None) -> Progress | None:
    """Return how far a build is that a process does, or that makes an index."""
    column, value = ("pid", pid) if index is None else ("index_relid", None)
    if index is not None:
        row = connection.execute("SELECT to_regclass(%s)::oid", (str(index),)).fetchone()
        value = row[0] if row else None
    found = connection.execute(_PROGRESS.format(column).encode(), (value,)).fetchone()
    if found is None:
        return None
    pid_, phase, lockers, lockers_done, locker, blocks, blocks_done, tuples, tuples_done = found
    return Progress(
        pid=pid_,
        phase=phase,
        waits_for=locker or None,
        share=_share(lockers, lockers_done) if locker else (_share(tuples, tuples_done) or _share(blocks, blocks_done)),
    )


def _share(total: int | None, so_far: int | None) -> float | None:
    return (so_far or 0) / total if total else None


def is_same(connection: psycopg.Connection, there: Found, statement: str) -> bool:
    """Tell whether an index is what a statement would build: on an empty copy of its table, PostgreSQL itself says.

    Raises:
        psycopg.Error: it could not be asked: no right to temporary tables, a lock, no answer.
    """
    create = _read(statement)
    body = f"{'UNIQUE ' if create.is_unique else ''}INDEX {_PROBE}_idx ON {_PROBE} {create.definition}"
    try:
        with connection.transaction(force_rollback=True):
            like = "CREATE TEMP TABLE {} (LIKE {} INCLUDING GENERATED) ON COMMIT DROP"
            table = sql.SQL("{}.{}").format(sql.Identifier(there.table.schema or ""), sql.Identifier(there.table.name))
            connection.execute(sql.SQL(like).format(sql.Identifier(_PROBE), table))
            connection.execute(f"CREATE {body}".encode())
            row = connection.execute("SELECT pg_get_indexdef(%s::regclass)", (f"pg_temp.{_PROBE}_idx",)).fetchone()
    except (LockNotAvailable, InsufficientPrivilege, psycopg.OperationalError):
        raise  # nothing was compared: it may well be the same
    except psycopg.Error:
        return False
    return row is not None and _essence(row[0]) == _essence(there.definition)


def _essence(definition: str) -> tuple[bool, str]:
    """Return what an index is, beside its name and its table's."""
    return " UNIQUE " in definition[:20], _BEHIND_TABLE.split(definition, maxsplit=1)[-1]


def _read(statement: str) -> CreateIndex:
    (action,) = actions_of(statement)
    assert isinstance(action, CreateIndex), statement
    return action


def duplicates(connection: psycopg.Connection, statement: str, most: int = 5) -> tuple[str, ...]:
    """Name values that several rows share; empty = none, or keys are expressions."""
    create = _read(statement)
    columns = [key.column for key in create.keys if key.column is not None]
    if len(columns) < len(create.keys):
        return ()
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    known = sql.SQL(" AND ").join(sql.SQL("{} IS NOT NULL").format(sql.Identifier(one)) for one in columns)
    where = sql.SQL(f"({create.where.text}) AND ") if create.where else sql.SQL("")
    query = sql.SQL("SELECT {0}, count(*) FROM {1} WHERE {2}{3} GROUP BY {0} HAVING count(*) > 1 LIMIT {4}").format(
        listed, _identifier(create.table), where, known, sql.Literal(most)
    )
    shown = ", ".join(columns)
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = '{LOOK_FOR_S}s'".encode())
            rows = connection.execute(query).fetchall()
    except QueryCanceled:  # a large table: the server has named one such row already
        return ()
    return tuple(f"{shown} = {', '.join(map(str, row[:-1]))}: {row[-1]} rows" for row in rows)


def _identifier(name: Name) -> sql.Identifier:
    return sql.Identifier(*(part for part in (name.schema, name.name) if part is not None))


def duplicate_rows(index: Name, found: tuple[str, ...], detail: str | None) -> HitlessError:
    """Return what is said of rows that a unique index does not take."""
    return DuplicateRows(
        f"rows have the same values where {index.shown} wants them different",
        evidence=found or ((detail,) if detail else ()),
        hints=("make them differ, or remove all but one of each", "then run the same command again"),
    )


def data_of(one: Progress) -> Mapping[str, Any]:
    """Return progress for programs."""
    return {"pid": one.pid, "phase": one.phase, "waits_for": one.waits_for, "share": one.share}
