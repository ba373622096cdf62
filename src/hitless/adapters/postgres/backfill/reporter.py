"""Tells how far a walk is, a few times a second at most."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from hitless.adapters.postgres.backfill.checkpoint import Advance, Checkpoint
from hitless.adapters.postgres.backfill.key import Part
from hitless.adapters.postgres.hold import Hold, Told
from hitless.schema.backfill.progress import Progress
from hitless.schema.backfill.throttle import Rest, Sight

EVERY_S = 0.25


class Reporter:
    """Adds up, and tells."""

    def __init__(self, hold: Hold, *, begun: Checkpoint, parts: Sequence[Part]) -> None:
        estimates = [one.estimate for one in parts]
        total = None if None in estimates else sum(one or 0 for one in estimates)
        self._hold = hold
        self._progress = Progress(rows=begun.rows, total=total, at_s=time.monotonic())
        self._changed, self._batches, self._told_s = begun.changed, begun.batches, 0.0

    def begin(self) -> None:
        """Begin to measure: what was rested before the first batch says nothing of the speed."""
        self._progress = replace(self._progress, at_s=time.monotonic())

    def tell(self, gain: Advance, sight: Sight, rest: Rest | None) -> None:
        """Count a batch, and tell where it is time."""
        now_s = time.monotonic()
        self._progress = self._progress.after(rows=gain.rows, at_s=now_s)
        self._changed, self._batches = self._changed + gain.changed, self._batches + 1
        if now_s - self._told_s >= EVERY_S:
            self._told_s = now_s
            self._hold.tell(Told(kind="batch", sentence=self._sentence(rest), data=self._data(sight, rest)))

    def _sentence(self, rest: Rest | None) -> str:
        known = self._progress
        words = f"{known.rows:,} rows"
        if known.share is not None:
            words += f" of about {known.total:,} ({known.share:.0%})"
        if known.rows_per_s is not None:
            words += f", {known.rows_per_s:,.0f} rows/s"
        if known.left_s is not None:
            words += f", about {known.left_s:,.0f} s left"
        return f"{words}; rests: {rest.sentence}" if rest else words

    def _data(self, sight: Sight, rest: Rest | None) -> dict[str, object]:
        known = self._progress
        return {
            "rows": known.rows,
            "total": known.total,
            "changed": self._changed,
            "batches": self._batches,
            "rows_per_s": known.rows_per_s,
            "left_s": known.left_s,
            "rests_for": rest.reason.value if rest else None,
            "connections": sight.connections,
            "most_connections": sight.most_connections,
            "write_ms": sight.write_ms,
            "lag_s": sight.lag_s,
        }
