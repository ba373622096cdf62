"""A change is carried out and taken back on real servers, whoever is in the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from migrator_stage import CHANGE, PLAN, SPEC, STEPS, Stage, Writer, stage, transaction
from postgres_support import programs, running

from hitless.adapters.postgres import database
from hitless.adapters.postgres.checks import DataSpeakAgainst
from hitless.adapters.postgres.faults import NotPermitted, ReadOnly, StatementFailed
from hitless.adapters.postgres.hold import Stopped
from hitless.adapters.postgres.indexes import DuplicateRows, IndexInTheWay
from hitless.adapters.postgres.keeping import DiffersFromBegun
from hitless.adapters.postgres.migrator import Migrator, NotItsTurn, NoWayBack
from hitless.adapters.postgres.patience import LocksNotHad
from hitless.adapters.postgres.runners import runner_of
from hitless.adapters.postgres.taking import ChangeHeld, UnknownChange, taken
from hitless.errors import Fenced
from hitless.schema.change.standing import Part, Standing, Verb
from hitless.schema.change.steps import Build, Check, Ddl, Plan
from hitless.schema.change.stored import document_of, plan_of
from hitless.schema.names import Name

VERSIONS = sorted({*programs(), 16, 18})
NUMBERS = count()
GENEROUS_S = 1.0
"""A writer's wait that is held to be short: ten times the wait that is set, for a machine that others use too."""


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[int, Path]]:
    with running(request.param, max_prepared_transactions="5") as directory:
        yield request.param, directory


@pytest.fixture
def shop(server: tuple[int, Path]) -> Iterator[Stage]:
    with stage(*server, f"shop_{next(NUMBERS)}") as made:
        yield made


def part_of(*steps: Ddl | Build) -> Plan:
    return Plan(change=CHANGE, steps=steps)


def begun(shop: Stage, plan: Plan = PLAN, **options: float) -> Migrator:
    migrator = shop.migrator(**options)
    migrator.register(SPEC, plan)
    return migrator


def test_a_change_is_expanded_and_undone_and_nothing_tells_that_it_was_there(shop: Stage) -> None:
    before = shop.dump()
    migrator = begun(shop)
    state = migrator.carry_out(CHANGE, Verb.EXPAND)
    assert state.standing is Standing.EXPANDED
    assert set(state.done) == {"expand.1", "expand.2", "expand.3"}
    with shop.connect() as connection:
        connection.execute("INSERT INTO users (email, name) VALUES ('new@example.com', 'New')")
    assert shop.value("SELECT address FROM users WHERE name = 'New'") == "new@example.com"
    assert migrator.undo(CHANGE) is None
    assert shop.dump() == before


@pytest.mark.parametrize("done", range(1, len(STEPS) + 1))
def test_whatever_is_done_is_undone_as_if_it_had_never_been(shop: Stage, done: int) -> None:
    before = shop.dump()
    migrator = begun(shop, Plan(change=CHANGE, steps=STEPS[:done]))
    for verb in (Verb.EXPAND, Verb.BACKFILL, Verb.VERIFY, Verb.SWITCH):
        migrator.carry_out(CHANGE, verb)
    assert len(migrator.state(CHANGE).done) == done
    migrator.undo(CHANGE)
    assert shop.dump() == before


def test_a_change_goes_back_to_where_it_stood_and_forward_again(shop: Stage) -> None:
    migrator = begun(shop)
    migrator.carry_out(CHANGE, Verb.EXPAND)
    expanded = shop.dump()
    for verb in (Verb.BACKFILL, Verb.VERIFY, Verb.SWITCH):
        migrator.carry_out(CHANGE, verb)
    state = migrator.undo(CHANGE, Standing.VERIFIED)
    assert state is not None
    assert (state.standing, shop.dump()) == (Standing.VERIFIED, expanded)
    assert migrator.carry_out(CHANGE, Verb.SWITCH).standing is Standing.SWITCHED


