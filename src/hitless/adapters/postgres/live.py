"""The schema of a live database, and what only the database itself knows of it: sizes, and half-built indexes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.dump import schema_of
from hitless.adapters.postgres.faults import in_words
from hitless.schema.catalog.catalog import Catalog
from hitless.schema.linting import read_schema
from hitless.schema.names import Name
from hitless.schema.reading.source import Source
from hitless.schema.report import Unread

_ROWS = """
SELECT n.nspname, c.relname,
       CASE WHEN c.relkind = 'p' THEN (
         SELECT sum(p.reltuples) FROM pg_partition_tree(c.oid) t JOIN pg_class p ON p.oid = t.relid
         WHERE t.isleaf AND p.reltuples >= 0)
       ELSE nullif(c.reltuples, -1) END::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT IN ('information_schema', 'hitless') AND n.nspname !~ '^pg_'
"""
_INVALID = """
SELECT n.nspname, x.relname, pg_get_indexdef(i.indexrelid)
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_namespace n ON n.oid = x.relnamespace
WHERE NOT i.indisvalid AND x.relkind = 'i'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A database's schema.

    Attributes:
        postgres: the server's major version.
        catalog: what the lint and the planner know of it.
        text: all definitions, as `pg_dump --schema-only` writes them.
        unread: what of them could not be read.
    """

    postgres: int
    catalog: Catalog
    text: str
    unread: tuple[Unread, ...]


def read_live(database: Database) -> Live:
    """Read the schema of a database.

    Rows are what ANALYZE has counted; a table that it has not seen has none here, which is not zero.

    Raises:
        DatabaseUnreachable: no answer.
        DumpUnavailable: no pg_dump fits, or it failed.
    """
    with database.connect() as connection, in_words(database):
        postgres = connection.info.server_version // 10_000
        rows = connection.execute(_ROWS).fetchall()
        half_built = connection.execute(_INVALID).fetchall()
    text = schema_of(database, "--exclude-schema=hitless", version=postgres)
    whole = "\n".join([text, *(f"{definition};" for _, _, definition in half_built)])
    catalog, unread = read_schema(Source(database.shown, whole))
    for schema, index, _ in half_built:
        catalog = _with_half_built(catalog, Name(index, schema))
    for schema, table, count in rows:
        if count is not None:
            catalog = catalog.with_rows(Name(table, schema), count)
    return Live(postgres=postgres, catalog=catalog, text=text, unread=unread)


def _with_half_built(catalog: Catalog, name: Name) -> Catalog:
    index = catalog.indexes.get(name)
    if index is None:
        return catalog
    return replace(catalog, indexes={**catalog.indexes, name: replace(index, is_valid=False)})
