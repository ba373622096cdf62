"""Options that every command has, and what a command makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from hitless.cli.client import Client
from hitless.cli.clock import WallClock
from hitless.cli.faults import ServiceNotNamed
from hitless.cli.output import Colour, Output
from hitless.cli.place import project_directory, socket_path

COMMON_GROUP = Group("Common options", sort_key=100)


@Parameter(name="*", group=COMMON_GROUP)
@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """Options of every command.

    Attributes:
        project: Directory of hitless.yaml; without it, the nearest one at or above the working directory.
        json: Print JSON documents in a versioned envelope; errors too.
        plain: No icons, no box characters, nothing redrawn: for screen readers and logs.
        color: When to colour; NO_COLOR is respected.
        debug: Show the traceback of an unexpected error.
    """

    project: Annotated[Path | None, Parameter(env_var="HITLESS_PROJECT")] = None
    json: bool = False
    plain: bool = False
    color: Colour = "auto"
    debug: bool = False

    @property
    def output(self) -> Output:
        """Return where this command's words go."""
        return Output(json=self.json, plain=self.plain, color=self.color)


DEFAULTS = Common()


class Session:
    """One command's project, control plane and screen."""

    def __init__(self, common: Common) -> None:
        self.common = common
        self.output = common.output
        self.clock = WallClock()

    @cached_property
    def directory(self) -> Path:
        """The project's directory."""
        return project_directory(self.common.project, start=Path.cwd())

    @cached_property
    def client(self) -> Client:
        """The project's control plane."""
        return Client(socket_path(self.directory))

    def service_name(self, given: str | None) -> str:
        """Return `given`, or the project's only service.

        Raises:
            ServiceNotNamed: there is not exactly one.
        """
        if given is not None:
            return given
        names = [service["name"] for service in self.client.services()]
        if len(names) != 1:
            raise ServiceNotNamed(names)
        return names[0]
