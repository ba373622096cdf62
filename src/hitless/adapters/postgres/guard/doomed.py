"""What a removal takes away, found in a copy of the schema, and what in that copy depends on it.

Theory. PostgreSQL records what views, functions with a body of statements, policies, defaults and constraints need, by
column. What it does not record is found otherwise: whole rows in the parsed trees of views and functions
(`schema.guard.nodetree`), bodies that are text by trying them as statements, and bodies that are opaque by their words
(`schema.guard.bodies`). A view or function that uses what is removed taints whoever uses it, to any depth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from hitless.schema.change.steps import Removal
from hitless.schema.guard.nodetree import columns_that_count, whole_rows
from hitless.schema.names import Name

Object = tuple[str, int]
"""Catalogue and oid: `("pg_proc", 16412)`."""

_FAMILY = """
WITH RECURSIVE family AS (
    SELECT to_regclass(%s)::oid AS id UNION SELECT i.inhrelid FROM pg_inherits i JOIN family f ON i.inhparent = f.id
) SELECT c.oid, c.relname, c.oid::regclass::text, c.reltype, COALESCE(t.typarray, 0)
FROM family f JOIN pg_class c ON c.oid = f.id LEFT JOIN pg_type t ON t.oid = c.reltype
"""
_ATTRIBUTES = """
SELECT attrelid, attnum, attname FROM pg_attribute
WHERE attrelid = ANY(%s) AND attname = ANY(%s) AND NOT attisdropped AND attnum > 0
"""
_SEQUENCES = """
SELECT d.objid, d.objid::regclass::text, d.refobjid, d.refobjsubid FROM pg_depend d
JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
  AND d.refobjid = ANY(%s)
