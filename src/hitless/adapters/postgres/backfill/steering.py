"""Steers a backfill from another session: pauses it, lets it go on, and sets its limits. It looks after each batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg
from psycopg.errors import LockNotAvailable
from psycopg.types.json import Jsonb

from hitless.adapters.postgres.backfill.faults import NothingBegun
from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.faults import all_in_words

PATIENCE_S = 10.0
"""The worker holds its row from each checkpoint to its commit: milliseconds."""

_PAUSE = "UPDATE hitless.backfill SET paused = %s WHERE change = %s AND step = ANY(%s) RETURNING step"
_LIMIT = """
INSERT INTO hitless.backfill AS b (change, step, limits) SELECT %s, step, %s FROM unnest(%s::text[]) AS step
ON CONFLICT (change, step) DO UPDATE SET limits = b.limits || excluded.limits
"""
_TELL = "INSERT INTO hitless.event (change, actor, type, data) VALUES (%s, %s, %s, %s)"


def pause(database: Database, *, change: str, steps: Sequence[str], actor: str, is_paused: bool) -> None:
    """Pause the walks of a change, or let them go on.

    Raises:
        NothingBegun: none of them has begun.
        DatabaseUnreachable: no answer.
    """

    def write(connection: psycopg.Connection) -> None:
        if connection.execute(_PAUSE, (is_paused, change, list(steps))).fetchone() is None:
            raise NothingBegun(change)
        kind = "backfill.paused" if is_paused else "backfill.resumed"
        connection.execute(_TELL, (change, actor, kind, Jsonb({"steps": list(steps)})))

    _soon(database, write)


def limit(database: Database, *, change: str, steps: Sequence[str], actor: str, limits: Mapping[str, Any]) -> None:
    """Set limits of the walks of a change, those that are going on and those that will begin.

    Args:
        database: where.
        change: its name, which is registered.
        steps: ids.
        actor: who wants it.
        limits: fields of `Limits`; what is not named stays.

    Raises:
        DatabaseUnreachable: no answer.
    """

    def write(connection: psycopg.Connection) -> None:
        connection.execute(_LIMIT, (change, Jsonb(dict(limits)), list(steps)))
        connection.execute(_TELL, (change, actor, "backfill.limited", Jsonb({"steps": list(steps), **limits})))

    _soon(database, write)


def _soon(database: Database, write: Callable[[psycopg.Connection], None]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    with database.connect() as connection, all_in_words(database):
        while True:
            try:
                with connection.transaction():
                    write(connection)
            except LockNotAvailable:
                if time.monotonic() > until_s:
                    raise
                time.sleep(0.05)
            else:
                return
