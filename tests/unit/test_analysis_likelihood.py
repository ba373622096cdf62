from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import nchypergeom_fisher

from hitless.analysis.evidence import Evidence
from hitless.analysis.likelihood import Tables, log_ratios
from hitless.analysis.odds import LOG_ODDS, LOG_WEIGHTS


def tables(*rows: tuple[int, int, int, int]) -> Tables:
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4)
    return Tables(canary=columns[:, 0], canary_bad=columns[:, 1], baseline=columns[:, 2], baseline_bad=columns[:, 3])


def test_it_is_that_of_fishers_noncentral_hypergeometric_distribution() -> None:
    draw = np.random.default_rng(5)
    rows = []
    for _ in range(60):
        canary, baseline = (int(n) for n in draw.integers(1, 120, 2))
        rows.append((canary, int(draw.integers(0, canary + 1)), baseline, int(draw.integers(0, baseline + 1))))
    odds = np.array([0.2, 1.5, 10.0])
    ratios = log_ratios(tables(*rows), np.log(odds))
    for (canary, bad, baseline, others), ratio in zip(rows, ratios, strict=True):
        for psi, value in zip(odds, ratio, strict=True):
            oracle = [
                nchypergeom_fisher.logpmf(bad, canary + baseline, bad + others, canary, one) for one in (psi, 1.0)
            ]
            assert value == pytest.approx(oracle[0] - oracle[1], abs=1e-9)


def test_against_another_null_hypothesis_it_is_the_difference_of_both() -> None:
    rows = tables((40, 7, 300, 9), (10, 0, 50, 3))
    margins = np.log([2.0, 5.0])
    plain = log_ratios(rows, margins)
    assert log_ratios(rows, np.zeros(2), log_null=margins) == pytest.approx(-plain)


def test_an_outage_of_thousands_neither_overflows_nor_says_nothing() -> None:
    ratios = log_ratios(tables((5_000, 4_990, 20_000, 40), (200_000, 199_000, 200_000, 100)), np.log([2.0, 1024.0]))
    assert np.isfinite(ratios).all()
    assert (ratios > 1_000.0).all()


@pytest.mark.parametrize("row", [(0, 0, 10, 3), (10, 3, 0, 0), (10, 0, 10, 0), (10, 10, 10, 10)])
def test_a_table_that_could_come_out_in_one_way_alone_tells_nothing(row: tuple[int, int, int, int]) -> None:
    assert (log_ratios(tables(row), np.log([0.1, 10.0])) == 0.0).all()


def test_what_cannot_tell_between_tables_that_can_changes_nothing() -> None:
    telling, silent = (10, 3, 100, 2), (0, 0, 10, 3)
    odds = np.log([3.0])
    alone = log_ratios(tables(telling), odds)
    assert log_ratios(tables(silent, telling, silent), odds)[:, 0] == pytest.approx([0.0, alone[0, 0], 0.0])


@given(
    canary=st.integers(1, 60),
    baseline=st.integers(1, 60),
    bad=st.integers(0, 60),
    others=st.integers(0, 60),
    odds=st.floats(1.1, 100.0),
)
def test_it_falls_with_failures_of_the_baseline_and_with_successes_of_the_canary(
    canary: int, baseline: int, bad: int, others: int, odds: float
) -> None:
    bad, others = min(bad, canary), min(others, baseline)
    one = (canary, bad, baseline, others)
    more_others = (canary, bad, baseline + 1, others + 1)
    worse_others = (canary, bad, baseline, min(others + 1, baseline))
    more_good = (canary + 1, bad, baseline, others)
    ratios = log_ratios(tables(one, more_others, worse_others, more_good), np.log([odds]))[:, 0]
    assert (ratios[1:] <= ratios[0] + 1e-9).all()


@given(canary=st.integers(1, 30), baseline=st.integers(1, 30), bad=st.integers(0, 60), odds=st.floats(1.1, 100.0))
def test_on_average_it_is_no_evidence_where_the_canary_is_no_worse(
    canary: int, baseline: int, bad: int, odds: float
) -> None:
    bad = min(bad, canary + baseline)
    mine = np.arange(max(0, bad - baseline), min(bad, canary) + 1)
    ratios = log_ratios(tables(*((canary, int(x), baseline, bad - int(x)) for x in mine)), np.log([odds]))[:, 0]
    chance = nchypergeom_fisher.pmf(mine, canary + baseline, bad, canary, 1.0)
    assert float((chance * np.exp(ratios)).sum()) <= 1.0 + 1e-9


def test_restarts_give_the_mixture_that_is_written_down() -> None:
    draw = np.random.default_rng(2)
    increments = draw.normal(0.0, 0.3, (150, 2))
    evidence = Evidence((), np.log([0.4, 0.6]))
    for one in increments:
        evidence.add(one)
    value = 0.2 / 3  # two restarts, at seconds 60 and 120
    for begin, weight in ((0, 0.8), (60, 0.2 / 2), (120, 0.2 / 6)):
        value += weight * float((np.array([0.4, 0.6]) * np.exp(increments[begin:].sum(axis=0))).sum())
    assert float(evidence.log_value()) == pytest.approx(np.log(value))


def test_hardly_any_of_many_rollouts_of_a_good_version_ever_reaches_the_bound() -> None:
    draw = np.random.default_rng(8)
    runs, ever = 1_000, np.zeros(1_000, dtype=bool)
    evidence = Evidence((runs,), LOG_WEIGHTS)
    for _ in range(150):
        canary, baseline = draw.poisson(25, runs), draw.poisson(75, runs)
        bad, others = draw.binomial(canary, 0.01), draw.binomial(baseline, 0.01)
        seen = Tables(canary=canary, canary_bad=bad, baseline=baseline, baseline_bad=others)
        evidence.add(log_ratios(seen, LOG_ODDS))
        ever |= evidence.log_value() >= np.log(100.0)
    assert 0 < ever.sum() <= 12  # 10 are allowed on average; none at all would say that the test cannot fail


def test_evidence_above_its_ceiling_is_forgotten_soon() -> None:
    kept, capped = Evidence((), np.zeros(1)), Evidence((), np.zeros(1), ceiling=5.0)
    for evidence in (kept, capped):
        for _ in range(50):
            evidence.add(np.ones(1))
        for _ in range(6):
            evidence.add(-np.ones(1))
    assert float(kept.log_value()) > 40.0
    assert float(capped.log_value()) < 0.0


def test_tempered_evidence_is_divided_by_the_dispersion() -> None:
    evidence = Evidence((2,), np.zeros(1), dispersion=np.array([1.0, 4.0]))
    evidence.add(np.array([[8.0], [8.0]]))
    assert evidence.sums[:, 0].tolist() == [8.0, 2.0]
