"""What the last minute was like: the pace that forecasts rest on, and how much of the canary could be compared."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from hitless.rollout.spec import Region

MINUTE = 60
LEAST_COVERAGE = 0.5
LEAST_REQUESTS = 20
"""Of the canary: below that, coverage is chance."""

Sums = Mapping[Region, tuple[int, int, int, int]]
"""By region: the canary's requests, of them failed, the baseline's requests, of them failed."""


class Lately:
    """Sums over the last minute."""

    def __init__(self) -> None:
        self._requests: deque[tuple[int, int]] = deque(maxlen=MINUTE)
        self._compared: deque[tuple[int, int]] = deque(maxlen=MINUTE)
        self.canary_ever = 0

    def note(self, sums: Sums) -> None:
        """Note a second that could be read."""
        canary = sum(one[0] for one in sums.values())
        self.canary_ever += canary
        self._requests.append((canary, sum(one[2] for one in sums.values())))

    def note_compared(self, compared: int, total: int) -> None:
        """Note how many of the canary's requests had some of the baseline's beside them."""
        self._compared.append((compared, total))

    @property
    def canary_per_s(self) -> float:
        """Requests to the canary a second."""
        return sum(canary for canary, _ in self._requests) / len(self._requests) if self._requests else 0.0

    @property
    def canary_share(self) -> float:
        """Its share of both versions' requests."""
        canary, baseline = (sum(one[i] for one in self._requests) for i in (0, 1))
        return canary / (canary + baseline) if canary + baseline else 0.0

    @property
    def coverage(self) -> float | None:
        """Share of the canary's requests that were compared; None = none was seen."""
        compared, total = (sum(one[i] for one in self._compared) for i in (0, 1))
        return compared / total if total else None

    @property
    def is_hardly_compared(self) -> bool:
        """Whether too much of the canary's traffic has nothing to be compared with."""
        seen = sum(total for _, total in self._compared)
        return seen >= LEAST_REQUESTS and (self.coverage or 0.0) < LEAST_COVERAGE
