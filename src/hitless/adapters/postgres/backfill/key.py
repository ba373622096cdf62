"""The parts of a table that hold rows, and the key by which each is walked through.

Theory. A key is any unique B-tree over columns that are NOT NULL: then every row has exactly one place in its order,
and "greater than this key" is one descent into the index however many rows lie before it. Row comparison,
`(a, b) > (x, y)`, is the order of the index (PostgreSQL, "Row Constructor Comparison"), so composite keys need nothing
else. Never ctid: an update moves rows. Never `IS NULL LIMIT n`: each batch would read what those before have filled.

Rules. Values of a key are text here: what PostgreSQL writes and reads again without loss under any DateStyle. Names of
types carry the typmod -1: `character` alone would be character(1) and cut values off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from hitless.adapters.postgres.backfill.faults import NoKey, NotFillable
from hitless.schema.names import Name, literal, quoted

Values = tuple[str, ...]
"""A row's key, as text."""

_PARTS = """
WITH RECURSIVE tree AS (
  SELECT c.oid FROM pg_class c WHERE c.oid = to_regclass(%s)
  UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid
)
SELECT c.oid, n.nspname, c.relname, c.relkind,
  CASE WHEN c.reltuples >= 0 AND NOT (c.reltuples = 0 AND c.relpages > 0) THEN c.reltuples::bigint END
FROM tree JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
"""
_KEYS = """
SELECT i.indexrelid::regclass::text, array_agg(a.attname::text ORDER BY k.n),
  array_agg(format_type(a.atttypid, -1) ORDER BY k.n), array_agg(t.typcategory::text ORDER BY k.n),
  array_agg(CASE WHEN l.oid <> a.attcollation THEN quote_ident(s.nspname) || '.' || quote_ident(l.collname) END
            ORDER BY k.n)
FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_am m ON m.oid = x.relam AND m.amname = 'btree'
CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indcollation::oid[], i.indclass::oid[], i.indoption::int2[])
  WITH ORDINALITY AS k (number, sorting, class, option, n)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_opclass o ON o.oid = k.class
LEFT JOIN pg_collation l ON l.oid = k.sorting
LEFT JOIN pg_namespace s ON s.oid = l.collnamespace
WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indisready AND i.indpred IS NULL AND i.indexprs IS NULL
  AND k.n <= i.indnkeyatts
GROUP BY i.indexrelid, i.indisprimary
HAVING bool_and(a.attnotnull) AND bool_and(o.opcdefault) AND min(k.option & 1) = max(k.option & 1)
  AND NOT array_agg(a.attname::text) && %s
ORDER BY i.indisprimary DESC, count(*), 1
"""
_LOSSLESS_IN_JSON = "BDN"
"""Categories whose JSON is the same under any DateStyle and reads back: booleans, dates and times, numbers."""

_TABLE, _PARTITIONED = "r", "p"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a key.

    Attributes:
        type: as a cast writes it.
        collation: of the index, where it is not the column's own.
        is_plain: its JSON reads back without loss; else its text does.
    """

    name: str
    type: str
    collation: str | None = None
    is_plain: bool = False

    @property
    def ordered(self) -> str:
        """Write it as it is sorted by."""
        return quoted(self.name) + (f" COLLATE {self.collation}" if self.collation else "")

    @property
    def text(self) -> str:
        """Write its value as text."""
        return f"(to_jsonb({quoted(self.name)}) #>> '{{}}')" if self.is_plain else f"{quoted(self.name)}::text"

    def value(self, text: str) -> str:
        """Write a value of it."""
        return f"CAST({literal(text)} AS {self.type})" + (f" COLLATE {self.collation}" if self.collation else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The columns that a part is walked through by, in the order of their index."""

    index: str
    columns: tuple[Column, ...]

    @property
    def texts(self) -> str:
        """Write the key of a row as an array of texts."""
        return f"ARRAY[{', '.join(one.text for one in self.columns)}]"

    def ordered(self, *, descending: bool = False) -> str:
        """Write what rows are sorted by."""
        direction = " DESC" if descending else ""
        return ", ".join(one.ordered + direction for one in self.columns)

    def compared(self, operator: str, values: Values) -> str:
        """Write the condition that a row's key stands so to another."""
        return f"{self._row} {operator} ({', '.join(self._written(values))})"

    def among(self, keys: Sequence[Values]) -> str:
        """Write the condition that a row's key is one of several; there must be one."""
        rows = ", ".join("(" + ", ".join(self._written(one)) + ")" for one in keys)
        return f"{self._row} IN ({rows})"

    def shown(self, values: Values) -> str:
        """Write a key as people read it: `id = 7`."""
        return ", ".join(f"{quoted(column.name)} = {value}" for column, value in zip(self.columns, values, strict=True))

    @property
    def _row(self) -> str:
        return f"({', '.join(quoted(one.name) for one in self.columns)})"

    def _written(self, values: Values) -> list[str]:
        return [column.value(value) for column, value in zip(self.columns, values, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A table, or a part of a partitioned or inherited one, that holds rows itself.

    Attributes:
        alias: name of the whole table, so that expressions may write it before a column.
        estimate: about how many rows it has; None = never counted.
    """

    oid: int
    name: Name
    alias: str
    key: Key
    estimate: int | None

    @property
    def label(self) -> str:
        """Return what parts are sorted by, and told apart by in a checkpoint: oids do not outlive a restore."""
        return f"{self.name.schema}.{self.name.name}"

    @property
    def written(self) -> str:
        """Write it as statements name it: alone, without those that inherit from it."""
        return f"ONLY {self.name} AS {quoted(self.alias)}"

    def between(self, after: Values | None, to: Values) -> str:
        """Write the condition of a range: above one key, if there is one, and up to another."""
        above = f"{self.key.compared('>', after)} AND " if after is not None else ""
        return above + self.key.compared("<=", to)


def parts_of(connection: psycopg.Connection, table: Name, *, written: Sequence[str] = ()) -> tuple[Part, ...]:
    """Return the parts that hold a table's rows, in the order of their names.

    Args:
        connection: any.
        table: the whole one.
        written: columns that are filled: no key may hold them.

    Raises:
        NotFillable: there is no such table, or it or a part of it lies elsewhere.
        NoKey: a part has no key.
    """
    found = connection.execute(_PARTS, (str(table),)).fetchall()
    if not found:
        raise NotFillable(f"there is no table {table.shown}", hints=("hitless migrate status",))
    parts = []
    for oid, schema, name, kind, estimate in found:
        if kind == _PARTITIONED:
            continue
        if kind != _TABLE:
            raise NotFillable(
                f"{Name(name, schema).shown} holds no rows of its own: it is a view or a foreign table",
                hints=("change the table that the rows are in",),
            )
        part = Name(name, schema)
        key = _key_of(connection, oid, part, written)
        parts.append(Part(oid=oid, name=part, alias=table.name, key=key, estimate=estimate))
    return tuple(sorted(parts, key=lambda one: one.label))


def _key_of(connection: psycopg.Connection, oid: int, part: Name, written: Sequence[str]) -> Key:
    found = connection.execute(_KEYS, (oid, list(written))).fetchone()
    if found is None:
        raise NoKey(part.shown)
    index, *columns = found
    return Key(
        index=index,
        columns=tuple(
            Column(name=name, type=kind, collation=collation, is_plain=category in _LOSSLESS_IN_JSON)
            for name, kind, category, collation in zip(*columns, strict=True)
        ),
    )
