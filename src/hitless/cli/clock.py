"""The command line's own time: ages on the screen, pauses between polls."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class WallClock:
    """The machine's clock as it was when the command began; a step meanwhile moves no time-out."""

    def __init__(self) -> None:
        self._began_at = datetime.now(UTC)  # noqa: TID251 - the rest of the command line is given this clock
        self._began_s = time.monotonic()

    def now(self) -> datetime:
        """Return the present moment, aware, UTC."""
        return self._began_at + timedelta(seconds=time.monotonic() - self._began_s)

    def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(max(seconds, 0))
