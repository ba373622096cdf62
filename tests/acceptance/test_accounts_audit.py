"""Load and audit find what is planted: a wrong value, a lost write, a failing request, a row too many or too few."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import accounts_by_hand as by_hand
import pytest
from accounts_support import accounts, load
from examples.accounts import stage

from hitless.testing.load import Kind
from hitless.testing.postgres import PostgresServer

pytestmark = pytest.mark.acceptance
ROWS = 2_000
WRONG_LAST = "upper(split_part({row}full_name, ' ', 2))"


@pytest.fixture(scope="module")
def started() -> Iterator[PostgresServer]:
    with accounts(ROWS) as server:
        yield server


@pytest.fixture
def server(started: PostgresServer) -> Iterator[PostgresServer]:
    """The accounts as they were seeded."""
    with started.connect() as connection:
        connection.execute("DROP DATABASE IF EXISTS accounts WITH (FORCE)")
    stage.seed(started, ROWS)
    return started


def statements(server: PostgresServer, *given: str) -> None:
    with server.connect(stage.DATABASE) as connection:
        for one in given:
            connection.execute(one)


def audited(server: PostgresServer, log: dict[str, object] | None = None) -> stage.Audit:
    with server.connect(stage.DATABASE) as connection:
        return stage.audit(connection, rows=ROWS, log=log)


def test_a_split_by_hand_under_load_is_clean_in_old_and_new_columns(server: PostgresServer, tmp_path: Path) -> None:
    statements(server, *by_hand.expand(), by_hand.backfill(1, ROWS))
    with stage.served(server, "1") as target:
        first, told = load(target, tmp_path, rows=ROWS, seconds=4)
    found = audited(server, told)
    print(f"\n{found}")
    assert first.failed == 0, first.examples
    assert found.faults == []
    assert found.touched > 0
    assert len(found.sources) == 6
    assert told["writes"] > 20
    with server.connect(stage.DATABASE) as connection:
        assert stage.parity(connection) == 0


def test_the_new_release_shows_what_the_old_one_has_written(server: PostgresServer, tmp_path: Path) -> None:
    statements(server, *by_hand.expand(), by_hand.backfill(1, ROWS))
    with stage.served(server, "2-split") as target:
        report, told = load(target, tmp_path, rows=ROWS, seconds=4)
    assert report.failed == 0, report.examples
    assert audited(server, told).faults == []


def test_a_trigger_that_writes_a_wrong_value_is_found_by_reads_and_by_the_audit(
    server: PostgresServer, tmp_path: Path
) -> None:
    statements(server, *by_hand.expand(last=WRONG_LAST), by_hand.backfill(1, ROWS))
    statements(server, "UPDATE users SET full_name = full_name || 'a' WHERE id < 1000")
    with stage.served(server, "2-split") as target:
        report, told = load(target, tmp_path, rows=ROWS, seconds=3)
    found = audited(server, told)
    assert report.kinds[Kind.RECORDS].failed["wrong_value"] > 0
    assert any(re.search(r"name is 'First\d+ LAST\d+A', not 'First\d+ Last\d+'", one.detail) for one in report.examples)
    assert any("of name wrong in full_name" in fault for fault in found.faults), found.faults
    with server.connect(stage.DATABASE) as connection:
        assert stage.parity(connection) > 900


def test_a_write_that_is_acknowledged_and_lost_is_found(server: PostgresServer, tmp_path: Path) -> None:
    lose = """CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.email := OLD.email; RETURN NEW; END $$;
        CREATE TRIGGER lose BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION lose()"""
    statements(server, lose)
    with stage.served(server, "1") as target:
        report, told = load(target, tmp_path, rows=ROWS, seconds=5)
    assert report.kinds[Kind.RECORDS].failed["wrong_value"] > 0
    assert told["wrong"] > 0
    assert any("written values of email wrong in email" in one for one in audited(server, told).faults)


def test_a_request_that_fails_is_counted_and_its_value_is_in_doubt(server: PostgresServer, tmp_path: Path) -> None:
    fail = """CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.bio <> '' AND NEW.id % 3 = 0 THEN RAISE 'planted'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER fail BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION fail()"""
    statements(server, fail)
    with stage.served(server, "1") as target:
        report, told = load(target, tmp_path, rows=ROWS, seconds=5)
    assert report.kinds[Kind.RECORDS].failed["http_500"] > 0
    assert told["doubtful"] == report.kinds[Kind.RECORDS].failed["http_500"]
    assert audited(server, told).faults == []


def test_what_somebody_changes_behind_the_clients_back_is_found(server: PostgresServer, tmp_path: Path) -> None:
    tamper = threading.Timer(4.5, statements, (server, "UPDATE users SET visits = -1 WHERE id < 500"))
    with stage.served(server, "1") as target:
        tamper.start()  # the load itself needs a second to begin
        report, told = load(target, tmp_path, rows=ROWS, seconds=6)
        tamper.join()
    assert report.kinds[Kind.RECORDS].failed["wrong_value"] > 0
    assert any("seeded values of visits wrong in visits" in one for one in audited(server, told).faults)


@pytest.mark.parametrize(
    ("harm", "fault"),
    [
        ("DELETE FROM users WHERE id = 5", "seeded accounts: 1,999, not 2,000"),
        ("INSERT INTO users (full_name, email) VALUES ('a b', 'c')", "seeded accounts: 2,001, not 2,000"),
        ("UPDATE users SET email = 'x' WHERE id = 7", "1 seeded values of email wrong in email, first of account 7"),
        ("UPDATE users SET bio = 'x' WHERE id > 9", "1,991 seeded values of bio wrong in coalesce(bio, '')"),
    ],
)
def test_a_row_that_no_client_touched_is_audited_too(server: PostgresServer, harm: str, fault: str) -> None:
    assert audited(server).faults == []
    statements(server, harm)
    assert any(one.startswith(fault) for one in audited(server).faults)
