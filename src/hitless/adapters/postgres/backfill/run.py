"""Fills rows of a table in batches: a step of a change, from its beginning or from where another worker has come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import psycopg

from hitless.adapters.postgres.backfill import checkpoint
from hitless.adapters.postgres.backfill.attempts import Attempts, RowFailed
from hitless.adapters.postgres.backfill.checkpoint import LATER, Advance
from hitless.adapters.postgres.backfill.faults import RowRefuses
from hitless.adapters.postgres.backfill.filling import Filling
from hitless.adapters.postgres.backfill.key import Part, parts_of
from hitless.adapters.postgres.backfill.patience import message
from hitless.adapters.postgres.backfill.session import Session
from hitless.adapters.postgres.backfill.walk import Walk
from hitless.adapters.postgres.hold import Hold, Told
from hitless.schema.change.steps import Fill
from hitless.schema.names import listed

_FIRED = """
SELECT DISTINCT t.tgname FROM pg_trigger t
WHERE t.tgrelid = ANY(%s) AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype & 16 <> 0
  AND t.tgname NOT LIKE 'zzz\\_hitless\\_%%'
  AND (t.tgattr = ''::int2vector OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.tgrelid
       AND a.attnum = ANY(t.tgattr::int2[]) AND a.attname = ANY(%s)))
ORDER BY 1
"""
_DEAD = "SELECT sum(n_dead_tup)::bigint FROM pg_stat_user_tables WHERE relid = ANY(%s)"


def run(step: Fill, hold: Hold) -> Mapping[str, Any]:
    """Fill the rows; return the evidence.

    Raises:
        NoKey, NotFillable: the table cannot be walked through.
        RowRefuses: a row does not take its values.
        HeldUp: somebody holds locks for too long.
        ServerRefuses: a privilege, the disk, a standby.
        Stopped: `hold.stopping` is set; another run goes on.
        Fenced: another worker has taken over.
        DatabaseUnreachable: the server stayed away.
    """
    with closing(Session(hold)) as session:
        columns = tuple(step.assignments)
        parts = parts_of(session.connection, step.table, written=columns)
        _tell_of_triggers(session.connection, hold, parts, columns)
        filling = Filling(step)
        walk = Walk(step.id, filling, hold, parts=parts, session=session)
        walk.run()
        _fill_later(walk, filling, hold, parts)
        _analyse(session, hold, step)
        _tell_of_dead_rows(session.connection, hold, step, parts)
        return _evidence(walk, parts)


def take_back(step: Fill, hold: Hold) -> None:
    """Forget how far a backfill has come: what it has filled goes with its columns."""
    with closing(Session(hold)) as session:
        Attempts(hold, session, settings="", longest_s=1.0).do(
            lambda connection: checkpoint.forget(connection, hold, step.id)
        )


def _fill_later(walk: Walk, filling: Filling, hold: Hold, parts: Sequence[Part]) -> None:
    """Fill the rows that somebody had locked, one by one; each leaves the list in the transaction that fills it."""
    by_label = {one.label: one for one in parts}
    while later := walk.known.get(LATER):
        hold.stop_if_asked()
        part, key = by_label.get(later[0]["part"]), tuple(later[0]["key"])

        def fill(connection: psycopg.Connection, part: Part | None = part, key: tuple[str, ...] = key) -> Advance:
            """Rows of a part that was detached, dropped or named anew are not the table's, or are found by `verify`."""
            changed = filling.fill_one(connection, part, key) if part else 0
            return Advance(rows=1, changed=changed, evidence={LATER: walk.known[LATER][1:]})

        try:
            walk.advance(fill)
        except RowFailed as failed:
            assert part is not None, "nothing is done to a part that is not there"
            shown = part.key.shown(key)
            raise RowRefuses(table=part.name.shown, key=shown, why=str(failed), change=hold.change) from failed


def _tell_of_triggers(
    connection: psycopg.Connection, hold: Hold, parts: Sequence[Part], columns: Sequence[str]
) -> None:
    found = connection.execute(_FIRED, ([one.oid for one in parts], list(columns))).fetchall()
    names = [name for (name,) in found]
    if names:
        sentence = f"each row that is filled fires {', '.join(names)}: an updated_at of it would move"
        hold.tell(Told(kind="fires_triggers", sentence=sentence, data={"triggers": names}))


def _analyse(session: Session, hold: Hold, step: Fill) -> None:
    """Count the new values, so that plans know them; whoever vacuums the table at this moment does it anyway."""
    statement = f"ANALYZE (SKIP_LOCKED) {step.table} ({listed(tuple(step.assignments))})"
    try:
        session.connection.execute(statement.encode())
    except psycopg.Error as error:
        sentence = f"statistics are not up to date ({message(error)}): {statement}"
        hold.tell(Told(kind="not_analysed", sentence=sentence))


def _tell_of_dead_rows(connection: psycopg.Connection, hold: Hold, step: Fill, parts: Sequence[Part]) -> None:
    found = connection.execute(_DEAD, ([one.oid for one in parts],)).fetchone()
    dead = found[0] if found else None
    if dead:
        sentence = f"about {dead:,} dead rows are left to autovacuum, or: VACUUM {step.table};"
        hold.tell(Told(kind="dead_rows", sentence=sentence, data={"rows": dead}))


def _evidence(walk: Walk, parts: Sequence[Part]) -> Mapping[str, Any]:
    row = walk.row()
    return {
        "rows": row.rows,
        "changed": row.changed,
        "batches": row.batches,
        "begun_at": row.begun_at,
        "seconds": round(row.seconds, 1),
        "rested_s": dict(walk.rested_s),
        "keys": {one.label: one.key.index for one in parts},
    }
