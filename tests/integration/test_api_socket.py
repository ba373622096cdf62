from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hitless.api.server import serve
from hitless.api.unix_socket import SUN_PATH_BYTES, ControlPlaneRunning, connect, listening
from hitless.cli.client import Client
from scripted_control_plane import ScriptedControlPlane, serving


def _long_directory(base: Path) -> Path:
    directory = base / ("d" * 100) / ("e" * 100)
    directory.mkdir(parents=True)
    assert len(str(directory)) > SUN_PATH_BYTES
    return directory


def test_only_the_owner_may_open_the_socket(tmp_path: Path) -> None:
    with listening(tmp_path / "s.sock"):
        assert stat.S_IMODE((tmp_path / "s.sock").stat().st_mode) == 0o600


def test_the_socket_is_gone_after_the_server(tmp_path: Path) -> None:
    with listening(tmp_path / "s.sock"):
        pass
    assert not (tmp_path / "s.sock").exists()


def test_a_path_of_any_length_can_be_served_and_reached(tmp_path: Path) -> None:
    path = _long_directory(tmp_path) / "hitless.sock"
    before = Path.cwd()
    with serving(ScriptedControlPlane(), path):
        assert Client(path).services()[0]["name"] == "checkout"
    assert Path.cwd() == before


def test_a_socket_that_a_killed_server_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    with pytest.raises(ConnectionRefusedError):
        connect(path)
    with listening(path):
        connect(path).close()


def test_a_killed_server_leaves_nothing_that_must_be_cleaned_up(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    code = f"""
import time
from pathlib import Path
from hitless.api.unix_socket import listening
with listening(Path({str(path)!r})):
    print("ready", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        with pytest.raises(ControlPlaneRunning, match="another control plane") as refused, listening(path):
            pass
        server.kill()
    assert f"process {server.pid}" in refused.value.evidence[0]
    assert refused.value.exit_code == 7
    with listening(path):
        connect(path).close()


def test_a_second_server_takes_nothing_from_the_first(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with serving(ScriptedControlPlane(), path):
        with pytest.raises(ControlPlaneRunning), listening(path):
            pass
        assert Client(path).services()


async def test_the_server_ends_within_a_second_though_long_polls_are_open(tmp_path: Path) -> None:
    path, stopping, ready = tmp_path / "s.sock", asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(serve(ScriptedControlPlane(), path, stopping=stopping, on_ready=ready.set))
    await asyncio.wait_for(ready.wait(), 20)
    polls = [asyncio.to_thread(Client(path).service, "checkout", after=1, wait_s=30) for _ in range(3)]
    answers = asyncio.gather(*polls)
    await asyncio.sleep(0.5)  # not needed for the claim: lets the polls arrive, or they would be refused
    begin = time.monotonic()
    stopping.set()
    await asyncio.wait_for(task, 20)
    assert time.monotonic() - begin < 1
    assert [answer["name"] for answer in await answers] == ["checkout"] * 3


def test_signals_stay_with_whoever_runs_the_server(tmp_path: Path) -> None:
    code = f"""
import asyncio, signal, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from scripted_control_plane import ScriptedControlPlane
from hitless.api.server import serve
async def main():
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    tell = lambda: print("ready", flush=True)
    await serve(ScriptedControlPlane(), Path({str(tmp_path / "s.sock")!r}), stopping=stopping, on_ready=tell)
    print("ended by itself", flush=True)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        os.kill(server.pid, signal.SIGTERM)
        assert server.stdout.read() == "ended by itself\n"
    assert server.returncode == 0
