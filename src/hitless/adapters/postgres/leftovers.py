"""What no change accounts for: left behind by a crash, by another tool, or by a backup that was restored.

What belongs to a change is known by its name standing in a plan that is kept. Where nothing is kept, everything of ours
is left over.

Rules. Taken away is only what holds no data and serves nobody: an index of ours, or of reindexing, that is not whole
and that nobody builds at this moment; a copy of a schema that nobody is connected to; a house without changes. Anything
else is named, with the SQL that would do it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
from psycopg import sql

from hitless.adapters.postgres.build import drop_index
from hitless.adapters.postgres.records import HOUSE_LOCK, is_needed, is_ours_alone, is_there, pull_down
from hitless.adapters.postgres.scratch import PREFIX, abandoned, sweep
from hitless.adapters.postgres.taking import LOCK_CLASS
from hitless.schema.change.state import Leftover
from hitless.schema.names import Name

DROP_WAIT_S = 60.0

_INVALID = """
SELECT n.nspname, x.relname, i.indrelid::regclass::text FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_namespace n ON n.oid = x.relnamespace
WHERE NOT i.indisvalid AND x.relkind = 'i' AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = i.indexrelid)
  AND NOT EXISTS (
    SELECT FROM pg_locks l WHERE l.relation = i.indrelid AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
ORDER BY 1, 2
"""
_TRIGGERS = r"""
SELECT tgname, tgrelid::regclass::text FROM pg_trigger
WHERE NOT tgisinternal AND tgparentid = 0 AND tgname LIKE 'zzz\_hitless\_%' ORDER BY 1
"""
_COLUMNS = r"""
SELECT a.attname, a.attrelid::regclass::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.attname LIKE 'hitless\_%' AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p')
  AND n.nspname <> 'hitless' ORDER BY 2, 1
"""
_TABLES = r"""
SELECT c.oid::regclass::text, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname LIKE 'hitless\_%' AND c.relkind IN ('r', 'p') AND n.nspname <> 'hitless' ORDER BY 1
"""
_FUNCTIONS = "SELECT oid::regprocedure::text, proname FROM pg_proc WHERE pronamespace = to_regnamespace('hitless')"
_SEQUENCES = """
SELECT c.oid::regclass::text, c.relname FROM pg_class c
WHERE c.relnamespace = to_regnamespace('hitless') AND c.relkind = 'S'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'i')
"""
_LOCKS = """
SELECT l.pid, a.application_name, host(a.client_addr) FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.classid = %s::bigint::oid AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.objid <> ALL (SELECT (hashtext(unnest(%s::text[]))::bigint & 4294967295)::oid)
"""


def find_leftovers(connection: psycopg.Connection) -> tuple[Leftover, ...]:
    """Name everything of ours, and every index that is not whole, that no change accounts for."""
    plans, names = _kept(connection)
    found = [*_indexes(connection, plans), *_objects(connection, plans), *_locks(connection, names)]
    found += [_scratch(name) for name in abandoned(connection)]
    is_there = connection.execute("SELECT to_regnamespace('hitless')").fetchone() != (None,)
    if not plans and is_there and not is_needed(connection):
        found.append(_house(connection))
    return tuple(found)


def take_away(connection: psycopg.Connection, found: tuple[Leftover, ...]) -> tuple[Leftover, ...]:
    """Take away what can be taken away; return what was.

    Raises:
        psycopg.Error: the server refuses, or transactions that are older did not end.
    """
    fixed = [one for one in found if one.can_be_fixed]
    for one in fixed:
        match one.kind:
            case "index":
                drop_index(connection, _read(connection, one.name), DROP_WAIT_S)
            case "schema":
                with connection.transaction():
                    connection.execute(HOUSE_LOCK)
                    pull_down(connection)
    if any(one.kind == "scratch" for one in fixed):
        sweep(connection)
    return tuple(fixed)


def _kept(connection: psycopg.Connection) -> tuple[str, list[str]]:
    """Return all plans that are kept, as one text, and the names of their changes."""
    if not is_there(connection):
        return "", []
    rows = connection.execute("SELECT id, plan::text FROM hitless.change").fetchall()
    return "\n".join(plan for _, plan in rows), [name for name, _ in rows]


def _indexes(connection: psycopg.Connection, plans: str) -> Iterator[Leftover]:
    for schema, index, table in connection.execute(_INVALID).fetchall():
        name = str(Name(index, schema))
        ours = _stands_in(index, plans)
        reindexed = index.rstrip("0123456789").endswith(("_ccnew", "_ccold"))
        by = "reindexing" if reindexed else "a build"
        yield Leftover(
            kind="index",
            name=name,
            why=f"{by} of it on {table} did not come to its end: every write pays for it, no read uses it",
            remedy="the next `hitless migrate expand` builds it anew" if ours else f"DROP INDEX CONCURRENTLY {name}",
            can_be_fixed=ours or reindexed,
        )


def _objects(connection: psycopg.Connection, plans: str) -> Iterator[Leftover]:
    for trigger, table in connection.execute(_TRIGGERS).fetchall():
        if not _stands_in(trigger, plans):
            yield Leftover(
                kind="trigger",
                name=f"{trigger} on {table}",
                why="a trigger of a change that is not kept here: a release may live by it",
                remedy=f"SET lock_timeout = '100ms'; {_drop('DROP TRIGGER {} ON ', trigger)}{table}",
            )
    for column, table in connection.execute(_COLUMNS).fetchall():
        if not _stands_in(column, plans):
            yield Leftover(
                kind="column",
                name=f"{table}.{column}",
                why="a column of a change that is not kept here; it holds data",
                remedy=f"SET lock_timeout = '100ms'; ALTER TABLE {table} {_drop('DROP COLUMN {}', column)}",
            )
    for table, name in connection.execute(_TABLES).fetchall():
        if not _stands_in(name, plans):
            why = "a table of a change that is not kept here; it holds data"
            yield Leftover(kind="table", name=table, why=why, remedy=f"DROP TABLE {table}")
    yield from _in_the_house(connection, plans)


def _in_the_house(connection: psycopg.Connection, plans: str) -> Iterator[Leftover]:
    for function, name in connection.execute(_FUNCTIONS).fetchall():
        if not _stands_in(name, plans):
            why = "a function of a change that is not kept here"
            yield Leftover(kind="function", name=function, why=why, remedy=f"DROP FUNCTION {function}")
    for sequence, name in connection.execute(_SEQUENCES).fetchall():
        if not _stands_in(name, plans):
            why = "a counter of a change that is not kept here"
            yield Leftover(kind="sequence", name=sequence, why=why, remedy=f"DROP SEQUENCE {sequence}")


def _locks(connection: psycopg.Connection, names: list[str]) -> Iterator[Leftover]:
    for pid, application, client in connection.execute(_LOCKS, (LOCK_CLASS, names)).fetchall():
        yield Leftover(
            kind="lock",
            name=f"pid {pid}",
            why=f"{application or 'somebody'}@{client or 'local'} holds a change that is not kept here",
            remedy=f"SELECT pg_terminate_backend({pid})",
        )


def _scratch(name: str) -> Leftover:
    assert name.startswith(PREFIX), name
    why = "a throw-away copy of a schema whose maker was ended"
    return Leftover(kind="scratch", name=name, why=why, remedy=f"DROP DATABASE {name}", can_be_fixed=True)


def _house(connection: psycopg.Connection) -> Leftover:
    alone = is_ours_alone(connection)
    return Leftover(
        kind="schema",
        name="hitless",
        why="the schema of hitless, and no change in it" + ("" if alone else "; something else is in it"),
        remedy="DROP SCHEMA hitless" + ("" if alone else " CASCADE"),
        can_be_fixed=alone,
    )


def _stands_in(name: str, plans: str) -> bool:
    """Tell whether a plan names it: plans are JSON, and what is quoted in SQL is quoted once more there."""
    return json.dumps(name.replace('"', '""'), ensure_ascii=False)[1:-1] in plans


def _drop(statement: str, name: str) -> str:
    return sql.SQL(statement).format(sql.Identifier(name)).as_string()


def _read(connection: psycopg.Connection, name: str) -> Name:
    row = connection.execute(
        "SELECT c.relname, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid = to_regclass(%s)",
        (name,),
    ).fetchone()
    return Name(row[0], row[1]) if row else Name(name)
