"""Whatever two releases write, in whatever order, both read right values; on real servers.

Each story is a list of writes by code that knows the old columns, code that knows the new ones, and code that knows
both, with batches of the backfill between them. After every write the row holds what its writer wrote, and the other
side says the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))  # how servers are run

from change_support import carry_out, dump, fresh, planned, wrong_rows
from postgres_support import running, server_of

from hitless.schema.change.standing import Part
from hitless.schema.change.steps import Compare, Fill, Plan

VERSIONS = (15, 16, 18)
STORIES = 25
WORDS = st.sampled_from(
    ["", "Ada", "Ada Lovelace", "Grace  Hopper", " x", "x ", "Jean Claude Van Damme", "ü ß", "A", "a"]
)
MAYBE = st.none() | WORDS
NUMBERS = st.integers(-(2**31), 2**31 - 1)
DECIMALS = st.sampled_from(["1", "1.0", "1.00", "0", "-0.50", "NaN"])


@dataclass(frozen=True, kw_only=True)
class World:
    """A table, a change of it, and what its columns may hold."""

    script: str
    change: str
    table: sql.Identifier
    old: Mapping[str, st.SearchStrategy[Any]]
    new: Mapping[str, st.SearchStrategy[Any]]
    key: Mapping[str, Any] = field(default_factory=lambda: {"id": None})
    former: str | None = None  # after the swap, what the former column says
    filled: str | None = None  # what the user's own trigger makes of NULL


SPLIT = """
split: {from: full_name, into: {first_name: "split_part(full_name, ' ', 1)",
        last_name: "substr(full_name, strpos(full_name, ' ') + 1)"},
        inverse: "concat_ws(' ', first_name, last_name)"}
