"""Counters that launcher and workers share."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from lifecycle_support import board, until_sync

from hitless.lifecycle.board import ENVIRONMENT, Board, Cell, Ledger, Warmth
from hitless.lifecycle.drain import Phase

__all__ = ["board"]
WORKER = """
import sys, time
from hitless.lifecycle.board import Cell, ledger
ledger().begin(Cell.REQUESTS)
print("open", flush=True)
time.sleep(60)
"""


def start_worker() -> subprocess.Popen[str]:
    worker = subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "open\n"
    return worker


def test_what_a_killed_worker_had_open_counts_no_longer_and_its_row_is_used_again(board: Board) -> None:
    first, second = start_worker(), start_worker()
    assert board.in_flight(board.workers()).requests == 2
    first.kill()
    first.communicate()
    assert board.in_flight(board.workers()).requests == 1
    third = start_worker()
    assert (board.workers(), board.in_flight(board.workers()).requests) == ([1, 2], 2)
    assert board.total(Cell.ARRIVALS) == 3, "what only grows must not shrink"
    for worker in (second, third):
        worker.kill()
        worker.communicate()
    assert board.workers() == []


def test_a_forked_worker_has_a_row_of_its_own(board: Board) -> None:
    ledger = Ledger()
    ledger.begin(Cell.REQUESTS)
    child = os.fork()
    if not child:
        ledger.begin(Cell.WEBSOCKETS)
        signal.pause()
        os._exit(0)
    until_sync(lambda: board.total(Cell.WEBSOCKETS))
    found = ledger.in_flight()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert (found.requests, found.websockets) == (1, 1)
    assert ledger.in_flight().websockets == 0


def test_the_phase_reaches_a_worker(board: Board) -> None:
    ledger = Ledger()
    board.phase = Phase.CLOSING
    assert ledger.phase == Phase.CLOSING


def test_without_a_launcher_a_process_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    ledger = Ledger()
    ledger.begin(Cell.REQUESTS)
    ledger.note_warmth(Warmth.WARM)
    assert (ledger.in_flight().total, ledger.warmths(), ledger.phase) == (1, {Warmth.WARM}, Phase.SERVING)


def test_a_board_that_is_gone_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "/proc/self/fd/999")
    with pytest.raises(RuntimeError, match="launcher must be alive and run as the same user"):
        Board.find()


def test_importing_it_imports_nothing_beside_the_standard_library() -> None:
    code = "import sys, json, hitless.lifecycle; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    foreign = {name for name in loaded if name not in sys.stdlib_module_names and not name.startswith("_")}
    rooms = {name.split(".")[1] for name in json.loads(done.stdout) if name.startswith("hitless.")}
    assert (foreign - {"sitecustomize", "distutils-precedence"}, rooms) == ({"hitless"}, {"lifecycle"})
