"""Whatever is killed at whatever moment: every row is filled once in what was committed, and none is missing.

HITLESS_KILLS=100 makes it a hundred kills of each kind, with seeds from 0.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator

import pytest
from backfill_support import AUDIT, TWICE, USERS, WRONG, Stage, staged, wait_for, worker

from hitless.testing.postgres import PostgresServer, running_postgres

KILLS = int(os.environ.get("HITLESS_KILLS", "4"))
ROWS = max(4_000, KILLS * 1_500)
LONGEST_S = 0.2
SLOWLY = json.dumps({"is_heedful": False, "most_rows": 40, "nice": 70})
END_S = 120.0


@pytest.fixture(scope="module", params=[16, 18])
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    # Without fsync what a killed server has written is the kernel's, and nothing is lost but what it had not written.
    with running_postgres(request.param, fsync="off", wal_writer_delay="10ms", autovacuum="off") as found:
        yield found


@pytest.fixture
def users(server: PostgresServer) -> Iterator[Stage]:
    with staged(server.directory, "users", USERS.format(rows=ROWS) + AUDIT, limits=SLOWLY) as stage:
        yield stage


def _position(users: Stage) -> int:
    return int(users.one("SELECT rows FROM hitless.backfill"))


def _judge(users: Stage) -> None:
    assert users.one(WRONG) == 0
    assert users.one(TWICE) == 0
    assert users.one("SELECT count(*) FROM audit") == ROWS
    assert _position(users) == ROWS
    assert users.one("SELECT changed FROM hitless.backfill") == ROWS


def _finish(users: Stage) -> None:
    users.limit(json.dumps({"is_heedful": False}))
    last = worker(users)
    _, told = last.communicate(timeout=END_S)
    assert last.returncode == 0, told.decode()


def test_killed_workers_lose_and_double_nothing(users: Stage) -> None:
    draw = random.Random(0)
    positions = [0]
    for _ in range(KILLS):
        one = worker(users)
        wait_for(lambda: _position(users) > positions[-1])
        time.sleep(draw.random() * LONGEST_S)  # a moment at random is what is tried
        one.kill()
        one.communicate()
        positions.append(_position(users))
    assert positions[-1] < ROWS, "the last one was killed after its end"
    _finish(users)
    _judge(users)


def test_servers_that_lose_their_power_lose_and_double_nothing(server: PostgresServer, users: Stage) -> None:
    """The worker lives through it: it waits for the server and goes on."""
    draw = random.Random(1)
    one = worker(users)
    for _ in range(KILLS):
        before = _position(users)
        wait_for(lambda before=before: _position(users) > before)
        time.sleep(draw.random() * LONGEST_S)  # as above
        assert one.poll() is None, "it ended before the last crash"
        server.crash()
    users.limit(json.dumps({"is_heedful": False}))
    _, told = one.communicate(timeout=END_S)
    assert one.returncode == 0, told.decode()
    _judge(users)
