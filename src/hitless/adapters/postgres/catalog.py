"""The schema of a live database as statements that would make it, for the reader of the lint: no pg_dump is needed.

What for. The lint and the planner know one form of a schema, the catalogue that they make of statements. So the system
catalogues are written back as statements by PostgreSQL's own functions (`pg_get_constraintdef` and its kin, with an
empty search path, as pg_dump does), and read like a dump. One reader, one form; a test holds it against pg_dump's.

What it is not: a dump. Owners, privileges, comments, options that matter to nobody here are left out. No lock on any
table is taken, unlike pg_dump, which takes ACCESS SHARE on all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg.rows import dict_row

from hitless.schema.names import literal, quoted

OURS = "n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'hitless')"
"""Schemas of users. What an extension made belongs to it."""

_NO_EXTENSION = "NOT EXISTS (SELECT FROM pg_depend e WHERE e.objid = {oid} AND e.deptype = 'e')"
_NO_PART = "NOT EXISTS (SELECT FROM pg_depend i WHERE i.objid = {oid} AND i.deptype = 'i')"
"""Neither of what something else brings along: constructors of a range, the sequence of an identity."""

_SCHEMAS = f"SELECT n.nspname AS name FROM pg_namespace n WHERE {OURS} AND n.nspname <> 'public' ORDER BY 1"

_ENUMS = f"""
SELECT t.oid::regtype::text AS name, array_agg(v.enumlabel ORDER BY v.enumsortorder) AS values
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace JOIN pg_enum v ON v.enumtypid = t.oid
WHERE {OURS} AND {_NO_EXTENSION.format(oid="t.oid")} GROUP BY t.oid ORDER BY 1
"""
_DOMAINS = f"""
SELECT t.oid::regtype::text AS name, format_type(t.typbasetype, t.typtypmod) AS base, t.typnotnull AS not_null,
       array(SELECT format('CONSTRAINT %I %s', k.conname, pg_get_constraintdef(k.oid)) FROM pg_constraint k
             WHERE k.contypid = t.oid AND k.contype = 'c' ORDER BY k.conname) AS constraints
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.typtype = 'd' AND {OURS} AND {_NO_EXTENSION.format(oid="t.oid")} ORDER BY 1
"""
_OTHER_TYPES = f"""
SELECT t.oid::regtype::text AS name,
       (SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
        FROM pg_attribute a WHERE a.attrelid = t.typrelid AND NOT a.attisdropped) AS columns,
       (SELECT format_type(r.rngsubtype, NULL) FROM pg_range r WHERE r.rngtypid = t.oid) AS subtype
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE (t.typtype = 'r' OR c.relkind = 'c') AND {OURS} AND {_NO_EXTENSION.format(oid="t.oid")} ORDER BY 1
"""
_SEQUENCES = f"""
SELECT c.oid::regclass::text AS name, format_type(s.seqtypid, NULL) AS type, o.refobjid::regclass::text AS owner,
       a.attname AS column
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence s ON s.seqrelid = c.oid
LEFT JOIN pg_depend o ON o.objid = c.oid AND o.deptype = 'a' AND o.refobjsubid > 0
LEFT JOIN pg_attribute a ON a.attrelid = o.refobjid AND a.attnum = o.refobjsubid
WHERE {OURS} AND {_NO_EXTENSION.format(oid="c.oid")}
  AND {_NO_PART.format(oid="c.oid")} ORDER BY 1
