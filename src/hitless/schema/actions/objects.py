"""Actions on everything beside tables: indexes, views, functions, types, privileges; and what is said of any object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hitless.schema.actions.action import Action
from hitless.schema.actions.values import Column, Constraint, Expression
from hitless.schema.names import Name


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexKey:
    """A column or an expression of an index, with what SQL says of it beside."""

    column: str | None
    expression: Expression | None = None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateIndex(Action):
    """CREATE INDEX.

    Attributes:
        name: None where PostgreSQL chooses one.
        definition: as SQL has it behind the table's name: `USING gin (tags) WHERE ...`.
    """

    name: str | None
    table: Name
    keys: tuple[IndexKey, ...]
    is_unique: bool = False
    concurrently: bool = False
    if_not_exists: bool = False
    only: bool = False
    method: str = "btree"
    where: Expression | None = None
    definition: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reindex(Action):
    """REINDEX of an `index`, `table`, `schema`, `database` or `system`."""

    what: str
    target: Name | None
    concurrently: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateView(Action):
    """CREATE VIEW.

    Attributes:
        reads: the tables.
        columns: those that it names.
        takes_all: it says `*`.
        options: names of what WITH sets, as pg_class.reloptions has them.
    """

    view: Name
    replace: bool = False
    is_materialized: bool = False
    is_temporary: bool = False
    reads: tuple[Name, ...] = ()
    columns: frozenset[str] = frozenset()
    takes_all: bool = False
    options: frozenset[str] = frozenset()
    if_not_exists: bool = False
    with_data: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshView(Action):
    """REFRESH MATERIALIZED VIEW."""

    view: Name
    concurrently: bool = False
    with_data: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateFunction(Action):
    """CREATE FUNCTION or PROCEDURE; `body` is its text where it is a string."""

    function: Name
    replace: bool = False
    language: str = "sql"
    volatility: Literal["volatile", "stable", "immutable"] = "volatile"
    body: str | None = None
    reads: tuple[Name, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTrigger(Action):
    """CREATE TRIGGER."""

    trigger: str
    table: Name
    function: Name
    replace: bool = False
    is_row: bool = False
    timing: Literal["before", "after", "instead of"] = "after"
    events: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePolicy(Action):
    """CREATE and ALTER POLICY."""

    policy: str
    table: Name
    is_new: bool
    is_restrictive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRule(Action):
    """CREATE RULE."""

    rule: str
    table: Name
    replace: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateEnum(Action):
    """CREATE TYPE ... AS ENUM."""

    type: Name
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AddEnumValue(Action):
    """ALTER TYPE ... ADD VALUE; `neighbour` and `is_after` say where."""

    type: Name
    value: str
    neighbour: str | None = None
    is_after: bool = True
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RenameEnumValue(Action):
    """ALTER TYPE ... RENAME VALUE."""

    type: Name
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateType(Action):
    """CREATE TYPE of any other kind: `composite`, `range`, `base`."""

    type: Name
    kind: str
    columns: tuple[Column, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateDomain(Action):
    """CREATE DOMAIN."""

    domain: Name
    base: str
    constraints: tuple[Constraint, ...] = ()
    is_not_null: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterDomain(Action):
    """ALTER DOMAIN; `change` is `add constraint`, `set not null`, `drop constraint`, ..."""

    domain: Name
    change: str
    constraint: Constraint | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSequence(Action):
    """CREATE and ALTER SEQUENCE; `options` are the names of what is set."""

    sequence: Name
    is_new: bool
    options: tuple[str, ...] = ()
    owned_by: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSchema(Action):
    """CREATE SCHEMA."""

    schema: str
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeExtension(Action):
    """CREATE and ALTER EXTENSION."""

    extension: str
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop(Action):
    """DROP of anything; `kind` as SQL has it, in lower case; `table` for what belongs to one."""

    kind: str
    names: tuple[Name, ...]
    table: Name | None = None
    cascade: bool = False
    concurrently: bool = False
    if_exists: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename(Action):
    """RENAME of anything; a column, constraint, trigger, policy or attribute has its `table`."""

    kind: str
    old: Name
    new: str
    table: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSchema(Action):
    """SET SCHEMA of anything."""

    kind: str
    name: Name
    schema: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Describe(Action):
    """COMMENT ON and SECURITY LABEL ON; `relation` where it is a relation, or belongs to one."""

    kind: str
    relation: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePrivileges(Action):
    """GRANT and REVOKE on objects."""

    is_grant: bool
    kind: str
    names: tuple[Name, ...] = ()
    privileges: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePublication(Action):
    """CREATE and ALTER PUBLICATION, as far as tables are concerned."""

    publication: str
    tables: tuple[Name, ...] = ()
    is_drop: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateStatistics(Action):
    """CREATE STATISTICS; `name` is None where PostgreSQL chooses one."""

    name: Name | None
    tables: tuple[Name, ...]
