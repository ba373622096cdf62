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
from backfill_support import AUDIT, TWICE, USERS, WRONG, Killable, Stage, killable, staged, worker

KILLS = int(os.environ.get("HITLESS_KILLS", "4"))
ROWS = 4_000
LONGEST_S = 0.6
SLOWLY = json.dumps({"is_heedful": False, "most_rows": 40, "nice": 70})
END_S = 120.0


@pytest.fixture(scope="module", params=[16, 18])
def server(request: pytest.FixtureRequest) -> Iterator[Killable]:
    # Without fsync what a killed server has written is the kernel's, and nothing is lost but what it had not written.
    with killable(request.param, wal_writer_delay="10ms") as found:
        yield found


@pytest.fixture
def users(server: Killable) -> Iterator[Stage]:
    with staged(server.directory, "users", USERS.format(rows=ROWS) + AUDIT, limits=SLOWLY) as stage:
        yield stage


def _judge(users: Stage) -> None:
    assert users.one(WRONG) == 0
    assert users.one(TWICE) == 0
    assert users.one("SELECT count(*) FROM audit") == ROWS
    assert users.one("SELECT rows FROM hitless.backfill") == ROWS
    assert users.one("SELECT changed FROM hitless.backfill") == ROWS


def _finish(users: Stage) -> None:
    users.limit(json.dumps({"is_heedful": False}))
    last = worker(users)
    _, told = last.communicate(timeout=END_S)
    assert last.returncode == 0, told.decode()


def test_killed_workers_lose_and_double_nothing(users: Stage) -> None:
    draw = random.Random(0)
    positions = []
    for _ in range(KILLS):
        one = worker(users)
        time.sleep(0.25 + draw.random() * LONGEST_S)  # a moment at random is what is tried
        one.kill()
        one.communicate()
        positions.append(users.one("SELECT rows FROM hitless.backfill"))
    assert positions == sorted(positions)
    _finish(users)
    _judge(users)


def test_servers_that_lose_their_power_lose_and_double_nothing(server: Killable, users: Stage) -> None:
    """The worker lives through it: it waits for the server and goes on."""
    draw = random.Random(1)
    one = worker(users)
    for _ in range(KILLS):
        time.sleep(0.25 + draw.random() * LONGEST_S)  # as above
        if one.poll() is not None:
            break
        server.restart()
    _, told = one.communicate(timeout=END_S)
    assert one.returncode == 0, told.decode()
    _judge(users)
