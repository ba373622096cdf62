"""The old version against itself: alarms here say that the judge's bound does not hold in this place.

Its instances are dealt into two halves as they appear, in an order that only the rollout's id decides, and each half
takes the canary's part against the other one, with the same test, null hypothesis and tempering as the row of errors.
If requests were assigned at random and failures did not come in bursts that the measured dispersion understates, either
half would ever raise an alarm with probability at most alpha / 2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable

import numpy as np

from hitless.analysis.counts import Cell
from hitless.analysis.likelihood import Tables
from hitless.rollout.spec import InstanceId, Region, Version

TOO_MANY = 2
"""One alarm may be chance (at most alpha); two are no longer: at most about alpha squared."""

INCIDENT_S = 60
"""What goes on within so long after an alarm is the same incident: one instance that falls over alarms once."""


class Halves:
    """Deals instances, and counts what each half did."""

    def __init__(self, *, baseline: Version, salt: str) -> None:
        self._baseline = baseline
        self._salt = salt
        self._half: dict[Region, dict[InstanceId, int]] = {}

    @property
    def are_empty(self) -> bool:
        """Whether nothing was compared yet."""
        return not any(len(halves) > 1 for halves in self._half.values())

    def tables(self, cells: Iterable[Cell], regions: Collection[Region]) -> Tables:
        """Return a table for each stratum with failures, the first half in the canary's place."""
        rows = [
            self._row(cell)
            for cell in cells
            if cell.requests.failed and cell.version == self._baseline and cell.region in regions
        ]
        table = np.array(rows, dtype=np.int64).reshape(-1, 4)
        return Tables(canary=table[:, 0], canary_bad=table[:, 1], baseline=table[:, 2], baseline_bad=table[:, 3])

    def _row(self, cell: Cell) -> tuple[int, int, int, int]:
        halves = self._half.setdefault(cell.region, {})
        for instance in sorted(cell.instances.keys() - halves.keys(), key=self._order):
            dealt = list(halves.values())
            halves[instance] = int(dealt.count(0) > dealt.count(1))
        row = [0, 0, 0, 0]
        for instance, fates in cell.instances.items():
            place = 2 * halves[instance]
            row[place] += fates.total
            row[place + 1] += fates.failed
        return row[0], row[1], row[2], row[3]

    def _order(self, instance: InstanceId) -> str:
        return hashlib.sha256(f"{self._salt}:{instance}".encode()).hexdigest()


def swapped(tables: Tables) -> Tables:
    """Return the same tables with the parts exchanged."""
    return Tables(
        canary=tables.baseline,
        canary_bad=tables.baseline_bad,
        baseline=tables.canary,
        baseline_bad=tables.canary_bad,
    )
