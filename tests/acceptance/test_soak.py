"""The soak itself, for half a minute."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from soak.beats import ALL, beats
from soak.ledger import GROWTH_OF, LEAST_LOOKS, Ledger, Size, Verdict

ROOT = Path(__file__).parents[2]


@pytest.mark.acceptance
@pytest.mark.timeout(400)
def test_a_short_soak_keeps_every_promise_and_says_so(tmp_path: Path) -> None:
    report = tmp_path / "soak.md"
    options = ("--minutes", "0.5", "--seed", "7", "--kills-at-least", "3", "--rate", "100", "--report", str(report))
    command = [sys.executable, "-m", "soak", "--short", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = report.read_text()
    assert "**NO**" not in text
    assert "| controllers killed |" in text
    assert re.search(r"\| descriptors of Envoy stay \| \d+ looks of at least 20 \| not judged \|", text)


def sizes(count: int, *, grows: int = 0) -> list[Size]:
    return [Size(at_s=at, rss_mib=50.0, descriptors=30 + grows * at) for at in range(count)]


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (sizes(0), Verdict.NOT_JUDGED),
        (sizes(LEAST_LOOKS - 1), Verdict.NOT_JUDGED),
        (sizes(LEAST_LOOKS), Verdict.KEPT),
        (sizes(LEAST_LOOKS, grows=5), Verdict.BROKEN),
    ],
)
def test_growth_that_was_looked_at_too_seldom_is_not_judged(seen: list[Size], verdict: Verdict) -> None:
    ledger = Ledger(seed=1, kills_wanted=0, controller=seen, envoy=seen)
    growth = [one for one in ledger.promises() if one.words in GROWTH_OF.values()]
    assert [one.verdict for one in growth] == [verdict, verdict]


def test_what_could_not_be_judged_is_not_kept_unless_it_was_to_be_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    growth = Ledger(seed=1, kills_wanted=0).promises()[-2:]
    monkeypatch.setattr(Ledger, "promises", lambda _: growth)
    ledger = Ledger(seed=1, kills_wanted=0)
    assert not ledger.is_kept()
    assert ledger.is_kept(but=GROWTH_OF.values())


def test_a_soak_without_rollouts_and_requests_has_kept_nothing() -> None:
    broken = {one.words for one in Ledger(seed=1, kills_wanted=0).promises() if one.verdict is Verdict.BROKEN}
    assert broken >= {"the load reported", "rollouts begun"}


def test_a_seed_draws_the_same_beats_again() -> None:
    def first_hundred(seed: int) -> list[object]:
        return [beat for beat, _ in zip(beats(seed, ALL), range(100), strict=False)]

    assert first_hundred(1) == first_hundred(1) != first_hundred(2)
