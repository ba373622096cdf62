"""How much an answer carries over the network, of the new version beside the old one: told, and never held against it.

A page may be larger for good reasons, so there is no margin and no alarm. What is compared are answers of the same
second, region and class of routes (Mantel-Haenszel's ratio of rates, bytes in the place of cases, answers in that of
time at risk): which pages are asked for, and by whom, does not show in it.
"""

from __future__ import annotations

from hitless.analysis.counts import Second, Transfer
from hitless.rollout.spec import Region, Version

_SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (0.0, "B"))
_LEAST_WITH_DIGITS = 0.1


class NetworkWatch:
    """Bytes of both versions' answers, second by second."""

    def __init__(self, *, canary: Version, baseline: Version) -> None:
        self._canary, self._baseline = canary, baseline
        self._all = Transfer(answers=0, received_bytes=0, sent_bytes=0)
        self._compared = 0
        self._mine = self._its = 0.0

    def take(self, second: Second) -> None:
        """Take what ended in one second."""
        new: dict[tuple[Region, str], Transfer] = {}
        old: dict[tuple[Region, str], Transfer] = {}
        for cell in second.cells:
            if cell.transfer is None:
                continue
            if cell.version == self._canary:
                new[cell.region, cell.route] = cell.transfer
            elif cell.version == self._baseline:
                old[cell.region, cell.route] = cell.transfer
        for place, mine in new.items():
            self._all += mine
            if (its := old.get(place)) is not None:
                self._compare(mine, its)

    @property
    def ratio(self) -> float | None:
        """Return how many times an answer's bytes are those of the old version; None = it had none, or not known."""
        return self._mine / self._its if self._its else None

    @property
    def detail(self) -> str:
        """Say what an answer carries, and a request."""
        if not self._compared:
            return "nothing to compare yet: no answers of both versions in the same second that tell their bytes"
        sent, received = (amount / self._all.answers for amount in (self._all.sent_bytes, self._all.received_bytes))
        return f"{size(sent)} an answer, {self._beside()}; {size(received)} a request"

    def _compare(self, mine: Transfer, its: Transfer) -> None:
        both = mine.answers + its.answers
        self._compared += mine.answers
        self._mine += mine.sent_bytes * its.answers / both
        self._its += its.sent_bytes * mine.answers / both

    def _beside(self) -> str:
        if self.ratio is None:
            return "those of the old version are empty"
        digits = ",.2f" if self.ratio >= _LEAST_WITH_DIGITS else ".2g"
        return f"{self.ratio:{digits}} times that of the old version"


def size(amount: float) -> str:
    """Render bytes: `12.3 kB`."""
    least, unit = next((least, unit) for least, unit in _SIZES if amount >= 0.9995 * least)  # 999.7 B are 1 kB
    return f"{amount / (least or 1.0):.3g} {unit}"
