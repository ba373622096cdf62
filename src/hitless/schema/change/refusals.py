"""What the planner refuses, and why."""

from __future__ import annotations

from hitless.errors import Refused


class CannotPlan(Refused):
    """A change cannot be made without downtime as it is written, or nobody can tell."""

    code = "HL4510"

    def __init__(self, message: str, *remedies: str, evidence: tuple[str, ...] = ()) -> None:
        super().__init__(message, evidence=evidence, hints=remedies)
