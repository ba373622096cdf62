from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a finding means for the rollout."""

    REFUSAL = "refusal"  # turns it back
    WARNING = "warning"  # is told


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one rule found.

    Attributes:
        rule: its name, stable.
        sentence: what is wrong, for people.
        evidence: what was seen, one fact a line, times in seconds after the start of the process.
        remedy: what to do about it.
    """

    rule: str
    severity: Severity
    sentence: str
    evidence: tuple[str, ...] = ()
    remedy: str

    @property
    def is_refusal(self) -> bool:
        """Tell whether it turns a rollout back."""
        return self.severity is Severity.REFUSAL


@dataclass(frozen=True, slots=True, kw_only=True)
class PreflightReport:
    """Outcome of a preflight.

    Attributes:
        findings: refusals first.
        keep_alive_s: after how long the application closed an idle connection; None = not before what the settings say.
    """

    findings: tuple[Finding, ...] = ()
    keep_alive_s: float | None = None

    @property
    def passed(self) -> bool:
        """Tell whether nothing was found that turns a rollout back."""
        return not any(one.is_refusal for one in self.findings)

    @property
    def cause(self) -> str:
        """Say in one sentence why it turned the rollout back."""
        return "; ".join(f"{one.sentence} ({one.rule})" for one in self.findings if one.is_refusal)
