"""What a change is carried out by: a plan of steps, each with the SQL that does it and the SQL that takes it back.

Rules.
* A step is done as a whole or not at all: `Ddl`, `Validate` and `Revoke` in one transaction with the record that says
  so; `Build` outside of one, and is found out by looking whether its index is there and valid; `Fill` in batches, each
  with its checkpoint in one transaction.
* Every step but those of `Part.DROP` can be taken back. Taking back is done in the opposite order, with the same
  patience as doing.
* SQL is written whole: what a person reads in `hitless migrate plan` is what runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hitless.schema.change.standing import Part
from hitless.schema.names import Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something of the data that must hold before a step begins.

    Attributes:
        query: returns the rows that speak against it, at most a few; none = it holds.
        counted: returns one number: how many rows speak against it.
        trouble: what such rows mean, one sentence.
        remedy: what to do about them.
        may_be_allowed: a person may go on all the same, by name and with a reason.
        rows_of, wrong: where each row speaks for itself, whose rows, and the condition that speaks against one: then
            they are counted in ranges, and not by `counted`.
    """

    query: str
    counted: str
    trouble: str
    remedy: str
    may_be_allowed: bool = False
    rows_of: Name | None = None
    wrong: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Columns that others take the place of, under names that stay.

    Whatever hung on the table before must hang on it afterwards, as far as anybody can tell who sees the names alone.
    """

    table: Name
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ddl:
    """Statements that change the catalogue alone: milliseconds, once their locks are had.

    Attributes:
        id: unique in its plan, and the same in every plan of the same change: `expand.2`.
        title: what it does, in words.
        do, undo: statements; `undo` is empty where nothing needs to be taken back.
        checks: what is asked before it begins.
        caveats: what users of it should know.
        exchange: columns that it exchanges; None = none.
    """

    id: str
    part: Part
    title: str
    do: tuple[str, ...]
    undo: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    caveats: tuple[str, ...] = ()
    exchange: Exchange | None = None
    kind: Literal["ddl"] = "ddl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Validate:
    """Statements that read a table to its end under a lock that hinders neither readers nor writers."""

    id: str
    part: Part
    title: str
    do: tuple[str, ...]
    undo: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    caveats: tuple[str, ...] = ()
    kind: Literal["validate"] = "validate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """An index that is built, or dropped, concurrently: outside of any transaction.

    Attributes:
        index: its name; what `do` begins and does not end leaves it behind invalid.
        is_drop: `do` drops it, and `undo` builds it.
    """

    id: str
    part: Part
    title: str
    index: Name
    do: str
    undo: str
    is_drop: bool = False
    checks: tuple[Check, ...] = ()
    caveats: tuple[str, ...] = ()
    kind: Literal["build"] = "build"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """Rows of a table that are filled in batches, by ranges of its primary key.

    Attributes:
        table: whose rows.
        assignments: SQL of the value of each column, from columns of the same row.
        todo: condition under which a row still needs it: filling twice changes nothing.
    """

    id: str
    part: Part
    title: str
    table: Name
    assignments: Mapping[str, str]
    todo: str
    checks: tuple[Check, ...] = ()
    caveats: tuple[str, ...] = ()
    kind: Literal["fill"] = "fill"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """Two groups of columns that must say the same in every row of a table.

    Attributes:
        table: whose rows.
        forward: condition: the new columns are what the old ones give.
        backward: condition: the old columns are what the new ones give. A row is wrong where neither holds.
        shown: columns that a wrong row is shown by, beside its key.
    """

    id: str
    part: Part
    title: str
    table: Name
    forward: str
    backward: str
    shown: tuple[str, ...]
    checks: tuple[Check, ...] = ()
    caveats: tuple[str, ...] = ()
    kind: Literal["compare"] = "compare"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke:
    """The brownout: privileges on columns or a table, taken from every role but the owner; one GRANT gives them back.

    Attributes:
        columns: of the table; empty = all of it.
    """

    id: str
    part: Part
    title: str
    table: Name
    columns: tuple[str, ...]
    checks: tuple[Check, ...] = ()
    caveats: tuple[str, ...] = ()
    kind: Literal["revoke"] = "revoke"


Step = Ddl | Validate | Build | Fill | Compare | Revoke


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What a contract takes away, as the guard asks for it.

    Attributes:
        table: the table, or the one that the columns belong to.
        columns: empty = the whole table.
        statements: what makes a copy of the schema look as it will look: run on the guard's copy.
    """

    table: Name
    columns: tuple[str, ...]
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A sequence that a trigger of ours moves whenever it meets a write that only an older release makes.

    While it moves, somebody still needs what the contract takes away: no word weighs more.

    Attributes:
        sentence: what such a write is, in words.
    """

    counter: Name
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A whole change.

    Attributes:
        change: its name.
        steps: in the order in which they are done.
        removals: what its contract takes away; empty = nothing that anybody could still use.
        watches: counters that must stand still before it is contracted.
        notes: what people should know before the first step.
    """

    change: str
    steps: tuple[Step, ...]
    removals: tuple[Removal, ...] = ()
    watches: tuple[Watch, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def tables(self) -> tuple[Name, ...]:
        """The tables whose columns it changes; statements alone do not say theirs."""
        named = (one.table for one in self.steps if isinstance(one, Fill | Compare | Revoke))
        return tuple(dict.fromkeys((*named, *(one.table for one in self.exchanges))))

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """What its steps exchange."""
        return tuple(one.exchange for one in self.steps if isinstance(one, Ddl) and one.exchange)

    def of(self, part: Part) -> tuple[Step, ...]:
        """Return the steps of one part, in their order."""
        return tuple(one for one in self.steps if one.part is part)
