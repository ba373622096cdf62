from __future__ import annotations

from hitless.preflight.finding import Finding, PreflightReport
from hitless.view.models import PreflightFindingView, PreflightView


def preflight_view(report: PreflightReport, *, service: str, version: str) -> PreflightView:
    """Render what a preflight found."""
    return {
        "service": service,
        "version": version,
        "passed": report.passed,
        "findings": [_finding(one) for one in report.findings],
        "keep_alive_s": report.keep_alive_s,
    }


def _finding(finding: Finding) -> PreflightFindingView:
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "sentence": finding.sentence,
        "evidence": list(finding.evidence),
        "remedy": finding.remedy,
    }
