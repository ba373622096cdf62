"""Several processes write to one store at once, and one is killed at any moment."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_support import NOON

from hitless.adapters.store_sql.store import SqlStore, open_store
from hitless.ports import Lease

# Commits again and again; a sequence number is acknowledged in a file only once the store has acknowledged it.
WRITER = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from hitless.adapters.store_sql.store import open_store
from hitless.journal.record import Entry
from hitless.ports import Lease, Run

now = datetime(2030, 1, 31, 12, tzinfo=UTC)

def write(directory, name, count, acknowledge, opened=lambda: None):
    lease = Lease(owner=name, fence=1, until=now)
    with open_store(Path(directory), busy_timeout_s=60) as store:
        opened()
        for number in range(count):
            run = Run(id=name, kind="rollout", state=str(number) + " " * 5_000, fence=1, updated_at=now)
            parts = [Entry(at=now, type="t", subject=name, actor="a", data={"n": number, "part": n}) for n in (1, 2)]
            records = store.commit(lease=lease, runs=[run], entries=parts, now=now)
            acknowledge(records[-1].seq)
"""

# One process for each name: all open the store at the same moment, and write once all have opened it.
WRITE_AT_ONCE = f"""{WRITER}
import multiprocessing, time, traceback
opened = multiprocessing.get_context("fork").Barrier(len(sys.argv) - 3, timeout=120)
children = []
for name in sys.argv[3:]:
    child = os.fork()
    if child == 0:
        try:
            write(sys.argv[1], name, int(sys.argv[2]), lambda seq: time.sleep(0.002), opened.wait)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    children.append(child)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""

# Imports once and forks for every line that it reads: a death takes milliseconds, not a start of Python.
WRITE_UNTIL_KILLED = f"""{WRITER}
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        file = os.open(line.strip(), os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        write(sys.argv[1], "one", 10**9, lambda seq: os.write(file, f"{{seq}}\\n".encode()))
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def write_at_once(directory: Path, *names: str, count: int) -> None:
    command = [sys.executable, "-c", WRITE_AT_ONCE, str(directory), str(count), *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / ".hitless"


@pytest.fixture
def store(directory: Path) -> Iterator[SqlStore]:
    with open_store(directory) as opened:
        yield opened


@pytest.fixture
def lease(store: SqlStore) -> Lease:
    return store.acquire_lease(owner="one", now=NOON, ttl_s=10)


def test_two_processes_that_write_at_once_build_one_unbroken_chain(
    directory: Path, store: SqlStore, lease: Lease
) -> None:
    assert lease.fence == 1
    write_at_once(directory, "one", "two", count=100)
    records = store.journal()
    assert store.verify_journal() is None
    assert [record.seq for record in records] == list(range(1, 401))
    order = [record.entry.subject for record in records]
    assert sum(before != after for before, after in itertools.pairwise(order)) > 1, "they never met"


def test_several_processes_may_create_the_store_at_once(directory: Path) -> None:
    write_at_once(directory, "one", "two", "three", "four", count=0)
    with open_store(directory) as store:
        assert store.acquire_lease(owner="one", now=NOON, ttl_s=1).fence == 1


@pytest.fixture
def mortal(directory: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WRITE_UNTIL_KILLED, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        yield process


def test_a_store_survives_being_killed_at_any_moment_with_all_that_it_acknowledged(
    directory: Path, tmp_path: Path, mortal: subprocess.Popen[str]
) -> None:
    chance = random.Random(0)
    with open_store(directory) as store:
        store.acquire_lease(owner="one", now=NOON, ttl_s=10)
    lives_with_commits = 0
    for life in range(42):
        acknowledgements = tmp_path / f"acknowledged-{life}"
        is_at_work = life % 2 == 0  # the others may die while they open the store
        acknowledged = _killed_writer(mortal, acknowledgements, is_at_work=is_at_work, after_s=chance.uniform(0, 0.1))
        lives_with_commits += acknowledged > 0
        with open_store(directory) as store:
            records, head, row = store.journal(), store.journal_head(), store.run("one")
            assert store.verify_journal() is None
        assert head.seq == len(records) >= acknowledged
        assert len(records) % 2 == 0, "half a commit"
        if records:
            assert row is not None
            assert int(row.state) == records[-1].entry.data["n"], "row and journal are of different commits"
    assert lives_with_commits >= 21


def _killed_writer(mortal: subprocess.Popen[str], acknowledgements: Path, *, is_at_work: bool, after_s: float) -> int:
    """Let a process write, kill it; return the last sequence number that it had acknowledged."""
    assert mortal.stdin is not None
    assert mortal.stdout is not None
    mortal.stdin.write(f"{acknowledgements}\n")
    pid = int(mortal.stdout.readline())
    deadline = time.monotonic() + 60
    while is_at_work and not (acknowledgements.exists() and acknowledgements.stat().st_size):
        assert time.monotonic() < deadline, "the writer does not get to work"
        time.sleep(0.001)
    time.sleep(after_s)  # the random moment of death, not a wait for anything
    os.kill(pid, signal.SIGKILL)
    assert int(mortal.stdout.readline()) == signal.SIGKILL, "it ended by itself"
    if not acknowledgements.exists():
        return 0
    whole = [line for line in acknowledgements.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return int(whole[-1]) if whole else 0
