"""From findings to the document that `hitless doctor` prints."""

from __future__ import annotations

from collections.abc import Mapping

from hitless.doctor.catalogue import CHECKS
from hitless.doctor.finding import Findings, Verdict, worst
from hitless.view.models import CheckView, DoctorView, FindingView


def doctor_view(found: Mapping[str, Findings], *, directory: str) -> DoctorView:
    """Render an examination, worst verdict first in each head."""
    checks = [_check_view(name, findings) for name, findings in found.items()]
    return {
        "directory": directory,
        "verdict": worst(Verdict(check["verdict"]) for check in checks).value,
        "checks": checks,
    }


def _check_view(name: str, findings: Findings) -> CheckView:
    check = CHECKS[name]
    return {
        "name": name,
        "title": check.title,
        "scope": check.scope,
        "limit": check.limit,
        "verdict": worst(one.verdict for one in findings).value,
        "findings": [_finding_view(one.verdict, one.measured, one.next) for one in findings],
    }


def _finding_view(verdict: Verdict, measured: str, commands: tuple[str, ...]) -> FindingView:
    return {"verdict": verdict.value, "measured": measured, "next": list(commands)}
