from __future__ import annotations

import json
import os
import signal
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from hitless.lifecycle.sql import Capture
from hitless.lifecycle.sql.__main__ import main
from hitless.lifecycle.sql.manifests import DifferError, merge
from hitless.schema.guard.manifests import manifest_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sqlmanifest.json"


def capture(path: Path, **options: object) -> Capture:
    return Capture(path, **{"service": "shop", "version": "42", "scope": "tests", **options})  # type: ignore[arg-type]


def test_a_statement_is_written_once_with_its_count_and_its_line(path: Path) -> None:
    made = capture(path)
    for number in range(3):
        made.record("SELECT %s", (number,))
    document = json.loads(made.write().read_text())
    (row,) = document["statements"]
    assert (row["sql"], row["calls"], row["parameters"], row["marks"]) == ("SELECT %s", 3, ["int"], "%")
    assert "test_lifecycle_sql.py:" in row["where"]
    assert row["first_seen"] <= row["last_seen"]


def test_values_are_never_written_down(path: Path) -> None:
    made = capture(path)
    made.record("SELECT %(name)s", {"name": "a secret"})
    assert "secret" not in made.write().read_text()


def test_a_statement_without_parameters_has_no_marks(path: Path) -> None:
    made = capture(path)
    made.record("SELECT '%s'")
    assert json.loads(made.write().read_text())["statements"][0]["marks"] == "$"


def test_what_does_not_fit_is_counted_as_lost(path: Path) -> None:
    made = capture(path, most=2)
    for number in range(5):
        made.record(f"SELECT {number}")
    document = json.loads(made.write().read_text())
    assert (len(document["statements"]), document["lost"]) == (2, 3)


def test_what_fails_in_here_is_counted_and_never_raised(path: Path) -> None:
    made = capture(path)
    made.record(12345)  # type: ignore[arg-type]
    made.record("SELECT 1", 12345)
    assert json.loads(made.write().read_text())["failed"] == 2


def test_threads_lose_no_statement(path: Path) -> None:
    made = capture(path)

    def work(number: int) -> None:
        for one in range(200):
            made.record(f"SELECT {number}, {one}")
            made.record("SELECT 1")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(json.loads(made.write().read_text())["statements"]) == 4 * 200 + 1


def test_a_child_process_has_a_file_of_its_own_and_merging_makes_one(path: Path) -> None:
    made = capture(path)
    made.record("SELECT 'parent'")
    made.record("SELECT 'both'")
    child = os.fork()
    if child == 0:
        made.record("SELECT 'child'")
        made.record("SELECT 'both'")
        made.write()
        os._exit(0)
    os.waitpid(child, 0)
    made.write()
    assert not path.exists()
    assert main(["merge", str(path)]) == 0
    found = {row["sql"]: row["calls"] for row in json.loads(path.read_text())["statements"]}
    assert found["SELECT 'parent'"] == found["SELECT 'child'"] == 1
    assert sum(calls for sql, calls in found.items() if "both" in sql) >= 1
    assert sorted(one.name for one in path.parent.iterdir()) == ["sqlmanifest.json"]


def test_files_of_two_versions_are_not_merged(path: Path) -> None:
    for version in ("41", "42"):
        made = capture(path, version=version)
        made.record("SELECT 1")
        made.write()
    with pytest.raises(DifferError, match="version"):
        merge(path)


def test_an_incomplete_file_of_a_process_makes_the_whole_incomplete(path: Path) -> None:
    made = capture(path, most=1)
    made.record("SELECT 1")
    made.record("SELECT 2")
    made.write()
    assert merge(path)["lost"] == 1


def test_a_process_that_is_killed_leaves_a_file_that_says_so(path: Path) -> None:
    made = capture(path)
    child = os.fork()
    if child == 0:
        made.record("SELECT 'child'")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert merge(path)["unended"] == 1


def test_what_comes_after_a_file_was_written_opens_it_again(path: Path) -> None:
    made = capture(path)

    def send(text: str) -> None:
        made.record(text)

    send("SELECT 1")
    file = made.write()
    send("SELECT 1")
    assert json.loads(file.read_text())["unended"] == 0
    send("SELECT 2")
    assert json.loads(file.read_text())["unended"] == 1


def test_models_are_put_beside_the_statements(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "models",
        str(path),
        "--sqlalchemy",
        "tests.unit.sql_models:METADATA",
        "--service",
        "shop",
        "--version",
        "42",
    ]
    assert main(words) == 0
    assert json.loads(path.read_text())["models"][0]["columns"] == ["full_name", "id"]
    assert main([*words[:-1], "43"]) == 2
    assert "43" in capsys.readouterr().err


def test_every_key_of_a_manifest_is_documented(path: Path) -> None:
    made = capture(path)
    made.record("SELECT %s", (1,))
    made.write()
    document = merge(path)
    page = (Path(__file__).parents[2] / "docs/reference/sqlmanifest.md").read_text()
    assert [key for key in (*document, *document["statements"][0]) if f"`{key}`" not in page] == []


def test_two_short_runs_days_apart_are_no_long_one(tmp_path: Path) -> None:
    """A merge of manifests says for how long nothing was captured, and that is not counted."""
    about = {"format": "hitless.sqlmanifest/v1", "service": "shop", "version": "42", "scope": "staging"}
    row = {"sql": "SELECT 1", "marks": "$", "parameters": [], "calls": 1, "where": None}
    for name, day in (("1-a", "01"), ("2-b", "03")):
        moments = {"began_at": f"2026-01-{day}T10:00:00Z", "until": f"2026-01-{day}T10:05:00Z"}
        seen = {"first_seen": moments["began_at"], "last_seen": moments["until"]}
        document = {**about, **moments, "lost": 0, "failed": 0, "statements": [{**row, **seen}]}
        (tmp_path / f"sqlmanifest.json.{name}").write_text(json.dumps(document))
    merged = merge(tmp_path / "sqlmanifest.json")
    assert merged["gaps_s"] == timedelta(days=2, minutes=-5).total_seconds()
    assert merge(tmp_path / "sqlmanifest.json")["gaps_s"] == merged["gaps_s"]
    (evidence,) = manifest_of(merged, name="it", window=timedelta(hours=24)).evidence
    assert not evidence.shows_absence
    (evidence,) = manifest_of(merged, name="it", window=timedelta(minutes=10)).evidence
    assert evidence.shows_absence
