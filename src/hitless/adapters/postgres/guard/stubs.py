"""Stand-ins in a copy for what extensions bring that could not be made there: they need a superuser, or a file.

Monitoring asks `pg_stat_statements` all day; without a stand-in each of its statements would be one that nobody can
judge. A stand-in has the names and types of the real thing, and nothing in it.
"""

from __future__ import annotations

from contextlib import suppress

import psycopg

from hitless.schema.names import Name, quoted

_MISSING = "SELECT extname FROM pg_extension WHERE extname <> ALL (%s)"
_THERE = "SELECT extname FROM pg_extension"
_RELATIONS = """
SELECT n.nspname, c.relname, array_agg(a.attname::text ORDER BY a.attnum),
       array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum)
FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid JOIN pg_class c ON c.oid = d.objid
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  AND e.extname = ANY (%s) AND c.relkind IN ('r', 'v', 'm') AND NOT a.attisdropped GROUP BY 1, 2
"""
_FUNCTIONS = """
SELECT n.nspname, p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid)
FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid JOIN pg_proc p ON p.oid = d.objid
JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  AND e.extname = ANY (%s) AND p.prokind = 'f'
"""


def stand_in(copy: psycopg.Connection, original: psycopg.Connection) -> None:
    """Put stand-ins into a copy; what cannot have one stays away, and statements that need it are in doubt."""
    there = [name for (name,) in copy.execute(_THERE).fetchall()]
    missing = [name for (name,) in original.execute(_MISSING, (there,)).fetchall()]
    if not missing:
        return
    for schema, name, columns, types in original.execute(_RELATIONS, (missing,)).fetchall():
        listed = ", ".join(f"NULL::{kind} AS {quoted(one)}" for one, kind in zip(columns, types, strict=True))
        _make(copy, schema, f"CREATE VIEW {Name(name, schema)} AS SELECT {listed} WHERE false")
    for schema, name, arguments, result in original.execute(_FUNCTIONS, (missing,)).fetchall():
        head = f"CREATE FUNCTION {Name(name, schema)}({arguments}) RETURNS {result}"
        _make(copy, schema, f"{head} LANGUAGE plpgsql AS 'BEGIN END'")


def _make(copy: psycopg.Connection, schema: str, statement: str) -> None:
    with suppress(psycopg.Error):  # a type that only the extension has
        copy.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}".encode())
        copy.execute(statement.encode())
