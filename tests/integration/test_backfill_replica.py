"""A replica that falls behind holds a backfill up, and lets it go on when it has caught up."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from backfill_support import FILL, USERS, WRONG, Stage, staged, wait_for

from hitless.adapters.postgres.backfill.run import run as fill
from hitless.adapters.postgres.hold import Told
from hitless.testing.postgres import PostgresServer, running_postgres

ROWS = 30_000
HEEDFUL = json.dumps({"max_lag_s": 0.5, "most_rows": 300, "nice": 50})


@contextmanager
def standby(primary: PostgresServer) -> Iterator[PostgresServer]:
    """Copy a server, and let the copy follow it."""
    with TemporaryDirectory(prefix="hitless-pg-") as name:
        directory = Path(name)
        command = [primary.folder / "pg_basebackup", "-D", directory / "data", "-R", "-X", "stream", "-c", "fast"]
        where = ["-h", primary.directory, "-U", "postgres"]
        subprocess.run([*command, *where], check=True, capture_output=True)
        if primary.user is not None:
            for path in (directory, *directory.rglob("*")):
                os.chown(path, primary.user, primary.user)
        server = replace(primary, directory=directory, process=None)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _is_behind(stage: Stage, megabytes: float) -> bool:
    query = (
        f"SELECT coalesce(max(pg_current_wal_lsn() - replay_lsn), 0) > {megabytes} * 1000000 FROM pg_stat_replication"
    )
    return bool(stage.one(query))


def test_a_replica_that_falls_behind_holds_a_backfill_up() -> None:
    with (
        running_postgres(16, fsync="off") as primary,
        staged(primary.directory, "users", USERS.format(rows=ROWS), limits=HEEDFUL) as users,
        standby(primary) as follower,
    ):
        wait_for(lambda: users.one("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == 1)
        with follower.connect() as connection:
            connection.execute("SELECT pg_wal_replay_pause()")
        told: list[Told] = []
        hold = users.hold(tell=told.append)
        work = threading.Thread(target=lambda: fill(FILL, hold))
        work.start()
        wait_for(lambda: any(one.data.get("reason") == "lag" for one in told), within_s=60)
        stopped_at = users.one("SELECT rows FROM hitless.backfill")
        assert 0 < stopped_at < ROWS
        assert _is_behind(users, 0.5)
        with follower.connect() as connection:
            connection.execute("SELECT pg_wal_replay_resume()")
        work.join(60)
        assert not work.is_alive()
        (sentence, *_) = [one.sentence for one in told if one.data.get("reason") == "lag"]
        assert "s behind, 0.5 s may be" in sentence
        assert users.one(WRONG) == 0
        with psycopg.connect(follower.url("users")) as connection:
            wait_for(
                lambda: connection.execute("SELECT count(*) FROM users WHERE first_name IS NULL").fetchone() == (0,)
            )