"""
_TABLES = f"""
SELECT c.oid, c.oid::regclass::text AS name, c.relkind::text AS kind, c.relpersistence::text AS persistence,
       CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS key, c.relispartition AS is_part,
       pg_get_expr(c.relpartbound, c.oid) AS bound,
       array(SELECT h.inhparent::regclass::text FROM pg_inherits h
             WHERE h.inhrelid = c.oid ORDER BY h.inhseqno) AS parents
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f') AND {OURS} AND {_NO_EXTENSION.format(oid="c.oid")} ORDER BY c.oid
"""
_COLUMNS = f"""
SELECT a.attrelid AS oid, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
       a.attnotnull AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'n'
                                    AND k.conkey = ARRAY[a.attnum] AND NOT k.convalidated) AS not_null,
       a.attidentity::text AS identity, a.attgenerated::text AS generated,
       pg_get_expr(d.adbin, d.adrelid) AS expression,
       (SELECT format('%I.%I', l.collnamespace::regnamespace, l.collname) FROM pg_collation l
        WHERE l.oid = a.attcollation AND a.attcollation <> t.typcollation) AS collation,
       a.attislocal AS is_local
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'f') AND {OURS} ORDER BY a.attrelid, a.attnum
"""
_CONSTRAINTS = f"""
SELECT k.conrelid::regclass::text AS relation, k.conname AS name, pg_get_constraintdef(k.oid) AS definition,
       k.contype::text AS kind, k.conrelid AS oid, k.conislocal AS is_local, k.conparentid <> 0 AS is_part,
       (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = k.conkey[1]) AS column
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype IN ('c', 'p', 'u', 'x', 'f', 'n') AND {OURS} AND {_NO_EXTENSION.format(oid="c.oid")}
ORDER BY k.contype = 'f', 1, 2
"""
_INDEXES = f"""
SELECT x.oid::regclass::text AS name, pg_get_indexdef(x.oid) AS definition, p.inhparent::regclass::text AS parent
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_namespace n ON n.oid = x.relnamespace
LEFT JOIN pg_inherits p ON p.inhrelid = x.oid
WHERE {OURS} AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = x.oid AND k.contype IN ('p', 'u', 'x'))
  AND {_NO_EXTENSION.format(oid="i.indrelid")} ORDER BY 1
"""
_FUNCTIONS = f"""
SELECT pg_get_functiondef(p.oid) AS definition FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prokind IN ('f', 'p', 'w') AND {OURS} AND {_NO_EXTENSION.format(oid="p.oid")} AND {_NO_PART.format(oid="p.oid")}
ORDER BY p.oid
"""
_VIEWS = f"""
SELECT c.oid::regclass::text AS name, c.relkind::text AS kind, pg_get_viewdef(c.oid) AS definition,
       array_to_string(c.reloptions, ', ') AS options
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm') AND {OURS} AND {_NO_EXTENSION.format(oid="c.oid")} ORDER BY c.oid
"""
_TRIGGERS = f"""
SELECT pg_get_triggerdef(t.oid) AS definition, t.tgname AS name, c.oid::regclass::text AS relation,
       t.tgenabled::text AS enabled
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND {OURS} ORDER BY 3, 2
"""
_STATISTICS = f"""
SELECT pg_get_statisticsobjdef(s.oid) AS definition
FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
WHERE {OURS} ORDER BY s.oid
"""
_STATES = {"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
_IDENTITIES = {"a": "ALWAYS", "d": "BY DEFAULT"}


def definitions_of(connection: psycopg.Connection) -> str:
    """Return statements that make the schema, in an order in which they can be read.

    Raises:
        psycopg.Error: the server refuses; the caller says so.
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute("SET LOCAL search_path = ''")  # or names that are in it lose their schema
        return "".join(f"{one.strip().rstrip(';')};\n\n" for one in _definitions(connection))


def _definitions(connection: psycopg.Connection) -> Iterator[str]:
    yield "SELECT pg_catalog.set_config('search_path', '', false)"
    yield from (f"CREATE SCHEMA {quoted(one['name'])}" for one in _rows(connection, _SCHEMAS))
    yield from _types(connection)
    yield from _sequences(connection)
    yield from (one["definition"] for one in _rows(connection, _FUNCTIONS))
    yield from _tables(connection)
    yield from _constraints(connection)
    yield from _views(connection)
    yield from _indexes(connection)
    yield from _owners(connection)
    yield from _triggers(connection)
    yield from (one["definition"] for one in _rows(connection, _STATISTICS))


def _rows(connection: psycopg.Connection, query: str) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode()).fetchall()


def _types(connection: psycopg.Connection) -> Iterator[str]:
    for one in _rows(connection, _ENUMS):
        yield f"CREATE TYPE {one['name']} AS ENUM ({', '.join(map(literal, one['values']))})"
    for one in _rows(connection, _OTHER_TYPES):
        body = f"RANGE (subtype = {one['subtype']})" if one["subtype"] else f"({one['columns'] or ''})"
        yield f"CREATE TYPE {one['name']} AS {body}"
    for one in _rows(connection, _DOMAINS):
        parts = [f"CREATE DOMAIN {one['name']} AS {one['base']}", *(["NOT NULL"] if one["not_null"] else [])]
        yield " ".join([*parts, *one["constraints"]])


def _sequences(connection: psycopg.Connection) -> Iterator[str]:
    for one in _rows(connection, _SEQUENCES):
        yield f"CREATE SEQUENCE {one['name']} AS {one['type']}"


