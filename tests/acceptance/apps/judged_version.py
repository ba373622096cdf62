"""A service whose versions differ in one thing, read off the version's name: what a judge must find, or let pass.

It calls a dependency for every page and counts the calls in `/metrics`, and the orders that came of pages. `SHARED` in
the environment names a file; while it exists every instance fails one request in five, whichever its version: something
that both depend on is down.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

VERSION = os.environ["HITLESS_VERSION"]
SHARED = Path(os.environ["SHARED"])
STARTED_S = time.monotonic()
COLD_S = 6.0
USUAL_S, SIGMA = 0.004, 0.5

draw = random.Random(os.environ["HITLESS_INSTANCE"])
calls: Counter[str] = Counter()
orders: Counter[str] = Counter(paid=0, failed=0)

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


async def page(path: str, send: Send) -> None:
    await work()
    if "hangs" in VERSION and draw.random() < 0.02:
        await asyncio.sleep(3600)
    if "all-fail" in VERSION or draw.random() < failure_rate():
        await answer(send, 500, "planted error")
        return
    is_down = "dependency" in VERSION and draw.random() < 0.2
    calls["error" if is_down else "ok"] += 1
    orders["failed" if "unpaid" in VERSION and draw.random() < 0.2 else "paid"] += 1
    await answer(send, 200, f"{path} {'without' if is_down else 'with'} recommendations")


def failure_rate() -> float:
    if SHARED.exists():
        return 0.2
    return 0.01 if "errors" in VERSION else 0.2 if "often" in VERSION else 0.0


async def work() -> None:
    seconds = draw.lognormvariate(0, SIGMA) * USUAL_S
    if "slow" in VERSION or ("cold" in VERSION and time.monotonic() - STARTED_S < COLD_S):
        seconds = 3 * seconds + 0.004
    if "tail" in VERSION and draw.random() < 0.02:
        seconds += 0.3
    await asyncio.sleep(seconds)


async def answer(send: Send, status: int, body: str) -> None:
    headers = [(b"content-length", str(len(body)).encode()), (b"x-version", VERSION.encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})


def figures() -> str:
    lines = [
        f'hitless_dependency_calls_total{{dependency="catalogue",outcome="{name}"}} {calls[name]}'
        for name in ("ok", "error")
    ]
    bought = [f'orders_total{{outcome="{name}"}} {count}' for name, count in orders.items()]
    return "\n".join(
        ["# TYPE hitless_dependency_calls_total counter", *lines, "# TYPE orders_total counter", *bought, ""]
    )


async def app(scope: Message, receive: Any, send: Send) -> None:
    del receive
    if scope["path"].startswith("/health"):
        await answer(send, 200, "ready")
    elif scope["path"] == "/metrics":
        await answer(send, 200, figures())
    else:
        await page(scope["path"], send)


async def serve(port: int) -> None:
    import uvicorn  # noqa: PLC0415 - as small a start as can be

    await uvicorn.Server(
        uvicorn.Config(app, port=port, log_level="warning", timeout_keep_alive=30, lifespan="off")
    ).serve()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
