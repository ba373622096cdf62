"""`hitless migrate guard` and `hitless migrate contract`, as people and scripts call them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from guard_stage import NEW, OLD, OWNER, Shop, counting, shop

BASE = ["--window", "0s", "--version", "shop@42=live:0h"]


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    with counting(18) as directory:
        yield directory


@pytest.fixture
def stage(server: Path) -> Iterator[Shop]:
    with shop(server, "shop") as made:
        made.run("INSERT INTO users (id, email) VALUES (1, 'ada@example.org')", "SELECT id FROM users", user=NEW)
        yield made


def hitless(stage: Shop, *words: str, directory: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HITLESS_DATABASE_URL": stage.database(OWNER).conninfo, "NO_COLOR": "1"}
    command = [sys.executable, "-m", "hitless.cli", "migrate", *words]
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        cwd=directory or stage.directory,
        timeout=120,
    )


def test_the_guard_says_who_uses_it_and_what_to_do(stage: Shop) -> None:
    stage.run("SELECT full_name FROM users", user=OLD)
    asked = hitless(stage, "guard", "split", *BASE, "--version", "shop@41=target:0h")
    assert asked.returncode == 4, asked.stderr
    assert "shop@42: CLEAR" in asked.stdout
    assert "shop@41: REFERENCES" in asked.stdout
    assert "SELECT full_name FROM users" in asked.stdout
    assert "HL4540" in asked.stderr
    assert "--override" in asked.stderr


def test_programs_get_all_of_the_evidence(stage: Shop) -> None:
    asked = hitless(stage, "guard", "split", *BASE, "--json")
    assert asked.returncode == 0, asked.stderr
    document = json.loads(asked.stdout)
    assert document["schema"] == "hitless.guard/v1"
    data = document["data"]
    assert (data["clear"], data["part"]) == (True, "brownout")
    (version,) = [one for one in data["versions"] if one["name"] == "shop@42"]
    assert version["evidence"][0]["shows_absence"] is True


def test_a_contract_goes_stop_by_stop_and_an_override_is_recorded(stage: Shop) -> None:
    stage.run("SELECT full_name FROM users", user=OLD)
    target = ["--version", "shop@41=target:0h"]
    blocked = hitless(stage, "contract", "split", "--yes", *BASE, *target)
    assert blocked.returncode == 4, blocked.stderr
    word = ["--override", "shop@41", "--reason", "41 is never rolled back to", "--expires", "1h"]
    assert hitless(stage, "contract", "split", "--yes", *BASE, *target, *word[:2]).returncode == 2
    done = hitless(stage, "contract", "split", "--yes", *BASE, *target, *word)
    assert done.returncode == 0, done.stderr
    assert "browned out" in done.stdout
    events = [one for one in stage.migrator().state("split").events if one.type == "guard.overridden"]
    assert events[0].data["reason"] == "41 is never rolled back to"
    again = hitless(stage, "contract", "split", "--yes", *BASE, *target)
    assert again.returncode == 0, again.stderr  # the word still counts
    assert hitless(stage, "contract", "split", "--yes", *BASE).returncode == 4  # the retention


def test_a_watch_without_trouble_leaves_it_browned_out(stage: Shop) -> None:
    watched = hitless(stage, "contract", "split", "--yes", "--watch", "2s", *BASE)
    assert watched.returncode == 0, watched.stderr
    assert "browned out" in watched.stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--version", "shop"), "SERVICE@VERSION"),
        (("--consumers", "nowhere.yaml"), "HL4543"),
        (("--manifest", "nowhere.json"), "HL4543"),
    ],
)
def test_bad_input_is_said_with_the_next_step(stage: Shop, words: tuple[str, ...], code: str) -> None:
    asked = hitless(stage, "guard", "split", *words)
    assert code in asked.stderr
    assert asked.returncode != 0


def test_a_file_of_consumers_that_breaks_the_rules_is_said_with_its_place(stage: Shop, tmp_path: Path) -> None:
    (tmp_path / "consumers.yaml").write_text("consumers:\n  - name: cdc\n    team: data\n    uses: {users: all}\n")
    asked = hitless(stage, "guard", "split", "--consumers", "consumers.yaml", directory=tmp_path)
    assert "consumers.yaml:3" in asked.stderr or "consumers.yaml:2" in asked.stderr
    (tmp_path / "consumers.yaml").write_text(
        "consumers:\n  - name: cdc\n    owner: data team\n    expires: 2999-01-01\n    slots: [debezium]\n"
        "    uses: {users: [id, email], orders: all}\n"
    )
    asked = hitless(stage, "guard", "split", *BASE, "--consumers", "consumers.yaml", directory=tmp_path)
    assert asked.returncode == 0, asked.stderr
    assert "cdc: CLEAR" in asked.stdout
