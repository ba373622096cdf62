"""What a judge says is said in figures that people can take in."""

from __future__ import annotations

import pytest

from hitless.analysis.ruling import Estimate
from hitless.analysis.wording import odds_words, span


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0, "0 s"), (308.6, "309 s"), (3_120.0, "52 min"), (46_485.0, "13 h"), (75_807_941.0, "877 days")],
)
def test_how_long_a_verdict_takes_is_told_in_a_unit_that_fits(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_where_nobody_knows_how_much_worse_it_is_no_figure_is_told() -> None:
    assert odds_words(Estimate(value=None, low=None, high=None)) == "too few to name odds"
    assert odds_words(Estimate(value=None, low=1.41, high=None)) == "at least 1.4 times the odds"
