"""What is wrong with a configuration, where, and what to do about it."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hitless.errors import Place, UserError

_LINE_WIDTH = 120  # longer source lines are shown around the column only
_LEAD = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, or (a warning) probably not meant.

    Attributes:
        place: file, line and column.
        message: the cause, one sentence.
        hint: the next step.
        source_line: the line of the file, for the caret.
        width: how many characters of it are meant.
    """

    place: Place
    message: str
    hint: str | None = None
    severity: Literal["error", "warning"] = "error"
    source_line: str = ""
    width: int = 1

    def __str__(self) -> str:
        """Render on one line."""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.place}: {self.message}{hint}"


class InvalidConfiguration(UserError):
    """The configuration breaks the rules; every finding is listed with its place."""

    code = "HL2002"

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        first, more = self.findings[0], len(self.findings) - 1
        if not more:
            hint = first.hint or "hitless validate   # shows the line"
            super().__init__(first.message, place=first.place, hints=(hint,))
            return
        super().__init__(
            f"{first.message}, and {more} more problem{'s' * (more > 1)}",
            place=first.place,
            evidence=tuple(str(finding) for finding in self.findings),
            hints=("hitless validate   # shows every line",),
        )


class ConfigurationMissing(UserError):
    """There is no `hitless.yaml` where one is needed."""

    code = "HL2003"

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"there is no {path.name} in {shown_path(path.parent)}",
            place=Place(file=shown_path(path)),
            hints=(
                "hitless init   # writes one with every setting explained",
                "hitless --project DIR ...   # for one that is elsewhere",
            ),
        )


class ConfigurationUnreadable(UserError):
    """The configuration file exists but cannot be read."""

    code = "HL2004"

    def __init__(self, path: Path, cause: str) -> None:
        name = shown_path(path)
        super().__init__(f"{name} cannot be read: {cause}", place=Place(file=name), hints=(f"ls -ld {name}",))


def shown_path(path: Path) -> str:
    """Name a path as short as it can be said from the working directory."""
    if not path.is_absolute():
        return str(path)
    try:
        return os.path.normpath(path.relative_to(Path.cwd()))
    except (ValueError, OSError):  # outside of it, or the working directory was removed
        return str(path)


def render(findings: Sequence[Finding]) -> str:
    """Draw findings for a terminal: cause, place, source line with a caret, hint."""
    return "\n\n".join(_render_one(finding) for finding in findings)


def _render_one(finding: Finding) -> str:
    label = f"error[{InvalidConfiguration.code}]" if finding.severity == "error" else "warning"
    lines = [f"{label}: {finding.message}", f"  {finding.place}", *_excerpt(finding)]
    return "\n".join([*lines, f"  hint: {finding.hint}"] if finding.hint else lines)


def _excerpt(finding: Finding) -> list[str]:
    if finding.place.line is None or finding.place.column is None:
        return []
    text, start = _window(finding.source_line, finding.place.column - 1)
    number = str(finding.place.line)
    indent = " " * _cells(text[:start])
    marked = "^" * max(_cells(text[start : start + finding.width]), 1)
    return [f"   {number} | {text}".rstrip(), f"   {' ' * len(number)} | {indent}{marked}"]


def _window(line: str, column: int) -> tuple[str, int]:
    text = "".join(character if character.isprintable() else " " for character in line)
    cut = max(column - _LEAD, 0) if len(text) > _LINE_WIDTH else 0
    return text[cut : cut + _LINE_WIDTH], column - cut


def _cells(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
