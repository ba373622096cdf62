"""The command line's own time: ages on the screen, pauses between polls."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class WallClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present moment, aware, UTC."""
        return datetime.now(UTC)  # noqa: TID251 - this is the clock that the rest of the command line is given

    def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(max(seconds, 0))
