"""`hitless migrate backfill` and `verify` on a real server: what people and programs see, and how they end."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from backfill_support import wait_for
from postgres_support import connect, running

from hitless.cli.shell import run

FILE = """
change: split-full-name
table: users
split:
  from: full_name
  into: {first_name: "split_part(full_name, ' ', 1)", last_name: "substr(full_name, strpos(full_name, ' ') + 1)"}
  inverse: "concat_ws(' ', first_name, last_name)"
"""
ROWS = 4_000
NAME = "split-full-name"


class Command:
    """`hitless migrate`, run in this process in a database of its own."""

    def __init__(self, directory: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory, self.file, self._capsys = directory, file, capsys
        self.out = self.err = ""

    def __call__(self, *words: str) -> int:
        url = f"host={self.directory} user=postgres dbname=shop"
        code = run(["migrate", *words, "--database", url])
        self.out, self.err = self._capsys.readouterr()
        return code

    def do(self, statement: str) -> None:
        with connect(self.directory, "shop") as connection:
            connection.execute(statement.encode())

    def one(self, query: str) -> object:
        with connect(self.directory, "shop") as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


@pytest.fixture(scope="module", params=[16, 18])
def server(request: pytest.FixtureRequest) -> Iterator[Path]:
    with running(request.param, max_connections="30") as directory:
        yield directory


TORN = (
    "ALTER TABLE users DISABLE TRIGGER USER; UPDATE users SET last_name = 'x' WHERE id = 7; "
    "ALTER TABLE users ENABLE TRIGGER USER"
)
"""Makes one row wrong behind the triggers' back."""


