from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitless.testing.load.histogram import RELATIVE_ERROR, Histogram, bucket_of

latencies_ms = st.lists(st.floats(min_value=0.001, max_value=1e6), min_size=1, max_size=200)


def histogram_of(values_ms: list[float]) -> Histogram:
    return Histogram(buckets=Counter(map(bucket_of, values_ms)), max_ms=max(values_ms))


@settings(max_examples=300)
@given(latencies_ms, st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]))
def test_every_quantile_is_within_one_percent(values_ms: list[float], share: float) -> None:
    exact = sorted(values_ms)[max(math.ceil(share * len(values_ms)), 1) - 1]
    assert histogram_of(values_ms).quantile_ms(share) == pytest.approx(exact, rel=RELATIVE_ERROR * 1.001)


@settings(max_examples=300)
@given(latencies_ms, latencies_ms)
def test_two_histograms_add_up_to_that_of_all_values(one: list[float], other: list[float]) -> None:
    assert histogram_of(one) + histogram_of(other) == histogram_of(one + other)


def test_no_values_have_no_quantile() -> None:
    assert Histogram().quantile_ms(0.5) is None
