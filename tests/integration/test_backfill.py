"""Backfills on real servers: every kind of key, every row once, and a clear answer where it cannot go on."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from backfill_support import AUDIT, CHANGE, COMPARE, FILL, TWICE, USERS, WRONG, Stage, staged, wait_for
from postgres_support import connect, running

from hitless.adapters.postgres.backfill import checkpoint
from hitless.adapters.postgres.backfill.faults import NoKey, NotFillable, RowRefuses, ServerRefuses
from hitless.adapters.postgres.backfill.run import run as fill
from hitless.adapters.postgres.backfill.run import take_back
from hitless.errors import Fenced
from hitless.schema.change.steps import Fill
from hitless.schema.names import Name

TINY = json.dumps({"is_heedful": False, "most_rows": 89})
"""Batches of a few rows: many ends to get wrong."""

ROWS = 2_000
NAMES = "full_name text, first_name text, last_name text"
VALUES = "'First' || n || ' Last' || n"
KEYS = {
    "bigint": ("id bigint PRIMARY KEY", "n"),
    "bigint with gaps": ("id bigint PRIMARY KEY", "n::bigint * n * n * 1000000 - 9000000000"),
    "uuid": ("id uuid PRIMARY KEY", "md5(n::text)::uuid"),
    "text": ("id text PRIMARY KEY", "repeat(chr(65 + n % 60), n % 7) || n || E'\\\\ it''s %s {} \"'"),
    "text of another collation": ('id text COLLATE "und-x-icu" PRIMARY KEY', "chr(192 + n % 200) || n"),
    "text whose case does not count": ("id text COLLATE folded PRIMARY KEY", "chr(65 + n % 26) || n"),
    "varchar": ("id varchar(40) PRIMARY KEY", "'v' || n"),
    "char": ("id char(8) PRIMARY KEY", "'c' || n"),
    "name": ("id name PRIMARY KEY", "'n' || n"),
    "numeric": ("id numeric PRIMARY KEY", "n * 1e30 + 0.123456789012345678901234567890"),
    "double": ("id double precision PRIMARY KEY", "n / 3.0::float8"),
    "date": ("id date PRIMARY KEY", "CASE n WHEN 1 THEN '-infinity'::date ELSE date '0044-03-15 BC' + n END"),
    "timestamp": ("id timestamp PRIMARY KEY", "timestamp '2026-03-29 01:59:59.123456' + n * interval '7 s'"),
    "timestamptz": ("id timestamptz PRIMARY KEY", "timestamptz '1890-01-01' + n * interval '100 h'"),
    "interval": ("id interval PRIMARY KEY", "n * interval '1 month 3 s'"),
    "bytea": ("id bytea PRIMARY KEY", "decode(md5(n::text), 'hex')"),
    "inet": ("id inet PRIMARY KEY", "'10.0.0.0'::inet + n"),
    "array": ("id int[] PRIMARY KEY", "ARRAY[n % 10, n]"),
    "enum and integer": (
        "mood mood, id integer, PRIMARY KEY (mood, id)",
        "(ARRAY['sad','ok','happy'])[n % 3 + 1]::mood, n",
    ),
    "boolean and integer": ("yes boolean, id integer, PRIMARY KEY (yes, id)", "n % 2 = 0, n"),
    "domain": ("id positive PRIMARY KEY", "n"),
    "text and timestamp": (
        "tenant text, at timestamptz, PRIMARY KEY (tenant, at)",
        "'t' || n % 10, now() + n * interval '1 s'",
    ),
    "three columns": ("a int, b text, c uuid, PRIMARY KEY (a, b, c)", "n % 3, n % 7, md5(n::text)::uuid"),
    "odd names": ('"select" int, "a b" text, "%s" int, PRIMARY KEY ("select", "a b", "%s")', "n % 3, n % 7, n"),
    "unique, not null": ("id bigint NOT NULL UNIQUE", "n"),
    "unique, not null, descending": ("id bigint NOT NULL; CREATE UNIQUE INDEX ON users (id DESC)", "n"),
    "unique of another collation": ('id text NOT NULL; CREATE UNIQUE INDEX ON users (id COLLATE "C")', "md5(n::text)"),
    "unique that carries columns": ("id bigint NOT NULL; CREATE UNIQUE INDEX ON users (id) INCLUDE (full_name)", "n"),
}
TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS bigint CHECK (VALUE > 0);
"""
FOLDED = "CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
ICU = {"text of another collation", "text whose case does not count"}
AUDIT_BY_N = AUDIT.replace("NEW.id", "NEW.n")


