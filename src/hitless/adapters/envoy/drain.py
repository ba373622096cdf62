"""When an endpoint that gets no new request has really gone quiet.

Envoy's worker threads learn of a change some milliseconds after its main thread has confirmed it, so one zero proves
nothing: three zeros, at least 20 ms apart, the first of them at least 100 ms after the confirmation.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hitless.rollout.spec import InstanceId

ZEROS_NEEDED = 3
BETWEEN_ZEROS_S = 0.020
AFTER_CONFIRMATION_S = 0.100


@dataclass(slots=True)
class _Reading:
    since: float
    zeros: int = 0
    last_zero_at: float = float("-inf")


class QuietMeter:
    """Counts zero reads of draining endpoints; begins from nothing in every controller."""

    def __init__(self) -> None:
        self._readings: dict[tuple[str, InstanceId], _Reading] = {}

    def confirm(self, service: str, draining: Collection[InstanceId], *, at: float) -> None:
        """Note who drains, as Envoy has confirmed by `at` (monotonic seconds); everyone else is forgotten."""
        for key in [key for key in self._readings if key[0] == service and key[1] not in draining]:
            del self._readings[key]
        for name in draining:
            self._readings.setdefault((service, name), _Reading(since=at))

    def read(self, service: str, instance: InstanceId, count: int | None, *, at: float) -> bool:
        """Take in one read, and tell whether the endpoint is quiet.

        Args:
            service: whose endpoint it is.
            instance: the endpoint.
            count: open requests; None = not known, never taken for zero.
            at: when it was read, monotonic seconds.
        """
        reading = self._readings.get((service, instance))
        if reading is None or at < reading.since + AFTER_CONFIRMATION_S:
            return False
        if count != 0:
            reading.zeros = 0
        elif at >= reading.last_zero_at + BETWEEN_ZEROS_S:
            reading.zeros += 1
            reading.last_zero_at = at
        return reading.zeros >= ZEROS_NEEDED
