"""What a rule is, what it sees and what it says.

A rule looks at one action at a time, with everything that is known before it; rules about a file as a whole look once
more at its end. It yields a `Trouble` for what is wrong, and nothing for what is safe. How grave a trouble is may
depend on facts, such as a table that is known to be small.

To add one: a function in the file of its family, a row in that file's RULES; tests/unit/test_schema_rules.py asks for
a text on which it fires and for one on which it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from hitless.schema.actions.action import Action
from hitless.schema.catalog.catalog import Catalog
from hitless.schema.effects.effect import Effect
from hitless.schema.effects.ground import Ground
from hitless.schema.names import Name
from hitless.schema.reading.statement import Statement
from hitless.schema.session import Done, Session

SMALL_ROWS = 10_000
"""A table with no more is scanned or rewritten in some 10 ms, which every lock queue stands."""


class Pace(IntEnum):
    """Rows a second, on two cores of a small machine (PostgreSQL 15, rows of 200 bytes, in memory).

    Measured on 2 million rows: SET NOT NULL 0.7 s, CREATE INDEX 5 s, ALTER TYPE with two indexes 15 s.
    """

    READ = 2_800_000
    INDEX = 400_000
    REWRITE = 130_000


class Severity(StrEnum):
    """What a finding means."""

    ERROR = "error"  # refuses the file
    WARNING = "warning"  # is told
    OFF = "off"  # only told when it is asked for


class Family(StrEnum):
    """What a rule is about."""

    LOCKS = "locks"
    TRANSACTIONS = "transactions"
    SERVER = "server"
    COMPATIBILITY = "compatibility"
    DATA_LOSS = "data loss"
    DATA = "data"
    RELEASE = "release"
    OPTIONAL = "optional"
    STYLE = "style"
    LINT = "lint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a lint depends on, beside the files.

    Attributes:
        postgres: the server's major version.
        in_transaction: whoever runs the files runs each as one transaction.
        chosen: rules that are off and are asked for.
        one_release: the files are what one release migrates, not a history of releases.
    """

    postgres: int = 15
    in_transaction: bool = False
    chosen: frozenset[str] = frozenset()
    one_release: bool = False


def ground_of(catalog: Catalog, session: Session, settings: Settings) -> Ground:
    """Return what effects depend on."""
    zone = (session.setting("timezone") or "").lower()
    return Ground(catalog=catalog, postgres=settings.postgres, time_zone_is_utc=zone in _UTC)


_UTC = {"utc", "etc/utc", "gmt", "0", "universal", "zulu"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One action, and everything that is known before it.

    Attributes:
        siblings: all actions of its statement.
        number: of its statement in the file.
        before: the catalogue before the action.
        session: the transaction and settings before its statement.
    """

    action: Action
    effect: Effect
    statement: Statement
    siblings: tuple[Action, ...]
    number: int
    before: Catalog
    session: Session
    settings: Settings = field(default_factory=Settings)

    def is_in_use(self, table: Name) -> bool:
        """Tell whether others may use a table: this file has not created it."""
        return not self.before.is_new(table)

    def whole(self, table: Name, pace: Pace) -> str:
        """Name a table with its size, and about how long all of it takes, where that is known."""
        rows = self.before.rows_of(table)
        if rows is None:
            return str(table)
        took_s = rows / pace
        takes = f" (some {took_s:,.0f} s on a small machine)" if took_s >= 1 else ""
        return f"{table}, about {rows:,} rows{takes},"

    def gravity(self, table: Name) -> Severity:
        """Return how grave it is to hold up a table: one that is known to be small is soon let go."""
        rows = self.before.rows_of(table)
        return Severity.WARNING if rows is not None and rows <= SMALL_ROWS else Severity.ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What a rule found.

    Attributes:
        message: what is wrong with this very statement, in one sentence.
        fix: the safe way as SQL, ready to paste; or what to do, as SQL's comments.
        severity: where it differs from the rule's.
        at: the action that it is about, where the rule looked at a whole file.
    """

    message: str
    fix: str = ""
    severity: Severity | None = None
    at: Done | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEnd:
    """A file, after its last statement: the session says what it has done.

    Attributes:
        earlier: what files of the same release before it have added or taken away, each with its file.
    """

    session: Session
    catalog: Catalog
    settings: Settings
    earlier: tuple[tuple[str, Done], ...] = ()


OnAction = Callable[[Step], Iterator[Trouble]]
OnFile = Callable[[FileEnd], Iterator[Trouble]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule.

    Attributes:
        id: stable, in kebab-case.
        severity: unless facts say otherwise.
        summary: what it finds, in one sentence.
        why: what goes wrong otherwise.
        safe: what to do instead, in words.
        is_contract: it is about what is taken away, and `-- hitless: contract CHANGE` lets it pass.
    """

    id: str
    family: Family
    severity: Severity
    summary: str
    why: str
    safe: str
    on_action: OnAction | None = None
    on_file: OnFile | None = None
    is_contract: bool = False