@pytest.fixture
def migrate(server: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    with connect(server) as admin:
        admin.autocommit = True
        admin.execute("CREATE DATABASE shop")
    file = tmp_path / "split.yaml"
    file.write_text(FILE)
    command = Command(server, file, capsys)
    command.do("CREATE TABLE users (id bigint PRIMARY KEY, full_name text NOT NULL)")
    command.do(f"INSERT INTO users SELECT n, 'First' || n || ' Last' || n FROM generate_series(1, {ROWS}) AS n")
    assert command("expand", str(file)) == 0
    yield command
    with connect(server) as admin:
        admin.autocommit = True
        admin.execute("DROP DATABASE shop WITH (FORCE)")


def test_rows_are_filled_and_proven(migrate: Command) -> None:
    assert migrate("backfill", NAME) == 0
    assert f"next: hitless migrate verify {NAME}" in migrate.err
    assert f"{NAME} is backfilled" in migrate.out
    assert migrate("backfill", NAME, "--nice", "50") == 0
    assert migrate("verify", NAME) == 0
    assert f"{NAME} is verified" in migrate.out
    assert migrate.one("SELECT count(*) FROM users WHERE first_name || ' ' || last_name = full_name") == ROWS


def test_programs_get_a_document_an_event_and_the_change_at_the_end(migrate: Command) -> None:
    assert migrate("backfill", str(migrate.file), "--json") == 0
    documents = [json.loads(line) for line in migrate.out.splitlines()]
    kinds = [one["data"]["kind"] for one in documents if one["schema"] == "hitless.migration-event/v1"]
    assert {"step_began", "batch", "step_done"} <= set(kinds)
    assert documents[-1]["schema"] == "hitless.migration/v1"
    assert documents[-1]["data"]["standing"] == "backfilled"
    (batch, *_) = [one["data"]["data"] for one in documents if one["data"].get("kind") == "batch"]
    assert {"rows", "total", "rows_per_s", "left_s", "rests_for", "connections", "most_connections"} <= set(batch)


def test_a_wrong_row_is_shown_and_keeps_the_switch_shut(migrate: Command) -> None:
    assert migrate("backfill", NAME, "--heedless") == 0
    migrate.do(TORN)
    assert migrate("verify", NAME, "--heedless") == 4
    assert "error[HL4533]: 1 of 4,000 rows of users" in migrate.err
    assert 'users where id = 7: full_name = "First7 Last7"' in migrate.err
    assert migrate("switch", NAME) == 4
    assert migrate("undo", NAME, "--to", "expanded", "--yes") == 0
    assert migrate("backfill", NAME, "--heedless") == 0
    assert migrate("verify", NAME, "--heedless") == 0


def test_a_sample_says_what_it_rules_out_and_finds_what_is_wrong(migrate: Command) -> None:
    assert migrate("backfill", NAME, "--heedless") == 0
    assert migrate("verify", NAME, "--sample") == 0
    assert "4,000 rows of " in migrate.err
    assert "0 wrong, the whole table" in migrate.err
    migrate.do(TORN)
    assert migrate("verify", NAME, "--sample", "--json") == 4
    assert json.loads(migrate.out)["data"]["data"]["wrong"] == 1


def test_a_row_that_cannot_be_filled_is_named(migrate: Command) -> None:
    migrate.do("ALTER TABLE users ADD CONSTRAINT short CHECK (first_name <> 'First2222')")
    assert migrate("backfill", NAME, "--heedless") == 4
    assert "error[HL4531]: the row id = 2222 of users cannot be filled" in migrate.err
    migrate.do("ALTER TABLE users DROP CONSTRAINT short")
    assert migrate("backfill", NAME, "--heedless") == 0


def test_a_worker_that_runs_is_paused_slowed_and_resumed_from_beside(migrate: Command) -> None:
    migrate.do("UPDATE users SET full_name = full_name")
    ended: list[int] = []
    url = f"host={migrate.directory} user=postgres dbname=shop"
    slow = ["migrate", "backfill", NAME, "--heedless", "--nice", "90", "--batch-ms", "5", "--database", url]
    worker = threading.Thread(target=lambda: ended.append(_run_beside(slow)))
    worker.start()
    wait_for(lambda: bool(migrate.one("SELECT coalesce(max(rows), 0) > 0 FROM hitless.backfill")))
    assert migrate("backfill", NAME, "--pause") == 0
    assert migrate.one("SELECT paused FROM hitless.backfill") is True
    assert migrate("backfill", NAME, "--nice", "0") == 0
    assert f"the worker of {NAME} follows" in migrate.err
    assert migrate("backfill", NAME, "--resume") == 0
    worker.join(60)
    assert ended == [0]
    types = "SELECT string_agg(type, ' ' ORDER BY number) FROM hitless.event WHERE type LIKE 'backfill.%'"
    assert migrate.one(types) == "backfill.limited backfill.paused backfill.limited backfill.resumed"


def _run_beside(words: list[str]) -> int:
    """Run a command in a process of its own: signals are the main thread's."""
    return subprocess.run([sys.executable, "-m", "hitless.cli", *words], check=False, capture_output=True).returncode


def test_what_has_not_begun_cannot_be_paused_and_leaves_no_trace(migrate: Command) -> None:
    assert migrate("backfill", NAME, "--pause") == 2
    assert "error[HL4536]" in migrate.err
    assert migrate("verify", NAME, "--nice", "50") == 4
    assert "error[HL4523]" in migrate.err
    assert migrate.one("SELECT count(*) FROM hitless.backfill") == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--nice", "95"], "--nice is 0 to 90"),
        (["--batch-ms", "1"], "--batch-ms is 5 to 1000"),
        (["--max-wal", "0"], "--max-wal is more than 0"),
        (["--max-lag", "-1"], "--max-lag is more than 0"),
        (["--pause", "--resume"], "either --pause or --resume"),
        (["--heedless", "--heedful"], "either --heedless or --heedful"),
    ],
)
def test_options_out_of_bounds_are_told(migrate: Command, words: list[str], sentence: str) -> None:
    assert migrate("backfill", NAME, *words) == 2
    assert sentence in migrate.err


PROJECT = """\
service: shop
listen: 127.0.0.1:8080
instances: 2
run: {command: [shop]}
database: {url: 'env:SHOP_URL'}
"""


@pytest.mark.parametrize("words", [["backfill", NAME], ["verify", NAME, "--sample"]])
def test_the_database_is_the_one_of_the_project_that_is_named(
    migrate: Command, tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert migrate("backfill", NAME) == 0
    monkeypatch.delenv("HITLESS_DATABASE_URL", raising=False)
    monkeypatch.setenv("SHOP_URL", f"host={migrate.directory} user=postgres dbname=shop")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "hitless.yaml").write_text(PROJECT)
    assert run(["migrate", *words, "--project", str(tmp_path / "shop")]) == 0