def test_what_is_done_already_is_not_done_again(shop: Stage) -> None:
    migrator = begun(shop)
    first = migrator.carry_out(CHANGE, Verb.EXPAND)
    shop.heard.clear()
    assert migrator.carry_out(CHANGE, Verb.EXPAND).done == first.done
    assert "step_began" not in shop.kinds()


def test_a_part_waits_for_the_one_before_it(shop: Stage) -> None:
    with pytest.raises(NotItsTurn) as refused:
        begun(shop).carry_out(CHANGE, Verb.SWITCH)
    assert refused.value.hints == ("hitless migrate verify contact",)


def test_a_change_that_nobody_began_is_not_known(shop: Stage) -> None:
    with pytest.raises(UnknownChange):
        shop.migrator().carry_out("nothing", Verb.EXPAND)
    begun(shop)
    with pytest.raises(UnknownChange) as refused:
        shop.migrator().undo("nothing")
    assert refused.value.evidence == ("known: contact",)


def test_a_plan_may_be_made_anew_until_something_is_done(shop: Stage) -> None:
    migrator = begun(shop)
    other = replace(PLAN, notes=("later",))
    assert migrator.register({**SPEC, "notes": 1}, other).plan.notes == ("later",)
    migrator.carry_out(CHANGE, Verb.EXPAND)
    assert migrator.register({**SPEC, "notes": 1}, PLAN).plan.notes == ("later",)
    with pytest.raises(DiffersFromBegun) as refused:
        migrator.register(SPEC, PLAN)
    assert refused.value.evidence == ("notes: begun with 1, now None",)


def test_a_plan_comes_back_from_json_as_it_was() -> None:
    check = Check(query="SELECT 1", counted="SELECT 1", trouble="a", remedy="b", may_be_allowed=True)
    plan = replace(PLAN, steps=(*STEPS, replace(STEPS[0], id="x", checks=(check,))), notes=("n",))
    assert plan_of(document_of(plan)) == plan


def test_no_writer_waits_for_long_behind_a_statement_that_waits(shop: Stage) -> None:
    migrator, writer = begun(shop), Writer(shop)
    with transaction(shop, "SELECT count(*) FROM users", for_s=3.0), writer.writing():
        state = migrator.carry_out(CHANGE, Verb.EXPAND)
    assert state.standing is Standing.EXPANDED
    assert writer.failed == []
    assert writer.writes > 50
    assert writer.longest_s < GENEROUS_S
    named = next(one for one in shop.heard if one.kind == "blocked_by")
    assert "report" in named.sentence
    assert named.data["query"] == "SELECT count(*) FROM users"
    assert shop.kinds().count("waits_for_lock") <= 1  # once it was seen to be old, no lock was asked for


def test_usual_traffic_of_short_transactions_starves_nobody(shop: Stage) -> None:
    """At every look somebody is there who is older than the wait; it is somebody else each time."""
    over = threading.Event()

    def read() -> None:
        with shop.connect() as connection:
            while not over.is_set():
                with connection.transaction():
                    connection.execute("SELECT count(*) FROM users")
                    over.wait(0.25)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for one in readers:
        one.start()
    try:
        state = begun(shop, part_of(STEPS[0]), deadline_s=120.0).carry_out(CHANGE, Verb.EXPAND)
    finally:
        over.set()
        for one in readers:
            one.join()
    assert state.standing is Standing.EXPANDED


def test_who_is_in_the_way_at_the_deadline_is_named_and_nothing_was_changed(shop: Stage) -> None:
    migrator = begun(shop, deadline_s=0.5)
    before = shop.dump()
    with transaction(shop, "LOCK TABLE users IN ROW EXCLUSIVE MODE"), pytest.raises(LocksNotHad) as refused:
        migrator.carry_out(CHANGE, Verb.EXPAND)
    assert refused.value.exit_code == 5
    assert "ROW EXCLUSIVE on users" in refused.value.evidence[0]
    assert any("pg_terminate_backend" in one for one in refused.value.hints)
    assert shop.dump() == before


