"""A board of its own for each test, and the least ASGI and WSGI servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from hitless.lifecycle.board import ENVIRONMENT, Board, ledger

SOON_S = 5.0


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    found, path = Board.create()
    monkeypatch.setenv(ENVIRONMENT, path)
    ledger.cache_clear()
    yield found
    ledger.cache_clear()


class Exchange:
    """One ASGI exchange as a server sees it."""

    def __init__(self, app: Any, scope: dict[str, Any]) -> None:
        self.sent: list[dict[str, Any]] = []
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.task = asyncio.ensure_future(app(scope, self.inbox.get, self.send))

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


def http(app: Any, path: str = "/", **scope: Any) -> Exchange:
    return Exchange(app, {"type": "http", "method": "GET", "path": path, "http_version": "1.1", "headers": [], **scope})


async def ask(app: Any, path: str = "/", **scope: Any) -> Exchange:
    exchange = http(app, path, **scope)
    await exchange.task
    return exchange


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SOON_S):
        while not condition():  # noqa: ASYNC110 - shared memory has no event to wait for
            await asyncio.sleep(0.005)


def until_sync(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def call(app: Any, path: str = "/", **environ: Any) -> tuple[str, dict[str, str], Iterable[bytes]]:
    """Call a WSGI application; return status, headers and the body, still open."""
    told: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> Callable[[bytes], object]:
        told.append((status, headers))
        return lambda _: None

    body = app({"REQUEST_METHOD": "GET", "PATH_INFO": path, "SERVER_PROTOCOL": "HTTP/1.1", **environ}, start_response)
    status, headers = told[0] if told else ("", [])
    return status, dict(headers), body
