"""How a watch is shown: redrawn in a terminal, a line per change elsewhere, a JSON document per change for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from hitless.cli.changes import changes
from hitless.cli.clock import WallClock
from hitless.cli.complaint import complain
from hitless.cli.faults import Unreachable
from hitless.cli.figures import duration, stamp
from hitless.cli.output import Output
from hitless.cli.sight import Sight
from hitless.cli.tables import services_table
from hitless.cli.tree import service_picture
from hitless.view.envelope import Noun
from hitless.view.problem import problem_of

Document = Callable[[Sequence[Sight]], tuple[Noun, Any]]
"""Chooses what a JSON watch prints of what it sees."""

AWAY = "control plane away for {}: services go on, this watch tries again"
BACK = "control plane back"


class Screen(AbstractContextManager["Screen"], Protocol):
    """Shows what a watch sees."""

    def show(self, sights: Sequence[Sight]) -> None:
        """Show the present."""
        ...

    def away(self, error: Unreachable, seconds: float) -> None:
        """Show that the control plane has not answered for `seconds`; called at every try."""
        ...


class _Plain:
    """Enters and leaves without ado."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


class LiveScreen:
    """A picture that is redrawn; the last one stays."""

    def __init__(self, output: Output, clock: WallClock) -> None:
        self._output = output
        self._clock = clock
        self._sights: Sequence[Sight] = ()
        self._live = Live(console=output.console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, sights: Sequence[Sight]) -> None:
        """Redraw."""
        self._sights = sights
        self._live.update(self._picture(banner=None), refresh=True)

    def away(self, error: Unreachable, seconds: float) -> None:  # noqa: ARG002 - the banner says it; the error's words come at the end
        """Redraw what was seen last, and say that it is old."""
        self._live.update(self._picture(banner=AWAY.format(duration(seconds))), refresh=True)

    def _picture(self, banner: str | None) -> Group:
        console = self._output.console
        spare_lines = 1 if banner is None else 2
        canvas = self._output.canvas(self._clock, height=console.height - spare_lines)
        blocks: list[RenderableType] = [Text(banner, style="bold yellow")] if banner else []
        if len(self._sights) == 1:
            blocks.append(service_picture(self._sights[0], canvas, console))
        elif self._sights:
            blocks.append(services_table([sight.service for sight in self._sights], canvas))
        return Group(*blocks)


class LineScreen(_Plain):
    """One line per change, with its moment."""

    def __init__(self, output: Output, clock: WallClock) -> None:
        self._output = output
        self._clock = clock
        self._seen: dict[str, Sight] = {}
        self._is_away = False

    def show(self, sights: Sequence[Sight]) -> None:
        """Print what has changed."""
        if self._is_away:
            self._is_away = False
            self._print(BACK)
        for sight in sights:
            name = sight.service["name"]
            for line in changes(self._seen.get(name), sight, self._output.glyphs):
                self._print(f"{name}: {line}")
            self._seen[name] = sight

    def away(self, error: Unreachable, seconds: float) -> None:
        """Say it once."""
        if not self._is_away:
            self._is_away = True
            self._print(f"{AWAY.format(duration(seconds))} ({error.evidence[0]})")

    def _print(self, line: str) -> None:
        self._output.raw(f"{stamp(self._clock.now())} {line}")


class JsonScreen(_Plain):
    """One document per change."""

    def __init__(self, output: Output, document: Document) -> None:
        self._output = output
        self._document = document
        self._seen: Any = None
        self._is_away = False

    def show(self, sights: Sequence[Sight]) -> None:
        """Print the document if it differs from the last one."""
        self._is_away = False
        noun, data = self._document(sights)
        if data != self._seen:
            self._seen = data
            self._output.document(noun, data)

    def away(self, error: Unreachable, seconds: float) -> None:  # noqa: ARG002 - a program can count itself
        """Write the problem to stderr, once."""
        if not self._is_away:
            self._is_away = True
            complain(problem_of(error), as_json=True)


def open_screen(output: Output, clock: WallClock, document: Document) -> Screen:
    """Choose the screen that fits the output."""
    if output.json:
        return JsonScreen(output, document)
    return LiveScreen(output, clock) if output.redraws else LineScreen(output, clock)
