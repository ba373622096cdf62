"""From a lint's report to the document that `hitless migrate lint --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

from hitless.schema.effects.effect import Compatibility, Lock, Work
from hitless.schema.report import Classified, Finding, Report
from hitless.schema.rules.rule import Rule, Severity
from hitless.view.schema_models import (
    AllowedFindingView,
    LintFindingView,
    LintRuleView,
    LintSeverity,
    LintStatementView,
    LintView,
    TableLockView,
)

COMPATIBILITIES: Mapping[Compatibility, Literal["full", "restricts", "breaks"]] = {
    Compatibility.FULL: "full",
    Compatibility.RESTRICTS: "restricts",
    Compatibility.BREAKS: "breaks",
}
WORKS: Mapping[Work, Literal["none", "scan", "rewrite"]] = {
    Work.NONE: "none",
    Work.SCAN: "scan",
    Work.REWRITE: "rewrite",
}


def lint_view(report: Report, *, postgres: int) -> LintView:
    """Render a lint."""
    return {
        "postgres": postgres,
        "files": list(report.files),
        "errors": report.count(Severity.ERROR),
        "warnings": report.count(Severity.WARNING),
        "findings": [_finding(one) for one in report.findings],
        "allowed": [_allowed(one) for one in report.allowed],
        "statements": [_statement(one) for one in report.statements],
        "unread": [
            {"file": one.file, "line": one.line, "column": one.column, "message": one.message} for one in report.unread
        ],
    }


def _finding(one: Finding) -> LintFindingView:
    return {
        "file": one.file,
        "line": one.line,
        "column": one.column,
        "rule": one.rule,
        "phase": one.phase.value,
        "lock": one.lock.sql if one.lock else None,
        "severity": cast("LintSeverity", one.severity.value),
        "message": one.message,
        "fix": one.fix,
    }


def _allowed(one: Finding) -> AllowedFindingView:
    return {**_finding(one), "reason": one.reason or ""}


def _statement(one: Classified) -> LintStatementView:
    effect = one.effect
    return {
        "file": one.file,
        "line": one.line,
        "column": one.column,
        "phase": effect.phase.value,
        "compatibility": COMPATIBILITIES[effect.compatibility],
        "outside_transaction": effect.outside_transaction,
        "locks": [_lock(lock) for lock in effect.locks],
    }


def _lock(lock: Lock) -> TableLockView:
    return {
        "relation": str(lock.relation),
        "mode": lock.mode.sql,
        "blocks_reads": lock.mode.blocks_reads,
        "blocks_writes": lock.mode.blocks_writes,
        "work": WORKS[lock.work],
    }


def rule_view(rule: Rule) -> LintRuleView:
    """Render a rule."""
    return {
        "id": rule.id,
        "family": rule.family.value,
        "severity": rule.severity.value,
        "summary": rule.summary,
        "why": rule.why,
        "safe": rule.safe,
    }
