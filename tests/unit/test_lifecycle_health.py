"""Readiness that means it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from lifecycle_support import Exchange, ask, board, call, until, until_sync

from hitless.lifecycle import Check, Lifecycle, State, WsgiLifecycle
from hitless.lifecycle.board import Board, Cell, Warmth, ledger
from hitless.lifecycle.drain import Phase

__all__ = ["board"]
pytestmark = pytest.mark.usefixtures("board")


async def nothing(*_: Any) -> None:
    """Answer nothing: no request gets as far as this."""


def wsgi_nothing(*_: Any) -> list[bytes]:
    return []


WORKER = """
import sys
from hitless.lifecycle.board import Warmth, ledger
ledger().note_warmth(Warmth(int(sys.argv[1])))
print("claimed", flush=True)
sys.stdin.read()
"""


@contextmanager
def other_worker(warmth: Warmth) -> Iterator[None]:
    command = [sys.executable, "-c", WORKER, str(int(warmth))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "claimed\n"
        yield


async def probe(app: Lifecycle, path: str = "/health/ready") -> tuple[int, Any]:
    exchange = await ask(app, path)
    return exchange.sent[0]["status"], json.loads(exchange.body)


async def until_warm(app: Lifecycle) -> None:
    await probe(app)
    await until(lambda: app.state is not State.WARMING_UP)


async def test_it_is_not_ready_before_every_warm_up_has_run_once() -> None:
    go, ran = threading.Event(), []

    async def connect() -> None:
        await asyncio.to_thread(go.wait)
        ran.append("connect")

    app = Lifecycle(nothing, warm_up=[connect, lambda: ran.append("load")])
    status, told = await probe(app)
    assert (status, told["state"], told["checks"]) == (503, "warming up", {})
    go.set()
    await until(lambda: app.state is State.READY)
    status, told = await probe(app)
    assert (status, told["state"], ran) == (200, "ready", ["connect", "load"])
    assert [one["status"] for one in told["warm_up"]] == ["ok", "ok"]


async def test_a_failed_warm_up_is_named_keeps_it_not_ready_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hitless.lifecycle.health._RETRY_S", 0.01)
    is_back, ran = threading.Event(), []

    def load_catalogue() -> None:
        ran.append("load")
        if not is_back.is_set():
            raise ConnectionError("no catalogue")

    app = Lifecycle(nothing, warm_up=[lambda: ran.append("connect"), load_catalogue, lambda: ran.append("index")])
    await until_warm(app)
    status, told = await probe(app)
    assert (status, told["state"], told["warm_up"][0]["status"]) == (503, "warm-up failed", "ok")
    assert told["warm_up"][1]["name"] == "load_catalogue"
    assert told["warm_up"][1]["error"] == "ConnectionError: no catalogue"
    await until(lambda: ran.count("load") > 2)
    is_back.set()
    await until(lambda: app.state is State.READY)
    status, told = await probe(app)
    assert (status, [one["status"] for one in told["warm_up"]]) == (200, ["ok", "ok", "ok"])
    assert (ran.count("connect"), ran[-2:]) == (1, ["load", "index"]), "what has succeeded is not run again"


async def test_until_an_instance_was_ready_no_worker_says_yes_for_another() -> None:
    app = Lifecycle(nothing)
    for warmth in (Warmth.WARMING, Warmth.FAILED):
        with other_worker(warmth):
            assert (await probe(app))[0] == 503
    assert (await probe(app))[0] == 200


@pytest.mark.parametrize("warmth", [Warmth.WARMING, Warmth.FAILED])
async def test_a_worker_that_comes_late_takes_none_but_itself_out(warmth: Warmth) -> None:
    asked = []
    app = Lifecycle(nothing, checks={"catalogue": lambda: asked.append(1)})
    assert (await probe(app))[0] == 200
    with other_worker(warmth):
        assert (await probe(app))[0] == 200
    ledger().note_warmth(warmth)
    asked.clear()
    assert (await probe(app))[0] == 503
    assert asked == [], "a check may use what the warm-up has not made yet"


async def test_a_worker_that_gets_warm_while_it_is_asked_has_not_been_checked_and_says_no() -> None:
    app = Lifecycle(nothing, checks={"database": lambda: False})
    await probe(app, "/health/live")
    app._health.begin()
    ledger().note_warmth(Warmth.WARMING)
    asked = app._health.ask()
    ledger().note_warmth(Warmth.WARM)
    assert app._health.answer(asked)[0] == 503


async def test_a_failure_is_asked_again_by_the_next_probe() -> None:
    answers = [False, False, True]
    app = Lifecycle(nothing, checks={"db": Check(run=lambda: answers.pop(0), cache_s=60.0)})
    assert [(await probe(app))[0] for _ in range(5)] == [503, 503, 200, 200, 200]


async def test_warm_up_waits_for_the_applications_own_startup() -> None:
    order = []

    async def application(_: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        order.append("startup")
        await send({"type": "lifespan.startup.complete"})
        await receive()

    app = Lifecycle(application, warm_up=[lambda: order.append("warm up")])
    lifespan = Exchange(app, {"type": "lifespan"})
    assert app.state is State.WARMING_UP
    lifespan.inbox.put_nowait({"type": "lifespan.startup"})
    await until(lambda: app.state is State.READY)
    assert order == ["startup", "warm up"]
    lifespan.inbox.put_nowait({"type": "lifespan.shutdown"})
    await lifespan.task


@pytest.mark.parametrize("says", ["raises", "returns"])
async def test_an_application_without_lifespan_is_left_to_the_server_and_warms_up_at_once(says: str) -> None:
    async def application(scope: Any, *_: Any) -> None:
        if says == "raises":
            raise ValueError(scope["type"])

    app = Lifecycle(application, warm_up=[lambda: None])
    lifespan = Exchange(app, {"type": "lifespan"})
    await asyncio.wait([lifespan.task])
    assert (str(lifespan.task.exception()) == "lifespan") is (says == "raises")
    await until(lambda: app.state is State.READY)


async def test_a_startup_that_failed_is_not_warmed_up() -> None:
    ran = []

    async def application(_: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    lifespan = Exchange(Lifecycle(application, warm_up=[lambda: ran.append(1)]), {"type": "lifespan"})
    lifespan.inbox.put_nowait({"type": "lifespan.startup"})
    await lifespan.task
    assert ran == []


async def test_checks_run_at_once_and_each_is_told_by_name() -> None:
    both = asyncio.Barrier(2)

    async def database() -> None:
        await both.wait()

    async def broken() -> None:
        await both.wait()
        raise OSError("gone")

    checks = {"database": database, "cache": broken, "queue": lambda: False, "plain": lambda: None}
    status, told = await probe(Lifecycle(nothing, checks=checks))
    assert (status, told["state"]) == (503, "failing")
    found = {name: (one["status"], one.get("error")) for name, one in told["checks"].items()}
    assert found == {
        "database": ("ok", None),
        "cache": ("failed", "OSError: gone"),
        "queue": ("failed", "it returned False"),
        "plain": ("ok", None),
    }
    assert all(one["duration_ms"] >= 0 for one in told["checks"].values())


async def test_a_check_that_takes_too_long_fails_and_is_not_run_beside_itself() -> None:
    go, runs = threading.Event(), []

    def slow() -> None:
        runs.append(1)
        go.wait(10)

    app = Lifecycle(nothing, checks={"slow": Check(run=slow, timeout_s=0.05, cache_s=0.0), "other": lambda: None})
    for _ in range(3):
        status, told = await probe(app)
        assert (status, told["checks"]["slow"]["error"]) == (503, "no answer within 0.05 s")
        assert told["checks"]["other"]["status"] == "ok"
    assert len(runs) == 1
    go.set()
    await until(lambda: not any("slow" in one.name for one in threading.enumerate()))
    await probe(app)
    assert len(runs) == 2


async def test_an_async_check_that_hangs_is_cancelled_and_recovers() -> None:
    hang = asyncio.Event()

    async def ping() -> None:
        if not hang.is_set():
            await asyncio.sleep(60)

    app = Lifecycle(nothing, checks={"ping": Check(run=ping, timeout_s=0.05, cache_s=0.0)})
    assert (await probe(app))[0] == 503
    async with asyncio.timeout(5):
        while (await probe(app))[0] != 200:
            hang.set()


async def test_many_probes_ask_a_dependency_once_while_its_result_is_fresh() -> None:
    runs = []
    app = Lifecycle(nothing, checks={"db": Check(run=lambda: runs.append(1), cache_s=60.0)})
    found = await asyncio.gather(*(probe(app) for _ in range(20)))
    assert ({status for status, _ in found}, len(runs)) == ({200}, 1)


async def test_draining_says_no_counts_the_probe_and_stays_alive(board: Board) -> None:
    asked = []
    app = Lifecycle(nothing, checks={"db": lambda: asked.append(1)})
    board.phase = Phase.LEAVING
    status, told = await probe(app)
    assert (status, told["state"], told["in_flight"]["requests"], asked) == (503, "draining", 0, [])
    assert board.total(Cell.REFUSED_PROBES) == 1
    assert (await probe(app, "/health/live")) == (200, {"state": "live"})


async def test_paths_are_configurable_and_a_head_gets_no_body() -> None:
    app = Lifecycle(nothing, live_path="/up", ready_path="/fit")
    assert (await probe(app, "/up"))[0] == 200
    assert (await probe(app, "/fit"))[0] == 200
    assert (await ask(app, "/health/ready")).sent == []
    head = await ask(app, "/fit", method="HEAD")
    assert (head.body, int(head.headers[b"content-length"]) > 0) == (b"", True)


async def test_a_prefix_that_the_server_adds_does_not_hide_the_probe() -> None:
    exchange = await ask(Lifecycle(nothing), "/shop/health/live", root_path="/shop")
    assert exchange.sent[0]["status"] == 200


def test_wsgi_warms_up_and_checks_with_plain_and_async_functions() -> None:
    async def ping() -> None:
        await asyncio.sleep(0)

    go = threading.Event()
    app = WsgiLifecycle(wsgi_nothing, warm_up=[lambda: go.wait(10)], checks={"ping": ping})
    assert call(app, "/health/ready")[0] == "503 Service Unavailable"
    go.set()
    until_sync(lambda: app.state is State.READY)
    status, _, body = call(app, "/health/ready")
    assert (status, json.loads(b"".join(body))["checks"]["ping"]["status"]) == ("200 OK", "ok")
    assert call(app, "/health/live")[0] == "200 OK"