@pytest.fixture(scope="module", params=[15, 16, 18])
def server(request: pytest.FixtureRequest) -> Iterator[Path]:
    # Keys must come back whatever a session shows them like.
    with running(request.param, datestyle="SQL, DMY", timezone="Europe/London", intervalstyle="iso_8601") as directory:
        yield directory


@pytest.fixture
def users(server: Path) -> Iterator[Stage]:
    with staged(server, "users", USERS.format(rows=ROWS) + AUDIT) as stage:
        yield stage


def _has_icu(server: Path) -> bool:
    with connect(server) as connection:
        found = connection.execute("SELECT count(*) FROM pg_collation WHERE collprovider = 'i'").fetchone()
    return bool(found and found[0] > 10)  # one stands in every catalogue, with ICU or without


def _table(columns: str, values: str, *, rows: int = ROWS) -> str:
    key, _, index = columns.partition(";")
    return f"""
    CREATE TABLE users ({key}, n int, {NAMES}); {index};
    INSERT INTO users SELECT {values}, n, {VALUES} FROM generate_series(1, {rows}) AS n;
    """


@pytest.mark.parametrize("kind", KEYS)
def test_every_row_is_filled_once_whatever_the_key(server: Path, kind: str) -> None:
    types = TYPES + FOLDED if kind in ICU else TYPES
    if kind in ICU and not _has_icu(server):
        pytest.skip("this server has no ICU")
    with staged(server, "kinds", types + _table(*KEYS[kind]) + AUDIT_BY_N, limits=TINY) as stage:
        evidence = stage.fill()
        assert stage.one(WRONG) == 0
        assert stage.one("SELECT count(*) FROM audit") == ROWS
        assert stage.one(TWICE) == 0
        assert (evidence["rows"], evidence["changed"]) == (ROWS, ROWS)
        assert evidence["batches"] > 20


def test_a_table_without_key_is_refused_with_the_remedy(server: Path) -> None:
    setup = _table("id bigint UNIQUE", "n") + "CREATE UNIQUE INDEX ON users (n) WHERE n > 5;"
    with staged(server, "keyless", setup) as stage, pytest.raises(NoKey, match="no primary key") as refused:
        stage.fill()
    assert "CREATE UNIQUE INDEX CONCURRENTLY" in refused.value.hints[0]


def test_a_view_and_a_table_that_is_not_there_are_refused(users: Stage) -> None:
    users.do("CREATE VIEW seen AS SELECT * FROM users")
    with pytest.raises(NotFillable, match="seen holds no rows"):
        users.fill(replace(FILL, table=Name("seen")))
    with pytest.raises(NotFillable, match="no table nowhere"):
        users.fill(replace(FILL, table=Name("nowhere")))


def test_an_empty_table_is_filled_at_once(server: Path) -> None:
    with staged(server, "empty", USERS.format(rows=0)) as stage:
        assert stage.fill()["rows"] == 0


