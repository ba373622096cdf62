"""Backfills with a clock of their own: whatever a batch costs and whatever is seen, writers come first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hitless.schema.backfill.confidence import greatest_share
from hitless.schema.backfill.pace import GROWTH, Pace
from hitless.schema.backfill.progress import Progress
from hitless.schema.backfill.throttle import (
    MOST_RATIO,
    NICEST,
    Batch,
    Limits,
    Sight,
    Throttle,
    are_slow,
    stop,
)

COSTS = st.floats(min_value=1e-7, max_value=10.0)  # seconds a row
MILLISECONDS = st.none() | st.floats(min_value=0.0, max_value=10_000.0)
SIGHTS = st.builds(
    Sight,
    write_ms=MILLISECONDS,
    usual_write_ms=MILLISECONDS,
    held_up=st.none() | st.integers(0, 50),
    longest_wait_ms=MILLISECONDS,
    lag_s=st.none() | st.floats(0.0, 1_000.0),
    retained_mb=st.none() | st.floats(0.0, 1e6),
    is_vacuumed=st.none() | st.booleans(),
    connections=st.none() | st.integers(0, 200),
    most_connections=st.none() | st.integers(1, 200),
)
LIMITS = st.builds(
    Limits,
    nice=st.integers(0, NICEST),
    max_wal_mb_s=st.none() | st.floats(0.1, 1_000.0),
    max_lag_s=st.floats(0.1, 100.0),
    is_heedful=st.booleans(),
)
BATCHES = st.builds(
    Batch, seconds=st.floats(0.0, 2.0), wal_mb=st.none() | st.floats(0.0, 100.0), since_s=st.floats(0.0, 5.0)
)


@given(st.lists(COSTS, min_size=1, max_size=60))
def test_a_batch_takes_at_most_twice_its_time_where_rows_cost_what_they_did(costs: list[float]) -> None:
    pace = Pace()
    for number, cost in enumerate(costs):
        seconds = pace.rows * cost
        if number and cost <= costs[number - 1] and pace.rows > 1:
            assert seconds <= GROWTH * pace.budget_s
        pace = pace.after(rows=pace.rows, seconds=seconds)
        assert 1 <= pace.rows <= pace.most_rows


@given(COSTS)
def test_a_batch_comes_to_fill_its_time(cost: float) -> None:
    pace = Pace()
    for _ in range(30):
        pace = pace.after(rows=pace.rows, seconds=pace.rows * cost)
    fits = pace.budget_s / cost
    assert pace.rows == max(1, min(int(fits), pace.most_rows)) or abs(pace.rows - fits) <= 1 + fits * 1e-6


@given(st.integers(1, 20_000))
def test_a_batch_that_fails_again_and_again_comes_down_to_one_row(rows: int) -> None:
    pace = Pace(rows=rows)
    for _ in range(8):
        pace = pace.after_failure()
    assert pace.rows == 1


@given(st.lists(st.tuples(BATCHES, SIGHTS), max_size=40), LIMITS)
def test_a_rest_is_bounded_and_has_a_reason(story: list[tuple[Batch, Sight]], limits: Limits) -> None:
    throttle = Throttle()
    for batch, sight in story:
        throttle = throttle.after(sight)
        assert 0 <= throttle.ratio <= MOST_RATIO
        rest = throttle.rest(batch, sight, limits)
        if rest is None:
            continue
        assert rest.seconds > 0
        assert rest.sentence
        wal_s = batch.wal_mb / limits.max_wal_mb_s if limits.max_wal_mb_s and batch.wal_mb else 0.0
        assert rest.seconds <= max(batch.seconds * MOST_RATIO, wal_s)


@given(SIGHTS, LIMITS, st.floats(0.01, 1.0))
def test_what_was_not_seen_throttles_nothing(sight: Sight, limits: Limits, seconds: float) -> None:
    assert stop(Sight(), limits) is None
    assert Throttle().after(Sight()) == Throttle()
    blind = Limits(is_heedful=False)
    assert Throttle().after(sight).rest(Batch(seconds=seconds), sight, blind) is None
    assert stop(sight, blind) is None


@given(SIGHTS)
def test_writers_that_are_slow_get_more_and_more_room_and_give_it_back(slow: Sight) -> None:
    throttle = Throttle()
    if are_slow(slow):
        for _ in range(12):
            eased = throttle.after(slow)
            assert eased.ratio > throttle.ratio or eased.ratio == MOST_RATIO
            throttle = eased
    for _ in range(40):
        throttle = throttle.after(Sight(write_ms=1.0, usual_write_ms=1.0))
    assert throttle.ratio == 0


@given(st.integers(0, NICEST), st.floats(0.001, 1.0))
def test_nice_is_the_share_of_the_time_that_is_rested(nice: int, seconds: float) -> None:
    rest = Throttle().rest(Batch(seconds=seconds), Sight(), Limits(nice=nice))
    rested_s = rest.seconds if rest else 0.0
    assert abs(rested_s / (rested_s + seconds) - nice / 100) < 1e-9


@given(st.floats(0.1, 50.0), st.floats(0.1, 500.0), st.floats(0.01, 1.0))
def test_wal_stays_below_its_limit_over_batch_and_rest(limit: float, wal_mb: float, seconds: float) -> None:
    batch = Batch(seconds=seconds, wal_mb=wal_mb, since_s=seconds)
    rest = Throttle().rest(batch, Sight(), Limits(max_wal_mb_s=limit))
    rested_s = rest.seconds if rest else 0.0
    assert wal_mb / (seconds + rested_s) <= limit * (1 + 1e-9)


@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.floats(0.001, 5.0)), min_size=1, max_size=50), st.integers(1, 10**6)
)
def test_progress_adds_up_and_never_promises_what_it_cannot_know(steps: list[tuple[int, float]], total: int) -> None:
    progress, at_s = Progress(rows=0, total=total, at_s=0.0), 0.0
    for rows, seconds in steps:
        at_s += seconds
        progress = progress.after(rows=rows, at_s=at_s)
    assert progress.rows == sum(rows for rows, _ in steps)
    assert (progress.share is None) == (progress.rows > total)
    if progress.left_s is not None:
        assert progress.left_s >= 0
        assert progress.share is not None
    assert Progress(rows=5, total=None, at_s=0.0, rows_per_s=5.0).left_s is None


def test_the_time_that_is_left_is_right_where_the_speed_is_even() -> None:
    progress = Progress(rows=0, total=10_000, at_s=0.0)
    for number in range(1, 51):
        progress = progress.after(rows=100, at_s=number * 0.1)
    assert progress.rows_per_s is not None
    assert abs(progress.rows_per_s - 1_000) < 1
    assert progress.left_s is not None
    assert abs(progress.left_s - 5.0) < 0.01


@given(st.integers(1, 10**7))
def test_what_a_sample_rules_out_would_have_been_seen(looked_at: int) -> None:
    share = greatest_share(looked_at)
    assert abs((1 - share) ** looked_at - 0.05) < 1e-6
    assert greatest_share(0) == 1.0
