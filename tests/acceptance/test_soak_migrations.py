"""The soak of schema changes itself, with a few kills; `python -m soak.migrations` does a hundred."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from accounts_support import require_postgres
from soak.migrations.ledger import Ledger

ROOT = Path(__file__).parents[2]
KILLS = 5


@pytest.mark.acceptance
@pytest.mark.timeout(600)
def test_a_short_soak_of_schema_changes_keeps_every_promise(tmp_path: Path) -> None:
    require_postgres(16)
    report = tmp_path / "soak.md"
    options = ("--kills", str(KILLS), "--seed", "11", "--rows", "10000", "--rate", "30", "--report", str(report))
    command = [sys.executable, "-m", "soak.migrations", "--changes", "split", "primary_key", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = report.read_text()
    assert "**NO**" not in text
    assert f"{KILLS} of at least {KILLS}" in text


def test_a_soak_that_saw_nothing_has_kept_nothing() -> None:
    broken = {one.words for one in Ledger(seed=1, kills_wanted=1).promises() if not one.is_kept}
    assert broken >= {"changes carried out", "values compared at the end", "requests failed while the server was there"}


@pytest.mark.parametrize("kind", ["wrong", "unnamed", "left", "stuck"])
def test_each_finding_breaks_a_promise(kind: str) -> None:
    ledger = Ledger(seed=1, kills_wanted=0)
    before = sum(one.is_kept for one in ledger.promises())
    getattr(ledger, kind).append("something")
    assert sum(one.is_kept for one in ledger.promises()) == before - 1
