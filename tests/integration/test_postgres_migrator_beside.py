"""What happens beside a worker, and to it, while it carries a change out: nobody waits for it, and nothing is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import psycopg
import pytest
from migrator_stage import CHANGE, PLAN, SPEC, STEPS, Stage, stage, transaction
from postgres_support import running

from hitless.adapters.postgres.blockers import Blocker
from hitless.adapters.postgres.build import _drop
from hitless.adapters.postgres.checks import DataSpeakAgainst
from hitless.adapters.postgres.connections import NoRoom
from hitless.adapters.postgres.faults import ConnectionLost, NotPermitted, StatementFailed, in_words
from hitless.adapters.postgres.leftovers import find_leftovers
from hitless.adapters.postgres.migrator import Migrator
from hitless.adapters.postgres.patience import Try, _Wait, patiently
from hitless.adapters.postgres.taking import taken
from hitless.errors import Fenced
from hitless.schema.change.standing import Part, Standing, Verb
from hitless.schema.change.steps import Build, Check, Ddl, Plan, Validate

NUMBERS = count()
COLUMNS = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname IN ('address', 'late')"
ADD = "ALTER TABLE users ADD COLUMN address text"


@pytest.fixture(scope="module", params=[16, 18])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[int, Path]]:
    with running(request.param) as directory:
        yield request.param, directory


@pytest.fixture
def shop(server: tuple[int, Path]) -> Iterator[Stage]:
    with stage(*server, f"shop_{next(NUMBERS)}") as made:
        yield made


def plan_of(*steps: Ddl | Build) -> Plan:
    return Plan(change=CHANGE, steps=steps)


def begun(shop: Stage, plan: Plan = PLAN) -> Migrator:
    migrator = shop.migrator()
    migrator.register(SPEC, plan)
    return migrator


def wait_until(shop: Stage, kind: str) -> None:
    deadline_s = time.monotonic() + 30
    while kind not in shop.kinds():
        assert time.monotonic() < deadline_s, shop.kinds()
        time.sleep(0.02)


def test_a_worker_that_waits_does_no_step_of_a_plan_that_was_made_anew(shop: Stage) -> None:
    migrator = begun(shop)
    failed: list[Exception] = []

    def work() -> None:
        try:
            migrator.carry_out(CHANGE, Verb.EXPAND)
        except Fenced as error:
            failed.append(error)

    with transaction(shop, "SELECT count(*) FROM users"):
        worker = threading.Thread(target=work)
        worker.start()
        wait_until(shop, "blocked_by")
        other = replace(STEPS[0], do=("ALTER TABLE users ADD COLUMN other text",))
        shop.migrator().register({**SPEC, "add": {"other": {}}}, plan_of(other))
    worker.join()
    assert len(failed) == 1
    assert shop.value(COLUMNS) == 0
    assert shop.value("SELECT count(*) FROM hitless.step") == 0


def test_a_worker_that_is_stopped_between_two_statements_keeps_no_lock(shop: Stage) -> None:
    hold = begun(shop)._hold(CHANGE)
    has_locked, over = threading.Event(), threading.Event()
    lost: list[Exception] = []

    def act(one: Try) -> None:
        one.run((ADD,))
        has_locked.set()
        over.wait(20)
        one.run(("ALTER TABLE users ADD COLUMN late text",))

    def work() -> None:
        try:
            patiently(hold, act)
        except ConnectionLost as error:
            lost.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    has_locked.wait(20)
    began_s = time.monotonic()
    assert shop.value("SELECT count(*) FROM users") == 200
    waited_s = time.monotonic() - began_s
    over.set()
    worker.join()
    assert waited_s < 8  # 3 s are set; 30 s without
    assert len(lost) == 1
    assert shop.value(COLUMNS) == 0


@contextmanager
def a_standby_that_is_gone(shop: Stage) -> Iterator[None]:
    with shop.connect() as connection:
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'gone'")
        connection.execute("SELECT pg_reload_conf()")
        try:
            while connection.execute("SHOW synchronous_standby_names").fetchone() != ("gone",):
                time.sleep(0.02)
            time.sleep(0.2)  # other processes read it on their own
            yield
        finally:
            connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
            connection.execute("SELECT pg_reload_conf()")


def test_locks_are_not_kept_until_a_standby_has_answered(shop: Stage) -> None:
    hold = begun(shop)._hold(CHANGE)
    with a_standby_that_is_gone(shop):
        began_s = time.monotonic()
        patiently(hold, lambda one: one.run((ADD,)))
        took_s = time.monotonic() - began_s
    assert took_s < 2  # the limit of a statement, 3 s, would end the wait for the standby


def test_what_is_told_as_done_has_waited_for_standbys(shop: Stage) -> None:
    hold = begun(shop)._hold(CHANGE)
    shown: list[object] = []
    patiently(hold, lambda one: shown.append(one.connection.execute("SHOW synchronous_commit").fetchone()))
    assert shown == [("on",)]


def test_rows_that_a_policy_hides_from_a_check_are_an_error_and_not_silence(shop: Stage) -> None:
    rows = Check(query="SELECT id FROM users", counted="SELECT count(*) FROM users", trouble="rows", remedy="none")
    with shop.connect() as connection:
        connection.execute(f"CREATE ROLE keeper LOGIN; GRANT CREATE ON DATABASE {shop.name} TO keeper")
        connection.execute("ALTER TABLE users OWNER TO keeper; ALTER TABLE users ENABLE ROW LEVEL SECURITY")
        connection.execute("ALTER TABLE users FORCE ROW LEVEL SECURITY; CREATE POLICY none ON users USING (false)")
    try:
        migrator = shop.migrator(user="keeper")
        migrator.register(SPEC, plan_of(replace(STEPS[0], checks=(rows,))))
        with pytest.raises(NotPermitted, match="row-level security"):
            migrator.carry_out(CHANGE, Verb.EXPAND)
    finally:
        with shop.connect() as connection:
            connection.execute("DROP TABLE users; DROP OWNED BY keeper; DROP ROLE keeper")


def test_a_check_waits_for_a_table_that_is_locked(shop: Stage) -> None:
    rows = Check(query="SELECT id FROM users", counted="SELECT count(*) FROM users", trouble="rows", remedy="none")
    migrator = begun(shop, plan_of(replace(STEPS[0], checks=(rows,))))
    lock = "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"
    with transaction(shop, lock, for_s=1.0), pytest.raises(DataSpeakAgainst):
        migrator.carry_out(CHANGE, Verb.EXPAND)


def test_a_worker_does_not_take_the_last_connections(shop: Stage) -> None:
    migrator = begun(shop)
    opened = [shop.connect() for _ in range(14)]  # of 20, of which 3 are the superusers'
    try:
        with pytest.raises(NoRoom) as refused:
            migrator.carry_out(CHANGE, Verb.EXPAND)
    finally:
        for one in opened:
            one.close()
    assert refused.value.exit_code == 5
    assert migrator.state(CHANGE).standing is Standing.PLANNED
    migrator.undo(CHANGE)


def test_a_worker_that_was_overtaken_drops_no_index(shop: Stage) -> None:
    migrator = begun(shop)
    with shop.connect() as connection, taken(migrator._hold(CHANGE)) as hold:
        connection.execute("CREATE INDEX users_name_idx ON users (name)")
        connection.execute("UPDATE hitless.change SET fence = fence + 1")
        with pytest.raises(Fenced):
            _drop(replace(STEPS[2].index, name="users_name_idx"), hold)  # type: ignore[union-attr]
    assert shop.value("SELECT to_regclass('users_name_idx') IS NOT NULL") is True


def test_an_index_is_not_left_over_while_somebody_may_build_it(shop: Stage) -> None:
    """Who builds it may be another role, whose progress is not shown to us; its lock is."""
    with shop.connect() as connection:
        connection.execute("UPDATE users SET email = 'same'")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("CREATE UNIQUE INDEX CONCURRENTLY users_email_ccnew ON users (email)")
        with transaction(shop, "LOCK TABLE users IN SHARE UPDATE EXCLUSIVE MODE"):
            assert find_leftovers(connection) == ()
        (found,) = find_leftovers(connection)
    assert found.can_be_fixed


def test_a_database_that_prefers_another_isolation_changes_nothing(shop: Stage) -> None:
    with shop.connect() as connection:
        connection.execute(f"ALTER DATABASE {shop.name} SET default_transaction_isolation = 'serializable'")
    with shop.database.connect() as connection, connection.transaction():
        assert connection.execute("SHOW transaction_isolation").fetchone() == ("read committed",)


def test_a_full_disk_is_not_told_as_a_session_that_ended(shop: Stage) -> None:
    with pytest.raises(StatementFailed) as refused, in_words(shop.database, "ALTER TABLE users"):
        raise psycopg.errors.DiskFull("could not extend file: No space left on device")
    assert refused.value.hints[0] == "make room on the server"


def blocker(transaction: str, age_s: float) -> Blocker:
    return Blocker(
        kind="session",
        transaction=transaction,
        relation="users",
        held="ROW EXCLUSIVE",
        pid=1,
        gid=None,
        application="",
        user="",
        client="",
        state="active",
        query="",
        age_s=age_s,
        query_age_s=age_s,
    )


def test_transactions_of_some_seconds_that_are_others_at_each_look_starve_nobody(shop: Stage) -> None:
    wait = _Wait(hold=shop.migrator()._hold(CHANGE), wanted={}, act=lambda _: None, longest_ms=1, is_fenced=True)
    assert wait._standing([blocker("1/1", 2.0)])
    assert wait._standing([blocker("1/2", 2.0)]) == ()
    assert wait._standing([blocker("1/2", 4.0)])
    assert wait._standing([blocker("1/3", 60.0)])


def test_an_index_that_cannot_be_compared_is_not_called_another_one(shop: Stage) -> None:
    with shop.connect() as connection:
        connection.execute("CREATE INDEX users_address_idx ON users (email)")
        connection.execute(f"REVOKE TEMP ON DATABASE {shop.name} FROM PUBLIC")
        connection.execute(f"CREATE ROLE keeper LOGIN; GRANT CREATE ON DATABASE {shop.name} TO keeper")
        connection.execute("ALTER TABLE users OWNER TO keeper")
    index = replace(STEPS[2], do="CREATE INDEX CONCURRENTLY users_address_idx ON public.users (email)")
    migrator = shop.migrator(user="keeper")
    try:
        migrator.register(SPEC, plan_of(index))
        with pytest.raises(NotPermitted, match="temporary tables"):
            migrator.carry_out(CHANGE, Verb.EXPAND)
        with shop.connect() as connection:
            connection.execute(f"GRANT TEMP ON DATABASE {shop.name} TO keeper")
        with (
            transaction(shop, "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"),
            pytest.raises(StatementFailed, match="lock"),
        ):
            migrator.carry_out(CHANGE, Verb.EXPAND)
        assert migrator.carry_out(CHANGE, Verb.EXPAND).standing is Standing.EXPANDED
    finally:
        with shop.connect() as connection:
            connection.execute("DROP TABLE users; DROP OWNED BY keeper; DROP ROLE keeper")


def test_a_column_with_a_quote_in_its_name_belongs_to_the_change_that_names_it(shop: Stage) -> None:
    add = replace(
        STEPS[0],
        do=('ALTER TABLE users ADD COLUMN "hitless_a""b\\c" text',),
        undo=('ALTER TABLE users DROP COLUMN IF EXISTS "hitless_a""b\\c"',),
    )
    begun(shop, plan_of(add)).carry_out(CHANGE, Verb.EXPAND)
    with shop.connect() as connection:
        assert find_leftovers(connection) == ()


def test_what_reads_to_the_end_on_the_way_back_may_take_its_time(shop: Stage) -> None:
    step = Validate(id="expand.1", part=Part.EXPAND, title="validates", do=("SELECT 1",), undo=("SELECT pg_sleep(4)",))
    migrator = begun(shop, Plan(change=CHANGE, steps=(step,)))
    migrator.carry_out(CHANGE, Verb.EXPAND)
    assert migrator.undo(CHANGE) is None