def test_a_prepared_transaction_is_named_by_its_name(shop: Stage) -> None:
    migrator = begun(shop, deadline_s=0.5)
    with shop.connect() as connection:
        connection.execute("BEGIN; UPDATE users SET name = name WHERE id = 1; PREPARE TRANSACTION 'forgotten'")
        with pytest.raises(LocksNotHad) as refused:
            migrator.carry_out(CHANGE, Verb.EXPAND)
        connection.execute("ROLLBACK PREPARED 'forgotten'")
    assert "prepared transaction 'forgotten' of postgres" in refused.value.evidence[0]


def test_undoing_is_as_patient(shop: Stage) -> None:
    before = shop.dump()
    migrator, writer = begun(shop), Writer(shop)
    migrator.carry_out(CHANGE, Verb.EXPAND)
    with transaction(shop, "SELECT count(*) FROM users", for_s=2.0), writer.writing():
        migrator.undo(CHANGE)
    assert writer.failed == []
    assert writer.longest_s < GENEROUS_S
    assert shop.dump() == before


def test_a_stop_is_heard_while_locks_are_waited_for(shop: Stage) -> None:
    migrator = begun(shop)
    with transaction(shop, "SELECT count(*) FROM users"):
        threading.Timer(0.3, migrator.stopping.set).start()
        with pytest.raises(Stopped):
            migrator.carry_out(CHANGE, Verb.EXPAND)
    assert begun(shop).carry_out(CHANGE, Verb.EXPAND).standing is Standing.EXPANDED


def test_a_stop_is_heard_while_an_index_is_built_and_the_next_worker_builds_it_anew(shop: Stage) -> None:
    migrator = begun(shop)
    with transaction(shop, "UPDATE users SET name = name WHERE id = 1"):
        plan = part_of(replace(STEPS[2], do="CREATE INDEX CONCURRENTLY users_address_idx ON users (email)"))
        migrator.register({"other": True}, plan)
        threading.Timer(0.5, migrator.stopping.set).start()
        with pytest.raises(Stopped):
            migrator.carry_out(CHANGE, Verb.EXPAND)
    (begun_step,) = migrator.state(CHANGE).begun
    assert begun_step == "expand.3"
    state = shop.migrator().carry_out(CHANGE, Verb.EXPAND)
    assert "rebuilds" in shop.kinds()
    assert state.standing is Standing.EXPANDED
    assert shop.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0


def test_two_workers_do_not_act_at_once(shop: Stage) -> None:
    migrator = begun(shop)
    with taken(migrator._hold(CHANGE)), pytest.raises(ChangeHeld) as refused:
        shop.migrator().carry_out(CHANGE, Verb.EXPAND)
    assert "(hitless migrate)" in refused.value.evidence[0]
    assert refused.value.exit_code == 7


def test_a_worker_that_was_overtaken_writes_nothing(shop: Stage) -> None:
    migrator = begun(shop)
    with taken(migrator._hold(CHANGE)) as hold:
        with shop.connect() as connection:
            connection.execute("UPDATE hitless.change SET fence = fence + 1")
        with pytest.raises(Fenced):
            migrator._carry_part(hold, Part.EXPAND)
    assert shop.value("SELECT count(*) FROM hitless.step") == 0


INDEX = Build(
    id="expand.1",
    part=Part.EXPAND,
    title="builds an index",
    index=Name("users_email_idx", "public"),
    do="CREATE UNIQUE INDEX CONCURRENTLY users_email_idx ON users (email) WHERE name <> 'x'",
    undo="DROP INDEX CONCURRENTLY users_email_idx",
)


def test_a_unique_index_that_rows_contradict_names_them_and_is_not_left_behind(shop: Stage) -> None:
    with shop.connect() as connection:
        connection.execute("UPDATE users SET email = 'same' WHERE id IN (3, 4, 5)")
    with pytest.raises(DuplicateRows) as refused:
        begun(shop, part_of(INDEX)).carry_out(CHANGE, Verb.EXPAND)
    assert refused.value.evidence == ("email = same: 3 rows",)
    assert shop.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0


