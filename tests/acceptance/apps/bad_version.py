"""The sample shop with what is wrong with a version read off its name: `bad_version.py PORT`, in the shop's folder."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

FAULTS = os.environ["HITLESS_VERSION"]
LATER_S = 2.0
DESCRIPTORS = 80
LOG_LINE = f"{'x' * 1023}\n"
LOG_LINES = 60_000  # 60 MB

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


def at_the_start() -> None:
    if "dies-at-start" in FAULTS:
        raise SystemExit("no such table: orders")
    if "daemonises" in FAULTS:
        for _ in range(2):
            if os.fork():
                os._exit(0)
            os.setsid()
    if "slow-start" in FAULTS or "late-to-bind" in FAULTS:
        print("loading the catalogue", flush=True)
        time.sleep(LATER_S if "late-to-bind" in FAULTS else 600)
    if "zombies" in FAULTS:
        for _ in range(20):
            os.posix_spawnp("true", ["true"], os.environ)
    if "leaks" in FAULTS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


def later() -> None:
    while "dies-when-told" in FAULTS:
        if Path(os.environ["SHOP_DATA"], "die").exists():
            print("out of orders", file=sys.stderr, flush=True)
            os._exit(3)
        time.sleep(0.05)
    time.sleep(LATER_S)
    if "dies-later" in FAULTS:
        print("out of orders", file=sys.stderr, flush=True)
        os._exit(3)
    leaked = []
    while "leaks" in FAULTS:
        try:
            leaked.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            time.sleep(0.01)  # takes what others give back
    if "floods-its-log" in FAULTS:
        for _ in range(LOG_LINES):
            sys.stdout.write(LOG_LINE)
        while True:  # what is written in the very moment in which a log is emptied is lost
            print("still writing", flush=True)
            time.sleep(0.5)


class Faulty:
    """The shop's application, answering as its version is made to."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        is_health = path.startswith("/health")
        flaps = "flaps" in FAULTS and path == "/health/ready" and int(time.monotonic() / 1.5) % 2
        if flaps or (path == "/health/ready" and "never-ready" in FAULTS):
            await answer(send, 503, b"no connection to the warehouse")
        elif scope["type"] == "http" and not is_health and "all-fail" in FAULTS:
            await answer(send, 500, b"KeyError: 'price'")
        elif path == "/huge":
            await answer(send, 200, b"x" * 32_000_000, (b"x-huge", b"h" * 40_000))
        elif path == "/too-huge":
            await answer(send, 200, b"", (b"x-huge", b"h" * 200_000))
        else:
            await self._app(scope, receive, send)


async def answer(send: Any, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    named = [(b"content-length", str(len(body)).encode()), (b"x-version", FAULTS.encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": named})
    await send({"type": "http.response.body", "body": body})


def main(port: int) -> None:
    at_the_start()
    import uvicorn  # noqa: PLC0415 - what fails at the start fails at once

    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as `python -m` does
    from shop.app import app  # noqa: PLC0415 - as above

    server = uvicorn.Server(uvicorn.Config(Faulty(app), port=port, log_level="warning", timeout_keep_alive=30))
    threading.Thread(target=later, daemon=True).start()
    asyncio.run(serve(server))


async def serve(server: Any) -> None:
    if "closes-its-port" in FAULTS:
        asyncio.get_running_loop().call_later(LATER_S, lambda: [one.close() for one in server.servers])
    serving = asyncio.create_task(server.serve())
    await asyncio.sleep(0)
    if "ignores-sigterm" in FAULTS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    await serving


if __name__ == "__main__":
    main(int(sys.argv[1]))
