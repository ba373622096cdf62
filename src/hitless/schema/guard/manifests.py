"""`sqlmanifest.json` and declared consumers, as values; files are read elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hitless.schema.guard.evidence import Evidence, Mapped, Source, Statement

FORMAT = "hitless.sqlmanifest/v1"
ENOUGH_COVERAGE = 0.95
"""Of what tests run of an application: the figure that its pipeline asks for of changed files."""


class NotAManifestError(ValueError):
    """A document is no manifest of this format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a `sqlmanifest.json` tells of one version."""

    service: str
    version: str
    digest: str | None
    evidence: tuple[Evidence, ...]


def manifest_of(document: Any, *, name: str, window: timedelta) -> Manifest:
    """Read a manifest.

    Args:
        document: what its JSON says.
        name: of its file.
        window: how long something must have run to show what it does not send.

    Raises:
        NotAManifestError: it is none.
    """
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise NotAManifestError(f"`format` is not {FORMAT!r}")
    try:
        statements = tuple(_statement(one) for one in document["statements"])
        models = tuple(_mapped(one) for one in document.get("models", ()))
        lacks = tuple(_lacks(document, statements, window))
        found = [
            Evidence(
                source=Source.MANIFEST,
                origin=name,
                statements=statements,
                lacks=lacks,
                since=_moment(document.get("began_at")),
            )
        ] * bool(statements or document.get("scope") != "models")
        if models:
            found.append(Evidence(source=Source.STATIC, origin=f"models in {name}", mapped=models))
        return Manifest(
            service=str(document["service"]),
            version=str(document["version"]),
            digest=document.get("digest"),
            evidence=tuple(found),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise NotAManifestError(f"it lacks or misstates something: {error!r}") from None


def _statement(row: Mapping[str, Any]) -> Statement:
    return Statement(
        text=str(row["sql"]),
        marks=str(row.get("marks", "$")),
        calls=int(row["calls"]),
        last_seen=_moment(row.get("last_seen")),
        place=row.get("where"),
    )


def _mapped(row: Mapping[str, Any]) -> Mapped:
    return Mapped(table=str(row["table"]), columns=tuple(str(one) for one in row["columns"]), place=row.get("where"))


def _lacks(document: Mapping[str, Any], statements: Sequence[Statement], window: timedelta) -> list[str]:
    lacks = []
    if not statements:
        lacks.append("no statement was captured")
    if lost := int(document["lost"]) + int(document["failed"]):
        lacks.append(f"{lost:,} statements were lost")
    if unended := int(document.get("unended", 0)):
        lacks.append(f"{unended:,} processes ended without writing their last statements")
    scope, coverage = document.get("scope"), document.get("coverage")
    if scope == "tests":
        if coverage is None:
            lacks.append("it comes from tests, and nobody knows how much of the application they run")
        elif float(coverage) < ENOUGH_COVERAGE:
            lacks.append(
                f"it comes from tests that run {float(coverage):.0%} of the application, and not {ENOUGH_COVERAGE:.0%}"
            )
    elif scope in {"staging", "canary", "production"}:
        began, until = _moment(document.get("began_at")), _moment(document.get("until"))
        gaps = timedelta(seconds=float(document.get("gaps_s", 0)))
        if began is None or until is None or until - began - gaps < window:
            lacks.append(f"it was captured for less than {window}")
    else:
        lacks.append(f"nobody knows where it was captured (scope {scope!r})")
    return lacks


def _moment(text: Any) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(str(text))
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    return moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """Somebody who reads or writes, and whose statements cannot be seen: a report, a pipeline of changes, another team.

    Attributes:
        owner: who answers for what is said here.
        expires_at: when the word ends.
        roles, slots, standbys: by which it is known on the server.
        uses: columns by table; empty = all of a table.
    """

    name: str
    owner: str
    expires_at: datetime
    roles: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    standbys: tuple[str, ...] = ()
    uses: Mapping[str, tuple[str, ...]]

    def evidence(self, now: datetime) -> Evidence:
        """Return what its owner says."""
        mapped = tuple(Mapped(table=table, columns=columns) for table, columns in self.uses.items())
        lacks = () if self.expires_at > now else (f"what {self.owner} said ended on {self.expires_at:%Y-%m-%d}",)
        return Evidence(source=Source.DECLARED, origin=f"declared by {self.owner}", mapped=mapped, lacks=lacks)
