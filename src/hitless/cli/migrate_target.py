"""Which database a change is carried out in, by whom, with how much patience; and what is told meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Annotated

from cyclopts import Group, Parameter

from hitless.adapters.postgres.addresses import beside, resolve
from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.hold import Patience, Stopped, Told
from hitless.adapters.postgres.migrator import Migrator
from hitless.cli.faults import PROJECT_FILE, ProjectNotFound, Usage
from hitless.cli.outcome import DETACHED
from hitless.cli.output import Output
from hitless.cli.place import project_directory
from hitless.cli.waiting import actor
from hitless.config.project import load
from hitless.schema.change.state import ChangeState
from hitless.view.migration import migration_view

DATABASE_GROUP = Group("Database options", sort_key=90)
VARIABLE = "HITLESS_DATABASE_URL"


@Parameter(name="*", group=DATABASE_GROUP)
@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which database, and how long to try.

    Attributes:
        database: URL or key=value pairs, of a role that owns the tables; without it, the one of hitless.yaml.
        patience: How long to try to get locks (90s, 10m, 2h); each try waits 100 ms at most.
    """

    database: Annotated[str | None, Parameter(env_var=VARIABLE)] = None
    patience: timedelta = timedelta(minutes=10)


TARGET = Target()


def database_of(target: Target, project: Path | None = None) -> Database:
    """Return the database that is meant: the one that is named, or the only one of the project's services.

    Raises:
        Usage: none is named, and the project has none, or several.
        InvalidProject: hitless.yaml breaks the rules.
        UserError: its `database.url` cannot be read here.
    """
    if target.database:
        return Database(target.database)
    urls = _urls(project)
    if len(urls) != 1:
        raise Usage(
            "which database?" if not urls else f"which of the {len(urls)} databases of hitless.yaml?",
            hints=(
                "--database postgresql://localhost/shop",
                f"or {VARIABLE} in the environment, or `database.url` of a service in hitless.yaml",
            ),
        )
    return Database(resolve(urls.pop(), os.environ))


def _urls(project: Path | None) -> set[str]:
    """Return what the services of the project say of their databases."""
    given = os.environ.get("HITLESS_PROJECT")
    try:
        directory = project_directory(project or (Path(given) if given else None), start=Path.cwd())
    except ProjectNotFound:
        return set()
    if not (directory / PROJECT_FILE).is_file():
        return set()
    services = load(directory / PROJECT_FILE).services.values()
    return {beside(one.database.url, directory) for one in services if one.database is not None}


@dataclass(slots=True)
class Teller:
    """Tells people what happens, each sentence once in a row; programs that asked for JSON are spared."""

    output: Output
    last: str = ""

    def tell(self, told: Told) -> None:
        """Tell something."""
        if told.sentence != self.last:
            self.last = told.sentence
            self.output.narrate(told.sentence)


@Parameter(name="*", group=DATABASE_GROUP)
@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What a person lets pass.

    Attributes:
        allow: Steps that may go on although rows speak against them, such as expand.1.
        reason: Why; recorded with who said so.
    """

    allow: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = ()
    reason: str | None = None

    def reasons(self) -> Mapping[str, str]:
        """Return the reason of each step.

        Raises:
            Usage: something is allowed without a reason.
        """
        if self.allow and not (self.reason or "").strip():
            raise Usage("--allow needs --reason", hints=(f'--allow {self.allow[0]} --reason "..."',))
        return dict.fromkeys(self.allow, self.reason or "")


ALLOWED = Allowed()


def migrator_of(
    target: Target, output: Output, stopping: Event, allowed: Allowed = ALLOWED, *, project: Path | None = None
) -> Migrator:
    """Return who carries changes out in the database that is meant."""
    return Migrator(
        database=database_of(target, project),
        actor=actor(),
        tell=Teller(output).tell,
        stopping=stopping,
        patience=Patience(deadline_s=target.patience.total_seconds()),
        allowed=allowed.reasons(),
    )


@contextmanager
def stoppable(output: Output) -> Iterator[Event]:
    """Let Ctrl-C stop at the next moment at which nothing is half done, and a second one end at once."""
    stopping = Event()

    def stop(_: int, __: FrameType | None) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()
        output.narrate("stops at the next moment at which nothing is half done; Ctrl-C again ends at once")

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield stopping
    finally:
        signal.signal(signal.SIGINT, before)


def say_where_it_stands(output: Output, migrator: Migrator, stopped: Stopped) -> int:
    """Say where a change stands that somebody has stopped, and how to go on."""
    state = migrator.find(stopped.change)
    if state is not None:
        show_outcome(output, state)
    return DETACHED


def show_outcome(output: Output, state: ChangeState) -> None:
    """Print where a change stands, and the command that goes on."""
    view = migration_view(state)
    if output.json:
        output.document("migration", view)
        return
    done = sum(step["state"] == "done" for lane in view["lanes"] for step in lane["steps"])
    of = sum(len(lane["steps"]) for lane in view["lanes"])
    standing = view["standing"].replace("_", " ")
    output.raw(f"{state.change} is {standing}: {done} of {of} steps are done")
    if view["next"]:
        output.narrate(f"next: {view['next']}")
