"""Comparing both sides of every row: what is wrong is found and shown, what is unknown is not right."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from backfill_support import COMPARE, UNHEEDFUL, USERS, Stage, staged
from postgres_support import running

from hitless.adapters.postgres.backfill.faults import NotAlike, NotFillable
from hitless.adapters.postgres.hold import Stopped
from hitless.adapters.postgres.verification.asking import count_rows
from hitless.adapters.postgres.verification.run import run as compare
from hitless.adapters.postgres.verification.run import take_back
from hitless.adapters.postgres.verification.sampling import watch_parity
from hitless.schema.names import Name

ROWS = 2_000
SMALL = json.dumps({"is_heedful": False, "most_rows": 70})


@pytest.fixture(scope="module", params=[15, 16, 18])
def server(request: pytest.FixtureRequest) -> Iterator[Path]:
    with running(request.param) as directory:
        yield directory


@pytest.fixture
def users(server: Path) -> Iterator[Stage]:
    with staged(server, "users", USERS.format(rows=ROWS)) as stage:
        stage.fill()
        stage.limit(SMALL, COMPARE.id)
        yield stage


def test_rows_that_are_alike_are_counted_both_ways(users: Stage) -> None:
    found = compare(COMPARE, users.hold())
    assert {name: found[name] for name in ("rows", "both", "forward", "backward", "wrong")} == {
        "rows": ROWS,
        "both": ROWS,
        "forward": 0,
        "backward": 0,
        "wrong": 0,
    }
    assert found["begun_at"].startswith("20")


def test_rows_that_are_right_one_way_are_right(users: Stage) -> None:
    users.do(
        "UPDATE users SET full_name = 'Anna Maria Weiss', first_name = 'Anna Maria', last_name = 'Weiss' WHERE id = 3"
    )
    users.do("UPDATE users SET full_name = 'Cher', first_name = 'Cher', last_name = 'Cher' WHERE id = 4")
    found = compare(COMPARE, users.hold())
    assert (found["both"], found["forward"], found["backward"], found["wrong"]) == (ROWS - 2, 1, 1, 0)


def test_wrong_rows_are_refused_counted_and_shown_by_key(users: Stage) -> None:
    users.do("UPDATE users SET last_name = 'Nobody' WHERE id % 50 = 0")
    with pytest.raises(NotAlike, match=r"40 of 2,000 rows of users say one thing") as refused:
        compare(COMPARE, users.hold())
    first, *_, last = refused.value.evidence
    assert first == 'users where id = 50: full_name = "First50 Last50", first_name = "First50", last_name = "Nobody"'
    assert len(refused.value.evidence) == 21
    assert last == "and 20 more"
    assert (
        users.one("SELECT (evidence -> 'verdict' ->> 'wrong')::int FROM hitless.backfill WHERE step = 'verify.1'") == 40
    )


def test_a_row_of_which_nothing_can_be_said_is_wrong(users: Stage) -> None:
    """A comparison that comes out as NULL has shown nothing."""
    users.do("UPDATE users SET first_name = NULL WHERE id = 9")
    unknown = replace(COMPARE, forward="first_name = split_part(full_name, ' ', 1)", backward="first_name = full_name")
    with pytest.raises(NotAlike, match="1 of 2,000") as refused:
        compare(unknown, users.hold())
    assert "id = 9" in refused.value.evidence[0]
    assert "first_name = null" in refused.value.evidence[0]


def test_after_a_verdict_all_rows_are_compared_again(users: Stage) -> None:
    users.do("UPDATE users SET last_name = 'Nobody' WHERE id = 1")
    with pytest.raises(NotAlike):
        compare(COMPARE, users.hold())
    users.do("UPDATE users SET last_name = 'Last1' WHERE id = 1")
    found = compare(COMPARE, users.hold())
    assert (found["rows"], found["wrong"]) == (ROWS, 0)


def test_a_comparison_that_was_stopped_goes_on_and_counts_each_row_once(users: Stage) -> None:
    stopping = threading.Event()
    seen = threading.Event()

    def stop(told: object) -> None:
        if getattr(told, "kind", "") == "batch" and not seen.is_set():
            seen.set()
            stopping.set()

    with pytest.raises(Stopped):
        compare(COMPARE, users.hold(tell=stop, stopping=stopping))
    assert 0 < users.one("SELECT rows FROM hitless.backfill WHERE step = 'verify.1'") < ROWS
    found = compare(COMPARE, users.hold())
    assert (found["rows"], found["both"]) == (ROWS, ROWS)


def test_taken_back_it_is_as_if_it_had_not_been(users: Stage) -> None:
    compare(COMPARE, users.hold())
    take_back(COMPARE, users.hold())
    assert users.one("SELECT count(*) FROM hitless.backfill WHERE step = 'verify.1'") == 0


def test_an_empty_table_is_right(server: Path) -> None:
    with staged(server, "empty", USERS.format(rows=0), limits=UNHEEDFUL) as stage:
        assert compare(COMPARE, stage.hold())["rows"] == 0


def test_a_sample_finds_what_is_common_and_says_what_it_rules_out(users: Stage) -> None:
    with users.connect() as connection:
        connection.execute("INSERT INTO users SELECT n, 'A B', 'A', 'B' FROM generate_series(10001, 60000) AS n")
        clean = watch_parity(connection, COMPARE, pages=100)
        assert clean.wrong == 0
        assert not clean.is_whole
        assert 0 < clean.pages < 400
        assert clean.rows >= clean.pages
        assert clean.ruled_out is not None
        assert abs((1 - clean.ruled_out) ** clean.pages - 0.05) < 1e-6
        connection.execute("UPDATE users SET last_name = 'x' WHERE id % 3 = 0")
        common = watch_parity(connection, COMPARE, pages=100)
        assert common.wrong > 0
        assert common.ruled_out is None


def test_a_sample_of_a_small_table_is_the_whole_and_of_an_empty_one_is_nothing(users: Stage) -> None:
    with users.connect() as connection:
        found = watch_parity(connection, COMPARE)
        assert (found.rows, found.is_whole, found.ruled_out) == (ROWS, True, None)
        connection.execute("DELETE FROM users")
        assert watch_parity(connection, COMPARE).rows == 0
        with pytest.raises(NotFillable):
            watch_parity(connection, replace(COMPARE, table=Name("nowhere")))


def test_rows_that_speak_against_a_step_are_counted_range_by_range(users: Stage) -> None:
    users.do("INSERT INTO users SELECT n, 'Cher' FROM generate_series(5001, 20000, 3) AS n")
    users.do("CREATE TABLE keyless (full_name text); CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    users.do("CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (50)")
    users.do("CREATE TABLE high PARTITION OF parts DEFAULT; INSERT INTO parts SELECT generate_series(1, 100)")
    with users.database.connect() as connection:
        assert count_rows(connection, Name("users"), "strpos(full_name, ' ') = 0", users.hold()) == 5_000
        assert count_rows(connection, Name("users"), "full_name IS NULL OR users.id < 0", users.hold()) == 0
        assert count_rows(connection, Name("parts"), "id % 2 = 0", users.hold()) == 50
        assert count_rows(connection, Name("keyless"), "true", users.hold()) is None


def test_counting_stops_when_it_is_told_to(users: Stage) -> None:
    stopping = threading.Event()
    stopping.set()
    with users.database.connect() as connection, pytest.raises(Stopped):
        count_rows(connection, Name("users"), "true", users.hold(stopping=stopping))
