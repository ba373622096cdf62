"""What a backfill does with a range: one UPDATE, around rows that somebody holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from hitless.adapters.postgres.backfill.checkpoint import LATER, Advance
from hitless.adapters.postgres.backfill.key import Part, Values
from hitless.adapters.postgres.backfill.ranges import Range
from hitless.schema.change.steps import Fill
from hitless.schema.names import quoted

SET_ASIDE_AFTER = 3
"""Tries that met locks; then rows that are held are left for later, and the others are filled."""

MOST_LATER = 1_000
"""Rows that are left for later at most: the checkpoint stays small. With more, the walk waits."""


class Filling:
    """Fills rows of a range that need it.

    The values are computed in the statement: to touch rows so that a trigger fills them costs 40 % more time. Only new
    columns are set, so the triggers that keep both sides alike are not even called.
    """

    verb = "backfill"
    settings = "SET LOCAL synchronous_commit = off; "  # the position is lost with the rows: see checkpoint.py
    longest_s = 0.2  # with the 50 ms of a lock: no writer waits for a quarter of a second
    budget_times = 1.0

    def __init__(self, step: Fill) -> None:
        self._set = ", ".join(f"{quoted(column)} = {value}" for column, value in step.assignments.items())
        self._todo = f"({step.todo})"

    def do(self, connection: psycopg.Connection, found: Range, *, tries: int, known: Mapping[str, Any]) -> Advance:
        """Fill a range; after several tries, without the rows that are locked."""
        if tries < SET_ASIDE_AFTER or len(known.get(LATER, ())) >= MOST_LATER:
            return Advance(rows=found.rows, changed=self._fill(connection, found.part, found.condition))
        return self._around(connection, found, known)

    def fill_one(self, connection: psycopg.Connection, part: Part, key: Values) -> int:
        """Fill one row, if it still needs it; return how many were."""
        return self._fill(connection, part, part.key.compared("=", key))

    def _fill(self, connection: psycopg.Connection, part: Part, condition: str) -> int:
        statement = f"UPDATE {part.written} SET {self._set} WHERE {condition} AND {self._todo}"
        return connection.execute(statement.encode()).rowcount

    def _around(self, connection: psycopg.Connection, found: Range, known: Mapping[str, Any]) -> Advance:
        """Fill the rows that nobody holds, and note the others. What is locked here stays so until the commit."""
        part, condition = found.part, f"{found.condition} AND {self._todo}"
        query = f"SELECT {part.key.texts} FROM {part.written} WHERE {condition}"
        free = _keys(connection, f"{query} FOR NO KEY UPDATE SKIP LOCKED")
        held = sorted(_keys(connection, query) - free)
        without = f" AND NOT {part.key.among(held)}" if held else ""
        changed = self._fill(connection, part, f"{found.condition}{without}")
        later = [*known.get(LATER, ()), *_noted(part, held)]
        return Advance(rows=found.rows - len(held), changed=changed, evidence={LATER: later} if held else {})


def _keys(connection: psycopg.Connection, query: str) -> set[Values]:
    return {tuple(key) for (key,) in connection.execute(query.encode()).fetchall()}


def _noted(part: Part, keys: Sequence[Values]) -> list[dict[str, Any]]:
    return [{"part": part.label, "key": list(key)} for key in keys]