"""
NEEDS = """
SELECT refclassid::regclass::text, refobjid, refobjsubid FROM pg_depend
WHERE classid = %s::regclass AND objid = %s
"""
_VIEWS = """
SELECT c.oid, c.oid::regclass::text, c.relname, r.oid FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
"""
_VIEW_NEEDS = """
SELECT d.objid, d.refclassid::regclass::text, d.refobjid, d.refobjsubid FROM pg_depend d
WHERE d.classid = 'pg_rewrite'::regclass AND d.objid = ANY(%s)
"""
_TREE = "SELECT ev_action::text FROM pg_rewrite WHERE oid = %s"


@dataclass(slots=True, kw_only=True)
class Doomed:
    """What is removed, by the numbers of one copy; grows by what is tainted.

    Attributes:
        removal: what it was made from.
        tables: oid -> how people call it: the table and all that inherit from it.
        names: what a body of a function may call the table, or a view that reads it.
        columns: `(table, attribute)` -> how people call it; empty where the whole table goes.
        rows: types of rows, and of arrays of them.
        sequences: that go with it.
        tainted: what uses it -> in words.
        called: names of tainted functions, as an opaque body calls them.
        opaque: functions that may use it -> why nobody can tell.
    """

    removal: Removal
    tables: Mapping[int, str]
    columns: Mapping[tuple[int, int], str]
    rows: Mapping[int, str]
    sequences: Mapping[int, str]
    names: set[str]
    tainted: dict[Object, str] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)
    opaque: dict[int, str] = field(default_factory=dict)

    @property
    def is_table(self) -> bool:
        """Tell whether the whole table goes."""
        return not self.removal.columns

    @property
    def shown(self) -> str:
        """Name it as people do."""
        table = self.removal.table.shown
        return table if self.is_table else ", ".join(f"{table}.{one}" for one in self.removal.columns)

    def ways(self, needs: Sequence[tuple[str, int, int]], tree: str | None = None) -> tuple[str, ...]:
        """Say how something uses it that needs these objects and is this tree."""
        rows = whole_rows(tree) if tree else frozenset()
        if tree and (columns := columns_that_count(tree)) is not None:
            needs = [one for one in needs if (one[1], one[2]) not in self.columns or (one[1], one[2]) in columns]
        found = [way for need in needs for way in self._ways(*need)]
        found += [f"takes whole rows of {self.tables[one]}" for one in rows if one in self.tables and not self.is_table]
        return tuple(dict.fromkeys(found))

    def _ways(self, catalogue: str, oid: int, part: int) -> Iterator[str]:
        if (catalogue, oid) in self.tainted:
            yield f"through {self.tainted[catalogue, oid]}"
        elif catalogue == "pg_class" and self.is_table and oid in self.tables:
            yield f"names {self.tables[oid]}"
        elif catalogue == "pg_class" and (oid, part) in self.columns:
            yield f"names {self.columns[oid, part]}"
        elif catalogue == "pg_class" and oid in self.sequences:
            yield f"uses the sequence {self.sequences[oid]}, which goes with it"
        elif catalogue == "pg_type" and oid in self.rows:
            yield f"takes rows of {self.rows[oid]}"


def find(connection: psycopg.Connection, removal: Removal) -> Doomed | None:
    """Find what is removed; None where the copy has no such table or lacks one of the columns."""
    family = connection.execute(_FAMILY, (str(removal.table),)).fetchall()
    if not family:
        return None
    tables = {oid: shown for oid, _, shown, _, _ in family}
    columns = {
        (table, number): f"{tables[table]}.{name}"
        for table, number, name in connection.execute(_ATTRIBUTES, (list(tables), list(removal.columns))).fetchall()
    }
    if len({shown.rpartition(".")[2] for (_, _), shown in columns.items()}) < len(set(removal.columns)):
        return None
    rows = {kind: tables[oid] for oid, _, _, row, array in family for kind in (row, array) if kind}
    sequences = {
        oid: shown
        for oid, shown, table, number in connection.execute(_SEQUENCES, (list(tables),)).fetchall()
        if not removal.columns or (table, number) in columns
    }
    doomed = Doomed(
        removal=removal,
        tables=tables,
        columns=columns,
        rows=rows,
        sequences=sequences,
        names={name for _, name, _, _, _ in family},
    )
    _taint_views(connection, doomed)
    return doomed


def _taint_views(connection: psycopg.Connection, doomed: Doomed) -> None:
    """Taint views until nothing more is found; a view of the table that does not use the column lends it its name."""
    views = {rule: (oid, shown, name) for oid, shown, name, rule in connection.execute(_VIEWS).fetchall()}
    needs: dict[int, list[tuple[str, int, int]]] = {rule: [] for rule in views}
    for rule, *need in connection.execute(_VIEW_NEEDS, (list(views),)).fetchall():
        needs[rule].append((need[0], need[1], need[2]))
    readers: set[int] = set(doomed.tables)
    grows = True
    while grows:
        grows = False
        for rule, (oid, shown, name) in views.items():
            reads = any(kind == "pg_class" and one in readers for kind, one, _ in needs[rule] if one != oid)
            if reads and oid not in readers:
                readers.add(oid)
                doomed.names.add(name)
                grows = True
            if ("pg_class", oid) in doomed.tainted or not (reads or _has_tainted(doomed, needs[rule])):
                continue
            if doomed.ways([one for one in needs[rule] if one[1] != oid], _tree_of(connection, rule)):
                doomed.tainted["pg_class", oid] = f"the view {shown}"
                grows = True


def taint_views_again(connection: psycopg.Connection, doomed: Doomed) -> None:
    """Look again, after functions were tainted."""
    _taint_views(connection, doomed)


def _has_tainted(doomed: Doomed, needs: Sequence[tuple[str, int, int]]) -> bool:
    return any((kind, oid) in doomed.tainted or (kind == "pg_type" and oid in doomed.rows) for kind, oid, _ in needs)


def _tree_of(connection: psycopg.Connection, rule: int) -> str:
    row = connection.execute(_TREE, (rule,)).fetchone()
    return str(row[0]) if row is not None else ""


def needs_of(connection: psycopg.Connection, catalogue: str, oid: int) -> list[tuple[str, int, int]]:
    """Return what PostgreSQL has recorded that an object needs."""
    rows: list[Any] = connection.execute(NEEDS, (catalogue, oid)).fetchall()
    return [(str(kind), int(one), int(part)) for kind, one, part in rows]


def resolves_here(connection: psycopg.Connection, name: Name, doomed: Doomed) -> bool:
    """Tell whether a bare name means the doomed table under the session's search_path."""
    row = connection.execute("SELECT to_regclass(%s)::oid", (str(Name(name.name)),)).fetchone()
    return row is not None and row[0] in doomed.tables
