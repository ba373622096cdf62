"""Whatever a table is like, a change of it that is undone leaves pg_dump as it was; on real servers.

Tables are drawn: types, defaults, NOT NULL, indexes, constraints, comments, privileges, views. So are the changes. What
the planner refuses, it refuses before anything is done.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))  # how servers are run

from change_support import carry_out, dump, planned, take_back
from postgres_support import connect, running, server_of

from hitless.schema.change.refusals import CannotPlan
from hitless.schema.change.standing import Part
from hitless.schema.names import quoted

VERSIONS = (15, 16, 18)
TABLES = 15
NAMES = st.sampled_from(["a", "mail", "Full Name", "order", 'qu"ote', "ü", "x" * 60])
TYPES = {
    "integer": ("1", "bigint"),
    "varchar(20)": ("'x'::varchar", "text"),
    "numeric(8,2)": ("1.50", "numeric(10,2)"),
    "text": ("'y'", "varchar"),
    "boolean": ("true", "text"),
    "smallint": ("2", "integer"),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, str]:
    """Draw a table and a change of it."""
    column, other = draw(NAMES), "other"
    kind = draw(st.sampled_from(list(TYPES)))
    default, wider = TYPES[kind]
    table = draw(st.sampled_from(["t", '"My Table"', 'app."Order"']))
    name = quoted(column)
    required = draw(st.booleans())
    words = [name, kind, "NOT NULL" if required else "", f"DEFAULT {default}" if draw(st.booleans()) else ""]
    script = [f"CREATE TABLE {table} (id int PRIMARY KEY, {' '.join(words)}, other text DEFAULT 'o')"]
    extras = [
        f"CREATE INDEX ON {table} ({name})",
        f'CREATE INDEX "An Index" ON {table} ({name} DESC, other) WHERE {name} IS NOT NULL',
        f"CREATE UNIQUE INDEX ON {table} (id, {name})",
        f"ALTER TABLE {table} ADD UNIQUE ({name}, id)",
        f"ALTER TABLE {table} ADD CHECK ({name} IS NOT NULL OR other IS NOT NULL)",
        f"ALTER TABLE {table} ADD CONSTRAINT later CHECK ({name} IS NOT NULL) NOT VALID",
        f"COMMENT ON COLUMN {table}.{name} IS 'it''s'",
        f"GRANT SELECT ({name}), UPDATE ({name}, other) ON {table} TO reader",
        f"ALTER TABLE {table} ALTER COLUMN {name} SET STATISTICS 77",
        f"CREATE STATISTICS st ON {name}, other FROM {table}",
        f"CREATE VIEW v AS SELECT id, {name} AS shown FROM {table}; GRANT SELECT ON v TO reader",
    ]
    script += draw(st.lists(st.sampled_from(extras), unique=True, max_size=5))
    script += [f"INSERT INTO {table} (id, {name}) VALUES (1, {default}), (2, {default})"]
    key, new = _yaml(column), draw(st.sampled_from(["fresh", "Fresh Name", "other2"]))
    changes = [
        f"rename: {{{key}: {new}}}",
        f"type: {{{key}: {_yaml(wider)}}}",
        f"type: {{{key}: {{to: {_yaml(wider)}, as: {new}}}}}",
        f"drop: {{{key}: {{default: {_yaml(default)}}}}}",
        f"not_null: {{{key}: {_yaml(default)}}}",
        (
            f"split: {{from: {key}, into: {{{new}: {{as: {_yaml(name)}, type: {_yaml(kind)}}}}},"
            f" inverse: {_yaml(quoted(new))}}}"
        ),
        (
            f"index: {{i: [{key}, {other}]}}\nunique: {{u: [{key}, id]}}\n"
            "add: {w: {type: uuid, default: gen_random_uuid()}}"
        ),
    ]
    return ";\n".join(["CREATE SCHEMA app", *script]), f"table: {_yaml(table)}\n{draw(st.sampled_from(changes))}"


def _yaml(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[int, Path]]:
    server_of(request.param)
    with running(request.param) as directory:
        with connect(directory) as connection:
            connection.execute("CREATE ROLE reader")
        yield request.param, directory


def fresh(directory: Path, script: str) -> psycopg.Connection:
    """Empty the one database of these tests: making one for each would take most of the time."""
    connection = connect(directory)
    connection.autocommit = True
    owned = "SELECT format('DROP SCHEMA IF EXISTS %I CASCADE', one) FROM unnest('{public,app,hitless}'::text[]) one"
    for (statement,) in connection.execute(owned).fetchall():
        connection.execute(statement)
    connection.execute("CREATE SCHEMA public")
    connection.execute(script)
    return connection


@given(drawn=tables(), part=st.sampled_from([Part.EXPAND, Part.SWITCH, Part.HIDE]))
@settings(max_examples=TABLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_a_change_that_is_undone_leaves_no_trace(server: tuple[int, Path], drawn: tuple[str, str], part: Part) -> None:
    version, directory = server
    script, change = drawn
    with fresh(directory, script) as connection:
        before = dump(directory, "postgres", version)
        try:
            plan = planned(f"change: a-change\n{change}", before, version)
        except CannotPlan:
            assume(False)
        connection.execute("CREATE SCHEMA hitless")
        order = list(Part)
        steps = [one for one in plan.steps if order.index(one.part) <= order.index(part)]
        for step in steps:
            carry_out(connection, step)
        for step in reversed(steps):
            take_back(connection, step)
        connection.execute("DROP SCHEMA hitless")
        assert dump(directory, "postgres", version) == before
