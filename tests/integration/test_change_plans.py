"""Plans of every intent on real servers: what is done and undone leaves no trace, and the end is what was wanted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))  # the cases of the unit tests

from change_cases import CASES
from change_support import carry_out, dump, fresh, planned, take_back
from postgres_support import connect, running, server_of

from hitless.schema.change.standing import Part
from hitless.schema.change.steps import Plan

VERSIONS = (15, 16, 18)


@dataclass(frozen=True)
class Server:
    version: int
    directory: Path


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    server_of(request.param)
    with running(request.param) as directory:
        connection = connect(directory)
        connection.autocommit = True
        connection.execute("CREATE ROLE reader; CREATE ROLE writer")
        connection.close()
        yield Server(request.param, directory)


PARTS_TO = {part: frozenset(list(Part)[: list(Part).index(part) + 1]) for part in Part}
"""Each part, with those before it."""


@contextmanager
def prepared(server: Server, case: str) -> Iterator[tuple[psycopg.Connection, str, Plan]]:
    script, change = CASES[case]
    name = "t_" + case.replace(" ", "_")
    with fresh(server.directory, name, script) as connection:
        before = dump(server.directory, name, server.version)
        plan = planned(f"change: a-change\n{change}", before, server.version)
        connection.execute("CREATE SCHEMA hitless")
        yield connection, before, plan


@pytest.mark.parametrize("case", CASES)
def test_what_is_undone_leaves_no_trace_and_what_is_done_to_the_end_nothing_of_ours(server: Server, case: str) -> None:
    with prepared(server, case) as (connection, before, plan):
        for part in (Part.EXPAND, Part.SWITCH, Part.HIDE):
            steps = [one for one in plan.steps if one.part in PARTS_TO[part]]
            for step in steps:
                carry_out(connection, step)
            for step in reversed(steps):
                take_back(connection, step)
            connection.execute("DROP SCHEMA hitless")
            assert dump(server.directory, connection.info.dbname, server.version) == before, f"undone after {part}"
            connection.execute("CREATE SCHEMA hitless")
        for step in plan.steps:
            if step.part is Part.DROP and any("view" in note for note in plan.notes):
                connection.execute('DROP VIEW "App".seen CASCADE')  # as the notes say
            carry_out(connection, step)
        connection.execute("DROP SCHEMA hitless")  # RESTRICT: nothing is left in it
        left = dump(server.directory, connection.info.dbname, server.version)
        assert [line for line in left.splitlines() if "hitless" in line] == []
