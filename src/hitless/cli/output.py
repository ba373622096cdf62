"""Where words go: data to stdout, narration and errors to stderr; colour and characters as the terminal takes them."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TextIO

from rich.console import Console, RenderableType

from hitless.cli.clock import WallClock
from hitless.cli.symbols import FANCY, PLAIN, Glyphs
from hitless.cli.tree import Canvas
from hitless.view.envelope import Noun, envelope

Colour = Literal["auto", "always", "never"]

PIPE_COLUMNS = 160
"""Width where nobody looks at a terminal: wide enough that nothing is cut."""


@dataclass(frozen=True)
class Output:
    """One command's stdout and stderr."""

    json: bool = False
    plain: bool = False
    color: Colour = "auto"

    @cached_property
    def console(self) -> Console:
        """Data."""
        return _console(sys.stdout, self.color)

    @cached_property
    def errors(self) -> Console:
        """Narration and errors."""
        return _console(sys.stderr, self.color)

    @cached_property
    def glyphs(self) -> Glyphs:
        """The characters that stdout can show."""
        return PLAIN if self.plain or not _can_show(self.console.encoding) else FANCY

    @property
    def redraws(self) -> bool:
        """Tell whether a watch may redraw: a terminal, and nobody asked for lines."""
        is_dumb = os.environ.get("TERM", "") in {"dumb", "unknown"}
        return _is_terminal(sys.stdout) and not (self.json or self.plain or is_dumb)

    def canvas(self, clock: WallClock, *, height: int | None = None) -> Canvas:
        """Return what pictures are drawn on."""
        return Canvas(glyphs=self.glyphs, now=clock.now(), width=self.console.width, height=height)

    def show(self, picture: RenderableType) -> None:
        """Print data for people."""
        self.console.print(picture)

    def document(self, noun: Noun, data: Any) -> None:
        """Print data for programs: one document on one line when the output is a stream of them, so always."""
        self.raw(json.dumps(envelope(noun, data), ensure_ascii=False))

    def raw(self, line: str) -> None:
        """Print a line as it is."""
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    def narrate(self, sentence: str) -> None:
        """Tell people what happens; programs that asked for JSON are spared."""
        if not self.json:
            self.errors.print(sentence, soft_wrap=True)


def _console(file: TextIO, color: Colour) -> Console:
    """Build a console that styles only what it is told to."""
    is_terminal = _is_terminal(file)
    return Console(
        file=file,
        force_terminal={"always": True, "never": False}.get(color),
        no_color=True if color == "never" else None,
        width=None if is_terminal or "COLUMNS" in os.environ else PIPE_COLUMNS,
        highlight=False,
        markup=False,
        emoji=False,
    )


def _is_terminal(file: TextIO) -> bool:
    return not file.closed and file.isatty()


def _can_show(encoding: str) -> bool:
    try:
        "├─ ✔ █ →".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
