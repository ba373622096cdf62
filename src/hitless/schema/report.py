"""What a lint says: findings, statements with their classification, and what could not be read."""

from __future__ import annotations

from dataclasses import dataclass

from hitless.schema.effects.effect import Effect, Phase
from hitless.schema.effects.locks import LockMode
from hitless.schema.rules.rule import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a rule found at one place.

    Attributes:
        lock: the strongest lock of the statement; None = it takes none.
        fix: SQL to paste.
        reason: why a comment allows it; None = none does.
    """

    file: str
    line: int
    column: int
    rule: str
    severity: Severity
    phase: Phase
    lock: LockMode | None
    message: str
    fix: str = ""
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """A statement, and what it does to others."""

    file: str
    line: int
    column: int
    last_line: int
    text: str
    effect: Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A place that the parser does not understand."""

    file: str
    line: int
    column: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All of it, in the order of the files.

    Attributes:
        allowed: findings that a comment allows, with its reason.
    """

    files: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    allowed: tuple[Finding, ...] = ()
    statements: tuple[Classified, ...] = ()
    unread: tuple[Unread, ...] = ()

    def count(self, severity: Severity) -> int:
        """Count the findings of a severity."""
        return sum(one.severity is severity for one in self.findings)
