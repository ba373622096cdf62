"""Onsets of failing: comparable whatever the load, and never rarer for more failures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge_support import BEGIN, EU, V1, V2, Behaviour, second_of
from scipy.stats import hypergeom

from hitless.analysis.counts import Fates
from hitless.analysis.onset import Onset, _more_than
from hitless.rollout.spec import InstanceId

OLD, NEW = Behaviour(failing=0.01, instances=4), Behaviour(failing=0.01, instances=1)


def onset(salt: str = "x") -> Onset:
    return Onset(canary=V2, baseline=V1, failure_rate=0.01, salt=salt)


@pytest.mark.parametrize("share", [0.05, 0.15])
def test_a_version_that_is_no_worse_begins_to_fail_as_often_with_a_small_part_of_the_load(share: float) -> None:
    draw, watched = np.random.default_rng(1), onset()
    counted = np.zeros(4)
    for at in range(5_000):
        second = second_of(draw, BEGIN + at, rate=40.0, share=share, old=OLD, new=NEW)
        tables = watched.take(second.cells, {EU})
        for column, values in enumerate((tables.canary, tables.canary_bad, tables.baseline, tables.baseline_bad)):
            counted[column] += values.sum()
    canary, baseline = counted[1] / counted[0], counted[3] / counted[2]
    chance = np.sqrt(canary * (1 - canary) / counted[0] + baseline * (1 - baseline) / counted[2])
    assert abs(canary - baseline) < 3.5 * chance


@given(st.integers(1, 400), st.integers(0, 400), st.integers(0, 400), st.integers(0, 30))
def test_the_probability_is_that_of_the_hypergeometric_distribution(
    total: int, failed: int, drawn: int, count: int
) -> None:
    failed, drawn = min(failed, total), min(drawn, total)
    found = _more_than(count, total=total, failed=failed, drawn=drawn)
    assert found == pytest.approx(hypergeom.sf(count, total, failed, drawn), abs=1e-9)


@given(st.integers(50, 500), st.integers(0, 49), st.integers(0, 100))
def test_an_instance_that_fails_more_is_never_found_failing_less(total: int, failed: int, salt: int) -> None:
    watched, key = onset(str(salt)), (V1, InstanceId("a"))
    fewer, more = (watched._is_failing(key, total, one, load=40) for one in (failed, failed + 1))
    assert more or not fewer


def test_the_same_salt_counts_alike() -> None:
    draw = np.random.default_rng(2)
    seconds = [second_of(draw, BEGIN + at, rate=80.0, share=0.05, old=OLD, new=NEW) for at in range(400)]

    def bad(salt: str) -> list[list[int]]:
        watched = onset(salt)
        return [watched.take(one.cells, {EU}).baseline_bad.tolist() for one in seconds]

    assert bad("a") == bad("a") != bad("b")


def test_without_traffic_of_the_new_version_nobody_is_compared() -> None:
    draw, watched = np.random.default_rng(3), onset()
    for at in range(60):
        second = second_of(draw, BEGIN + at, rate=80.0, share=0.0, old=OLD, new=NEW)
        cells = tuple(replace(cell, requests=Fates()) if cell.version == V2 else cell for cell in second.cells)
        assert len(watched.take(cells, {EU})) == 0
