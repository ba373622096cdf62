"""Applications' own figures: from text to calls per second; and seconds that are kept."""

from __future__ import annotations

import pytest

from hitless.adapters.metrics.calls import CARRIED_FOR_S, CallMeter, Reading
from hitless.adapters.metrics.exposition import MOST_DEPENDENCIES, Counters, NotExposition, is_failure, parse_calls
from hitless.adapters.metrics.history import KEPT_S, History
from hitless.analysis.counts import Call, Cell, Fates, Second
from hitless.rollout.spec import LOCAL, InstanceId, Version

PROMETHEUS = """\
# HELP hitless_dependency_calls_total Calls.
# TYPE hitless_dependency_calls_total counter
hitless_dependency_calls_total{dependency="payments",outcome="ok"} 1027
hitless_dependency_calls_total{dependency="payments",outcome="error"} 3
# TYPE process_open_fds gauge
process_open_fds 12
"""


def sums(counters: Counters) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for one in counters.values():
        total, failed = found.get(one.dependency, (0.0, 0.0))
        found[one.dependency] = (total + one.value, failed + one.value * one.is_failure)
    return found


def test_the_convention_is_read() -> None:
    assert sums(parse_calls(PROMETHEUS)) == {"payments": (1030, 3)}


def test_openmetrics_is_told_by_its_content_type() -> None:
    text = (
        "# TYPE hitless_dependency_calls counter\n"
        'hitless_dependency_calls_total{dependency="db",outcome="ok"} 7\n'
        'hitless_dependency_calls_created{dependency="db",outcome="ok"} 1.6e9\n'
        "# EOF\n"
    )
    assert sums(parse_calls(text, content_type="application/openmetrics-text; version=1.0.0")) == {"db": (7, 0)}


def test_clients_counters_are_read_by_status_and_the_convention_wins() -> None:
    text = PROMETHEUS + (
        "# TYPE http_client_requests_total counter\n"
        'http_client_requests_total{target="payments",status="200"} 9\n'
        'http_client_requests_total{target="search",status="200"} 5\n'
        'http_client_requests_total{target="search",status="502"} 2\n'
        "# TYPE grpc_client_handled_total counter\n"
        'grpc_client_handled_total{upstream="stock",code="OK"} 4\n'
        'grpc_client_handled_total{upstream="stock",code="Unavailable"} 1\n'
        "# TYPE http_client_seconds histogram\n"
        'http_client_seconds_count{target="search",status="200"} 5\n'
        "# TYPE pool gauge\n"
        'pool{service="db",status="idle"} 8\n'
    )
    assert sums(parse_calls(text)) == {"payments": (1030, 3), "search": (7, 2), "stock": (5, 1)}


def test_a_counter_of_nan_and_more_dependencies_than_anyone_has_are_left_out() -> None:
    lines = [f'x_total{{dependency="d{number:03}",outcome="ok"}} 1' for number in range(MOST_DEPENDENCIES + 9)]
    text = "# TYPE x_total counter\n" + "\n".join(lines) + '\nx_total{dependency="a",outcome="ok"} NaN\n'
    assert len(sums(parse_calls(text))) == MOST_DEPENDENCIES


@pytest.mark.parametrize("text", ['a_total{dependency="x",outcome="ok} 1', 'a_total{dependency="x",outcome="ok"} many'])
def test_what_is_no_exposition_is_refused(text: str) -> None:
    with pytest.raises(NotExposition):
        parse_calls(text)


def test_outcomes_are_failures_by_number_or_word() -> None:
    words = ("500", "503", "0", "", "error", "Timeout", "Unavailable", "DEADLINE_EXCEEDED", "5xx")
    assert all(is_failure(one) for one in words)
    assert not any(is_failure(one) for one in ("200", "404", "ok", "success", "OK", "NotFound", "2xx", "true"))


def counters(ok: float, error: float = 0.0) -> Counters:
    return parse_calls(
        "# TYPE hitless_dependency_calls_total counter\n"
        f'hitless_dependency_calls_total{{dependency="db",outcome="ok"}} {ok}\n'
        f'hitless_dependency_calls_total{{dependency="db",outcome="error"}} {error}\n'
    )


def reading(name: str, found: Counters | None, version: str = "v1") -> Reading:
    return Reading(instance=InstanceId(name), region=LOCAL, version=Version(version), counters=found)


