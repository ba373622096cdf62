"""Every benchmark runs; what it measures is nobody's business here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


# acceptance/test_lifecycle_restarts.py runs `drain`: HAProxy's own probes need a machine that is not busy
@pytest.mark.parametrize(
    "name",
    [
        "adoption",
        "backfill",
        "control",
        "envoy_restart",
        "flips",
        "judge",
        "lint",
        "locks",
        "metrics",
        "million",
        "overhead",
        "resources",
        "scale",
        "shares",
    ],
)
def test_a_quick_run_breaks_nothing_and_reports(name: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "benchmarks", name, "--quick", "--json", str(report)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())["benchmarks"][name]
    assert found["broken"] == []
    assert all(table["rows"] for table in found["tables"])
    assert all(f"goal: {goal['name']}" in done.stdout for goal in found["goals"])
