"""How people see a walk through a table: a bar in a terminal, a line now and then elsewhere, every event as JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from hitless.adapters.postgres.hold import Told
from hitless.cli.migrate_target import Teller
from hitless.cli.output import Output

LINE_EVERY_S = 5.0


class LineTeller(Teller):
    """Tells all, but of the batches only now and then."""

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self._told_s = -LINE_EVERY_S

    def tell(self, told: Told) -> None:
        """Tell something."""
        if told.kind == "batch":
            if time.monotonic() - self._told_s < LINE_EVERY_S:
                return
            self._told_s = time.monotonic()
        super().tell(told)


class JsonTeller(Teller):
    """Prints each event as a document."""

    def tell(self, told: Told) -> None:
        """Tell something."""
        view = {"kind": told.kind, "sentence": told.sentence, "data": dict(told.data)}
        self.output.document("migration-event", view)


class BarTeller(Teller):
    """Draws a bar for the batches; everything else is written above it."""

    def __init__(self, output: Output, progress: Progress) -> None:
        super().__init__(output)
        self._progress = progress
        self._task: TaskID | None = None

    def tell(self, told: Told) -> None:
        """Tell something."""
        if told.kind == "batch":
            self._draw(told)
        else:
            super().tell(told)

    def _draw(self, told: Told) -> None:
        total = told.data["total"]
        if self._task is None:
            self._task = self._progress.add_task("", total=total)
        self._progress.update(self._task, completed=told.data["rows"], total=total, description=told.sentence)


@contextmanager
def telling(output: Output) -> Iterator[Teller]:
    """Choose what fits the output."""
    if output.json:
        yield JsonTeller(output)
    elif not output.redraws:
        yield LineTeller(output)
    else:
        columns = (BarColumn(30), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        with Progress(*columns, console=output.errors, transient=True) as progress:
            yield BarTeller(output, progress)
