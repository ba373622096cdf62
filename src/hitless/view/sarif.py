"""A lint as SARIF 2.1.0 (OASIS), which code-scanning services read."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from hitless import __version__
from hitless.schema.rules.registry import RULES
from hitless.schema.rules.rule import Rule, Severity
from hitless.view.schema_models import LintFindingView, LintView, UnreadView

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
UNREADABLE = "unreadable"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.OFF: "note"}


def sarif(view: LintView) -> dict[str, Any]:
    """Render a lint as one run; what a comment allows is in it as suppressed (section 3.27.23)."""
    results = [_unread(one) for one in view["unread"]]
    results += [_result(one) for one in view["findings"]]
    for allowed in view["allowed"]:
        why = {"kind": "inSource", "justification": allowed["reason"]}
        results.append({**_result(allowed), "suppressions": [why]})
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": _driver()},
                "results": results,
                "columnKind": "unicodeCodePoints",
                "invocations": [{"executionSuccessful": not view["unread"]}],
            }
        ],
    }


def _driver() -> dict[str, Any]:
    unreadable = {"id": UNREADABLE, "shortDescription": {"text": "A file is not PostgreSQL's SQL."}}
    return {
        "name": "hitless",
        "version": __version__,
        "rules": [unreadable, *(_rule(one) for one in RULES.values())],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.safe},
        "defaultConfiguration": {"enabled": rule.severity is not Severity.OFF, "level": _LEVELS[rule.severity]},
        "properties": {"tags": [rule.family.value]},
    }


def _result(one: LintFindingView) -> dict[str, Any]:
    text = f"{one['message']}\n\n{one['fix']}" if one["fix"] else one["message"]
    return {
        "ruleId": one["rule"],
        "level": one["severity"],
        "message": {"text": text},
        "locations": [_location(one["file"], one["line"], one["column"])],
        "properties": {"phase": one["phase"], "lock": one["lock"]},
    }


def _unread(one: UnreadView) -> dict[str, Any]:
    return {
        "ruleId": UNREADABLE,
        "level": "error",
        "message": {"text": one["message"]},
        "locations": [_location(one["file"], one["line"], one["column"])],
    }


def _location(file: str, line: int, column: int) -> dict[str, Any]:
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(file.replace("\\", "/"), safe="/:._-")},
            "region": {"startLine": line, "startColumn": column},
        }
    }