@pytest.mark.parametrize("by", ["HASH (id)", "RANGE (id)", "LIST (tenant)"])
def test_partitions_are_filled_part_by_part(server: Path, by: str) -> None:
    bounds = {
        "HASH (id)": [f"FOR VALUES WITH (MODULUS 3, REMAINDER {n})" for n in range(3)],
        "RANGE (id)": ["FOR VALUES FROM (MINVALUE) TO (700)", "FOR VALUES FROM (700) TO (1500)", "DEFAULT"],
        "LIST (tenant)": ["FOR VALUES IN (0)", "FOR VALUES IN (1)", "DEFAULT"],
    }[by]
    setup = f"CREATE TABLE users (id bigint, tenant int, {NAMES}, PRIMARY KEY (id, tenant)) PARTITION BY {by};"
    setup += "".join(f'CREATE TABLE "part {n}" PARTITION OF users {bound};' for n, bound in enumerate(bounds))
    setup += f"INSERT INTO users SELECT n, n % 3, {VALUES} FROM generate_series(1, {ROWS}) AS n;" + AUDIT
    with staged(server, "parts", setup, limits=TINY) as stage:
        qualified = FILL.assignments | {"first_name": "split_part(users.full_name, ' ', 1)"}
        evidence = stage.fill(replace(FILL, assignments=qualified))
        assert stage.one(WRONG) == 0
        assert stage.one("SELECT count(*) FROM audit") == ROWS
        assert sorted(evidence["keys"]) == ["public.part 0", "public.part 1", "public.part 2"]


def test_tables_that_inherit_are_filled_too(server: Path) -> None:
    setup = USERS.format(rows=10) + "CREATE TABLE guests (PRIMARY KEY (id)) INHERITS (users);"
    setup += f"INSERT INTO guests (id, full_name) SELECT n, {VALUES} FROM generate_series(5, 20) AS n;"
    with staged(server, "heirs", setup) as stage:
        assert stage.fill()["changed"] == 26
        assert stage.one(WRONG) == 0


def test_rows_with_null_stay_null_and_are_not_written(server: Path) -> None:
    setup = USERS.format(rows=100) + "UPDATE users SET full_name = NULL WHERE id % 2 = 0;" + AUDIT
    with staged(server, "nulls", setup) as stage:
        evidence = stage.fill()
        assert (evidence["rows"], evidence["changed"]) == (100, 50)
        assert stage.one("SELECT count(*) FROM audit") == 50


def test_filling_again_changes_nothing(users: Stage) -> None:
    users.fill()
    take_back(FILL, users.hold())
    assert users.one("SELECT count(*) FROM hitless.backfill") == 0
    assert users.fill()["changed"] == 0
    assert users.one(TWICE) == 0


def test_rows_beyond_the_end_that_was_fixed_are_left_to_the_triggers(users: Stage) -> None:
    users.limit(TINY)
    seen = threading.Event()
    hold = users.hold(tell=lambda told: seen.set() if told.kind == "batch" else None)

    def insert() -> None:
        seen.wait(10)
        users.do(f"INSERT INTO users SELECT n, {VALUES} FROM generate_series({ROWS + 1}, {ROWS + 500}) AS n")

    thread = threading.Thread(target=insert)
    thread.start()
    evidence = fill(FILL, hold)
    thread.join()
    assert evidence["rows"] == ROWS


def test_a_row_that_does_not_take_its_value_is_named_and_the_position_kept(users: Stage) -> None:
    users.do(
        "ALTER TABLE users ADD visits text, ADD visits_new integer; UPDATE users SET visits = id; DELETE FROM audit"
    )
    users.do("UPDATE users SET visits = 'many' WHERE id = 1234; DELETE FROM audit")
    step = replace(
        FILL, assignments={"visits_new": "visits::integer"}, todo="visits_new IS DISTINCT FROM visits::integer"
    )
    with pytest.raises(RowRefuses, match=r"id = 1234 of users cannot be filled: invalid input syntax .*many"):
        users.fill(step)
    assert users.one("SELECT count(*) FROM users WHERE visits_new = id") == 1_233
    users.do("UPDATE users SET visits = '7' WHERE id = 1234; DELETE FROM audit WHERE id = '1234'")
    users.fill(step)
    assert users.one("SELECT count(*) FROM users WHERE visits_new IS NULL") == 0
    assert users.one(TWICE) == 0


def test_a_row_that_breaks_a_constraint_is_named(users: Stage) -> None:
    users.do("ALTER TABLE users ADD CHECK (first_name <> 'First77')")
    with pytest.raises(RowRefuses, match=r"id = 77 of users cannot be filled: .*violates check constraint"):
        users.fill()


