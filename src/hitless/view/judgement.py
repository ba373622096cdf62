"""From a judge's word and its evidence to the view that people get."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from hitless.analysis.ruling import Estimate, Judgement, RowReport, Ruling
from hitless.view.models import EstimateView, EvidenceView, JudgementView, Since


def judgement_view(judgement: Judgement | None, ruling: Ruling | None) -> JudgementView | None:
    """Render a judgement; without one, the ruling that was journaled last, if there is any."""
    said = judgement.ruling if judgement is not None else ruling
    if said is None:
        return None
    return {
        "call": said.call.value,
        "why": said.why.value,
        "row": said.row,
        "sentence": said.sentence,
        "detail": judgement.detail if judgement is not None else said.sentence,
        "next_share_bp": said.next_share_bp,
        "rows": [evidence_view(one, since=_since(one)) for one in judgement.rows] if judgement is not None else [],
        "missing_requests": judgement.missing_requests if judgement is not None else None,
        "missing_s": finite(judgement.missing_s) if judgement is not None else None,
        "promise": judgement.promise if judgement is not None else "",
        "settings": said.settings,
        "at": _moment(judgement.at) if judgement is not None else None,
    }


def evidence_view(row: RowReport, *, since: Since | None) -> EvidenceView[Since]:
    """Render one row."""
    return {
        "name": row.name,
        "title": row.title,
        "acts": row.acts.value,
        "log_evidence": finite(row.log_evidence),
        "log_needed": finite(row.log_needed),
        "weight": row.weight,
        "canary": list(row.canary) if row.canary is not None else None,
        "baseline": list(row.baseline) if row.baseline is not None else None,
        "coverage": finite(row.coverage),
        "estimate": _estimate(row.estimate) if row.estimate is not None else None,
        "since": since,
        "detail": row.detail,
    }


def _estimate(estimate: Estimate) -> EstimateView:
    return {
        "value": finite(estimate.value),
        "low": finite(estimate.low),
        "high": finite(estimate.high),
        "unit": estimate.unit,
    }


def finite(number: float | None) -> float | None:
    """Return the number, or None: JSON has no infinity, and what is without bound is not known."""
    return number if number is not None and math.isfinite(number) else None


def _since(row: RowReport) -> str | None:
    return _moment(row.since) if row.since is not None else None


def _moment(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()
