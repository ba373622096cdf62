"""The schema's version and the way to it: one forward step per version, never back.

`meta.schema_version` keeps its name and place for ever, so that an older hitless can tell that a store is too new.
A step is frozen once it was released: when a second one comes, the first gets its own copy of the tables as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, inspect, select

from hitless.adapters.store_sql.faults import SchemaTooNew
from hitless.adapters.store_sql.tables import LEASE, META, METADATA
from hitless.journal.record import START

LONG_AGO = "0001-01-01T00:00:00.000000Z"


def _create(connection: Connection) -> None:
    METADATA.create_all(connection)
    connection.execute(META.insert().values(id=1, schema_version=0, journal_seq=START.seq, journal_hash=START.hash))
    connection.execute(LEASE.insert().values(id=1, owner=None, fence=0, until=LONG_AGO))


STEPS: tuple[Callable[[Connection], None], ...] = (_create,)
"""Step n brings the schema from version n to version n + 1."""

CURRENT = len(STEPS)


def schema_version(connection: Connection, *, path: Path) -> int:
    """Return the version that the store has, 0 for an empty one.

    Raises:
        SchemaTooNew: this hitless does not know it.
    """
    if not inspect(connection).has_table(META.name):
        return 0
    found = connection.scalar(select(META.c.schema_version)) or 0
    if found > CURRENT:
        raise SchemaTooNew(path, found=found, known=CURRENT)
    return found


def migrate(connection: Connection, *, path: Path) -> None:
    """Take all steps that are missing, in the caller's transaction."""
    found = schema_version(connection, path=path)
    for step in STEPS[found:]:
        step(connection)
    if found < CURRENT:
        connection.execute(META.update().values(schema_version=CURRENT))