def test_a_role_that_may_not_write_is_told_so(users: Stage) -> None:
    users.do("CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA hitless TO reader")
    users.do("GRANT ALL ON ALL TABLES IN SCHEMA hitless TO reader; GRANT SELECT ON users TO reader")
    hold = users.hold()
    limited = replace(hold, database=replace(hold.database, conninfo=f"{hold.database.conninfo} user=reader"))
    try:
        with pytest.raises(ServerRefuses, match="permission denied for table users"):
            fill(FILL, limited)
    finally:
        users.do("DROP OWNED BY reader; DROP ROLE reader")


def test_rows_that_a_policy_hides_are_an_error(users: Stage) -> None:
    users.do("CREATE ROLE half LOGIN; GRANT USAGE ON SCHEMA hitless TO half; GRANT ALL ON users TO half")
    users.do("GRANT ALL ON ALL TABLES IN SCHEMA hitless TO half; ALTER TABLE users ENABLE ROW LEVEL SECURITY")
    users.do("CREATE POLICY even ON users USING (id % 2 = 0)")
    hold = users.hold()
    limited = replace(hold, database=replace(hold.database, conninfo=f"{hold.database.conninfo} user=half"))
    try:
        with pytest.raises(ServerRefuses, match="row-level security"):
            fill(FILL, limited)
    finally:
        users.do("DROP POLICY even ON users; DROP OWNED BY half; DROP ROLE half")


def test_triggers_that_each_filled_row_fires_are_named(users: Stage) -> None:
    users.do("CREATE TRIGGER other BEFORE UPDATE OF full_name ON users FOR EACH ROW EXECUTE FUNCTION audit()")
    users.fill()
    (sentence,) = users.sentences("fires_triggers")
    assert "fires audit:" in sentence


def test_statistics_of_the_new_columns_are_there_at_the_end(users: Stage) -> None:
    users.fill()
    known = "SELECT count(*) FROM pg_stats WHERE tablename = 'users' AND attname IN ('first_name', 'last_name')"
    assert users.one(known) == 2
    assert not users.sentences("not_analysed")


def test_a_worker_that_was_overtaken_writes_nothing_more(users: Stage) -> None:
    users.limit(TINY)
    first = users.hold()
    overtaken: list[object] = []

    def overtake(told: object) -> None:
        if not overtaken:
            overtaken.append(told)
            fill(FILL, users.hold())

    with pytest.raises(Fenced, match="another worker"):
        fill(FILL, replace(first, tell=overtake))
    assert users.one(WRONG) == 0
    assert users.one(TWICE) == 0
    assert users.one("SELECT count(*) FROM audit") == ROWS


