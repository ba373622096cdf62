"""The least application: answers every request with two bytes and its version."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

_HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"x-version", os.environ.get("HITLESS_VERSION", "v1").encode()), (b"content-length", b"2")],
}
_BODY = {"type": "http.response.body", "body": b"ok"}


async def app(_scope: Any, _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    await send(_HEAD)
    await send(_BODY)
