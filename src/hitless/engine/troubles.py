"""Troubles as the log has them: each once when it begins and once when it is over."""

from __future__ import annotations

import logging
from collections.abc import Callable

from hitless.ports import Clock

TELL_S = 1.0

log = logging.getLogger("hitless")


async def log_forever(problems: Callable[[], set[str]], clock: Clock) -> None:
    """Log what is wrong, until cancelled."""
    told: set[str] = set()
    while True:
        now = problems()
        for one in sorted(now - told):
            log.warning("%s", one)
        for one in sorted(told - now):
            log.warning("over: %s", one)
        told = now
        await clock.sleep(TELL_S)