verify: {lossy: report}
"""
NAMES = {"old": {"full_name": MAYBE}, "new": {"first_name": MAYBE, "last_name": MAYBE}}
WORLDS = {
    "split": World(
        script="CREATE TABLE users (id int PRIMARY KEY, full_name text, other int)",
        change="table: users" + SPLIT,
        table=sql.Identifier("users"),
        **NAMES,
    ),
    "a trigger of the user's": World(
        script="""CREATE TABLE users (id int PRIMARY KEY, full_name text, other int);
            CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS
              $$BEGIN NEW.full_name := coalesce(NEW.full_name, 'nobody'); RETURN NEW; END$$;
            CREATE TRIGGER tidy BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION tidy()""",
        change="table: users" + SPLIT,
        table=sql.Identifier("users"),
        old={"full_name": MAYBE},
        new={"first_name": WORDS, "last_name": WORDS},
        filled="nobody",
    ),
    "parts": World(
        script="""CREATE TABLE users (id int, day int, full_name text, other int, PRIMARY KEY (id, day))
              PARTITION BY RANGE (day);
            CREATE TABLE users_a PARTITION OF users FOR VALUES FROM (0) TO (5);
            CREATE TABLE users_b PARTITION OF users DEFAULT""",
        change="table: users" + SPLIT,
        table=sql.Identifier("users"),
        key={"id": None, "day": 3},
        **NAMES,
    ),
    "a default, and names in quotes": World(
        script="""CREATE SCHEMA "My App"; CREATE TABLE "My App"."User's" (
              "Id" int PRIMARY KEY, "e Mail" varchar(80) NOT NULL DEFAULT 'nobody', other int)""",
        change="table: '\"My App\".\"User''s\"'\nrename: {e Mail: 'Ma\"il'}",
        table=sql.Identifier("My App", "User's"),
        old={"e Mail": WORDS},
        new={'Ma"il': WORDS},
        key={"Id": None},
    ),
    "numbers that are equal and not the same": World(
        script="CREATE TABLE t (id int PRIMARY KEY, price numeric, other int)",
        change="table: t\nrename: {price: cost}",
        table=sql.Identifier("t"),
        old={"price": st.none() | DECIMALS},
        new={"cost": st.none() | DECIMALS},
    ),
    "two columns that merge, and another change": World(
        script="CREATE TABLE t (id int PRIMARY KEY, a text, b text, c text COLLATE \"C\" DEFAULT 'c', other int)",
        change="table: t\nsplit: {from: [a, b], into: {ab: \"a || '/' || b\"}, inverse:"
        " {a: \"split_part(ab, '/', 1)\", b: \"substr(ab, strpos(ab, '/') + 1)\"}}\nrename: {c: d}\n"
        "verify: {lossy: report}",
        table=sql.Identifier("t"),
        old={"a": MAYBE, "b": MAYBE, "c": WORDS},
        new={"ab": st.none() | st.sampled_from(["x/y", "x/y/z", "/", "xy"]), "d": WORDS},
    ),
    "another type": World(
        script="CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 7, other int)",
        change="table: t\ntype: {n: bigint}",
        table=sql.Identifier("t"),
        old={"n": NUMBERS},
        new={"n": NUMBERS},
        former="n IS NOT DISTINCT FROM hitless_old_n",
    ),
    "a key": World(
        script="CREATE TABLE t (id int PRIMARY KEY, n int, twin int REFERENCES t)",
        change="table: t\nprimary_key: {id: bigint}",
        table=sql.Identifier("t"),
        old={"n": NUMBERS},
        new={"n": NUMBERS},
        former="id IS NOT DISTINCT FROM hitless_old_id",
    ),
}


@dataclass(frozen=True, kw_only=True, repr=False)
class Standing:
    """A database in which a change stands somewhere."""

    connection: psycopg.Connection
    world: World
    plan: Plan


@pytest.fixture(scope="module", params=VERSIONS)
def directory(request: pytest.FixtureRequest) -> Iterator[tuple[int, Path]]:
    server_of(request.param)
    with running(request.param) as folder:
        yield request.param, folder


@pytest.fixture(scope="module", params=["expanded", "switched"])
def stage(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module", params=list(WORLDS))
def standing(request: pytest.FixtureRequest, directory: tuple[int, Path], stage: str) -> Iterator[Standing]:
    version, folder = directory
    world = WORLDS[request.param]
    with fresh(folder, "dual", world.script) as connection:
        plan = planned(f"change: a-change\n{world.change}", dump(folder, "dual", version), version)
        connection.execute("CREATE SCHEMA hitless")
        parts = [Part.EXPAND] if stage == "expanded" else [Part.EXPAND, Part.BACKFILL, Part.SWITCH]
        seed(connection, world)
        for step in plan.steps:
            if step.part in parts:
                carry_out(connection, step)
        yield Standing(connection=connection, world=world, plan=plan)


def seed(connection: psycopg.Connection, world: World) -> None:
    """Write rows that were there before."""
    for number in (1, 2):
        write(connection, world, "insert", number, {})


def write(connection: psycopg.Connection, world: World, how: str, number: int, values: Mapping[str, Any]) -> None:
    key = {name: number if value is None else value for name, value in world.key.items()}
    row = {**key, **values}
    columns = sql.SQL(", ").join(map(sql.Identifier, row))
    places = sql.SQL(", ").join([sql.Placeholder()] * len(row))
    keys = sql.SQL(", ").join(map(sql.Identifier, key))
    match how:
        case "update":
            sets = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(one)) for one in values)
            where = sql.SQL(" AND ").join(sql.SQL("{} = %s").format(sql.Identifier(one)) for one in key)
            statement = sql.SQL("UPDATE {} SET {} WHERE {}").format(world.table, sets, where)
            connection.execute(statement, [*values.values(), *key.values()])
        case "insert":
            statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(world.table, columns, places)
            connection.execute(statement, list(row.values()))
        case "upsert":
            sets = sql.SQL(", ").join(
                sql.SQL("{} = EXCLUDED.{}").format(sql.Identifier(one), sql.Identifier(one)) for one in values
            )
            statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}").format(
                world.table, columns, places, keys, sets
            )
            connection.execute(statement, list(row.values()))
        case "copy":
            with connection.cursor().copy(sql.SQL("COPY {} ({}) FROM STDIN").format(world.table, columns)) as copy:
                copy.write_row(list(row.values()))


def read(
    connection: psycopg.Connection, world: World, number: int, columns: Mapping[str, Any]
) -> tuple[Any, ...] | None:
    names = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(one)) for one in columns)
    first = next(iter(world.key))
    statement = sql.SQL("SELECT {} FROM {} WHERE {} = %s").format(names, world.table, sql.Identifier(first))
    return connection.execute(statement, [number]).fetchone()


@given(data=st.data())
@settings(max_examples=STORIES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_both_releases_read_right_values_after_every_write(standing: Standing, stage: str, data: st.DataObject) -> None:
    connection, world = standing.connection, standing.world
    with connection.transaction(force_rollback=True):
        path = data.draw(st.sampled_from(["public", "pg_catalog", '"$user"']))
        for _ in range(data.draw(st.integers(1, 6))):
            number = data.draw(st.integers(1, 4))
            side = world.old if data.draw(st.booleans()) else world.new
            named = data.draw(st.lists(st.sampled_from(list(side)), min_size=1, unique=True))
            values = {name: data.draw(side[name]) for name in named}
            is_there = read(connection, world, number, side) is not None
            ways = ["update", "upsert"] if is_there else ["insert", "copy", "upsert"]
            if len(world.table._obj) > 1:  # the others are found by the path
                connection.execute(f"SET LOCAL search_path = {path}")
            write(connection, world, data.draw(st.sampled_from(ways)), number, values)
            found = read(connection, world, number, values)
            assert found == tuple(world.filled if one is None else str(one) for one in values.values())
            hold(standing, stage)
            if data.draw(st.booleans()) and stage == "expanded":
                for step in standing.plan.of(Part.BACKFILL):
                    if isinstance(step, Fill):
                        carry_out(connection, step)
                hold(standing, "filled")


def hold(standing: Standing, stage: str) -> None:
    """Hold the invariant in every row that is filled; before the backfill, in those that were written since."""
    for step in standing.plan.of(Part.VERIFY):
        assert isinstance(step, Compare)
        former = standing.world.former
        if former is not None and stage == "switched":
            assert standing.connection.execute(f"SELECT * FROM t WHERE NOT ({former})").fetchall() == []
        else:
            rows = wrong_rows(standing.connection, step)
            assert stage == "expanded" or rows == []
