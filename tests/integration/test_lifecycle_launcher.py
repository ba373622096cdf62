"""The launcher with real servers: the order of a drain, its ends, and what it leaves behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import psutil
import pytest
from benchmarks.balanced import APPLICATIONS, SERVERS

from hitless.testing.live import free_ports

LAUNCHER = [sys.executable, "-m", "hitless.lifecycle"]
SOON_S = 20.0
QUICK = ["--leave-within", "300ms", "--quiet", "200ms", "--deadline", "1500ms"]
UVICORN = ["uvicorn", "asgi:app", "--log-level", "warning", "--port"]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a launcher; what it started is looked for afterwards."""
    found: list[subprocess.Popen[str]] = []
    trees: list[psutil.Process] = []

    def start_one(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*LAUNCHER, *arguments],
            cwd=APPLICATIONS,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        found.append(process)
        return process

    yield start_one
    for process in found:
        if process.poll() is None:
            trees.extend(psutil.Process(process.pid).children(recursive=True))
            process.kill()
        process.communicate()
    assert psutil.wait_procs(trees, timeout=SOON_S)[1] == []


async def until_ready(session: aiohttp.ClientSession, base: str) -> None:
    async with asyncio.timeout(SOON_S):
        while not await is_ready(session, base):  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.05)


async def is_ready(session: aiohttp.ClientSession, base: str) -> bool:
    try:
        async with session.get(f"{base}/health/ready") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def told_once_counted(session: aiohttp.ClientSession, base: str) -> dict[str, int]:
    """Return what is in flight while draining, once the last answer is counted as sent: clients may have it before."""
    async with asyncio.timeout(SOON_S):
        while True:
            async with session.get(f"{base}/health/ready") as probe:
                told = await probe.json()
            assert (probe.status, told["state"]) == (503, "draining")
            if told["in_flight"]["requests"] == 0:
                return dict(told["in_flight"])
            await asyncio.sleep(0.02)


async def until_ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = await asyncio.to_thread(process.communicate, timeout=SOON_S)
    return process.returncode, said


@pytest.mark.parametrize("name", ["uvicorn", "granian", "hypercorn", "gunicorn uvicorn"])
async def test_requests_finish_and_streams_are_told_to_come_again_at_the_deadline(start: Start, name: str) -> None:
    port = free_ports(1)[0]
    base = f"http://127.0.0.1:{port}"
    process = start(*QUICK, *SERVERS[name].line(port, with_library=True)[3:])
    async with aiohttp.ClientSession() as session:
        await until_ready(session, base)
        socket = await session.ws_connect(f"{base}/ws")
        await socket.send_str("before")
        assert await socket.receive_str() == "before"
        events = await session.get(f"{base}/events")
        await events.content.readuntil(b"\n\n")
        slow = asyncio.create_task(session.get(f"{base}/slow?seconds=1&id=slow"))
        await asyncio.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        answer = await slow
        assert (answer.status, answer.headers.get("Connection")) == (200, "close")
        await socket.send_str("while draining")
        assert await socket.receive_str() == "while draining"
        assert await told_once_counted(session, base) == {"requests": 0, "event_streams": 1, "websockets": 1}
        assert (await socket.receive()).data == 1012
        assert (await events.content.read()).endswith(b"\n\nretry: 1000\n\n")
    code, said = await until_ended(process)
    assert code == 0, said
    assert "readiness is off" in said
    assert "open: 0 requests, 1 event streams, 1 WebSockets" in said


async def test_a_second_sigterm_kills_at_once_with_everything_that_the_server_started(start: Start) -> None:
    port = free_ports(1)[0]
    process = start(*UVICORN, str(port), "--workers", "2")
    async with aiohttp.ClientSession() as session:
        await until_ready(session, f"http://127.0.0.1:{port}")
        slow = asyncio.create_task(session.get(f"http://127.0.0.1:{port}/slow?seconds=60"))
        await asyncio.sleep(0.2)
        tree = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        code, said = await until_ended(process)
        assert code == 128 + signal.SIGKILL
        assert "told a second time; killing it; cut: open: 1 requests" in said
        with pytest.raises(aiohttp.ClientError):
            await slow
    assert psutil.wait_procs(tree, timeout=SOON_S)[1] == []