def test_an_index_that_is_there_already_is_taken_and_left_when_undone(shop: Stage) -> None:
    with shop.connect() as connection:
        connection.execute("CREATE UNIQUE INDEX users_email_idx ON users USING btree (email) WHERE (name <> 'x'::text)")
    before = shop.dump()
    migrator = begun(shop, part_of(INDEX))
    assert migrator.carry_out(CHANGE, Verb.EXPAND).done["expand.1"].evidence["was_there"] is True
    migrator.undo(CHANGE)
    assert shop.dump() == before


def test_another_index_of_the_same_name_is_in_the_way(shop: Stage) -> None:
    with shop.connect() as connection:
        connection.execute("CREATE INDEX users_email_idx ON users (email)")
    with pytest.raises(IndexInTheWay):
        begun(shop, part_of(INDEX)).carry_out(CHANGE, Verb.EXPAND)


DROPPED = Build(
    id="expand.1",
    part=Part.EXPAND,
    title="drops an index",
    index=Name("users_name_idx", "public"),
    do="DROP INDEX CONCURRENTLY users_name_idx",
    undo="CREATE INDEX CONCURRENTLY users_name_idx ON public.users (name)",
    is_drop=True,
)


@pytest.mark.parametrize("goes_on", [True, False])
def test_an_index_whose_drop_was_never_recorded_is_built_again_when_undone(shop: Stage, goes_on: bool) -> None:
    with shop.connect() as connection:
        connection.execute("CREATE INDEX users_name_idx ON users (name)")
        before = shop.dump()
        migrator = begun(shop, part_of(DROPPED))
        with taken(migrator._hold(CHANGE)) as hold:
            runner_of(DROPPED).run(DROPPED, hold)  # and the worker dies before it records that
        if goes_on:
            migrator.carry_out(CHANGE, Verb.EXPAND)
    migrator.undo(CHANGE)
    assert shop.dump() == before


def test_an_index_that_was_not_there_to_be_dropped_is_not_built_when_undone(shop: Stage) -> None:
    before = shop.dump()
    migrator = begun(shop, part_of(DROPPED))
    migrator.carry_out(CHANGE, Verb.EXPAND)
    migrator.undo(CHANGE)
    assert shop.dump() == before


def test_an_index_is_dropped_concurrently_and_built_again_when_undone(shop: Stage) -> None:
    with shop.connect() as connection:
        connection.execute("CREATE INDEX users_name_idx ON users (name)")
    before = shop.dump()
    migrator = begun(shop, part_of(DROPPED))
    migrator.carry_out(CHANGE, Verb.EXPAND)
    assert shop.value("SELECT to_regclass('users_name_idx')") is None
    migrator.undo(CHANGE)
    assert shop.dump() == before


def test_rows_that_speak_against_a_step_stop_it_unless_somebody_allows_them(shop: Stage) -> None:
    check = Check(
        query="SELECT id, name FROM users WHERE id < 3 ORDER BY id",
        counted="SELECT count(*) FROM users WHERE id < 3",
        trouble="they would lose something",
        remedy="mend them",
        may_be_allowed=True,
    )
    plan = part_of(replace(STEPS[0], checks=(check,)))
    migrator = begun(shop, plan)
    with pytest.raises(DataSpeakAgainst) as refused:
        migrator.carry_out(CHANGE, Verb.EXPAND)
    assert refused.value.evidence == ("2 such rows", "id = 1, name = 'User 1'", "id = 2, name = 'User 2'")
    state = replace(migrator, allowed={"expand.1": "known"}).carry_out(CHANGE, Verb.EXPAND)
    allowed = next(one for one in state.events if one.type == "check.allowed")
    assert (allowed.actor, allowed.data["reason"], allowed.data["rows"]) == ("tester", "known", 2)


