"""What a plan is made from beside the intent, and what each intent adds to the plan."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

from hitless.schema.actions.values import Column, SqlType
from hitless.schema.catalog.catalog import Catalog, Table
from hitless.schema.change.dependents import Dependents
from hitless.schema.change.expressions import read_type
from hitless.schema.change.intent import Change
from hitless.schema.change.pairs import Gap, Pair
from hitless.schema.change.refusals import CannotPlan
from hitless.schema.change.steps import Check, Removal, Step
from hitless.schema.names import Name, derived, quoted

_ODD = re.compile(r"[^a-z0-9_ ]")
"""What names of types of PostgreSQL's own do not have; `"char"` is another type than `char`."""

SHADOW = "hitless"
FORMER = "hitless_old"
GONE = "hitless_gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the plan of an intent depends on.

    Attributes:
        table: with its schema, where that is known.
        known: the table as the catalogue knows it; None = nobody has told.
        dependents: what hangs on it; None = nobody has told.
        postgres: the server's major version, the oldest that the plan must run on.
    """

    change: Change
    table: Name
    known: Table | None
    catalog: Catalog
    dependents: Dependents | None
    postgres: int

    @property
    def is_whole(self) -> bool:
        """Tell whether what is not known of the table is not there."""
        return self.known is not None and self.known.is_complete

    def column(self, name: str, why: str = "nobody writes it") -> Column | None:
        """Return a column that must be there; None = nobody has told of it.

        Raises:
            CannotPlan: the table has none of this name, or it is one that PostgreSQL computes.
        """
        self.existing(name)
        found = self.known.columns.get(name) if self.known else None
        if found is not None and found.generated is not None:
            raise CannotPlan(
                f"{self.table.shown}.{quoted(name)} is a generated column: {why}",
                "change the columns that it is computed from, or plan it by hand: add one, wait, drop the other",
            )
        return found

    def existing(self, name: str) -> None:
        """Hold that the table has a column, as far as anybody has told.

        Raises:
            CannotPlan: it has none of this name.
        """
        if self.known is not None and self.is_whole and name not in self.known.columns:
            there = ", ".join(sorted(self.known.columns))
            raise CannotPlan(f"{self.table.shown} has no column {quoted(name)}", evidence=(f"it has {there}",))

    def free(self, name: str) -> None:
        """Hold that the table has no column of a name yet.

        Raises:
            CannotPlan: it has.
        """
        if self.known is not None and name in self.known.columns:
            raise CannotPlan(f"{self.table.shown} has a column {quoted(name)} already", "choose another name")

    def type_of(self, name: str) -> SqlType | None:
        """Return the type of a column; None = nobody has told."""
        found = self.column(name)
        return found.stored_type if found else None

    def child(self, *parts: str) -> str:
        """Return the name of a new object that belongs to the table."""
        return derived(self.table.name, *parts)


def type_text(one: SqlType) -> str:
    """Write a type as SQL does, its name in quotes where it needs them."""
    if one.schema is None:
        return str(replace(one, name=quoted(one.name))) if one.name == "char" or _ODD.search(one.name) else str(one)
    inner = f"({', '.join(map(str, one.arguments))})" if one.arguments else ""
    return f"{Name(one.name, one.schema)}{inner}{'[]' if one.is_array else ''}"


def normal_type(text: str) -> str:
    """Write a type that a user wrote as SQL does."""
    return type_text(read_type(text))


def allowing(rule: str, reason: str) -> str:
    """Write the comment that lets a statement pass the lint."""
    return f"-- hitless: allow {rule}: {reason}"


def contracting(change: str) -> str:
    """Write the comment that marks a statement as part of a contract, which the guard holds."""
    return f"-- hitless: contract {change}"


@dataclass(frozen=True, slots=True)
class Turn:
    """A statement, and the one that takes it back; either may be missing where nothing needs to be done."""

    do: str = ""
    undo: str = ""


def done(turns: Iterable[Turn]) -> tuple[str, ...]:
    """Return the statements that do it."""
    return tuple(one.do for one in turns if one.do)


def undone(turns: tuple[Turn, ...]) -> tuple[str, ...]:
    """Return the statements that take it back, the last one first."""
    return tuple(one.undo for one in reversed(turns) if one.undo)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """What an intent adds to the plan of its change. Steps have no number yet.

    Attributes:
        columns: what is added to the table when it is expanded.
        checks, caveats: of that.
        expands: other steps of the expansion.
        fills: columns that are filled once, with nobody who writes them otherwise: assignment by column.
        switches: steps before the swap.
        unswapped: statements of the swap that come before all others.
        swap: statements of the swap; `swapped` says which names change in it.
        settles: steps after the swap.
        revoked: columns that the brownout takes away; `brownouts` are other steps of it.
        hides: what hides them; `hidden` says which names change.
        drops: statements of the end.
        removals: as the guard asks for them.
    """

    pairs: tuple[Pair, ...] = ()
    gaps: tuple[Gap, ...] = ()
    columns: tuple[Turn, ...] = ()
    checks: tuple[Check, ...] = ()
    caveats: tuple[str, ...] = ()
    expands: tuple[Step, ...] = ()
    fills: tuple[tuple[str, str, str], ...] = ()
    switches: tuple[Step, ...] = ()
    unswapped: tuple[Turn, ...] = ()
    swap: tuple[Turn, ...] = ()
    swapped: tuple[tuple[str, str], ...] = ()
    settles: tuple[Step, ...] = ()
    revoked: tuple[str, ...] = ()
    brownouts: tuple[Step, ...] = ()
    hides: tuple[Turn, ...] = ()
    hidden: tuple[tuple[str, str], ...] = ()
    drops: tuple[str, ...] = ()
    removals: tuple[Removal, ...] = ()
    notes: tuple[str, ...] = field(default=())


def joined(parts: Iterable[Pieces]) -> Pieces:
    """Put the pieces of several intents together."""
    every = tuple(parts)
    return Pieces(**{one.name: tuple(_all(every, one.name)) for one in fields(Pieces)})


def _all(parts: tuple[Pieces, ...], name: str) -> Iterator[Any]:
    for one in parts:
        yield from getattr(one, name)
