"""How many rows the next batch takes: as many as fit into a time, for what a writer waits is a batch's time.

Theory. A batch keeps the locks of its rows until it commits, so the longest wait of a writer is the time of a batch,
not its number of rows; how many rows that is depends on their width, their indexes, the disk and who else works.
Rules: the first batch is small; growth is at most twofold, so that rows which suddenly cost more cost a known factor;
a batch that took too long is followed by one that should not; one that failed by a quarter of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

BUDGET_S = 0.075
"""Fifty thousand rows at a time stalled writers for 2.7 s, a thousand cost 12 % of the speed: 75 ms is between."""

FIRST_ROWS = 200
MOST_ROWS = 20_000
"""Rows that are filled already are passed fast: a batch of many such rows may be followed by one where none is."""

GROWTH = 2
SHRINK = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The size of the next batch.

    Attributes:
        rows: how many rows it looks at, at least 1.
        budget_s: how long it should take.
        most_rows: never more.
    """

    rows: int = FIRST_ROWS
    budget_s: float = BUDGET_S
    most_rows: int = MOST_ROWS

    def after(self, *, rows: int, seconds: float) -> Pace:
        """Return the pace after a batch that looked at `rows` in `seconds`."""
        if rows <= 0 or seconds <= 0:
            return self
        fit = max(1, int(min(rows * self.budget_s / seconds, self.most_rows)))
        if seconds > self.budget_s:
            return replace(self, rows=min(fit, self.rows))
        return replace(self, rows=min(max(fit, self.rows), self.rows * GROWTH, self.most_rows))

    def after_failure(self) -> Pace:
        """Return the pace after a batch that was given up."""
        return replace(self, rows=max(1, self.rows // SHRINK))

    def within(self, *, budget_s: float, most_rows: int) -> Pace:
        """Return the pace for another time and another limit."""
        return replace(self, budget_s=budget_s, most_rows=most_rows, rows=min(self.rows, most_rows))
