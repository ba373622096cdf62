"""From judgements to the document that `hitless analyse` prints."""

from __future__ import annotations

from typing import Literal, TypedDict

from hitless.analysis.figures import Comparison
from hitless.analysis.replay import Verdict
from hitless.analysis.ruling import RowReport
from hitless.view.judgement import evidence_view, finite
from hitless.view.models import EvidenceView


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
    rows: list[EvidenceView[int]]


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
        "missing_s": finite(judgement.missing_s),
        "seconds": verdict.seconds,
        "background_s": background_s,
        "settings": ruling.settings,
        "promise": judgement.promise,
        "rows": [evidence_view(row, since=_since(row, first)) for row in judgement.rows],
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
        "low": finite(found.low),
        "high": finite(found.high),
        "margin": found.margin,
    }


def _since(row: RowReport, first: int) -> int | None:
    return None if row.since is None else row.since - first
