"""What all clients of one load share."""

from __future__ import annotations

import asyncio
import secrets

from hitless.testing.load.ledger import Ledger
from hitless.testing.load.plan import LoadPlan

_PREFIX_DIGITS = 6
_NUMBER_DIGITS = 9  # together at most 15 digits: exact as a JSON number everywhere (RFC 8259, 6)


class Context:
    """Plan, ledger, the numbering of requests, the moments when the load is over and when nothing is sent any more."""

    def __init__(self, plan: LoadPlan, ledger: Ledger) -> None:
        lowest = 10 ** (_PREFIX_DIGITS - 1)
        self.plan = plan
        self.ledger = ledger
        self.prefix = str(lowest + secrets.randbelow(9 * lowest))
        self.over = asyncio.Event()
        self.started_at = asyncio.get_running_loop().time()
        self.is_capped = False
        self.is_closed = False
        self._numbered = 0

    def start(self) -> None:
        """Let the load's time begin; what clients need to import or prepare is behind it."""
        self.started_at = asyncio.get_running_loop().time()

    @property
    def until(self) -> float:
        """Moment on the event loop's clock when the plan's duration has passed."""
        return self.started_at + self.plan.duration_s

    def next_id(self) -> str | None:
        """Return the next request's id: digits, always as many; None once the plan's bound on requests is met."""
        if self._numbered >= self.plan.max_requests:
            self.is_capped = True
            self.over.set()
            return None
        self._numbered += 1
        return f"{self.prefix}{self._numbered:0{_NUMBER_DIGITS}d}"
