"""What people get of a judgement."""

from __future__ import annotations

import json
import math

from hitless.analysis.ruling import Call, Estimate, Judgement, RowReport, Ruling, Why
from hitless.view.judgement import judgement_view

WORSE = Ruling(call=Call.ROLLBACK, why=Why.WORSE, row="errors", sentence="errors: 9 times the odds", settings="abc")
ROW = RowReport(
    name="errors",
    title="failed requests",
    acts=Call.ROLLBACK,
    log_evidence=math.inf,
    log_needed=5.8,
    weight=0.3,
    canary=(37, 4_120),
    baseline=(12, 12_300),
    coverage=1.0,
    estimate=Estimate(value=9.0, low=3.1, high=math.inf),
    since=1_700_000_000,
)


def test_without_a_word_there_is_no_judgement() -> None:
    assert judgement_view(None, None) is None


def test_what_was_journaled_stands_in_where_the_evidence_is_not_at_hand() -> None:
    view = judgement_view(None, WORSE)
    assert view is not None
    assert (view["call"], view["why"], view["row"], view["settings"]) == ("rollback", "worse", "errors", "abc")
    assert (view["at"], view["rows"], view["missing_requests"]) == (None, [], None)


def test_evidence_without_bound_is_not_known_and_never_breaks_a_document() -> None:
    judgement = Judgement(at=1_700_000_001, ruling=WORSE, detail="d", rows=(ROW,), missing_s=math.nan, promise="p")
    view = judgement_view(judgement, None)
    assert view is not None
    (row,) = view["rows"]
    assert row["estimate"] == {"value": 9.0, "low": 3.1, "high": None, "unit": "odds"}
    assert (row["log_evidence"], row["canary"], row["baseline"]) == (None, [37, 4_120], [12, 12_300])
    assert (row["since"], view["at"]) == ("2023-11-14T22:13:20+00:00", "2023-11-14T22:13:21+00:00")
    assert view["missing_s"] is None
    json.dumps(view, allow_nan=False)
