"""From judgements to the document that `hitless analyse` prints."""

from __future__ import annotations

import math
from typing import Literal, TypedDict

from hitless.analysis.figures import Comparison
from hitless.analysis.replay import Verdict
from hitless.analysis.ruling import RowReport


class EstimateView(TypedDict):
    """How much worse; None = unbounded on that side, or not known."""

    value: float | None
    low: float | None
    high: float | None
    unit: str


class RowView(TypedDict):
    """One row of a judge; counts are `[bad, all]`, `since` is the second in which it first reached its bound."""

    name: str
    title: str
    acts: str
    log_evidence: float | None
    log_needed: float | None
    weight: float
    canary: list[int] | None
    baseline: list[int] | None
    coverage: float | None
    estimate: EstimateView | None
    since: int | None
    detail: str


class AnalysisView(TypedDict):
    """What a judge says of requests or of a recording. `second`: from the beginning of what was read; None = a HOLD.

    `shown_for_bp`: the largest share of the traffic that the new version is shown to be no worse for.
    """

    source: Literal["requests", "recording"]
    verdict: Literal["rollback", "promote", "hold"]
    second: int | None
    why: str
    row: str | None
    sentence: str
    detail: str
    shown_for_bp: int
    missing_requests: int | None
    missing_s: float | None
    seconds: int
    background_s: int
    settings: str
    promise: str
    rows: list[RowView]


class FigureView(TypedDict):
    """How two columns of numbers compare; `after` counts values of the new version, None = a HOLD."""

    source: Literal["metric"]
    verdict: Literal["rollback", "promote", "hold"]
    after: int | None
    baseline: dict[str, float]
    canary: dict[str, float]
    difference: float | None
    low: float | None
    high: float | None
    margin: float


def analysis_view(
    verdict: Verdict, *, source: Literal["requests", "recording"], first: int, background_s: int
) -> AnalysisView:
    """Render a verdict; seconds count from `first`."""
    judgement = verdict.judgement
    ruling = judgement.ruling
    return {
        "source": source,
        "verdict": ruling.call.value,
        "second": None if verdict.fell_at is None else verdict.fell_at - first,
        "why": ruling.why.value,
        "row": ruling.row,
        "sentence": ruling.sentence,
        "detail": judgement.detail,
        "shown_for_bp": ruling.next_share_bp,
        "missing_requests": judgement.missing_requests,
        "missing_s": judgement.missing_s,
        "seconds": verdict.seconds,
        "background_s": background_s,
        "settings": ruling.settings,
        "promise": judgement.promise,
        "rows": [row_view(row, first=first) for row in judgement.rows],
    }


def row_view(row: RowReport, *, first: int = 0) -> RowView:
    """Render a row; what is infinite is not known."""
    estimate = row.estimate
    return {
        "name": row.name,
        "title": row.title,
        "acts": row.acts.value,
        "log_evidence": _finite(row.log_evidence),
        "log_needed": _finite(row.log_needed),
        "weight": row.weight,
        "canary": list(row.canary) if row.canary else None,
        "baseline": list(row.baseline) if row.baseline else None,
        "coverage": row.coverage,
        "estimate": None
        if estimate is None
        else {
            "value": _finite(estimate.value),
            "low": _finite(estimate.low),
            "high": _finite(estimate.high),
            "unit": estimate.unit,
        },
        "since": None if row.since is None else row.since - first,
        "detail": row.detail,
    }


def figure_view(found: Comparison) -> FigureView:
    """Render a comparison of two columns."""
    return {
        "source": "metric",
        "verdict": found.call.value,
        "after": found.fell_at,
        "baseline": {"count": found.baseline[0], "mean": found.baseline[1]},
        "canary": {"count": found.canary[0], "mean": found.canary[1]},
        "difference": found.difference,
        "low": _finite(found.low),
        "high": _finite(found.high),
        "margin": found.margin,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
