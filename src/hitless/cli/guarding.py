"""What people tell the contract guard on the command line, and what the control plane knows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter
from rich.text import Text

from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.guard.asked import Asked, Known
from hitless.cli.client import Client
from hitless.cli.clock import WallClock
from hitless.cli.faults import ProjectNotFound, Usage
from hitless.cli.figures import count
from hitless.cli.output import Output
from hitless.cli.place import project_directory, socket_path
from hitless.cli.session import Common
from hitless.config.consumers import ConsumersUnreadable, read_consumers
from hitless.errors import Place
from hitless.schema.guard.decision import shortened
from hitless.schema.guard.manifests import Manifest, NotAManifestError, manifest_of
from hitless.view.models import RolloutRowView, ServiceView
from hitless.view.schema_models import GuardVersionView, GuardView

GUARD_GROUP = Group("Evidence options", sort_key=80)
_VERSION = re.compile(r"(?P<service>[^@=]+)@(?P<version>[^=]+)=(?P<what>live|target)(?::(?P<hours>\d+)h)?")
_STYLES = {"clear": "bold green", "references": "bold red", "unknown": "bold yellow"}
PAGE = 100
"""Rollouts of a service that are asked for at once."""

SHOWN = 8
"""Uses and doubts of a version that a terminal shows; --json has all."""


@Parameter(name="*", group=GUARD_GROUP)
@dataclass(frozen=True, slots=True, kw_only=True)
class Evidences:
    """What the guard is told beside what it sees.

    Attributes:
        version: Versions, where no control plane tells: shop@42=live, shop@41=target, with :26h how long they served.
        service: Services that use this database; without it, all that the control plane has.
        manifest: Manifests of statements that were captured, sqlmanifest.json.
        consumers: The file of registered consumers.
        replica: Standbys of the database, to look at what they are asked.
        scratch: A server for the copy of the schema; without it, the database's own.
        window: How long statements must have been seen, such as 24h.
        quiet: How long no write of an older release may have come.
        retention: How long it stays hidden before it is dropped.
    """

    version: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = ()
    service: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = ()
    manifest: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = ()
    consumers: Path | None = None
    replica: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = ()
    scratch: str | None = None
    window: timedelta = timedelta(hours=24)
    quiet: timedelta = timedelta(hours=1)
    retention: timedelta = timedelta(days=7)


EVIDENCES = Evidences()


def asked_of(given: Evidences, common: Common) -> Asked:
    """Put together what the guard is told.

    Raises:
        Usage: a version is not written as it must be.
        ConsumersUnreadable: a file cannot be read.
    """
    return Asked(
        known=_known(given, common),
        window=given.window,
        quiet=given.quiet,
        retention=given.retention,
        manifests=tuple(_manifest(path, given.window) for path in given.manifest),
        consumers=read_consumers(given.consumers) if given.consumers is not None else (),
        replicas=tuple(Database(one) for one in given.replica),
        scratch=Database(given.scratch) if given.scratch is not None else None,
    )


def _known(given: Evidences, common: Common) -> tuple[Known, ...] | None:
    """Return the versions that are named, and those that the control plane knows; None = neither tells."""
    named = tuple(_named(one) for one in given.version)
    told = _told(given, common)
    return None if told is None and not named else (*named, *(told or ()))


def _named(text: str) -> Known:
    found = _VERSION.fullmatch(text)
    if found is None:
        raise Usage(f"--version {text}: say SERVICE@VERSION=live or =target", hints=("--version shop@42=live:26h",))
    because = "said to run" if found["what"] == "live" else "said to be what a rollback brings back"
    served = timedelta(hours=int(found["hours"])) if found["hours"] else None
    return Known(service=found["service"], version=found["version"], because=because, served=served)


def _told(given: Evidences, common: Common) -> tuple[Known, ...] | None:
    try:
        socket = socket_path(project_directory(common.project, start=Path.cwd()))
    except ProjectNotFound:
        return None
    if not socket.exists():
        return None
    client, now = Client(socket), WallClock().now()
    services = [one for one in client.services() if not given.service or one["name"] in given.service]
    return tuple(known for one in services for known in known_of(one, rollouts_of(client, one["name"]), now))


def rollouts_of(client: Client, service: str) -> list[RolloutRowView]:
    """Return a service's rollouts, newest first, as far as to the one that brought its version in."""
    found: list[RolloutRowView] = []
    while page := client.rollouts(service, limit=PAGE, before=found[-1]["started_at"] if found else None):
        found += page
        if len(page) < PAGE or any(_brought_in(one) for one in page):
            break
    return found


