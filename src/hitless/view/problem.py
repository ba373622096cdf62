"""From an exception to the problem document that the API sends and the command line shows."""

from __future__ import annotations

from hitless.errors import HitlessError
from hitless.view.models import ProblemView

UNEXPECTED_STATUS = 500


def problem_of(error: HitlessError) -> ProblemView:
    """Render an error that hitless knows."""
    return {
        "type": _type_of(error.code),
        "title": _title_of(type(error)),
        "status": error.http_status,
        "detail": error.message,
        "code": error.code,
        "exit_code": error.exit_code,
        "place": str(error.place) if error.place else None,
        "evidence": list(error.evidence),
        "hints": list(error.hints),
    }


def problem_of_unexpected(error: Exception) -> ProblemView:
    """Render an error that nobody foresaw: its kind and words, no promise about the cause."""
    return {
        "type": _type_of(HitlessError.code),
        "title": "Unexpected error",
        "status": UNEXPECTED_STATUS,
        "detail": f"unexpected {type(error).__name__}: {error}",
        "code": HitlessError.code,
        "exit_code": HitlessError.exit_code,
        "place": None,
        "evidence": [],
        "hints": [],
    }


def _type_of(code: str) -> str:
    return f"urn:hitless:error:{code}"


def _title_of(kind: type[HitlessError]) -> str:
    """A class says in its docstring what it means; that is the title."""
    return (kind.__doc__ or kind.__name__).strip().splitlines()[0].rstrip(".")
