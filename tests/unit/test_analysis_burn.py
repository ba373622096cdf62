"""Budgets: how they burn, when somebody is called, and that what was not seen is never good."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitless.analysis.budget import PERIOD_MINUTES, WINDOWS, BudgetState, Burn, Urgency, burning
from hitless.analysis.burn import Budget, budgets, slower_than
from hitless.analysis.counts import LAST_BUCKET, Cell, Fates, Second, bucket_of
from hitless.rollout.spec import LatencyObjective, Region, SloSpec, Version

HOUR_S = 3600
DAY_S = 24 * HOUR_S


def second(at: int, *, failed: int = 0, total: int = 100, gap: str | None = None) -> Second:
    cell = Cell(region=Region("local"), route="/", version=Version("v1"), requests=Fates(total=total, failed=failed))
    return Second(at=at, gap=gap) if gap else Second(at=at, cells=(cell,))


def fed(budget: Budget, seconds: Iterable[Second]) -> Budget:
    for one in seconds:
        budget.take(one)
    return budget


def names(budget: Budget) -> list[str]:
    return [window.name for window in budget.state().alerts]


def test_the_windows_are_those_of_the_workbook() -> None:
    spent = [window.factor * window.long_minutes / PERIOD_MINUTES for window in WINDOWS]
    assert spent == pytest.approx([0.02, 0.05, 0.1, 0.1])
    assert [window.short_minutes * 12 for window in WINDOWS] == [window.long_minutes for window in WINDOWS]


def test_a_service_that_keeps_its_objective_burns_at_most_once_its_budget() -> None:
    budget = fed(Budget(0.999), (second(at, failed=at % 20 == 0) for at in range(2 * HOUR_S)))
    state = budget.state()
    assert state.budget_left == pytest.approx(0.5)
    assert state.burn["1h"].long == state.burn["1h"].short == pytest.approx(0.5)
    assert state.alerts == ()


def test_two_percent_of_failures_call_somebody_within_minutes_and_end_soon_after() -> None:
    budget = fed(Budget(0.999), (second(at) for at in range(HOUR_S)))
    called = next(at for at in range(HOUR_S, 2 * HOUR_S) if (budget.take(second(at, failed=5)), names(budget))[1])
    assert called - HOUR_S <= 20 * 60
    assert budget.state().alerts[0].urgency is Urgency.PAGE
    fed(budget, (second(at) for at in range(called + 1, called + 400)))
    assert "1h" not in names(budget)


def test_seconds_that_were_not_read_are_unknown_and_never_good() -> None:
    budget = fed(Budget(0.999), (second(at, failed=2) for at in range(HOUR_S)))
    before = budget.state()
    assert names(budget)[0] == "1h"
    fed(budget, (second(at, gap="Envoy did not answer") for at in range(HOUR_S, HOUR_S + 600)))
    after = budget.state()
    assert after.budget_left == before.budget_left
    assert (after.burn["1h"].short, after.burn["1h"].long) == (None, None)
    assert after.burn["1h"].known == pytest.approx(50 / 60)
    assert "1h" not in names(budget)


def test_seconds_that_are_missing_altogether_are_unknown_too() -> None:
    budget = fed(Budget(0.999), (second(at, failed=2) for at in range(HOUR_S)))
    budget.take(second(HOUR_S + 600))
    assert budget.state().burn["1h"].short is None


def test_the_first_minutes_say_nothing_before_the_short_window_is_known() -> None:
    budget = fed(Budget(0.999), (second(at, failed=50) for at in range(200)))
    assert budget.state().burn["1h"].long is None
    assert names(budget) == []
    fed(budget, (second(at, failed=50) for at in range(200, 300)))
    assert names(budget) == ["1h"]


def test_without_a_request_nothing_is_known_of_a_budget() -> None:
    budget = fed(Budget(0.999), (second(at, total=0) for at in range(HOUR_S)))
    state = budget.state()
    assert (state.budget_left, state.burn["1h"].long, state.alerts) == (None, None, ())
    assert Budget(0.999).state().budget_left is None


def test_what_is_older_than_thirty_days_is_forgotten() -> None:
    budget = Budget(0.99)
    fed(budget, (second(at, failed=100) for at in range(60)))
    assert budget.state().budget_left == pytest.approx(-99)
    budget.take(second(29 * DAY_S))
    left = budget.state().budget_left
    assert left is not None
    assert left < 0
    budget.take(second(30 * DAY_S + 60))
    assert budget.state().budget_left == 1.0
    budget.take(second(100 * DAY_S))
    assert budget.state().known == pytest.approx(1 / (PERIOD_MINUTES * 60))


def test_a_second_counts_once() -> None:
    budget = fed(Budget(0.99), [second(5, failed=1), second(5, failed=1), second(4, failed=1), second(6)])
    assert budget.state().budget_left == pytest.approx(1 - 1 / 200 / 0.01)


def test_answers_that_are_too_slow_and_those_that_hang_spend_the_budget_of_latency() -> None:
    durations = {bucket_of(100): 97, bucket_of(400): 2, LAST_BUCKET: 1}
    cell = Cell(region=Region("local"), route="/", version=Version("v1"), durations=durations)
    assert slower_than(300)(cell) == Fates(total=100, failed=3)


def test_each_objective_has_a_budget_of_its_own() -> None:
    slo = SloSpec(
        success_rate=0.9995,
        latency=(LatencyObjective(quantile=0.99, at_most_ms=300), LatencyObjective(quantile=0.999, at_most_ms=900)),
    )
    assert list(budgets(slo)) == ["success_rate", "latency.p99", "latency.p99.9"]
    assert list(budgets(SloSpec())) == []


@pytest.mark.parametrize("objective", [0.0, 1.0, 1.5, -1.0])
def test_an_objective_that_leaves_nothing_or_all_is_refused(objective: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Budget(objective)


few = settings(max_examples=min(settings.default.max_examples if settings.default else 100, 500))


@few
@given(
    st.lists(
        st.tuples(st.integers(1, 4_000), st.integers(0, 50), st.integers(0, 50), st.booleans()), min_size=1, max_size=60
    )
)
def test_rings_say_what_adding_up_all_seconds_says(steps: list[tuple[int, int, int, bool]]) -> None:
    budget, seen, at = Budget(0.99), [], 1_000_000
    for gap_s, bad, good, is_gap in steps:
        at += gap_s
        one = second(at, failed=bad, total=bad + good, gap="silent" if is_gap else None)
        budget.take(one)
        seen += [] if is_gap else [(at, bad, bad + good)]
    everything = [one for one in seen if one[0] >= (at // 60 - PERIOD_MINUTES + 1) * 60]
    assert budget.state().known == pytest.approx(len(everything) / (PERIOD_MINUTES * 60))
    first = (at // 60 - 359) * 60
    total = sum(count for when, _, count in seen if when >= first)
    bad = sum(count for when, count, _ in seen if when >= first)
    burn = budget._burn(WINDOWS[1])
    assert burn.known == pytest.approx(sum(when >= first for when, _, _ in seen) / (360 * 60))
    assert budget._sum(360)[:2] == (bad, total)


def state_of(long: float | None, short: float | None) -> BudgetState:
    burn = {window.name: Burn(long=None, short=None, known=0.0) for window in WINDOWS}
    burn["1h"] = Burn(long=long, short=short, known=1.0)
    return BudgetState(objective=0.999, budget_left=1.0, known=1.0, burn=burn, alerts=())


@pytest.mark.parametrize(
    ("long", "short", "was_on", "is_on"),
    [
        (15.0, 15.0, False, True),
        (15.0, 14.0, False, False),  # the short window is not above
        (14.0, 14.0, True, True),  # hovers about the factor: told once
        (15.0, 12.0, True, False),
        (None, None, True, True),  # what is not known ends nothing
        (15.0, None, True, True),
        (None, None, False, False),
    ],
)
def test_an_alert_begins_above_its_factor_and_ends_when_one_window_is_known_to_be_well_below(
    long: float | None, short: float | None, was_on: bool, is_on: bool
) -> None:
    before = frozenset({"1h"}) if was_on else frozenset[str]()
    assert burning(state_of(long, short), before=before) == (frozenset({"1h"}) if is_on else frozenset())


def test_a_budget_says_since_when_it_knows() -> None:
    budget = Budget(0.99)
    budget.take(second(600, gap="Envoy did not answer"))
    assert budget.state().since is None
    budget.take(second(700))
    assert budget.state().since == 700
    budget.take(second(40 * DAY_S))
    assert budget.state().since == (40 * 24 * 60 - PERIOD_MINUTES + 1) * 60