def test_two_workers_at_once_fill_every_row_once(users: Stage) -> None:
    users.limit(TINY)
    begin = threading.Barrier(2)
    ends: list[str] = []

    def work() -> None:
        hold = users.hold(tell=lambda _: None)
        begin.wait()
        try:
            fill(FILL, hold)
            ends.append("done")
        except Fenced:
            ends.append("fenced")

    threads = [threading.Thread(target=work) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(ends) == ["done", "fenced"]
    assert users.one(WRONG) == 0
    assert users.one("SELECT count(*) FROM audit") == ROWS


def test_a_commit_whose_answer_was_lost_is_not_done_again(users: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session is cut after the commit, before anybody knows of it."""
    users.limit(TINY)
    original = psycopg.Transaction._commit_gen  # type: ignore[attr-defined]
    commits = {"n": 0}

    def commit(self: psycopg.Transaction) -> Iterator[object]:
        yield from original(self)
        commits["n"] += 1
        if commits["n"] in {6, 9}:
            connection = self._conn  # type: ignore[attr-defined]
            connection.close()
            raise psycopg.OperationalError("the answer was lost")

    monkeypatch.setattr(psycopg.Transaction, "_commit_gen", commit)
    evidence = users.fill()
    assert commits["n"] > 9
    assert (evidence["rows"], evidence["changed"]) == (ROWS, ROWS)
    assert users.one(TWICE) == 0
    assert users.sentences("server_away")


def test_writers_and_a_backfill_leave_every_row_right(users: Stage) -> None:
    """Old and new code write while rows are filled, under triggers as a plan makes them."""
    users.do(SYNC)
    users.limit(TINY)
    over = threading.Event()
    written: dict[int, str] = {}
    troubles: list[str] = []

    def write(first: int) -> None:
        with users.connect() as connection:
            for step in itertools.count():
                if over.wait(0.001):
                    return
                number = (step * 37) % (ROWS // 2) * 2 + first
                name = f"New{step} {number}"
                old = ("UPDATE users SET full_name = %s WHERE id = %s", (name, number))
                new = ("UPDATE users SET first_name = %s, last_name = %s WHERE id = %s", (*name.split(" "), number))
                try:
                    connection.execute(*(old if step % 3 else new))
                    written[number] = name
                except psycopg.Error as error:
                    troubles.append(str(error))

    threads = [threading.Thread(target=write, args=(first,)) for first in (1, 2)]
    for one in threads:
        one.start()
    try:
        wait_for(lambda: len(written) > 50)
        users.fill()
    finally:
        over.set()
        for one in threads:
            one.join()
    assert troubles == []
    assert users.one(WRONG) == 0
    with users.connect() as connection:
        there = dict(connection.execute("SELECT id, full_name FROM users").fetchall())
    assert {number: there[number] for number in written} == written


SYNC = """
DROP TRIGGER audit ON users;
CREATE FUNCTION sync() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (NEW.first_name, NEW.last_name) IS NOT DISTINCT FROM (OLD.first_name, OLD.last_name) THEN
    NEW.first_name := split_part(NEW.full_name, ' ', 1);
    NEW.last_name := substr(NEW.full_name, strpos(NEW.full_name, ' ') + 1);
  ELSE
    NEW.full_name := concat_ws(' ', NEW.first_name, NEW.last_name);
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER zzz_hitless_split_upd BEFORE UPDATE ON users FOR EACH ROW WHEN (
  (OLD.full_name, OLD.first_name, OLD.last_name) IS DISTINCT FROM (NEW.full_name, NEW.first_name, NEW.last_name)
  AND concat_ws(' ', NEW.first_name, NEW.last_name) IS DISTINCT FROM NEW.full_name
) EXECUTE FUNCTION sync();
"""


def test_memory_of_a_checkpoint_does_not_grow_with_the_table(users: Stage) -> None:
    users.limit(TINY)
    users.fill()
    with users.connect() as connection:
        row = checkpoint.read(connection, CHANGE, FILL.id)
    assert row is not None
    assert row.evidence == {}
    assert row.position is not None
    assert row.position.key == (str(ROWS),)


def test_a_fill_of_another_step_keeps_its_own_position(users: Stage) -> None:
    users.do("ALTER TABLE users ADD length int")
    users.fill()
    other = Fill(
        id="backfill.2",
        part=FILL.part,
        title="count letters",
        table=COMPARE.table,
        assignments={"length": "length(full_name)"},
        todo="length IS DISTINCT FROM length(full_name)",
    )
    assert users.fill(other)["changed"] == ROWS


def test_rows_set_aside_of_a_part_that_is_gone_hold_nothing_up(server: Path) -> None:
    setup = f"CREATE TABLE users (id bigint PRIMARY KEY, {NAMES}) PARTITION BY RANGE (id);"
    setup += "CREATE TABLE low PARTITION OF users FOR VALUES FROM (0) TO (100);"
    setup += "CREATE TABLE high PARTITION OF users DEFAULT;"
    setup += f"INSERT INTO users SELECT n, {VALUES} FROM generate_series(1, 200) AS n;"
    with staged(server, "gone", setup) as stage:
        stage.fill()
        later = '{"later": [{"part": "public.low", "key": ["7"]}, {"part": "public.high", "key": ["107"]}]}'
        stage.do(f"UPDATE hitless.backfill SET evidence = '{later}'; ALTER TABLE users DETACH PARTITION low")
        stage.do("UPDATE users SET first_name = NULL WHERE id = 107")
        assert stage.fill()["changed"] == 201
        assert stage.one(WRONG) == 0
