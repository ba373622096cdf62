"""How far a walk through a table has come: one row of `hitless.backfill`, written in the transaction of each batch.

So a row of the table is filled if and only if the position says so, whatever is killed at whatever moment. That is also
why batches may commit with `synchronous_commit = off`: a crash of the server that loses the last of them loses their
positions with them, and they are done again. What the next step relies on, the record that the walk has ended, is
committed synchronously, and what was written before it is then on disk too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from hitless.adapters.postgres.backfill.key import Values
from hitless.adapters.postgres.hold import Hold
from hitless.schema.backfill.throttle import Limits

LATER = "later"
"""In the evidence: keys of rows that somebody had locked, to be filled at the end."""

_BEGIN = "INSERT INTO hitless.backfill (change, step) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_READ = """
SELECT position, upper, rows, changed, batches, paused, limits, evidence, to_jsonb(begun_at) #>> '{}',
  extract(epoch FROM clock_timestamp() - begun_at)::float8
FROM hitless.backfill WHERE change = %s AND step = %s
"""
_ADVANCE = """
UPDATE hitless.backfill SET position = %s, upper = %s, rows = rows + %s, changed = changed + %s,
  batches = batches + %s, evidence = evidence || %s, changed_at = clock_timestamp()
WHERE change = %s AND step = %s AND position IS NOT DISTINCT FROM %s
RETURNING paused, limits, evidence, pg_current_wal_insert_lsn() - '0/0'::pg_lsn
"""
_BEGIN_ANEW = """
UPDATE hitless.backfill SET position = NULL, upper = NULL, rows = 0, changed = 0, batches = 0, evidence = %s,
  begun_at = clock_timestamp(), changed_at = clock_timestamp() WHERE change = %s AND step = %s
"""
_FORGET = (
    "DELETE FROM hitless.backfill WHERE change = %s AND step = %s",
    "DELETE FROM hitless.step WHERE change = %s AND id = %s",
)
BYTES_PER_MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a walk is.

    Attributes:
        part: which one, as the walk orders them.
        key: the last one that is done; None = none yet.
        upper: where the part ends; None = it was empty when it was begun.
    """

    part: str
    key: Values | None = None
    upper: Values | None = None


class Moved(Exception):
    """The position is not where it was left: a commit of ours had gone through before its session was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The row; `seconds` is how long ago it was begun."""

    position: Position | None
    rows: int
    changed: int
    batches: int
    is_paused: bool
    limits: Limits
    evidence: Mapping[str, Any]
    begun_at: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """What a batch adds; its evidence takes the place of what stood there under the same names."""

    rows: int = 0
    changed: int = 0
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What stands in the row by now, and where the WAL ends, in MB since it began."""

    is_paused: bool
    limits: Limits
    evidence: Mapping[str, Any]
    wal_mb: float


def begin(connection: psycopg.Connection, hold: Hold, step: str) -> Checkpoint:
    """Return the row, new where there is none."""
    connection.execute(_BEGIN, (hold.change, step))
    found = read(connection, hold.change, step)
    assert found is not None
    return found


def read(connection: psycopg.Connection, change: str, step: str) -> Checkpoint | None:
    """Return the row of a step, if there is one."""
    found = connection.execute(_READ, (change, step)).fetchone()
    if found is None:
        return None
    position, upper, rows, changed, batches, paused, limits, evidence, begun_at, seconds = found
    return Checkpoint(
        position=_position(position, upper),
        rows=rows,
        changed=changed,
        batches=batches,
        is_paused=paused,
        limits=Limits(**limits),
        evidence=evidence,
        begun_at=begun_at,
        seconds=seconds,
    )


def advance(
    connection: psycopg.Connection, hold: Hold, step: str, gain: Advance, *, before: Position | None, to: Position
) -> Word:
    """Write where the walk is, in the open transaction.

    Raises:
        Moved: it was not where `before` says.
    """
    at, upper = Jsonb(_at(to)), Jsonb({"key": to.upper})
    earlier = Jsonb(_at(before)) if before else None
    values = (
        at,
        upper,
        gain.rows,
        gain.changed,
        int(gain.rows > 0),
        Jsonb(dict(gain.evidence)),
        hold.change,
        step,
        earlier,
    )
    found = connection.execute(_ADVANCE, values).fetchone()
    if found is None:
        raise Moved
    paused, limits, evidence, wal = found
    return Word(is_paused=paused, limits=Limits(**limits), evidence=evidence, wal_mb=float(wal) / BYTES_PER_MB)


def begin_anew(connection: psycopg.Connection, hold: Hold, step: str, evidence: Mapping[str, Any]) -> None:
    """Put the walk back to its beginning, and keep what it has found."""
    connection.execute(_BEGIN_ANEW, (Jsonb(dict(evidence)), hold.change, step))


def forget(connection: psycopg.Connection, hold: Hold, step: str) -> None:
    """Take the row away, and the record that the step is done."""
    for statement in _FORGET:
        connection.execute(statement, (hold.change, step))


def _at(position: Position) -> dict[str, Any]:
    return {"part": position.part, "key": position.key}


def _position(position: Mapping[str, Any] | None, upper: Mapping[str, Any] | None) -> Position | None:
    if position is None:
        return None
    key, end = position["key"], upper["key"] if upper else None
    return Position(
        part=position["part"],
        key=tuple(key) if key is not None else None,
        upper=tuple(end) if end is not None else None,
    )
