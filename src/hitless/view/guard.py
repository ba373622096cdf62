"""From what the guard says to the document that `hitless migrate guard --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from hitless.schema.change.standing import Part
from hitless.schema.guard.decision import Block, Decision
from hitless.schema.guard.evidence import Evidence
from hitless.schema.guard.verdict import Judged
from hitless.view.schema_models import GuardBlockView, GuardEvidenceView, GuardVersionView, GuardView


def guard_view(change: str, part: Part, decision: Decision, counters: Mapping[str, int | None]) -> GuardView:
    """Render a decision."""
    return {
        "change": change,
        "part": part.value,
        "clear": decision.is_clear,
        "versions": [_version(one) for one in decision.judged],
        "blocks": [_block(one) for one in decision.blocks],
        "overridden": [
            {
                **_block(block),
                "by": word.actor,
                "reason": word.reason,
                "expires_at": _moment(word.expires_at) or "",
            }
            for block, word in decision.overridden
        ],
        "counters": dict(counters),
        "notes": list(decision.notes),
    }


def _version(one: Judged) -> GuardVersionView:
    return {
        "name": one.name,
        "because": list(one.because),
        "verdict": one.verdict.value,
        "uses": [
            {
                "way": use.way,
                "source": use.source.value,
                "origin": use.origin,
                "statement": use.statement,
                "calls": use.calls,
                "last_seen": _moment(use.last_seen),
                "place": use.place,
            }
            for use in one.uses
        ],
        "doubts": [{"reason": each.reason, "statement": each.statement, "place": each.place} for each in one.doubts],
        "evidence": [_evidence(each) for each in one.evidence],
    }


def _evidence(one: Evidence) -> GuardEvidenceView:
    return {
        "source": one.source.value,
        "origin": one.origin,
        "statements": len(one.statements),
        "models": len(one.mapped),
        "since": _moment(one.since),
        "shows_absence": one.shows_absence,
        "lacks": list(one.lacks),
    }


def _block(one: Block) -> GuardBlockView:
    return {
        "subject": one.subject,
        "sentence": one.sentence,
        "evidence": list(one.evidence),
        "remedies": list(one.remedies),
        "may_be_overridden": one.may_be_overridden,
    }


def _moment(value: datetime | None) -> str | None:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value is not None else None
