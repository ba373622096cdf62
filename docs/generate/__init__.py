"""Writes every generated page of the documentation: `make docs`, or `python -m docs.generate`.

A page is a function from nothing to text; `PAGES` names where each goes. What stands in the middle of a page that
people write (the diagram in `ARCHITECTURE.md`) is kept between two marks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from docs.generate import api, coverage, events, lifecycle, machine

from hitless.cli.reference import reference as command_line
from hitless.config import reference as settings
from hitless.config.change_reference import change_reference as change_file
from hitless.doctor.reference import reference as checks
from hitless.explain.reference import reference as errors
from hitless.view.rules import reference as rules

ROOT = Path(__file__).parents[2]
ARCHITECTURE = "ARCHITECTURE.md"
BEGIN, END = "<!-- generated: rollout machine -->\n", "<!-- end -->\n"


def architecture() -> str:
    """Return the architecture with the diagram drawn anew."""
    before, _, rest = (ROOT / ARCHITECTURE).read_text("utf-8").partition(BEGIN)
    return before + BEGIN + machine.diagram() + END + rest.partition(END)[2]


PAGES: Mapping[str, Callable[[], str]] = {
    "docs/reference/settings.md": settings,
    "docs/reference/change-file.md": change_file,
    "docs/reference/errors.md": errors,
    "docs/reference/cli.md": command_line,
    "docs/reference/doctor.md": checks,
    "docs/reference/lint-rules.md": rules,
    "docs/reference/lint-coverage.md": coverage.page,
    "docs/reference/events.md": events.page,
    "docs/reference/api.md": api.page,
    "docs/reference/rollout-machine.md": machine.page,
    "docs/reference/lifecycle.md": lifecycle.page,
    ARCHITECTURE: architecture,
}


def write_all() -> list[str]:
    """Write the pages that differ from what the code says; return their names."""
    stale = [name for name, page in PAGES.items() if not is_current(name, page())]
    for name in stale:
        (ROOT / name).write_text(PAGES[name](), encoding="utf-8")
    return stale


def is_current(name: str, text: str) -> bool:
    """Tell whether the file holds `text`."""
    path = ROOT / name
    return path.exists() and path.read_text("utf-8") == text