async def test_a_request_that_outlives_deadline_and_server_is_cut_and_said(start: Start) -> None:
    port = free_ports(1)[0]
    process = start(*QUICK, "--end-within", "500ms", *UVICORN, str(port))
    async with aiohttp.ClientSession() as session:
        await until_ready(session, f"http://127.0.0.1:{port}")
        slow = asyncio.create_task(session.get(f"http://127.0.0.1:{port}/slow?seconds=60"))
        await asyncio.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        code, said = await until_ended(process)
        with pytest.raises(aiohttp.ClientError):
            await slow
    assert code == 128 + signal.SIGKILL
    assert "the server did not end within 0.5 s; killing it; cut: open: 1 requests" in said


async def test_ctrl_c_ends_without_a_drain(start: Start) -> None:
    port = free_ports(1)[0]
    process = start(*UVICORN, str(port))
    async with aiohttp.ClientSession() as session:
        await until_ready(session, f"http://127.0.0.1:{port}")
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert (await until_ended(process))[0] == 0
    assert time.monotonic() - began < 8.0, "a drain that nobody probes takes 10 s"


async def test_a_server_does_not_outlive_its_launcher(start: Start) -> None:
    port = free_ports(1)[0]
    process = start(*UVICORN, str(port))
    async with aiohttp.ClientSession() as session:
        await until_ready(session, f"http://127.0.0.1:{port}")
    tree = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    assert tree
    assert psutil.wait_procs(tree, timeout=SOON_S)[1] == []


async def test_workers_do_not_outlive_a_master_that_crashed(start: Start) -> None:
    port = free_ports(1)[0]
    process = start(*SERVERS["granian"].line(port, with_library=True)[3:])
    async with aiohttp.ClientSession() as session:
        await until_ready(session, f"http://127.0.0.1:{port}")
    master, *workers = psutil.Process(process.pid).children(recursive=True)
    master.kill()
    assert (await until_ended(process))[0] == 128 + signal.SIGKILL
    assert workers
    assert psutil.wait_procs(workers, timeout=SOON_S)[1] == []


def test_a_server_without_a_worker_gets_sigterm_at_once_and_its_own_exit_code_is_passed_on(
    start: Start, tmp_path: Path
) -> None:
    began = tmp_path / "began"
    program = f"""
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
pathlib.Path({str(began)!r}).touch()
time.sleep(60)
"""
    process = start(sys.executable, "-c", program)
    deadline = time.monotonic() + SOON_S
    while not began.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=SOON_S)
    assert process.returncode == 7
    assert "no worker serves yet; passing SIGTERM on" in said


def test_other_signals_are_passed_on(start: Start, tmp_path: Path) -> None:
    began = tmp_path / "began"
    program = f"""
import pathlib, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
pathlib.Path({str(began)!r}).touch()
sys.exit(3 if signal.sigwait([signal.SIGHUP]) else 4)
"""
    process = start("--", sys.executable, "-c", program)
    deadline = time.monotonic() + SOON_S
    while not began.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=SOON_S)
    assert process.returncode == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "which server? For example: python -m hitless.lifecycle uvicorn"),
        (["no-such-server", "app:app"], "no-such-server is neither beside"),
        (["--deadline", "soon", "uvicorn"], "'soon' is no duration; for example 30s"),
    ],
)
def test_a_command_line_that_cannot_work_says_what_would(start: Start, arguments: list[str], said: str) -> None:
    process = start(*arguments)
    _, told = process.communicate(timeout=SOON_S)
    assert process.returncode == 2
    assert said in told
