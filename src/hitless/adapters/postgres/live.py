"""The schema of a live database, and what only the database itself knows of it: sizes, and half-built indexes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hitless.adapters.postgres.catalog import definitions_of
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
SELECT n.nspname, x.relname FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_namespace n ON n.oid = x.relnamespace WHERE NOT i.indisvalid
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A database's schema.

    Attributes:
        postgres: the server's major version.
        catalog: what the lint and the planner know of it.
        unread: what of it could not be read.
    """

    postgres: int
    catalog: Catalog
    unread: tuple[Unread, ...]


def read_live(database: Database) -> Live:
    """Read the schema of a database.

    Rows are what ANALYZE has counted; a table that it has not seen has none here, which is not zero.

    Raises:
        DatabaseUnreachable: no answer.
        NotPermitted, StatementFailed, ConnectionLost: the server refuses.
    """
    with database.connect() as connection, in_words(database):
        postgres = connection.info.server_version // 10_000
        catalog, unread = read_schema(Source(database.shown, definitions_of(connection)))
        for schema, index in connection.execute(_INVALID).fetchall():
            catalog = _with_half_built(catalog, Name(index, schema))
        for schema, table, count in connection.execute(_ROWS).fetchall():
            if count is not None:
                catalog = catalog.with_rows(Name(table, schema), count)
    return Live(postgres=postgres, catalog=catalog, unread=unread)


def dump_of(database: Database, *, postgres: int) -> str:
    """Return all definitions of a database, whole, as `pg_dump --schema-only` writes them.

    Raises:
        DumpUnavailable: no pg_dump fits, or it failed.
    """
    return schema_of(database, "--exclude-schema=hitless", version=postgres)


def _with_half_built(catalog: Catalog, name: Name) -> Catalog:
    index = catalog.indexes.get(name)
    if index is None:
        return catalog
    return replace(catalog, indexes={**catalog.indexes, name: replace(index, is_valid=False)})
