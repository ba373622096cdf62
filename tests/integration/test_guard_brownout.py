"""Brownout, hide and drop on real servers: what applications meet, what is given back, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread

import psycopg
import pytest
from guard_stage import LIVE, NEW, OLD, OWNER, PLAN, Shop, counting, shop
from psycopg.errors import InsufficientPrivilege, UndefinedColumn

from hitless.adapters.postgres.dump import schema_of
from hitless.adapters.postgres.guard import brownout
from hitless.adapters.postgres.guard.asked import ASKED, Asked
from hitless.adapters.postgres.guard.brownout import BrownoutImpossible
from hitless.adapters.postgres.guard.gate import ContractBlocked
from hitless.adapters.postgres.guard.watching import Watcher
from hitless.adapters.postgres.hold import Hold
from hitless.adapters.postgres.taking import taken
from hitless.schema.change.standing import Part, Standing, Verb
from hitless.schema.change.state import ChangeState


@pytest.fixture(scope="module", params=[15, 18])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[int, Path]]:
    with counting(request.param) as directory:
        yield request.param, directory


@pytest.fixture
def stage(server: tuple[int, Path]) -> Iterator[Shop]:
    with shop(server[1], "shop") as made:
        made.run("INSERT INTO users (id, email) VALUES (1, 'ada@example.org')", user=NEW)
        yield made


def contract(stage: Shop, **options: object) -> ChangeState:
    """Carry out the next stop, with the new version alone."""
    stage.run("SELECT id FROM users", user=NEW)
    told = ASKED.set(Asked(known=(LIVE,), **{"window": timedelta(), **options}))  # type: ignore[arg-type]
    try:
        return stage.migrator().carry_out("split", Verb.CONTRACT)
    finally:
        ASKED.reset(told)


def privileges(stage: Shop) -> list[object]:
    with stage.connect() as connection:
        return connection.execute(
            "SELECT relacl::text FROM pg_class WHERE oid = 'users'::regclass UNION ALL "
            "(SELECT attname || attacl::text FROM pg_attribute WHERE attrelid = 'users'::regclass ORDER BY attnum)"
        ).fetchall()


def dump(stage: Shop, version: int) -> list[str]:
    text = schema_of(stage.database("postgres"), "--exclude-schema=hitless", version=version)
    return [line for line in text.splitlines() if "restrict" not in line]


GRANTS = (
    "CREATE ROLE reporting LOGIN",
    "SET ROLE keeper",
    f"REVOKE ALL ON users FROM {OLD}, {NEW}",
    f"GRANT SELECT, DELETE ON users TO {OLD} WITH GRANT OPTION",
    "GRANT SELECT (full_name, email), UPDATE (full_name) ON users TO reporting",
    f"GRANT SELECT, INSERT, UPDATE, DELETE, REFERENCES ON users TO {NEW}",
    f"GRANT UPDATE (email) ON users TO {NEW} WITH GRANT OPTION",
    "GRANT SELECT ON users TO PUBLIC",
    "GRANT TRUNCATE ON users TO reporting",
)


def test_privileges_are_the_same_to_the_letter_after_undo(stage: Shop, server: tuple[int, Path]) -> None:
    stage.run(*GRANTS)
    before, text = privileges(stage), dump(stage, server[0])
    stage.forget_statements()  # pg_dump locks every table
    contract(stage)
    assert privileges(stage) != before
    stage.migrator().undo("split", Standing.SWITCHED)
    assert privileges(stage) == before
    assert dump(stage, server[0]) == text
    stage.run("DROP OWNED BY reporting")


def test_what_was_granted_meanwhile_stays(stage: Shop) -> None:
    contract(stage)
    stage.run("CREATE ROLE reporting LOGIN", "GRANT SELECT (id) ON users TO reporting")
    stage.migrator().undo("split", Standing.SWITCHED)
    with stage.connect("reporting") as connection:
        connection.execute("SELECT id FROM users")
    stage.run("SELECT * FROM users", user=OLD)
    stage.run("DROP OWNED BY reporting")


def test_a_brownout_reaches_prepared_statements_and_leaves_the_others(stage: Shop) -> None:
    with stage.connect(OLD) as instance:
        instance.execute("PREPARE one AS SELECT full_name FROM users")
        instance.execute("PREPARE two AS SELECT email FROM users WHERE id = 1")
        instance.execute("EXECUTE one")
        instance.execute("EXECUTE two")
        stage.forget_statements()
        instance.execute("EXECUTE two")
        contract(stage)
        for refused in (
            "EXECUTE one",
            "SELECT * FROM users",
            "UPDATE users SET full_name = ''",
            "COPY users TO STDOUT",
        ):
            with pytest.raises(InsufficientPrivilege):
                instance.execute(refused.encode())
        instance.execute("EXECUTE two")
        instance.execute("UPDATE users SET email = 'a@example.org' WHERE id = 1")
        instance.execute("INSERT INTO users (id, email) VALUES (2, 'b@example.org')")
        instance.execute("DELETE FROM users WHERE id = 2")
        stage.migrator().undo("split", Standing.SWITCHED)
        instance.execute("EXECUTE one")


def test_a_brownout_waits_for_nobody_and_nobody_for_it(stage: Shop) -> None:
    with stage.connect(NEW) as writer, stage.connect(NEW) as other:
        writer.execute("BEGIN")
        writer.execute("UPDATE users SET email = 'c@example.org' WHERE id = 1")
        other.execute("BEGIN")
        other.execute("LOCK TABLE users IN SHARE UPDATE EXCLUSIVE MODE")  # as a VACUUM or an index build holds it
        _brown_out(stage)
        other.execute("ROLLBACK")
        writer.execute("COMMIT")


def test_privileges_that_others_granted_are_refused_by_name(stage: Shop) -> None:
    stage.run(f"GRANT SELECT ON users TO {OLD} WITH GRANT OPTION", user=OWNER)
    stage.run("CREATE ROLE reporting LOGIN")
    stage.run("GRANT SELECT ON users TO reporting", user=OLD)
    stage.forget_statements()
    with pytest.raises(BrownoutImpossible) as refused:
        contract(stage)
    assert refused.value.evidence == (f"reporting has SELECT from {OLD}",)
    stage.run("SET ROLE shop_v41; REVOKE SELECT ON users FROM reporting")


def test_the_stops_come_one_at_a_time_and_each_but_the_last_goes_back(stage: Shop) -> None:
    assert contract(stage).standing is Standing.BROWNED_OUT
    assert contract(stage).standing is Standing.HIDDEN
    with stage.connect(OLD) as instance, pytest.raises(UndefinedColumn):
        instance.execute("SELECT full_name FROM users")
    stage.migrator().undo("split", Standing.SWITCHED)
    stage.run("SELECT full_name FROM users", user=OLD)


def test_what_is_hidden_is_dropped_after_the_retention_only(stage: Shop) -> None:
    contract(stage)
    contract(stage)
    with pytest.raises(ContractBlocked) as blocked:
        contract(stage)
    assert [one.subject for one in blocked.value.decision.blocks] == ["retention"]
    assert contract(stage, retention=timedelta()).standing is Standing.CONTRACTED
    with stage.connect() as connection:
        found = connection.execute(
            "SELECT 1 FROM pg_attribute WHERE attname ~ 'full_name' AND attrelid = 'users'::regclass"
        )
        assert found.fetchone() is None


def test_a_blocked_stop_has_changed_nothing_and_is_written_down(stage: Shop) -> None:
    before = privileges(stage)
    with stage.connect(OLD) as instance:
        instance.execute("SELECT full_name FROM users")
        with pytest.raises(ContractBlocked) as blocked:
            contract(stage)
    assert "shop@41 uses it" in blocked.value.evidence[0]
    assert privileges(stage) == before
    state = stage.migrator().state("split")
    assert state.standing is Standing.SWITCHED
    looked = [one for one in state.events if one.type == "guard.looked"]
    assert looked[-1].data["verdicts"]["shop@41"] == "references"


def test_nobody_who_says_nothing_contracts_anything(stage: Shop) -> None:
    with pytest.raises(ContractBlocked):
        stage.migrator().carry_out("split", Verb.CONTRACT)


def test_a_write_of_an_older_release_ends_a_watch(stage: Shop) -> None:
    watcher = Watcher(database=stage.database(), plan=PLAN, stopping=Event())
    usual = watcher.usual(0.1)
    assert watcher.watch(usual, 0.1, lambda _: None) is None
    stage.run("SELECT nextval('hitless.split_old_writes')", user=OWNER)
    assert "only an older release" in str(watcher.watch(usual, 5, lambda _: None))


def test_transactions_that_roll_back_end_a_watch(stage: Shop) -> None:
    watcher = Watcher(database=stage.database(), plan=PLAN, stopping=Event())
    usual = watcher.usual(0.1)
    failing = Thread(target=fail, args=(stage,))
    failing.start()
    try:
        assert "rolled back" in str(watcher.watch(usual, 60, lambda _: None))
    finally:
        failing.join()


def fail(stage: Shop) -> None:
    for _ in range(40):
        with suppress(psycopg.Error):
            stage.run("SELECT nothing", user=NEW)


def test_columns_of_the_system_can_be_read_in_a_brownout(stage: Shop) -> None:
    before = privileges(stage)
    contract(stage)
    stage.run(
        "SELECT id, xmin, ctid, tableoid FROM users",
        "INSERT INTO users (id, email) VALUES (1, 'd@example.org') ON CONFLICT (id) "
        "DO UPDATE SET email = excluded.email RETURNING xmax = 0",
        user=NEW,
    )
    stage.migrator().undo("split", Standing.SWITCHED)
    assert privileges(stage) == before


def test_once_it_is_dropped_privileges_cover_columns_that_come_later(stage: Shop) -> None:
    contract(stage)
    contract(stage)
    contract(stage, retention=timedelta())
    stage.run("ALTER TABLE users ADD COLUMN later text", user=OWNER)
    stage.run("SELECT * FROM users", "UPDATE users SET later = 'x'", user=NEW)


def test_a_role_that_was_dropped_meanwhile_does_not_hold_up_the_way_back(stage: Shop) -> None:
    stage.run("CREATE ROLE reporting LOGIN")
    stage.run("GRANT SELECT (full_name) ON users TO reporting", user=OWNER)
    contract(stage)
    stage.run("DROP ROLE reporting")
    stage.migrator().undo("split", Standing.SWITCHED)
    stage.run("SELECT full_name FROM users", user=OLD)


def test_a_grant_that_is_open_meanwhile_is_waited_for_and_taken_too(stage: Shop) -> None:
    stage.run("CREATE ROLE reporting LOGIN")
    with stage.connect(OWNER) as other:
        other.execute("BEGIN")
        other.execute("GRANT SELECT ON users TO reporting")
        worker = Thread(target=_brown_out, args=(stage,))
        worker.start()
        with stage.connect() as looking:
            _until(looking, "SELECT 1 FROM pg_locks WHERE NOT granted")
        other.execute("COMMIT")
        worker.join(30)
    assert "brownout.1" in stage.migrator().state("split").done
    with stage.connect("reporting") as reporting, pytest.raises(InsufficientPrivilege):
        reporting.execute("SELECT full_name FROM users")
    stage.migrator().undo("split", Standing.SWITCHED)
    stage.run("SELECT full_name FROM users", user="reporting")
    stage.run("DROP OWNED BY reporting")


def _brown_out(stage: Shop) -> None:
    """Take the privileges without asking the guard, which would not have whoever grants."""
    empty = Hold(database=stage.database(), change="split", fence=0, actor="kim", tell=print, stopping=Event())
    with taken(empty) as hold:
        brownout.run(PLAN.of(Part.BROWNOUT)[0], hold)


def _until(connection: psycopg.Connection, query: str) -> None:
    for _ in range(400):
        if connection.execute(query.encode()).fetchone():
            return
        connection.execute("SELECT pg_sleep(0.02)")
    raise AssertionError(query)


def test_a_worker_that_died_after_the_drop_is_followed_by_one_that_ends_it(stage: Shop) -> None:
    contract(stage)
    contract(stage)
    contract(stage, retention=timedelta())
    stage.run("UPDATE hitless.change SET standing = 'hidden'", user=OWNER)
    assert contract(stage).standing is Standing.CONTRACTED
