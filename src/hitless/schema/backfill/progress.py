"""How fast a backfill gets on, and when it will have ended."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

MEMORY_S = 10.0
"""Time constant of the mean: long enough to bridge rests, short enough to follow a changed `nice`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Rows that were looked at, and how fast.

    Attributes:
        rows: in all, earlier workers' too.
        total: about how many there are, as the server estimates; None = not known.
        rows_per_s: mean of the last seconds, weighted exponentially; None = not known yet.
        at_s: when that was, on a clock that only goes forward.
    """

    rows: int
    total: int | None
    at_s: float
    rows_per_s: float | None = None

    def after(self, *, rows: int, at_s: float) -> Progress:
        """Return the progress with so many more rows at that moment."""
        elapsed_s = at_s - self.at_s
        if elapsed_s <= 0:
            return replace(self, rows=self.rows + rows)
        present = rows / elapsed_s
        weight = 1 - math.exp(-elapsed_s / MEMORY_S)
        mean = present if self.rows_per_s is None else self.rows_per_s + weight * (present - self.rows_per_s)
        return replace(self, rows=self.rows + rows, at_s=at_s, rows_per_s=mean)

    @property
    def share(self) -> float | None:
        """Return which part is done, 0 to 1; None where the estimate is missing or passed."""
        return self.rows / self.total if self.total and self.rows <= self.total else None

    @property
    def left_s(self) -> float | None:
        """Return how long the rest will take, in seconds; None = not known."""
        if self.share is None or self.total is None or not self.rows_per_s:
            return None
        return (self.total - self.rows) / self.rows_per_s
