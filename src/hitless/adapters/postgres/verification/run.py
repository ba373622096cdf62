"""Compares both groups of columns in every row of a table, in ranges: no row may say one thing here and another there.

A row is right where the new columns are what the old ones give, or the old ones are what the new ones give; it says
both where nothing was lost on the way. What comes out as NULL is not right: it was not shown to be.

Each range is read by one statement, so a row that is written meanwhile is seen before or after, never in between. Rows
that are written behind the walk are the triggers' business, which see to it that a row that was right stays so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import psycopg

from hitless.adapters.postgres.backfill import checkpoint
from hitless.adapters.postgres.backfill.attempts import Attempts
from hitless.adapters.postgres.backfill.checkpoint import Advance
from hitless.adapters.postgres.backfill.faults import NotAlike
from hitless.adapters.postgres.backfill.key import Part, parts_of
from hitless.adapters.postgres.backfill.ranges import Range
from hitless.adapters.postgres.backfill.session import Session
from hitless.adapters.postgres.backfill.walk import Walk
from hitless.adapters.postgres.hold import Hold
from hitless.schema.change.steps import Compare
from hitless.schema.names import literal, quoted

SHOWN = 20
"""Wrong rows that are shown, the first by their keys."""

KINDS = ("both", "forward", "backward", "wrong")
"""Rows that are right both ways, in one direction alone, and in none."""

_F, _B = "hitless_f", "hitless_b"


class Comparing:
    """Counts the rows of a range by what they say."""

    verb = "verify"
    settings = ""
    longest_s = 1.0  # it locks no row: nobody waits for it
    budget_times = 2.0

    def __init__(self, step: Compare) -> None:
        self._step = step

    def do(self, connection: psycopg.Connection, found: Range, *, tries: int, known: Mapping[str, Any]) -> Advance:  # noqa: ARG002 - a read meets no row's lock
        """Count a range, and keep the first wrong rows."""
        row = connection.execute(self._query(found).encode()).fetchone()
        assert row is not None
        *counts, wrong = row
        so_far = known.get("counts", {})
        evidence = {"counts": {kind: so_far.get(kind, 0) + n for kind, n in zip(KINDS, counts, strict=True)}}
        first = [*known.get("first", ()), *_shown(found.part, wrong or [])][:SHOWN]
        return Advance(rows=sum(counts), evidence={**evidence, "first": first})

    def _query(self, found: Range) -> str:
        part = found.part
        keys = tuple(one.name for one in part.key.columns)
        columns = ", ".join(quoted(one) for one in dict.fromkeys((*keys, *self._step.shown)))
        shown = ", ".join(f"json_build_array({literal(one)}, {quoted(one)})" for one in self._step.shown)
        judged = f"({self._step.forward}) IS TRUE AS {_F}, ({self._step.backward}) IS TRUE AS {_B}"
        kinds = (f"{_F} AND {_B}", f"{_F} AND NOT {_B}", f"{_B} AND NOT {_F}", f"NOT {_F} AND NOT {_B}")
        counted = ", ".join(f"count(*) FILTER (WHERE {one})" for one in kinds)
        wrong = f"json_build_object('key', {part.key.texts}, 'shown', json_build_array({shown}))"
        first = f"(array_agg({wrong} ORDER BY {part.key.ordered()}) FILTER (WHERE {kinds[-1]}))[1:{SHOWN}]"
        # OFFSET 0 keeps each condition from being computed once per FILTER.
        inner = f"SELECT {judged}, {columns} FROM {part.written} WHERE {found.condition} OFFSET 0"
        return f"SELECT {counted}, {first} FROM ({inner}) AS judged"


def run(step: Compare, hold: Hold) -> Mapping[str, Any]:
    """Compare all rows; return the evidence.

    Raises:
        NotAlike: rows are wrong; which, stays in `hitless.backfill`, and the next run begins anew.
        NoKey, NotFillable, HeldUp, ServerRefuses, Stopped, Fenced, DatabaseUnreachable: as a backfill's.
    """
    with closing(Session(hold)) as session:
        parts = parts_of(session.connection, step.table)
        attempts = Attempts(hold, session, settings="", longest_s=1.0)
        attempts.do(lambda connection: _clear(connection, hold, step))
        walk = Walk(step.id, Comparing(step), hold, parts=parts, session=session)
        walk.run()
        row = walk.row()
        counts = {kind: row.evidence.get("counts", {}).get(kind, 0) for kind in KINDS}
        verdict = {
            "rows": row.rows,
            **counts,
            "begun_at": row.begun_at,
            "seconds": round(row.seconds, 1),
            "rested_s": dict(walk.rested_s),
        }
        if counts["wrong"]:
            first = row.evidence.get("first", [])
            kept = {"verdict": {**verdict, "first": first}}
            attempts.do(lambda connection: checkpoint.begin_anew(connection, hold, step.id, kept))
            shown = tuple(_sentence(one) for one in first)
            raise NotAlike(
                table=step.table.shown, wrong=counts["wrong"], rows=row.rows, shown=shown, change=hold.change
            )
        return verdict


def take_back(step: Compare, hold: Hold) -> None:
    """Forget what was compared: it is done anew."""
    with closing(Session(hold)) as session:
        attempts = Attempts(hold, session, settings="", longest_s=1.0)
        attempts.do(lambda connection: checkpoint.forget(connection, hold, step.id))


def _clear(connection: psycopg.Connection, hold: Hold, step: Compare) -> None:
    """Forget an earlier verdict, so that nothing of it is added to this one; a walk that was cut short goes on."""
    if checkpoint.begin(connection, hold, step.id).position is None:
        checkpoint.begin_anew(connection, hold, step.id, {})


def _shown(part: Part, wrong: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"part": part.name.shown, "key": part.key.shown(tuple(one["key"])), "shown": one["shown"]} for one in wrong]


def _sentence(one: Mapping[str, Any]) -> str:
    values = ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in one["shown"])
    return f"{one['part']} where {one['key']}: {values}"