def _brought_in(one: RolloutRowView) -> bool:
    """Tell whether a rollout has brought a version in, and not only settings of the one that ran."""
    return one["state"] == "completed" and one["baseline"] != one["candidate"]


def known_of(service: ServiceView, rollouts: Sequence[RolloutRowView], now: datetime) -> Iterator[Known]:
    """Name the versions of a service that run, and those that a rollback could bring back.

    Args:
        service: as the control plane shows it.
        rollouts: of it, newest first.
        now: to count from how long they have served.
    """
    completed = [one for one in rollouts if one["state"] == "completed"]
    for one in service["versions"]:
        because = f"{one['role']}, {count(one['ready_instances'], 'ready instance')}"
        served = _served(one["version"], completed, now) if one["role"] == "stable" else None
        yield Known(service=service["name"], version=one["version"], because=because, served=served)
    running = next((one for one in rollouts if one["state"] in {"running", "paused"}), None)
    if running is not None and running["baseline"] is not None:
        yield _target(service, running["baseline"], f"rollout {running['id']} goes back to it", completed, now)
    last = next((one for one in completed if _brought_in(one)), None)
    if last is not None and last["baseline"] is not None:
        yield _target(service, last["baseline"], "`rollout undo` brings it back", completed, now)


def _target(
    service: ServiceView, version: str, because: str, completed: Sequence[RolloutRowView], now: datetime
) -> Known:
    return Known(service=service["name"], version=version, because=because, served=_served(version, completed, now))


def _served(version: str, completed: Sequence[RolloutRowView], now: datetime) -> timedelta | None:
    """Return how long a version was the only one, the last time: from its rollout's end to the next one's begin."""
    until = now
    for one in completed:
        if one["candidate"] == version and one["finished_at"] is not None:
            return until - datetime.fromisoformat(one["finished_at"])
        until = datetime.fromisoformat(one["started_at"])
    return None


def _manifest(path: Path, window: timedelta) -> Manifest:
    try:
        return manifest_of(json.loads(path.read_text(encoding="utf-8")), name=path.name, window=window)
    except OSError as error:
        raise ConsumersUnreadable(f"{path} cannot be read: {error.strerror}", place=Place(str(path))) from None
    except (NotAManifestError, ValueError) as error:
        raise ConsumersUnreadable(
            f"{path} is no sqlmanifest.json: {error}",
            place=Place(str(path)),
            hints=("python -m hitless.lifecycle.sql merge sqlmanifest.json",),
        ) from None


def show(view: GuardView, output: Output) -> None:
    """Print what the guard says, for people."""
    for one in view["versions"]:
        output.console.print(
            Text(one["name"], "bold")
            .append(": ")
            .append(one["verdict"].upper(), _STYLES[one["verdict"]])
            .append(f"  {'; '.join(one['because'])}"),
            soft_wrap=True,
        )
        for line in _lines(one):
            output.raw(f"    {line}")
    for block in view["blocks"]:
        output.console.print(
            Text("blocks ", "bold red").append(f"[{block['subject']}] {block['sentence']}"), soft_wrap=True
        )
    for word in view["overridden"]:
        output.raw(f"overridden [{word['subject']}] by {word['by']} until {word['expires_at']}: {word['reason']}")
    for note in view["notes"]:
        output.narrate(f"note: {note}")
    verdict = "clear" if view["clear"] else f"blocked by {len(view['blocks'])}"
    output.raw(f"{view['part']} of {view['change']}: {verdict}")


def _lines(one: GuardVersionView) -> Iterator[str]:
    for use in one["uses"][:SHOWN]:
        calls = f", {count(use['calls'], 'call')}" if use["calls"] is not None else ""
        seen = f", last seen {use['last_seen']}" if use["last_seen"] else ""
        yield f"uses: {use['way']} ({use['origin']}{calls}{seen}{', ' + use['place'] if use['place'] else ''})"
        if use["statement"]:
            yield f"    {shortened(use['statement'])}"
    for doubt in one["doubts"][:SHOWN]:
        yield f"unknown: {doubt['reason']}"
        if doubt["statement"]:
            yield f"    {shortened(doubt['statement'])}"
    left = max(len(one["uses"]) - SHOWN, 0) + max(len(one["doubts"]) - SHOWN, 0)
    if left:
        yield f"and {left} more: --json shows all"
