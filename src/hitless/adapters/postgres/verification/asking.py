"""Counts rows that speak against a step, range by range.

One statement over a large table would keep its snapshot, and with it every dead row of the database, for as long as it
reads.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import psycopg
from psycopg.errors import LockNotAvailable

from hitless.adapters.postgres.backfill.attempts import SETTINGS
from hitless.adapters.postgres.backfill.faults import HeldUp, NoKey, NotFillable
from hitless.adapters.postgres.backfill.key import Part, Values, parts_of
from hitless.adapters.postgres.backfill.ranges import greatest_key, next_range
from hitless.adapters.postgres.hold import Hold
from hitless.schema.backfill.pace import Pace
from hitless.schema.names import Name

T = TypeVar("T")

BUDGET_S = 0.3
"""A read locks no row; it only should not be long."""

ALL_ROWS = "SET LOCAL lock_timeout = '100ms'; SET LOCAL row_security = off"
"""What a policy hides from us may speak against a step: then it is an error, not silence."""

_AGAIN_S = 0.2


def count_rows(connection: psycopg.Connection, table: Name, condition: str, hold: Hold) -> int | None:
    """Count the rows of which a condition is true; None = there is no key to walk by, and nothing was counted.

    Raises:
        HeldUp: the table stayed locked until the deadline of the hold's patience.
        Stopped: `hold.stopping` is set.
        psycopg.Error: the server: an expression that fails, a privilege.
    """
    try:
        parts = parts_of(connection, table)
    except (NoKey, NotFillable):
        return None
    return sum(_Count(connection, part, condition, hold).run() for part in parts)


@dataclass(slots=True)
class _Count:
    """The rows of one part."""

    connection: psycopg.Connection
    part: Part
    condition: str
    hold: Hold

    def run(self) -> int:
        """Count to the end that the part has now."""
        upper, counted, pace = self._patiently(self._greatest), 0, Pace(budget_s=BUDGET_S)
        after: Values | None = None
        while upper is not None and after != upper:
            self.hold.stop_if_asked()
            began_s, rows = time.monotonic(), pace.rows
            found = self._patiently(partial(self._next, after, upper, rows))
            if found is None:
                break
            after, looked_at, wrong = found
            counted += wrong
            pace = pace.after(rows=looked_at, seconds=time.monotonic() - began_s)
        return counted

    def _greatest(self) -> Values | None:
        return greatest_key(self.connection, self.part)

    def _next(self, after: Values | None, upper: Values, rows: int) -> tuple[Values, int, int] | None:
        found = next_range(self.connection, self.part, after=after, upper=upper, rows=rows)
        if found is None:
            return None
        query = f"SELECT count(*) FILTER (WHERE {self.condition}) FROM {self.part.written} WHERE {found.condition}"
        row = self.connection.execute(query.encode()).fetchone()
        assert row is not None
        return found.to, found.rows, row[0]

    def _patiently(self, act: Callable[[], T]) -> T:
        return read_patiently(self.connection, act, self.hold, what=self.part.name.shown, settings=SETTINGS)


def read_patiently(
    connection: psycopg.Connection, act: Callable[[], T], hold: Hold, *, what: str, settings: str = ALL_ROWS
) -> T:
    """Read something in a transaction of its own, again while what it reads is locked.

    Raises:
        HeldUp: it stayed locked until the deadline of the hold's patience.
        Stopped: `hold.stopping` is set.
    """
    until_s = time.monotonic() + hold.patience.deadline_s
    while True:
        try:
            with connection.transaction():
                connection.execute(settings.encode())
                return act()
        except LockNotAvailable:
            if time.monotonic() > until_s:
                raise HeldUp(f"{what} stayed locked", change=hold.change, blockers=()) from None
        hold.stop_if_asked()
        hold.stopping.wait(_AGAIN_S)
