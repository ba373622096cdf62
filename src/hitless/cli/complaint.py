"""Errors on the screen: the cause, its place, the evidence, then what to do next.

error[HL2001]: no service is called chekout
  at hitless.yaml:1:10
  known: checkout, search
  hint: hitless status
  docs: hitless explain HL2001
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from hitless.view.envelope import envelope
from hitless.view.models import ProblemView


def complain(problem: ProblemView, *, as_json: bool) -> None:
    """Write a problem to stderr: lines for people, or one JSON document."""
    text = json.dumps(envelope("problem", problem), ensure_ascii=False) if as_json else "\n".join(lines(problem))
    sys.stderr.write(f"{text}\n")


def lines(problem: ProblemView) -> Iterator[str]:
    """Render a problem for people."""
    yield f"error[{problem['code']}]: {problem['detail']}"
    if problem["place"]:
        yield f"  at {problem['place']}"
    yield from (f"  {line}" for fact in problem["evidence"] for line in fact.splitlines())
    yield from (f"  hint: {hint}" for hint in problem["hints"])
    yield f"  docs: hitless explain {problem['code']}"


def save_report(error: Exception, arguments: list[str]) -> str:
    """Keep the traceback of an error that nobody foresaw, and return where."""
    import tempfile  # noqa: PLC0415 - only here, and `hitless status` must start fast
    import traceback  # noqa: PLC0415 - as above

    with tempfile.NamedTemporaryFile(
        "w", prefix="hitless-report-", suffix=".txt", delete=False, encoding="utf-8"
    ) as report:
        report.write(f"hitless {' '.join(arguments)}\n\n")
        report.writelines(traceback.format_exception(error))
    return report.name
