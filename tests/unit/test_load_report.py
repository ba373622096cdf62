from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hitless.testing.load import (
    COLUMNS,
    Failure,
    Kind,
    KindReport,
    PostCheck,
    Report,
    Verdict,
    from_json,
    rows,
    to_json,
)
from hitless.testing.load.fate import OK, Answer
from hitless.testing.load.histogram import Histogram
from hitless.testing.load.ledger import Ledger

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
GOOD = KindReport(sent=10, answered=10, versions={"v1": 10}, latency=Histogram(buckets={100: 10}, max_ms=9.0))
BAD = KindReport(sent=10, answered=8, failed={"reset": 2}, versions={"v1": 5, "v2": 3}, changes={"v1->v2": 1})
EXAMPLE = Failure(at=NOON, kind=Kind.POST, cause="reset", mark="rolling", connection_age_s=1.5, local_port=40_000)


def report(**changes: object) -> Report:
    return replace(Report(started_at=NOON, duration_s=30.0, kinds={Kind.KEEPALIVE: GOOD}), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Verdict.CLEAN),
        ({"kinds": {Kind.KEEPALIVE: BAD}}, Verdict.FAILED),
        ({"kinds": {}}, Verdict.NO_EVIDENCE),
        ({"kinds": {Kind.KEEPALIVE: GOOD, Kind.SSE: KindReport()}}, Verdict.NO_EVIDENCE),
        ({"kinds": {Kind.KEEPALIVE: replace(GOOD, unsent=1)}}, Verdict.INCOMPLETE),
        ({"posts": PostCheck(acknowledged=5, executed=5)}, Verdict.CLEAN),
        ({"posts": PostCheck(problem="http_404")}, Verdict.INCOMPLETE),
        ({"posts": PostCheck(acknowledged=5, executed=5, duplicates=1)}, Verdict.FAILED),
        ({"posts": PostCheck(acknowledged=5, executed=4, lost=1)}, Verdict.FAILED),
    ],
)
def test_success_needs_evidence(changes: dict[str, object], verdict: Verdict) -> None:
    assert report(**changes).verdict is verdict


def test_reports_of_loads_side_by_side_add_up() -> None:
    one = report(by_mark={"rolling": {Kind.KEEPALIVE: GOOD}}, posts=PostCheck(acknowledged=1, lost=1))
    later = NOON + timedelta(seconds=5)
    other = report(
        started_at=later,
        kinds={Kind.KEEPALIVE: BAD, Kind.POST: GOOD},
        by_mark={"rolling": {Kind.KEEPALIVE: BAD}, "canary": {Kind.POST: GOOD}},
        posts=PostCheck(acknowledged=2, duplicates=3),
        examples=(EXAMPLE,),
    )
    both = one + other
    assert both.started_at == NOON
    assert (both.sent, both.failed) == (30, 2 + 1 + 3)
    assert both.kinds[Kind.KEEPALIVE].versions == {"v1": 15, "v2": 3}
    assert both.kinds[Kind.KEEPALIVE].changes == {"v1->v2": 1}
    assert both.failed_in("rolling") == 2
    assert set(both.by_mark) == {"rolling", "canary"}
    assert both.examples == (EXAMPLE,)


def test_a_report_survives_its_way_through_json() -> None:
    whole = report(
        kinds={Kind.KEEPALIVE: GOOD, Kind.POST: BAD},
        by_mark={"rolling": {Kind.POST: BAD}},
        posts=PostCheck(acknowledged=8, executed=8),
        is_capped=True,
        examples=(EXAMPLE,),
    )
    assert from_json(json.loads(json.dumps(to_json(whole)))) == whole


def test_rows_have_all_columns_and_end_with_the_sum() -> None:
    table = rows(report(kinds={Kind.KEEPALIVE: GOOD, Kind.POST: BAD}))
    assert {len(row) for row in table} == {len(COLUMNS)}
    assert [row[0] for row in table] == ["keepalive", "post", "all"]
    assert table[-1][1:5] == ("20", "18", "2", "2 reset")


def ledger() -> Ledger:
    return Ledger([Kind.POST], version_header="X-Version", version_field="v", now=lambda: NOON, monotonic=lambda: 0.0)


def test_examples_of_one_cause_leave_room_for_those_of_others() -> None:
    book = ledger()
    for _ in range(100):
        book.settle(Kind.POST, Answer(cause="reset"), latency_s=None)
    book.settle(Kind.POST, Answer(cause=OK, status=500), latency_s=None)
    causes = [example.cause for example in book.examples]
    assert causes == ["reset"] * 5 + ["http_500"]
    assert book.kinds()[Kind.POST].failed == {"reset": 100, "http_500": 1}


@pytest.mark.parametrize(
    ("headers", "body", "version"),
    [
        (((b"x-version", b"v1"),), b'{"v": "v2"}', "v1"),
        ((), b'{"v": "v2"}', "v2"),
        ((), b'{"w": 1}', ""),
        ((), b"{no json", ""),
        ((), b"", ""),
    ],
)
def test_a_version_is_read_from_the_header_else_from_the_body(
    headers: tuple[tuple[bytes, bytes], ...], body: bytes, version: str
) -> None:
    assert ledger().version_of(Answer(cause=OK, status=200, headers=headers, body=body)) == version


def test_a_fate_is_counted_in_the_window_in_which_it_became_known() -> None:
    book = ledger()
    book.settle(Kind.POST, Answer(cause=OK, status=200), latency_s=0.01)
    book.mark("rolling")
    book.settle(Kind.POST, Answer(cause="reset"), latency_s=None)
    book.mark("")
    book.settle(Kind.POST, Answer(cause=OK, status=200), latency_s=0.01)
    windows = book.by_mark()
    assert (windows[""][Kind.POST].answered, windows[""][Kind.POST].failures) == (2, 0)
    assert windows["rolling"][Kind.POST].failed == {"reset": 1}
