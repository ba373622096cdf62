"""What hung on a table before a swap hangs on it afterwards, or the swap has not happened."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from migrator_stage import Stage, Writer, stage, transaction
from postgres_support import connect, programs, running
from psycopg.types.json import Jsonb

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))  # the cases of the unit tests

from change_cases import CASES, IDENTITY, RICH
from change_support import dump, planned

from hitless.adapters.postgres import exchanging
from hitless.adapters.postgres.exchanging import LeftBehind, lost_since_exchange
from hitless.adapters.postgres.faults import ConnectionLost, StatementFailed
from hitless.adapters.postgres.migrator import Migrator
from hitless.schema.change.fingerprint import Fingerprint
from hitless.schema.change.standing import Part, Standing, Verb
from hitless.schema.change.steps import Ddl, Plan
from hitless.schema.change.stored import document_of
from hitless.schema.names import Name

VERSIONS = sorted({*programs(), 16, 18})
NUMBERS = count()
CHANGE = "a-change"
WAY = (Verb.EXPAND, Verb.BACKFILL, Verb.VERIFY, Verb.SWITCH)
VISITS = "table: App.Order\ntype: {visits: bigint}"
FULL = (
    RICH
    + """
SET CONSTRAINTS ALL IMMEDIATE;
ALTER VIEW "App".seen OWNER TO writer; ALTER VIEW "App".seen_twice OWNER TO writer;
CREATE INDEX plain ON "App"."Order" (visits); ALTER TABLE "App"."Order" CLUSTER ON plain;
COMMENT ON INDEX "App".plain IS 'plain'; COMMENT ON CONSTRAINT pair ON "App"."Order" IS 'a pair';
COMMENT ON STATISTICS "App".both_stat IS 'both';
CREATE INDEX by_both ON "App"."Order" (visits, other) INCLUDE ("eMail") WHERE visits > 1;
ALTER TABLE "App"."Order" ENABLE ROW LEVEL SECURITY, REPLICA IDENTITY FULL, SET (fillfactor = 80);
CREATE POLICY own ON "App"."Order" FOR SELECT TO reader USING (owner_id > 0);
CREATE FUNCTION "App".note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER noted AFTER UPDATE ON "App"."Order" FOR EACH ROW EXECUTE FUNCTION "App".note();
ALTER TABLE "App"."Order" ENABLE ALWAYS TRIGGER noted;
CREATE PUBLICATION orders FOR TABLE "App"."Order" WHERE (id > 0);
CREATE TABLE "App".items (id int PRIMARY KEY, order_id int REFERENCES "App"."Order");
"""
)


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[int, Path]]:
    with running(request.param, wal_level="logical") as directory:
        connection = connect(directory)
        connection.autocommit = True
        connection.execute("CREATE ROLE reader; CREATE ROLE writer")
        connection.close()
        yield request.param, directory


class Begun(NamedTuple):
    """A change that is registered, and the schema before it was."""

    made: Stage
    migrator: Migrator
    plan: Plan
    before: list[str]


@contextmanager
def begun(server: tuple[int, Path], script: str, change: str) -> Iterator[Begun]:
    with stage(*server, f"swap_{next(NUMBERS)}", script) as made:
        before = made.dump()
        plan = planned(f"change: {CHANGE}\n{change}", dump(made.directory, made.name, made.version), made.version)
        migrator = made.migrator()
        migrator.register({"change": CHANGE}, plan)
        yield Begun(made, migrator, plan, before)


def carried(migrator: Migrator, *verbs: Verb) -> None:
    for verb in verbs:
        migrator.carry_out(CHANGE, verb)


def lost(made: Stage, migrator: Migrator) -> tuple[str, ...]:
    with made.connect() as connection:
        return lost_since_exchange(connection, migrator.state(CHANGE))


def the_swap(plan: Plan) -> Ddl:
    return next(one for one in plan.steps if isinstance(one, Ddl) and one.exchange and one.part is Part.SWITCH)


SWAPPED = [name for name in CASES if name.startswith(("type", "key", "another", "several")) and "new name" not in name]


EVERY = {**{name: CASES[name] for name in SWAPPED}, "all that hangs": (FULL, VISITS)}


@pytest.mark.parametrize("case", EVERY)
def test_every_swap_carries_all_over_and_is_undone_to_what_was_there(server: tuple[int, Path], case: str) -> None:
    with begun(server, *EVERY[case]) as (made, migrator, plan, before):
        assert plan.exchanges, "the case swaps nothing"
        carried(migrator, *WAY)
        assert lost(made, migrator) == ()
        migrator.undo(CHANGE)
        assert made.dump() == before
        assert [one.sentence for one in made.heard if one.kind == "differs"] == []


def without(plan: Plan, statement: str) -> Plan:
    swap = the_swap(plan)
    cut = replace(swap, do=tuple(one for one in swap.do if one != statement))
    return replace(plan, steps=tuple(cut if one is swap else one for one in plan.steps))


def test_whatever_a_swap_leaves_out_is_found_and_nothing_is_changed(server: tuple[int, Path]) -> None:
    """Each statement but those of our own triggers: without it the server refuses the swap, or we do."""
    with begun(server, FULL, VISITS) as (made, migrator, plan, _):
        carried(migrator, Verb.EXPAND, Verb.BACKFILL, Verb.VERIFY)
        passed, refused = [], 0
        for statement in the_swap(plan).do:
            if "zzz_hitless" in statement or "hitless." in statement or statement.startswith("SET LOCAL"):
                continue
            try_it = made.migrator()
            put(made, without(plan, statement))
            try:
                carried(try_it, Verb.SWITCH)
            except (LeftBehind, StatementFailed) as error:
                refused += isinstance(error, LeftBehind)
                assert "hitless_old_visits" not in "\n".join(made.dump())
            else:
                passed.append(statement)
                try_it.undo(CHANGE, Standing.VERIFIED)
        assert passed == []
        assert refused > 5
        put(made, plan)
        carried(migrator, Verb.SWITCH)


def put(made: Stage, plan: Plan) -> None:
    with made.connect() as connection:
        connection.execute("UPDATE hitless.change SET plan = %s", (Jsonb(document_of(plan)),))


ORDER = '"App"."Order"'
AFTER_THE_PLAN = {
    f"CREATE INDEX late ON {ORDER} (visits)": f'index "App".late on {ORDER} is gone',
    f"COMMENT ON COLUMN {ORDER}.visits IS 'late'": f"column visits on {ORDER}: comment was late",
    f"GRANT UPDATE (visits) ON {ORDER} TO reader": f"column visits on {ORDER}: privileges was ",
    f"ALTER TABLE {ORDER} ADD CONSTRAINT late CHECK (visits < 1000)": f"constraint late on {ORDER} is gone",
    f"ALTER TABLE {ORDER} ALTER visits SET STATISTICS 7": f"column visits on {ORDER}: statistics was 7, is 500",
    f"CREATE VIEW late AS SELECT visits FROM {ORDER}": "relation public.late: definition was ",
    f"CREATE STATISTICS late ON visits, other FROM {ORDER}": f"statistics public.late on {ORDER} is gone",
    'GRANT SELECT ON "App".seen TO reader': 'relation "App".seen: privileges was ',
    'ALTER VIEW "App".seen SET (security_barrier = false)': 'relation "App".seen: options was security_barrier=false',
    'ALTER VIEW "App".seen OWNER TO reader': 'relation "App".seen: owner was reader, is writer',
    "COMMENT ON INDEX \"App\".order_visits_idx IS 'late'": (
        f'index "App".order_visits_idx on {ORDER}: comment was late, is none'
    ),
    f"ALTER TABLE {ORDER} SET WITHOUT CLUSTER": f'index "App".plain on {ORDER}: is clustered was false, is true',
}


@pytest.mark.parametrize("late", AFTER_THE_PLAN)
def test_what_came_after_the_plan_is_not_lost_in_the_swap_but_named(server: tuple[int, Path], late: str) -> None:
    with begun(server, FULL, VISITS) as (made, migrator, _, _):
        carried(migrator, Verb.EXPAND, Verb.BACKFILL, Verb.VERIFY)
        with made.connect() as connection:
            connection.execute(late.encode())
        with pytest.raises(LeftBehind) as refused:
            carried(migrator, Verb.SWITCH)
        assert any(one.startswith(AFTER_THE_PLAN[late]) for one in refused.value.evidence), refused.value.evidence
        type_ = "SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = {} AND attname = 'visits'"
        assert made.value(type_.format("""'"App"."Order"'::regclass""")) == "integer"
        assert migrator.state(CHANGE).standing is Standing.VERIFIED


def test_privileges_on_the_sequence_of_an_identity_are_carried_over(server: tuple[int, Path]) -> None:
    script = (
        IDENTITY + "GRANT USAGE ON SEQUENCE parents_id_seq TO writer; COMMENT ON SEQUENCE parents_id_seq IS 'keys';"
        "COMMENT ON CONSTRAINT parents_pkey ON parents IS 'the key'; COMMENT ON INDEX parents_name_id_idx IS 'two';"
        "COMMENT ON CONSTRAINT children_parent_fkey ON children IS 'a parent';"
    )
    with begun(server, script, "table: parents\nprimary_key: {id: bigint}") as (made, migrator, _, before):
        carried(migrator, *WAY)
        assert made.value("SELECT has_sequence_privilege('writer', 'parents_id_seq', 'USAGE')") is True
        migrator.undo(CHANGE)
        assert made.dump() == before


def test_status_names_what_was_lost_since_the_swap_and_not_what_came(server: tuple[int, Path]) -> None:
    with begun(server, FULL, VISITS) as (made, migrator, _, _):
        carried(migrator, *WAY)
        with made.connect() as connection:
            connection.execute('CREATE INDEX late ON "App"."Order" (id, visits)')
            assert lost(made, migrator) == ()
            connection.execute('DROP INDEX "App".order_visits_idx; ALTER TABLE "App"."Order" DISABLE TRIGGER noted')
        assert lost(made, migrator) == (
            'index "App".order_visits_idx on "App"."Order" is gone',
            'trigger noted on "App"."Order": is enabled was A, is D',
        )


def test_status_does_not_wait_for_who_locks_a_table_against_readers(server: tuple[int, Path]) -> None:
    with begun(server, FULL, VISITS) as (made, migrator, _, _):
        carried(migrator, *WAY)
        with transaction(made, 'LOCK TABLE "App"."Order" IN ACCESS EXCLUSIVE MODE'):
            assert lost(made, migrator) == ("what hangs on it cannot be read: somebody has locked it against readers",)
        assert lost(made, migrator) == ()


def test_undo_says_what_is_otherwise_than_before_the_change_began(server: tuple[int, Path]) -> None:
    with begun(server, FULL, VISITS) as (made, migrator, _, _):
        carried(migrator, *WAY)
        with made.connect() as connection:
            connection.execute("DROP PUBLICATION orders")
        migrator.undo(CHANGE)
        assert [one.sentence for one in made.heard if one.kind == "differs"] == [
            'since it began: publication orders on "App"."Order" is gone'
        ]


@pytest.mark.parametrize("reading", [0, 1])
def test_a_session_that_ends_in_the_middle_of_a_swap_leaves_nothing_and_the_next_one_goes_on(
    server: tuple[int, Path], monkeypatch: pytest.MonkeyPatch, reading: int
) -> None:
    with begun(server, FULL, VISITS) as (made, migrator, plan, _):
        carried(migrator, Verb.EXPAND, Verb.BACKFILL, Verb.VERIFY)
        real, readings = exchanging.read_fingerprint, count()

        def ended(connection: psycopg.Connection, table: Name) -> Fingerprint:
            found = real(connection, table)
            if next(readings) == reading:
                made.value(f"SELECT pg_terminate_backend({connection.info.backend_pid}, 10000)")
            return found

        monkeypatch.setattr(exchanging, "read_fingerprint", ended)
        with pytest.raises(ConnectionLost):
            carried(migrator, Verb.SWITCH)
        assert "hitless_old_visits" not in "\n".join(made.dump())
        assert the_swap(plan).id not in migrator.state(CHANGE).done
        carried(migrator, Verb.SWITCH)
        assert lost(made, migrator) == ()


def test_no_write_is_lost_or_fails_while_a_swap_is_compared(server: tuple[int, Path]) -> None:
    with begun(server, FULL, VISITS) as (made, migrator, plan, _):
        carried(migrator, Verb.EXPAND, Verb.BACKFILL, Verb.VERIFY)
        writer = Writer(made, 'UPDATE "App"."Order" SET visits = visits + 1 WHERE id = 1')
        with writer.writing():
            carried(migrator, Verb.SWITCH)
        assert writer.failed == []
        assert made.value('SELECT visits FROM "App"."Order" WHERE id = 1') == 5 + writer.writes
        assert migrator.state(CHANGE).done[the_swap(plan).id].evidence["held_ms"] > 0


def test_what_somebody_makes_between_the_two_readings_is_no_difference(
    server: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with begun(server, FULL, VISITS) as (made, migrator, _, _):
        carried(migrator, Verb.EXPAND, Verb.BACKFILL, Verb.VERIFY)
        real, readings = exchanging.read_fingerprint, count()

        def reading(connection: psycopg.Connection, table: Name) -> Fingerprint:
            found = real(connection, table)
            if next(readings) == 0:
                with made.connect() as other:
                    other.execute('GRANT SELECT (other) ON "App"."Order" TO reader')
            return found

        monkeypatch.setattr(exchanging, "read_fingerprint", reading)
        carried(migrator, Verb.SWITCH)
        assert next(readings) == 4  # both readings, twice
        assert lost(made, migrator) == ()
