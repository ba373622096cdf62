"""What somebody wants of a table: intents, as a change file says them. Values; nothing here knows how it is done.

Expressions are kept as text. They were read before (`expressions.read_expression`), so planning need not fear them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hitless.schema.names import Name

Lossy = Literal["forbid", "report", "allow"]

LONGEST_NAME = 40
"""Characters of a change's name: triggers and functions are called after it, and names have 63 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Columns that become other columns: one to several, several to one, any to any.

    Attributes:
        sources: the old columns.
        into: expression of each new column, from old ones.
        inverse: expression of each old column, from new ones.
        types: of new columns; `text` where none is said.
    """

    sources: tuple[str, ...]
    into: Mapping[str, str]
    inverse: Mapping[str, str]
    types: Mapping[str, str] = field(default_factory=dict)
    kind: Literal["split"] = "split"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename:
    """A column that gets another name."""

    column: str
    to: str
    kind: Literal["rename"] = "rename"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retype:
    """A column that gets another type, under its own name or another.

    Attributes:
        using: the new value, from the old one; None = a cast.
        inverse: the old value, from the new one, which it calls by the column's name; None = a cast.
        new_name: the column is renamed too, and nothing needs to be swapped.
        old_type: the type it has, where no catalogue tells.
    """

    column: str
    to: str
    using: str | None = None
    inverse: str | None = None
    new_name: str | None = None
    old_type: str | None = None
    kind: Literal["type"] = "type"


@dataclass(frozen=True, slots=True, kw_only=True)
class Require:
    """A column that will never be NULL; `fill` is what stands in for NULL."""

    column: str
    fill: str
    kind: Literal["not_null"] = "not_null"


@dataclass(frozen=True, slots=True, kw_only=True)
class DropColumns:
    """Columns that nobody will need; `defaults` is what rows get for them once new code does not write them."""

    columns: tuple[str, ...]
    defaults: Mapping[str, str] = field(default_factory=dict)
    kind: Literal["drop"] = "drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class DropTable:
    """The whole table, which nobody will need."""

    kind: Literal["drop_table"] = "drop_table"


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """A new column.

    Attributes:
        default: of rows that do not name it.
        fill: what rows that are there get, and what stands in for NULL; None = the default.
    """

    column: str
    type: str
    default: str | None = None
    fill: str | None = None
    not_null: bool = False
    kind: Literal["add"] = "add"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Columns that go to another table, whose rows belong to this one's one to one.

    Attributes:
        columns: old names to new names.
        key: columns of this table to those of the other that they equal.
    """

    columns: Mapping[str, str]
    to: Name
    key: Mapping[str, str]
    kind: Literal["move"] = "move"


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeIndex:
    """An index; keys are columns or expressions, as CREATE INDEX has them."""

    name: str
    keys: tuple[str, ...]
    is_unique: bool = False
    method: str = "btree"
    including: tuple[str, ...] = ()
    where: str | None = None
    kind: Literal["index"] = "index"


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeUnique:
    """A unique constraint."""

    name: str
    columns: tuple[str, ...]
    nulls_not_distinct: bool = False
    kind: Literal["unique"] = "unique"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A foreign key; `on_delete` and `on_update` as SQL has them, such as CASCADE."""

    name: str
    columns: tuple[str, ...]
    table: Name
    referenced: tuple[str, ...]
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"
    kind: Literal["foreign_key"] = "foreign_key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """A CHECK constraint."""

    name: str
    condition: str
    kind: Literal["check"] = "check"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendEnum:
    """Values that an enum gets: each with the value that it stands before or after, if any."""

    type: Name
    values: tuple[str, ...]
    before: str | None = None
    after: str | None = None
    kind: Literal["enum"] = "enum"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceEnum:
    """A column of an enum that gets another list of values.

    Attributes:
        values: the new list, in its order.
        mapping: old values that are gone to those that they become.
        type: name of the new type.
    """

    column: str
    type: Name
    values: tuple[str, ...]
    mapping: Mapping[str, str]
    kind: Literal["enum_values"] = "enum_values"


@dataclass(frozen=True, slots=True, kw_only=True)
class WidenKey:
    """A primary key of integers that becomes bigint."""

    column: str
    to: str = "bigint"
    kind: Literal["primary_key"] = "primary_key"


Intent = (
    Split
    | Rename
    | Retype
    | Require
    | DropColumns
    | DropTable
    | Add
    | Move
    | MakeIndex
    | MakeUnique
    | Reference
    | Demand
    | ExtendEnum
    | ReplaceEnum
    | WidenKey
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of one table's schema, over several releases.

    Attributes:
        name: what its triggers, steps and journal entries are called after.
        sample: share of rows that sampling looks at while both releases write.
        lossy: what becomes of rows that an inverse does not give back.
    """

    name: str
    table: Name
    intents: tuple[Intent, ...]
    sample: float = 1.0
    lossy: Lossy = "forbid"
