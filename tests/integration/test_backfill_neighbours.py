"""Backfills beside others: rows and tables that are locked, people who pause, replicas and slots that need room."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

import psycopg
import pytest
from backfill_support import AUDIT, CHANGE, FILL, TWICE, UNHEEDFUL, USERS, WRONG, Stage, staged, wait_for
from postgres_support import running

from hitless.adapters.postgres.backfill import steering
from hitless.adapters.postgres.backfill.faults import HeldUp, NothingBegun, ServerRefuses
from hitless.adapters.postgres.backfill.filling import Filling
from hitless.adapters.postgres.backfill.run import run as fill
from hitless.adapters.postgres.hold import Patience, Stopped, Told

ROWS = 2_000
SMALL = json.dumps({"is_heedful": False, "most_rows": 50})


@pytest.fixture(scope="module", params=[16, 18])
def server(request: pytest.FixtureRequest) -> Iterator[Path]:
    with running(request.param, max_connections="30") as directory:
        yield directory


@pytest.fixture
def users(server: Path) -> Iterator[Stage]:
    with staged(server, "users", USERS.format(rows=ROWS) + AUDIT, limits=SMALL) as stage:
        yield stage


@contextmanager
def holding(stage: Stage, statement: str) -> Iterator[psycopg.Connection]:
    """Hold the locks of a statement in a transaction that does nothing more."""
    connection = stage.connect()
    connection.execute("SET application_name = 'report'")
    connection.execute("BEGIN")
    connection.execute(statement.encode())
    try:
        yield connection
    finally:
        connection.close()


class Working:
    """A backfill in a thread."""

    def __init__(self, stage: Stage) -> None:
        self.told: list[Told] = []
        self.stopping = threading.Event()
        self.outcome: object = None
        self._hold = stage.hold(tell=self.told.append, stopping=self.stopping)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._thread.join()

    def join(self) -> object:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.outcome

    def has_told(self, kind: str) -> bool:
        return any(one.kind == kind for one in self.told)

    def sentences(self, kind: str) -> list[str]:
        return [one.sentence for one in self.told if one.kind == kind]

    def _run(self) -> None:
        try:
            self.outcome = fill(FILL, self._hold)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.outcome = error


FILLED = "SELECT count(*) FROM users WHERE first_name IS NOT NULL"


def test_rows_that_somebody_holds_are_left_for_later_and_the_holder_is_named(users: Stage) -> None:
    with holding(users, "SELECT 1 FROM users WHERE id IN (777, 1500) FOR UPDATE") as blocker, Working(users) as work:
        wait_for(lambda: users.one(FILLED) == ROWS - 2)
        wait_for(lambda: work.has_told("blocked_by"))
        (sentence, *_) = work.sentences("blocked_by")
        assert f"pid {blocker.info.backend_pid}, postgres@local (report), in a transaction" in sentence
        assert "holds rows, or the table, idle in transaction" in sentence
        assert users.one("SELECT rows FROM hitless.backfill") == ROWS - 2
        blocker.execute("ROLLBACK")
        evidence = work.join()
    assert isinstance(evidence, dict)
    assert (evidence["rows"], evidence["changed"]) == (ROWS, ROWS)
    assert users.one(WRONG) == 0
    assert users.one(TWICE) == 0


def test_rows_that_are_held_for_good_end_the_run_and_nothing_is_counted_done(
    users: Stage,
) -> None:
    hold = replace(users.hold(), patience=Patience(deadline_s=2.0))
    with holding(users, "SELECT 1 FROM users WHERE id = 1234 FOR UPDATE") as blocker:
        with pytest.raises(HeldUp) as held:
            fill(FILL, hold)
        assert held.value.exit_code == 5
        assert any(f"pid {blocker.info.backend_pid}" in one for one in held.value.evidence)
        assert users.one("SELECT rows FROM hitless.backfill") == ROWS - 1
        assert users.one(FILLED) == ROWS - 1
    assert users.fill()["rows"] == ROWS
    assert users.one(WRONG) == 0
    assert users.one(TWICE) == 0


def test_a_table_that_is_locked_is_waited_for_and_the_holder_is_named(users: Stage) -> None:
    with holding(users, "LOCK TABLE users IN SHARE MODE") as blocker, Working(users) as work:
        wait_for(lambda: work.has_told("blocked_by"))
        assert users.one(FILLED) == 0
        assert f"pid {blocker.info.backend_pid}, postgres@local (report)" in work.sentences("blocked_by")[0]
        blocker.execute("ROLLBACK")
        assert isinstance(work.join(), dict)
    assert users.one(WRONG) == 0


def test_a_writer_waits_at_most_for_a_batch_behind_somebody_elses_lock(users: Stage) -> None:
    """A batch that meets a locked row gives up, with all the rows that it had locked before."""
    users.limit(UNHEEDFUL)
    with holding(users, "SELECT 1 FROM users WHERE id = 150 FOR UPDATE"), Working(users) as work:
        with users.connect() as writer:
            writer.execute("SET lock_timeout = '5s'")
            for number in range(1, 140):
                writer.execute("UPDATE users SET full_name = full_name WHERE id = %s", (number,))
        wait_for(lambda: users.one(FILLED) == ROWS - 1)
        work.stopping.set()
        assert isinstance(work.join(), Stopped)


def test_a_paused_backfill_stands_still_until_it_is_resumed(users: Stage) -> None:
    database, steps = users.database, [FILL.id]
    steering.pause(database, change=CHANGE, steps=steps, actor="ann", is_paused=True)
    with Working(users) as work:
        wait_for(lambda: work.has_told("paused"))
        assert users.one(FILLED) == 0
        steering.pause(database, change=CHANGE, steps=steps, actor="ann", is_paused=False)
        assert isinstance(work.join(), dict)
    assert work.has_told("resumed")
    assert users.one("SELECT string_agg(type || ' ' || actor, ', ' ORDER BY number) FROM hitless.event") == (
        "backfill.paused ann, backfill.resumed ann"
    )


def test_what_has_not_begun_cannot_be_paused(users: Stage) -> None:
    with pytest.raises(NothingBegun):
        steering.pause(users.database, change=CHANGE, steps=["backfill.9"], actor="ann", is_paused=True)


def test_a_backfill_that_is_told_to_stop_goes_on_where_it_stopped(users: Stage) -> None:
    steering.limit(users.database, change=CHANGE, steps=[FILL.id], actor="ann", limits={"nice": 90})
    with Working(users) as work:
        wait_for(lambda: work.has_told("batch"))
        work.stopping.set()
        stopped = work.join()
    assert isinstance(stopped, Stopped)
    filled = users.one(FILLED)
    assert 0 < filled < ROWS
    assert users.one("SELECT rows FROM hitless.backfill") == filled
    assert users.fill()["rows"] == ROWS
    assert users.one(TWICE) == 0


def test_limits_are_followed_while_it_runs(users: Stage) -> None:
    steering.limit(users.database, change=CHANGE, steps=[FILL.id], actor="ann", limits={"nice": 90, "most_rows": 20})
    with Working(users) as work:
        wait_for(lambda: work.has_told("throttled"))
        assert "nice 90" in work.sentences("throttled")[0]
        steering.limit(users.database, change=CHANGE, steps=[FILL.id], actor="ann", limits={"nice": 0})
        evidence = work.join()
    assert isinstance(evidence, dict)
    assert evidence["rested_s"]["nice"] > 0


def test_batches_whose_rows_are_slow_get_small(users: Stage) -> None:
    users.limit(UNHEEDFUL)
    slow = "split_part(full_name, ' ', 1) || pg_sleep(0.004)::text"
    users.do("DELETE FROM users WHERE id > 400")
    evidence = users.fill(replace(FILL, assignments=FILL.assignments | {"first_name": slow}))
    assert evidence["changed"] == 400
    assert evidence["batches"] >= 400 * 0.004 / 0.2


def _heedful(**limits: object) -> str:
    return json.dumps({"most_rows": 50, **limits})


def test_wal_that_a_slot_keeps_stops_a_backfill(users: Stage) -> None:
    users.limit(_heedful(max_retained_mb=0.01))
    users.do("SELECT pg_create_physical_replication_slot('archive', true)")
    try:
        users.do("UPDATE users SET full_name = full_name; DELETE FROM audit")
        with Working(users) as work:
            wait_for(lambda: work.has_told("throttled"))
            assert "replication slot archive keeps" in work.sentences("throttled")[0]
            assert users.one(FILLED) < ROWS
            users.do("SELECT pg_drop_replication_slot('archive')")
            assert isinstance(work.join(), dict)
    finally:
        users.do("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    assert users.one(WRONG) == 0


def test_a_server_without_free_connections_is_left_alone(users: Stage) -> None:
    users.limit(_heedful(spare_connections=1_000))
    with Working(users) as work:
        wait_for(lambda: work.has_told("throttled"))
        assert "connections are free, 1000 must be" in work.sentences("throttled")[0]
        assert users.one(FILLED) < ROWS


def test_a_vacuum_of_the_table_gets_half_of_the_time(users: Stage) -> None:
    users.limit(_heedful(most_rows=5))
    with holding(users, "LOCK TABLE users IN SHARE UPDATE EXCLUSIVE MODE"), Working(users) as work:
        wait_for(lambda: work.has_told("throttled"))
        assert "vacuumed" in work.sentences("throttled")[0]


def test_what_a_role_may_not_see_is_told_once_and_throttles_nothing(users: Stage) -> None:
    users.do("CREATE ROLE plain LOGIN; GRANT USAGE ON SCHEMA hitless TO plain; GRANT ALL ON users, audit TO plain")
    users.do("GRANT ALL ON ALL TABLES IN SCHEMA hitless TO plain")
    users.limit(_heedful(nice=80))
    hold = users.hold()
    limited = replace(hold, database=replace(hold.database, conninfo=f"{hold.database.conninfo} user=plain"))
    try:
        with holding(users, "SELECT 1"):
            evidence = fill(FILL, limited)
    finally:
        users.do("DROP OWNED BY plain; DROP ROLE plain")
    assert evidence["rows"] == ROWS
    told = users.sentences("not_seen")
    assert len(told) == len(set(told))
    assert any("transactions of other users" in one for one in told)


def test_progress_tells_of_connections_and_the_cost_of_a_write(users: Stage) -> None:
    users.limit(_heedful(nice=70))
    users.fill()
    last = [one.data for one in users.told if one.kind == "batch"][-1]
    assert last["connections"] >= 2
    assert last["most_connections"] == 27
    assert last["write_ms"] is None or last["write_ms"] > 0
    assert last["rows"] <= ROWS


def test_a_server_that_ends_every_session_is_not_told_as_a_lock(users: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_: object, **__: object) -> None:
        raise psycopg.errors.CrashShutdown("terminating connection because of crash of another server process")

    hold = replace(users.hold(), patience=Patience(deadline_s=0.3))
    monkeypatch.setattr(Filling, "do", end)
    with pytest.raises(ServerRefuses, match=r"the server ended every session .*is done"):
        fill(FILL, hold)
