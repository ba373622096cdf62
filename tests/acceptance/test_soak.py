"""The soak itself, for half a minute."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from soak.beats import ALL, beats

ROOT = Path(__file__).parents[2]


@pytest.mark.acceptance
@pytest.mark.timeout(400)
def test_a_short_soak_keeps_every_promise_and_says_so(tmp_path: Path) -> None:
    report = tmp_path / "soak.md"
    options = ("--minutes", "0.5", "--seed", "7", "--kills-at-least", "3", "--rate", "100", "--report", str(report))
    command = [sys.executable, "-m", "soak", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = report.read_text()
    assert "**NO**" not in text
    assert "| controllers killed |" in text


def test_a_seed_draws_the_same_beats_again() -> None:
    def first_hundred(seed: int) -> list[object]:
        return [beat for beat, _ in zip(beats(seed, ALL), range(100), strict=False)]

    assert first_hundred(1) == first_hundred(1) != first_hundred(2)