def _owners(connection: psycopg.Connection) -> Iterator[str]:
    for one in _rows(connection, _SEQUENCES):
        if one["owner"]:
            yield f"ALTER SEQUENCE {one['name']} OWNED BY {one['owner']}.{quoted(one['column'])}"


def _tables(connection: psycopg.Connection) -> Iterator[str]:
    columns: dict[int, list[dict[str, Any]]] = {}
    for one in _rows(connection, _COLUMNS):
        columns.setdefault(one["oid"], []).append(one)
    tables = _rows(connection, _TABLES)
    for table in _parents_first(tables):
        local = [
            one for one in columns.get(table["oid"], ()) if one["is_local"] or table["is_part"] or not table["parents"]
        ]
        yield _table(table, local)
        for one in local:
            yield from _identity(table["name"], one)
    for table in tables:
        if table["is_part"]:
            yield f"ALTER TABLE ONLY {table['parents'][0]} ATTACH PARTITION {table['name']} {table['bound']}"


def _parents_first(tables: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A table that inherits comes after its parents; a part is attached later, whatever its place."""
    waiting, done = list(tables), set[str]()
    while waiting:
        ready = [one for one in waiting if one["is_part"] or done.issuperset(one["parents"])]
        for one in ready or waiting[:1]:  # parents that belong to an extension are never seen
            done.add(one["name"])
            waiting.remove(one)
            yield one


def _table(table: dict[str, Any], columns: list[dict[str, Any]]) -> str:
    kind = "FOREIGN TABLE" if table["kind"] == "f" else "UNLOGGED TABLE" if table["persistence"] == "u" else "TABLE"
    body = ",\n    ".join(_column(one) for one in columns)
    inherits = f" INHERITS ({', '.join(table['parents'])})" if table["parents"] and not table["is_part"] else ""
    key = f" PARTITION BY {table['key']}" if table["key"] else ""
    server = " SERVER unknown" if table["kind"] == "f" else ""
    return f"CREATE {kind} {table['name']} (\n    {body}\n){inherits}{key}{server}"


def _column(one: dict[str, Any]) -> str:
    parts = [quoted(one["name"]), one["type"]]
    parts += [f"COLLATE {one['collation']}"] if one["collation"] else []
    if one["generated"]:
        parts.append(f"GENERATED ALWAYS AS ({one['expression']}){' STORED' if one['generated'] == 's' else ''}")
    elif one["expression"]:
        parts.append(f"DEFAULT {one['expression']}")
    return " ".join([*parts, *(["NOT NULL"] if one["not_null"] else [])])


def _identity(table: str, one: dict[str, Any]) -> Iterator[str]:
    if one["identity"]:
        how = _IDENTITIES[one["identity"]]
        yield f"ALTER TABLE {table} ALTER COLUMN {quoted(one['name'])} ADD GENERATED {how} AS IDENTITY"


def _constraints(connection: psycopg.Connection) -> Iterator[str]:
    """Those of NOT NULL stand at their columns already, but for the ones that are not validated."""
    for one in _rows(connection, _CONSTRAINTS):
        if one["kind"] == "n" and not one["definition"].endswith("NOT VALID"):
            continue
        if one["is_local"] or one["kind"] in {"p", "u", "x"}:
            yield f"ALTER TABLE ONLY {one['relation']} ADD CONSTRAINT {quoted(one['name'])} {one['definition']}"


def _views(connection: psycopg.Connection) -> Iterator[str]:
    for one in _rows(connection, _VIEWS):
        kind = "MATERIALIZED VIEW" if one["kind"] == "m" else "VIEW"
        options = f" WITH ({one['options']})" if one["options"] else ""
        yield f"CREATE {kind} {one['name']}{options} AS {one['definition'].rstrip().rstrip(';')}"


def _indexes(connection: psycopg.Connection) -> Iterator[str]:
    found = _rows(connection, _INDEXES)
    yield from (one["definition"] for one in found)
    for one in found:
        if one["parent"]:
            yield f"ALTER INDEX {one['parent']} ATTACH PARTITION {one['name']}"


def _triggers(connection: psycopg.Connection) -> Iterator[str]:
    for one in _rows(connection, _TRIGGERS):
        yield one["definition"]
        if one["enabled"] in _STATES:
            yield f"ALTER TABLE {one['relation']} {_STATES[one['enabled']]} TRIGGER {quoted(one['name'])}"
