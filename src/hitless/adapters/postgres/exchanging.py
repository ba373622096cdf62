"""Steps that exchange columns: what hung on the table before must hang on it at the end, or nothing has happened.

Rules.
* The first reading is made before the locks are had, the second one under them: what it takes (7 ms, and 0.2 ms a
  partition) is the time that writers wait longer. Do they differ, all of it is done once more with both under the lock:
  it may have been somebody else's statement between the two. What differs then was not carried over; it is refused.
* What hangs on the table at the end is kept with the record of the step, and `status` holds the database against it.
* The way back is never refused for it: it says what differs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg
from psycopg.errors import LockNotAvailable
from psycopg.types.json import Jsonb

from hitless.adapters.postgres.evidence import evidence_of
from hitless.adapters.postgres.fingerprint import read_fingerprint
from hitless.adapters.postgres.hold import Hold, Told
from hitless.adapters.postgres.patience import Try, locks_of, patiently
from hitless.adapters.postgres.records import forget, record, tell
from hitless.errors import Refused
from hitless.schema.change.fingerprint import (
    Difference,
    Fingerprint,
    differences,
    document_of,
    fingerprint_of,
    proven,
)
from hitless.schema.change.standing import Part, Standing
from hitless.schema.change.state import ChangeState
from hitless.schema.change.steps import Ddl, Exchange
from hitless.schema.names import Name

BEGUN = "begun"
EXCHANGED = "exchanged"
SHOWN = 20
"""Differences that a message names."""

_KEEP = """
INSERT INTO hitless.fingerprint AS f (change, moment, hanging) VALUES (%s, %s, %s)
ON CONFLICT (change, moment) DO UPDATE SET hanging = excluded.hanging, taken_at = clock_timestamp()
"""
_IS_THERE = "SELECT to_regclass('hitless.fingerprint') IS NOT NULL"


class LeftBehind(Refused):
    """Something that hung on the table would not hang on it after the swap."""

    code = "HL4538"


def run(step: Ddl, exchange: Exchange, hold: Hold) -> Mapping[str, Any]:
    """Do a step that exchanges columns; see `ddl.run` for what else it raises.

    Raises:
        LeftBehind: something was not carried over; the transaction was rolled back.
    """

    def act(one: Try, *, is_locked: bool) -> Mapping[str, Any]:
        if is_locked:
            one.run((f"LOCK TABLE {exchange.table} IN ACCESS EXCLUSIVE MODE",))
        before = read_fingerprint(one.connection, exchange.table)
        one.run(step.do)
        after = _read_under_lock(one, exchange.table)
        if found := differences(before, after, exchanged=exchange.columns):
            raise _left_behind(hold.change, exchange.table, found)
        if step.part is Part.SWITCH:
            _keep(one.connection, hold.change, EXCHANGED, proven(after, before))
        evidence = {**evidence_of(one), "hanging": len(document_of(after))}
        record(one.connection, hold, step.id, evidence)
        tell(one.connection, hold.change, hold.actor, "step.done", step=step.id, **evidence)
        return evidence

    wanted = locks_of(step.do)
    try:
        return patiently(hold, lambda one: act(one, is_locked=False), wanted=wanted)
    except LeftBehind:
        return patiently(hold, lambda one: act(one, is_locked=True), wanted=wanted)


def take_back(step: Ddl, exchange: Exchange, hold: Hold) -> None:
    """Take it back, and tell what hangs on the table otherwise than before; errors as `ddl.take_back`."""

    def act(one: Try) -> tuple[Difference, ...]:
        before = read_fingerprint(one.connection, exchange.table)
        one.run(step.undo)
        after = _read_under_lock(one, exchange.table)
        found = differences(before, after, exchanged=exchange.columns)
        forget(one.connection, hold, step.id)
        if _is_there(one.connection):
            one.connection.execute(
                "DELETE FROM hitless.fingerprint WHERE change = %s AND moment = %s", (hold.change, EXCHANGED)
            )
        said = {"differs": [each.sentence for each in found]} if found else {}
        tell(one.connection, hold.change, hold.actor, "step.undone", step=step.id, **evidence_of(one), **said)
        return found

    tell_differences(hold, "since the way back", patiently(hold, act, wanted=locks_of(step.undo)))


def _read_under_lock(one: Try, table: Name) -> Fingerprint:
    """Read once more, on the account of the time for which others are kept waiting."""
    began_s = time.monotonic()
    found = read_fingerprint(one.connection, table)
    one.spent_s += time.monotonic() - began_s
    return found


def keep_begun(connection: psycopg.Connection, change: str, tables: Iterable[Name]) -> None:
    """Keep what hangs on a change's tables before its first step, in the open transaction."""
    if _is_there(connection):
        _keep(connection, change, BEGUN, _read(connection, tables))


def since_begun(connection: psycopg.Connection, change: str, tables: Iterable[Name]) -> tuple[Difference, ...]:
    """Return what hangs on a change's tables otherwise than before its first step; nothing where that is not known."""
    return _since(connection, change, BEGUN, tables)


def lost_since_exchange(connection: psycopg.Connection, state: ChangeState) -> tuple[str, ...]:
    """Say what no longer hangs on a switched change's table as it did right after the swap; what came is no matter."""
    if state.standing is not Standing.SWITCHED:
        return ()
    tables = dict.fromkeys(one.table for one in state.plan.exchanges)
    try:
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '100ms'")
            found = _since(connection, state.change, EXCHANGED, tables)
    except LockNotAvailable:
        return ("what hangs on it cannot be read: somebody has locked it against readers",)
    return tuple(one.sentence for one in found if one.kind != "new")


def tell_differences(hold: Hold, since: str, found: tuple[Difference, ...]) -> None:
    """Tell what differs, each by its name."""
    for one in found:
        hold.tell(Told(kind="differs", sentence=f"{since}: {one.sentence}", data={"what": one.what, "kind": one.kind}))


def _since(connection: psycopg.Connection, change: str, moment: str, tables: Iterable[Name]) -> tuple[Difference, ...]:
    if not _is_there(connection):
        return ()
    row = connection.execute(
        "SELECT hanging FROM hitless.fingerprint WHERE change = %s AND moment = %s", (change, moment)
    ).fetchone()
    return differences(fingerprint_of(row[0]), _read(connection, tables)) if row else ()


def _read(connection: psycopg.Connection, tables: Iterable[Name]) -> Fingerprint:
    return tuple(one for table in tables for one in read_fingerprint(connection, table))


def _is_there(connection: psycopg.Connection) -> bool:
    """Tell whether the house has room for fingerprints: one that an older hitless has made has not."""
    return connection.execute(_IS_THERE).fetchone() == (True,)


def _keep(connection: psycopg.Connection, change: str, moment: str, found: Fingerprint) -> None:
    if _is_there(connection):
        connection.execute(_KEEP, (change, moment, Jsonb(document_of(found))))


def _left_behind(change: str, table: Name, found: tuple[Difference, ...]) -> LeftBehind:
    more = len(found) - SHOWN
    return LeftBehind(
        f"what hangs on {table.shown} would not be the same after the swap; nothing was changed",
        evidence=(
            *(one.sentence for one in found[:SHOWN]),
            *((f"and {more} more",) if more > 0 else ()),
        ),
        hints=(
            f"hitless migrate undo {change}   # then begin anew: the plan is made of the schema as it is then",
            "or take away what cannot be carried over, switch, and make it anew for the new column",
        ),
    )