def test_what_the_server_refuses_is_said_with_the_statement(shop: Stage) -> None:
    step = replace(STEPS[0], do=("ALTER TABLE public.users ADD COLUMN email text",))
    with pytest.raises(StatementFailed) as refused:
        begun(shop, part_of(step)).carry_out(CHANGE, Verb.EXPAND)
    assert refused.value.message == 'column "email" of relation "users" already exists'
    assert refused.value.evidence == ("ALTER TABLE public.users ADD COLUMN email text",)


def test_a_role_without_rights_is_told_which(shop: Stage) -> None:
    with shop.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS guest")
        connection.execute("CREATE ROLE guest LOGIN")
    with pytest.raises(NotPermitted) as refused:
        shop.migrator(user="guest").register(SPEC, PLAN)
    assert "permission denied for database" in refused.value.message


def test_a_database_that_is_read_only_is_refused_before_anything_is_tried(shop: Stage) -> None:
    with shop.connect() as connection:
        connection.execute(f"ALTER DATABASE {shop.name} SET default_transaction_read_only = on".encode())
    with pytest.raises(ReadOnly):
        begun(shop)


def test_a_house_with_something_else_in_it_stays(shop: Stage) -> None:
    migrator = begun(shop, part_of(STEPS[0]))
    with shop.connect() as connection:
        connection.execute("CREATE TABLE hitless.notes (a int)")
    migrator.undo(CHANGE)
    assert shop.value("SELECT count(*) FROM hitless.change") == 0


def test_the_last_change_that_goes_takes_the_schema_with_it(shop: Stage) -> None:
    migrator = begun(shop, part_of(STEPS[0]))
    migrator.register({"change": "other"}, Plan(change="other", steps=(replace(STEPS[3], id="expand.1"),)))
    migrator.undo(CHANGE)
    assert [one.change for one in migrator.states()] == ["other"]
    migrator.undo("other")
    assert shop.value("SELECT to_regnamespace('hitless')") is None
    assert migrator.states() == ()


def test_a_house_that_keeps_roles_of_versions_stays_until_they_are_gone(shop: Stage) -> None:
    migrator = begun(shop, part_of(STEPS[0]))
    with shop.connect() as connection:
        connection.execute("INSERT INTO hitless.role VALUES ('app_v1', 'shop', '1')")
    migrator.undo(CHANGE)
    assert shop.value("SELECT count(*) FROM hitless.role") == 1


def test_a_change_is_not_taken_forward_by_taking_it_back(shop: Stage) -> None:
    migrator = begun(shop)
    migrator.carry_out(CHANGE, Verb.EXPAND)
    state = migrator.undo(CHANGE, Standing.SWITCHED)
    assert state is not None
    assert (state.standing, state.wanted) == (Standing.EXPANDED, Standing.EXPANDED)


def test_a_change_that_has_done_something_is_not_forgotten(shop: Stage) -> None:
    migrator = begun(shop)
    migrator.carry_out(CHANGE, Verb.EXPAND)
    with pytest.raises(NoWayBack):
        migrator.forget(CHANGE)
    migrator.undo(CHANGE, Standing.PLANNED)
    begun(shop).forget(CHANGE)
    assert migrator.states() == ()


def test_behind_a_pooler_nothing_is_set_in_its_sessions_and_the_fence_alone_holds(
    shop: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "is_pooled", lambda _: True)
    before = shop.dump()
    migrator = begun(shop)
    with transaction(shop, "SELECT count(*) FROM users", for_s=1.0):
        assert migrator.carry_out(CHANGE, Verb.EXPAND).standing is Standing.EXPANDED
    assert "pooled" in shop.kinds()
    with migrator.database.connect() as connection:
        assert connection.execute("SHOW lock_timeout").fetchone() == ("0",)
    with taken(migrator._hold(CHANGE)) as first, taken(migrator._hold(CHANGE)) as second:
        assert second.fence == first.fence + 1
        with pytest.raises(Fenced):
            migrator._carry_part(first, Part.BACKFILL)
    migrator.undo(CHANGE)
    assert shop.dump() == before
