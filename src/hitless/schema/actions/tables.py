"""Actions on tables and their columns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hitless.schema.actions.action import Action
from hitless.schema.actions.values import Bound, Column, Constraint, Expression, SqlType
from hitless.schema.names import Name


class RelationKind(StrEnum):
    """What ALTER TABLE, or one of its namesakes, is said to."""

    TABLE = "table"
    INDEX = "index"
    VIEW = "view"
    MATERIALIZED_VIEW = "materialized view"
    SEQUENCE = "sequence"
    FOREIGN_TABLE = "foreign table"
    TYPE = "type"


class Persistence(StrEnum):
    """How long a table's rows live."""

    PERMANENT = "permanent"
    UNLOGGED = "unlogged"
    TEMPORARY = "temporary"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTable(Action):
    """CREATE TABLE, also from a query.

    Attributes:
        partition_of: the parent that it becomes a part of at once.
        bound: the rows that it takes there.
        partition_key: the columns that it is partitioned by; none where that is an expression.
        reads: tables that a query, or LIKE, takes it from.
    """

    table: Name
    columns: tuple[Column, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    persistence: Persistence = Persistence.PERMANENT
    if_not_exists: bool = False
    partition_of: Name | None = None
    bound: Bound | None = None
    is_partitioned: bool = False
    partition_key: tuple[str, ...] = ()
    inherits: tuple[Name, ...] = ()
    reads: tuple[Name, ...] = ()
    is_foreign: bool = False
    is_from_query: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TableAction(Action):
    """One subcommand of ALTER TABLE. `relation` says what it was said to: ALTER INDEX has the same subcommands."""

    table: Name
    relation: RelationKind = RelationKind.TABLE
    only: bool = False
    if_exists: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AddColumn(TableAction):
    """ADD COLUMN."""

    column: Column
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DropColumn(TableAction):
    """DROP COLUMN."""

    column: str
    cascade: bool = False
    if_column_exists: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterColumnType(TableAction):
    """ALTER COLUMN ... TYPE."""

    column: str
    type: SqlType
    using: Expression | None = None
    collation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetDefault(TableAction):
    """SET DEFAULT; DROP DEFAULT where there is none."""

    column: str
    default: Expression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetNotNull(TableAction):
    """SET NOT NULL."""

    column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DropNotNull(TableAction):
    """DROP NOT NULL."""

    column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetExpression(TableAction):
    """SET EXPRESSION of a generated column (since PostgreSQL 17); DROP EXPRESSION where there is none."""

    column: str
    expression: Expression | None = None


class IdentityChange(StrEnum):
    """What becomes of an identity."""

    ADD = "ADD"
    SET = "SET"
    DROP = "DROP"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterIdentity(TableAction):
    """ADD GENERATED ... AS IDENTITY, SET GENERATED and its sequence's options, DROP IDENTITY."""

    column: str
    change: IdentityChange


@dataclass(frozen=True, slots=True, kw_only=True)
class SetColumnOption(TableAction):
    """SET STATISTICS, STORAGE, COMPRESSION, (n_distinct = ...): `option` is `statistics`, `storage`, ..."""

    column: str
    option: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddConstraint(TableAction):
    """ADD CONSTRAINT."""

    constraint: Constraint


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateConstraint(TableAction):
    """VALIDATE CONSTRAINT."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterConstraint(TableAction):
    """ALTER CONSTRAINT: whether it can be deferred, or (since PostgreSQL 18) is enforced or inherited."""

    name: str
    enforces: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DropConstraint(TableAction):
    """DROP CONSTRAINT."""

    name: str
    cascade: bool = False
    if_constraint_exists: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPersistence(TableAction):
    """SET LOGGED, SET UNLOGGED."""

    is_logged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTablespace(TableAction):
    """SET TABLESPACE."""

    tablespace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAccessMethod(TableAction):
    """SET ACCESS METHOD."""

    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetOptions(TableAction):
    """SET (...) and RESET (...): names of storage parameters, with their values where they are set."""

    options: tuple[tuple[str, str], ...]
    is_reset: bool = False


class TriggerState(StrEnum):
    """What becomes of triggers, or of a rule."""

    ENABLED = "enabled"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchTrigger(TableAction):
    """ENABLE and DISABLE TRIGGER; `trigger` is `ALL`, `USER` or a name."""

    trigger: str
    state: TriggerState


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchRule(TableAction):
    """ENABLE and DISABLE RULE."""

    rule: str
    state: TriggerState


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachPartition(TableAction):
    """ATTACH PARTITION, of a table or of an index; an index has no bound."""

    partition: Name
    bound: Bound | None = None

    @property
    def is_default(self) -> bool:
        """Tell whether the part takes what no other part takes."""
        return self.bound is not None and self.bound.is_default


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachPartition(TableAction):
    """DETACH PARTITION."""

    partition: Name
    concurrently: bool = False
    finalize: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetInheritance(TableAction):
    """INHERIT and NO INHERIT."""

    parent: Name
    inherits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReplicaIdentity(TableAction):
    """REPLICA IDENTITY: `full`, `nothing`, `default` or `index`."""

    identity: str
    index: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRowSecurity(TableAction):
    """ENABLE, DISABLE, FORCE, NO FORCE ROW LEVEL SECURITY."""

    change: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetOwner(TableAction):
    """OWNER TO."""

    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetClustering(TableAction):
    """CLUSTER ON, SET WITHOUT CLUSTER."""

    index: str | None


MOVE_ALL = "move all to another tablespace"


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherTableAction(TableAction):
    """A subcommand that nothing here depends on, named as SQL does, in lower case."""

    kind: str
