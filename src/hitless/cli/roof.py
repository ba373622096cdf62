"""The way up: what only `hitless.bootstrap` can do, because it alone names concrete adapters.

The roof stands above the command line, so it is not imported but looked up, and only by the two commands that need it:
everything else starts without the web framework and the store's driver.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

from hitless.doctor.finding import Findings
from hitless.view.models import ControlPlaneView


class LogLine(Protocol):
    """One line of one instance's log."""

    @property
    def instance(self) -> str:
        """Which instance wrote it."""
        ...

    @property
    def text(self) -> str:
        """The line without its end."""
        ...


class Roof(Protocol):
    """What `hitless.bootstrap` offers to the command line."""

    def serve(self, project_path: Path, *, on_ready: Callable[[ControlPlaneView], None]) -> int:
        """Run the control plane until SIGINT or SIGTERM; return the exit code."""
        ...

    def read_logs(
        self, directory: Path, *, service: str | None, instance: str | None, tail: int | None, follow: bool
    ) -> AsyncIterator[LogLine]:
        """Read log files below the state directory."""
        ...


class Surgery(Protocol):
    """What `hitless.examination` offers to the command line."""

    def examine(
        self, project_path: Path | None, *, state_directory: Path, names: Sequence[str]
    ) -> Mapping[str, Findings]:
        """Make checks by name."""
        ...


def surgery() -> Surgery:
    """Load it."""
    return cast("Surgery", importlib.import_module("hitless.examination"))


def roof() -> Roof:
    """Load it."""
    return cast("Roof", importlib.import_module("hitless.bootstrap"))
