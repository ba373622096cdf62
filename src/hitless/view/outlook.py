"""From what a canary's steps can show to the document that `hitless plan --rate` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from hitless.analysis.planning import Detection, StepOutlook


class DetectionView(TypedDict):
    """A version that fails so many times as often: when it is found, on average, and how many failures that costs."""

    factor: float
    requests: int
    seconds: float
    failed: float
    within_hold: bool


class OutlookView(TypedDict):
    """One step of a canary; `least_factor`: what is found within its hold, None = nothing."""

    share_bp: int
    next_share_bp: int
    hold_s: float
    margin: float
    needed_requests: int
    needed_s: float
    enough: bool
    detections: list[DetectionView]
    least_factor: float | None
    proposed_hold_s: float


class OutlooksView(TypedDict):
    """What a rollout at this traffic can and cannot show."""

    service: str
    requests_per_s: float
    failure_rate: float
    false_rollback: float
    false_promotion: float
    error_margin: float
    steps: list[OutlookView]


def outlook_view(step: StepOutlook) -> OutlookView:
    """Render what one step needs and shows."""
    return {
        "share_bp": step.share_bp,
        "next_share_bp": step.next_share_bp,
        "hold_s": step.hold_s,
        "margin": step.margin,
        "needed_requests": step.needed_requests,
        "needed_s": round(step.needed_s, 1),
        "enough": step.is_enough,
        "detections": _detections(step.detections),
        "least_factor": None if step.least_factor is None else round(step.least_factor, 3),
        "proposed_hold_s": step.proposed_hold_s,
    }


def _detections(found: Sequence[Detection]) -> list[DetectionView]:
    return [
        {
            "factor": one.factor,
            "requests": one.requests,
            "seconds": round(one.seconds, 1),
            "failed": round(one.failed, 1),
            "within_hold": one.is_within_hold,
        }
        for one in found
    ]
