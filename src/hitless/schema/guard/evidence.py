"""What is known of the statements that a version sends: where it comes from, how far it reaches, what it lacks.

Rules.
* Evidence that lacks anything can still show a use; it can never show that there is none.
* What maps a column (`Source.STATIC`) uses it: an ORM reads and writes every mapped column.
* Nobody's word is evidence of an application's version; a declaration counts for a consumer that cannot be seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Source(StrEnum):
    """Where evidence comes from, strongest first."""

    ROLE = "role"
    MANIFEST = "manifest"
    STATIC = "static"
    DECLARED = "declared"


SHOWS_ABSENCE: frozenset[Source] = frozenset({Source.ROLE, Source.MANIFEST, Source.DECLARED})
"""What may clear; a mapping shows what is mapped, and not what is written by hand beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement that a version sends.

    Attributes:
        text: as it was captured: with `$1` where values stood, or with the driver's own marks.
        types: names of its parameters' types, as far as the driver told; empty = not known.
        marks: the driver's style of parameters: `$` numbered, `%` as psycopg has them.
        calls: how often; None = not counted.
        last_seen: None = not known; pg_stat_statements does not tell.
        place: `file:line` of the application that sends it.
        nested: sent from inside a function; names of its variables stand where values will.
        search_path: of the session that sent it, as far as it is set for its role; None = the database's.
    """

    text: str
    types: tuple[str, ...] = ()
    marks: str = "$"
    calls: int | None = None
    last_seen: datetime | None = None
    place: str | None = None
    nested: bool = False
    search_path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A column that a version's models map; `columns` empty = the model maps the table, nobody knows which columns."""

    table: str
    columns: tuple[str, ...]
    place: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that one source tells of one version.

    Attributes:
        origin: which role, file or declaration, in words.
        lacks: why it does not show absence, one sentence each; empty = it is complete.
        nested_seen: what functions send was captured too.
        since: begin of what it covers.
    """

    source: Source
    origin: str
    statements: tuple[Statement, ...] = ()
    mapped: tuple[Mapped, ...] = ()
    lacks: tuple[str, ...] = ()
    nested_seen: bool = False
    since: datetime | None = None

    @property
    def shows_absence(self) -> bool:
        """Tell whether what it does not show is not there."""
        return not self.lacks and self.source in SHOWS_ABSENCE