def call(total: int, failed: int = 0, version: str = "v1") -> Call:
    return Call(region=LOCAL, version=Version(version), dependency="db", fates=Fates(total=total, failed=failed))


def test_calls_are_what_counters_grew_by_from_the_first_reading_on() -> None:
    meter = CallMeter()
    assert meter.read([reading("a", counters(1_000, 50))], at=1) == ()
    assert meter.read([reading("a", counters(1_010, 52))], at=2) == (call(12, 2),)
    assert meter.read([reading("a", counters(1_010, 52))], at=3) == ()


def test_a_counter_that_fell_is_a_worker_that_was_replaced_and_no_second_counts_what_others_ever_called() -> None:
    meter = CallMeter()
    meter.read([reading("a", counters(4_000, 20))], at=1)
    assert meter.read([reading("a", counters(3_000, 15))], at=2) == ()
    assert meter.read([reading("a", counters(3_005, 16))], at=3) == (call(6, 1),)


def test_a_counter_that_is_not_told_once_stands_where_it_stood() -> None:
    meter = CallMeter()
    meter.read([reading("a", counters(1_000, 50))], at=1)
    without = {series: one for series, one in counters(1_001).items() if not one.is_failure}
    assert meter.read([reading("a", without)], at=2) == (call(1),)
    assert meter.read([reading("a", counters(1_002, 51))], at=3) == (call(2, 1),)


def test_an_outcome_that_appears_later_is_counted_from_zero() -> None:
    meter = CallMeter()
    first = {series: one for series, one in counters(10).items() if not one.is_failure}
    meter.read([reading("a", first)], at=1)
    assert meter.read([reading("a", counters(10, 3))], at=2) == (call(3, 3),)


def test_calls_of_a_version_with_a_silent_instance_are_missing_and_come_with_the_next_second() -> None:
    meter = CallMeter()
    meter.read([reading("a", counters(0)), reading("b", counters(0)), reading("c", counters(0), "v2")], at=1)
    second = [reading("a", counters(5)), reading("b", None), reading("c", counters(1), "v2")]
    assert meter.read(second, at=2) == (call(1, version="v2"),)
    third = [reading("a", counters(7)), reading("b", counters(4)), reading("c", counters(1), "v2")]
    assert meter.read(third, at=3) == (call(11),)


def test_calls_that_are_too_old_are_not_compared_with_others_new_ones() -> None:
    meter = CallMeter()
    meter.read([reading("a", counters(0))], at=1)
    for at in range(2, CARRIED_FOR_S + 3):
        assert meter.read([reading("a", None)], at=at) == ()
    assert meter.read([reading("a", counters(500))], at=CARRIED_FOR_S + 3) == ()
    assert meter.read([reading("a", counters(502))], at=CARRIED_FOR_S + 4) == (call(2),)


def second(at: int) -> Second:
    cell = Cell(region=LOCAL, route="GET /", version=Version("v1"), requests=Fates(total=at), durations={at % 500: 1})
    return Second(at=at, cells=(cell,))


def test_a_history_has_no_hole_and_nothing_twice() -> None:
    history = History(upcoming=10)
    for one in (10, 11, 14, 14, 12, 15):
        history.add(second(one))
    found = history.later_than(9)
    assert [(one.at, one.gap is not None) for one in found] == [
        (10, False),
        (11, False),
        (12, True),
        (13, True),
        (14, False),
        (15, False),
    ]
    history.fill(until=18, reason="silence")
    history.add(second(17))
    assert [one.gap for one in history.later_than(15)] == ["silence", "silence"]


def test_what_is_packed_comes_back_as_it_was_and_forty_minutes_are_kept() -> None:
    history = History(upcoming=0)
    for one in range(4_000):
        history.add(second(one))
    found = history.copy().later_than(-1)
    assert found == tuple(second(one) for one in range(found[0].at, 4_000))
    assert 40 * 60 <= len(found) <= KEPT_S + 120
    assert history.is_recent(3_990)
    assert not history.is_recent(1_000)
    assert history.later_than(3_995) == tuple(second(one) for one in range(3_996, 4_000))


def test_after_a_sleep_of_days_only_as_much_is_made_up_for_as_is_kept() -> None:
    history = History(upcoming=0)
    history.add(second(0))
    history.add(second(10**9))
    found = history.later_than(-1)
    assert [one.at for one in found] == list(range(10**9 - KEPT_S, 10**9 + 1))
    assert all(one.gap is not None for one in found[:-1])
