"""How long writers waited."""

from __future__ import annotations

from dataclasses import dataclass, field

STALL_S = 0.25


@dataclass(slots=True)
class Waits:
    """Latencies of writes, seconds from their moments."""

    took_s: list[float] = field(default_factory=list)
    failed: int = 0

    def at(self, share: float) -> float:
        ordered = sorted(self.took_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0

    @property
    def longest_s(self) -> float:
        return max(self.took_s, default=0.0)

    @property
    def stalled(self) -> int:
        return sum(one > STALL_S for one in self.took_s)
