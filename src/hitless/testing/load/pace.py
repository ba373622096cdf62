"""Open loop: requests leave when they are due, whatever became of the earlier ones.

Theory: a client that waits for an answer before it asks again stops asking just while the server stands still, and so
measures a stall once instead of for everyone who would have come meanwhile ("coordinated omission", Gil Tene). Hence
latency counts from the moment a request was due, and a generator that is too slow says so instead of asking less.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# epoll waits in whole milliseconds, rounded up: aiming 1 ms early wakes before the due moment, not after it.
EARLY_S = 0.001


async def pace(*, rate_rps: float, start: float, until: float, launch: Callable[[float], bool]) -> None:
    """Call `launch(due)` `rate_rps` times a second on the loop's clock, until it returns False or `until` has come.

    Whatever is overdue is launched at once. `due` is never in the future: a request launched early counts from now.
    """
    loop = asyncio.get_running_loop()
    number = 0
    while (due := start + number / rate_rps) < until:
        now = loop.time()
        if due > now + EARLY_S:
            await asyncio.sleep(due - now - EARLY_S)
            continue
        if not launch(min(due, now)):
            return
        number += 1
