"""The commands of `hitless migrate` that change a database, on a real server."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from migrator_stage import PLAN, Stage, stage, transaction
from postgres_support import running

from hitless.cli.shell import run
from hitless.schema.change.standing import Verb

NUMBERS = count()
FILE = """\
SET search_path = public;
ALTER TABLE users ADD COLUMN tier text;
CREATE INDEX CONCURRENTLY users_tier_idx ON public.users (tier);
BEGIN;
ALTER TABLE users ADD CONSTRAINT tier_known CHECK (tier <> 'x') NOT VALID;
COMMENT ON COLUMN users.tier IS 'what they pay';
COMMIT;
ALTER TABLE users VALIDATE CONSTRAINT tier_known;
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    with running(18) as directory:
        yield directory


@pytest.fixture
def shop(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with stage(18, server, f"shop_{next(NUMBERS)}") as made:
        monkeypatch.setenv("HITLESS_DATABASE_URL", made.database.conninfo)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "rename.yaml").write_text("change: rename-email\ntable: users\nrename: {email: email_address}\n")
        (tmp_path / "0001_tier.sql").write_text(FILE)
        yield made


def document(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    run(["migrate", *words, "--json"])
    out, err = capsys.readouterr()
    return json.loads(out or err)["data"]


def test_a_change_goes_forward_and_back_by_its_file_and_by_its_name(
    shop: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    before = shop.dump()
    assert run(["migrate", "expand", "rename.yaml"]) == 0
    assert document(capsys, "status", "rename-email")["changes"][0]["standing"] == "expanded"
    assert run(["migrate", "expand", "rename.yaml"]) == 0
    assert run(["migrate", "expand", "rename-email"]) == 0
    out = capsys.readouterr()
    assert "next: hitless migrate backfill rename-email" in out.err
    assert run(["migrate", "switch", "rename-email"]) == 4
    assert run(["migrate", "undo", "rename.yaml"]) == 4  # nobody can be asked
    assert run(["migrate", "undo", "rename.yaml", "--yes"]) == 0
    assert shop.dump() == before


@pytest.mark.usefixtures("shop")
def test_a_change_whose_file_was_edited_is_refused(tmp_path: Path) -> None:
    assert run(["migrate", "expand", "rename.yaml"]) == 0
    (tmp_path / "rename.yaml").write_text("change: rename-email\ntable: users\nrename: {email: mail}\n")
    assert run(["migrate", "expand", "rename.yaml"]) == 4


def test_status_says_what_is_next_and_what_is_left_over(shop: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["migrate", "status"]) == 0
    assert run(["migrate", "expand", "rename.yaml"]) == 0
    view = document(capsys, "status")
    (change,) = view["changes"]
    assert change["next"] == "hitless migrate backfill rename-email"
    assert [(lane["part"], lane["state"]) for lane in change["lanes"][:3]] == [
        ("expand", "done"),
        ("backfill", "next"),
        ("verify", "ahead"),
    ]
    with shop.connect() as connection:
        connection.execute("CREATE DATABASE hitless_scratch_left")
    assert run(["migrate", "status"]) == 6
    assert run(["migrate", "status", "--fix"]) == 0
    assert run(["migrate", "status"]) == 0
    assert run(["migrate", "status", "unknown"]) == 2


def test_status_names_who_is_in_the_way_of_a_worker(shop: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    migrator = shop.migrator()
    migrator.register({"change": "contact"}, PLAN)
    worker = threading.Thread(target=migrator.carry_out, args=("contact", Verb.EXPAND))
    with transaction(shop, "SELECT count(*) FROM users"):
        worker.start()
        while not (seen := document(capsys, "status")["changes"][0])["blocked_by"]:
            assert worker.is_alive()
        assert run(["migrate", "status", "--plain"]) == 0
    worker.join()
    assert "(report)" in seen["blocked_by"][0]
    assert "(hitless migrate)" in seen["held_by"][0]
    assert "waits for pid" in capsys.readouterr().out
    assert document(capsys, "status")["changes"][0]["blocked_by"] == []


def test_a_watch_prints_what_has_changed_and_detaches(shop: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["migrate", "expand", "rename.yaml"]) == 0
    capsys.readouterr()
    undone = threading.Timer(1.5, lambda: shop.migrator().undo("rename-email"))
    undone.start()
    threading.Timer(6.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    assert run(["migrate", "status", "--watch", "--json"]) == 130
    undone.join()
    seen = [json.loads(line)["data"]["changes"] for line in capsys.readouterr().out.splitlines()]
    assert seen[0][0]["standing"] == "expanded"
    assert seen[-1] == []


def test_a_file_is_run_once_and_only_as_it_was(shop: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["migrate", "run", "0001_tier.sql"]) == 0
    assert shop.value("SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('users_tier_idx')") == 1
    assert shop.value("SELECT convalidated FROM pg_constraint WHERE conname = 'tier_known'") is True
    assert run(["migrate", "run", "0001_tier.sql"]) == 0
    assert "0001_tier.sql was run already" in capsys.readouterr().err
    (tmp_path / "0001_tier.sql").write_text(FILE + "ALTER TABLE users ADD COLUMN b int;\n")
    assert run(["migrate", "run", "0001_tier.sql"]) == 4
    assert run(["migrate", "undo", "0001_tier.sql", "--yes"]) == 4
    assert run(["migrate", "undo", "0001_tier.sql", "--forget", "--yes"]) == 0


def test_a_file_goes_on_at_the_statement_that_failed(shop: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    with shop.connect() as connection:
        connection.execute("CREATE INDEX users_tier_idx ON users (name)")  # another one, of the same name
    assert run(["migrate", "run", "0001_tier.sql"]) == 4
    done = document(capsys, "status", "0001_tier.sql")["changes"][0]["lanes"][0]["steps"]
    assert [one["state"] for one in done] == ["done", "ahead", "ahead", "ahead"]
    with shop.connect() as connection:
        connection.execute("DROP INDEX users_tier_idx")
    assert run(["migrate", "run", "0001_tier.sql"]) == 0


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ALTER TABLE users DROP COLUMN name;", "HL4501"),
        ("VACUUM users;", "HL4502"),
        ("BEGIN; ALTER TABLE users ADD COLUMN b int; ROLLBACK;", "HL4502"),
        ("ALTER TABEL users;", "HL2088"),
    ],
)
def test_a_file_that_is_refused_changes_nothing(
    shop: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, code: str
) -> None:
    before = shop.dump()
    (tmp_path / "0002.sql").write_text(text)
    assert document(capsys, "run", "0002.sql")["code"] == code
    assert shop.dump() == before


def test_a_trace_shows_what_each_statement_locks(shop: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    view = document(capsys, "trace", "0001_tier.sql")
    locks = [[(one["mode"], one["work"]) for one in each["locks"]] for each in view["statements"]]
    assert locks == [
        [],
        [("ACCESS EXCLUSIVE", "none")],
        [("SHARE UPDATE EXCLUSIVE", "none")],
        [("ACCESS EXCLUSIVE", "none")],
        [("SHARE UPDATE EXCLUSIVE", "none")],
        [("SHARE UPDATE EXCLUSIVE", "scan")],
    ]
    assert not any(one["differs"] for one in view["statements"])
    assert shop.value("SELECT count(*) FROM pg_database WHERE datname LIKE 'hitless_scratch%'") == 0


@pytest.mark.usefixtures("shop")
def test_a_trace_ends_where_a_statement_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wrong.sql").write_text(
        "ALTER TABLE users ADD COLUMN a int; ALTER TABLE users ADD COLUMN a int; SELECT 1;"
    )
    view = document(capsys, "trace", "wrong.sql")
    assert [one["error"] for one in view["statements"]] == [None, 'column "a" of relation "users" already exists']
    assert run(["migrate", "trace", "wrong.sql"]) == 4


def test_the_lint_reads_the_live_schema(shop: Stage, tmp_path: Path) -> None:
    with shop.connect() as connection:
        connection.execute("ALTER TABLE users ADD CONSTRAINT there CHECK (email IS NOT NULL)")
    (tmp_path / "0003.sql").write_text(
        "SET lock_timeout = '100ms';\nALTER TABLE users ALTER COLUMN email SET NOT NULL;\n"
    )
    assert run(["migrate", "lint", "0003.sql"]) == 4  # nothing is known of the table
    assert run(["migrate", "lint", "0003.sql", "--database", shop.database.conninfo]) == 0
    assert run(["migrate", "lint", "0003.sql", "--database", "host=/nowhere"]) == 6


def test_ctrl_c_stops_where_nothing_is_half_done(shop: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    with transaction(shop, "SELECT count(*) FROM users"):
        threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        assert run(["migrate", "expand", "rename.yaml"]) == 130
    out, err = capsys.readouterr()
    assert "rename-email is planned" in out
    assert "stops at the next moment" in err
    assert run(["migrate", "expand", "rename.yaml"]) == 0


def test_who_is_in_the_way_is_told_and_the_exit_code_says_that_it_may_be_tried_again(
    shop: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    with transaction(shop, "SELECT count(*) FROM users"):
        assert run(["migrate", "expand", "rename.yaml", "--patience", "1s"]) == 5
    err = capsys.readouterr().err
    assert "waits for pid" in err
    assert "(report)" in err
    assert "HL4520" in err


def test_the_database_of_the_project_is_meant_where_none_is_named(
    shop: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HITLESS_DATABASE_URL")
    monkeypatch.setenv("SHOP_URL", shop.database.conninfo)
    service = (
        "- service: {name}\n  listen: 127.0.0.1:{port}\n  run: {{command: app}}\n  instances: 1\n"
        "  database: {{url: '{url}'}}\n"
    )
    first = "services:\n" + service.format(name="shop", port=8001, url="env:SHOP_URL")
    (tmp_path / "hitless.yaml").write_text(first)
    assert run(["migrate", "status"]) == 0
    monkeypatch.chdir("/")
    assert run(["migrate", "status", "--project", str(tmp_path)]) == 0
    other = service.format(name="stock", port=8002, url="env:STOCK_URL")
    (tmp_path / "hitless.yaml").write_text(first + other)
    assert run(["migrate", "status", "--project", str(tmp_path)]) == 2  # which of the two?


def test_no_database_is_a_mistake_of_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HITLESS_DATABASE_URL", raising=False)
    assert run(["migrate", "status"]) == 2
