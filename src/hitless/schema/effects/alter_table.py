"""Effects of ALTER TABLE's subcommands: one function or one row each.

Locks are those of AlterTableGetLockLevel (tablecmds.c), and of the page "ALTER TABLE"; what rewrites a table, or reads
all of it, is in the notes of that page and in ATRewriteTables. tests/integration/test_schema_locks.py holds every row
against real servers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hitless.schema.actions.tables import (
    AddColumn,
    AddConstraint,
    AlterColumnType,
    AlterConstraint,
    AlterIdentity,
    AttachPartition,
    DetachPartition,
    DropColumn,
    DropConstraint,
    DropNotNull,
    IdentityChange,
    OtherTableAction,
    Persistence,
    RelationKind,
    SetAccessMethod,
    SetClustering,
    SetColumnOption,
    SetDefault,
    SetExpression,
    SetInheritance,
    SetNotNull,
    SetOptions,
    SetOwner,
    SetPersistence,
    SetReplicaIdentity,
    SetRowSecurity,
    SetTablespace,
    SwitchRule,
    SwitchTrigger,
    TableAction,
    ValidateConstraint,
)
from hitless.schema.actions.values import Column, Constraint, ConstraintKind
from hitless.schema.catalog.catalog import Catalog
from hitless.schema.effects.effect import Compatibility, Effect, Lock, Phase, Work
from hitless.schema.effects.locks import LockMode
from hitless.schema.effects.types import keeps_rows
from hitless.schema.effects.volatility import is_volatile

NOT_NULL_NOT_VALID = 18
"""The first PostgreSQL with constraints NOT NULL ... NOT VALID (release notes of 18)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the effect of a statement depends on, beside the statement.

    Attributes:
        time_zone_is_utc: the session has said so: only then do timestamps with and without time zone look the same.
    """

    catalog: Catalog
    postgres: int
    time_zone_is_utc: bool = False


def locking(action: TableAction, ground: Ground, mode: LockMode, work: Work = Work.NONE) -> Lock:
    """Return a lock on the action's own table."""
    return Lock(relation=ground.catalog.resolve(action.table), mode=mode, work=work)


def _add_column(action: AddColumn, ground: Ground) -> Effect:
    column = action.column
    work = Work.REWRITE if fills_every_row(column, ground.catalog) else Work.NONE
    checks = [one for one in column.constraints if one.kind is ConstraintKind.CHECK]
    if work is Work.NONE and (checks or any(one.makes_index for one in column.constraints)):
        work = Work.SCAN
    locks = [locking(action, ground, LockMode.ACCESS_EXCLUSIVE, work)]
    locks += [_referenced(one, ground) for one in column.constraints if one.references is not None]
    demands = column.is_not_null and not column.fills_itself
    return Effect(
        locks=tuple(locks),
        phase=Phase.ADDITIVE,
        compatibility=Compatibility.RESTRICTS if demands else Compatibility.FULL,
    )


def fills_every_row(column: Column, catalog: Catalog) -> bool:
    """Tell whether a new column must be written into every row: its values differ, or are stored results."""
    if column.is_serial or column.identity is not None or column.generated == "stored":
        return True
    if column.default is not None and is_volatile(column.default, catalog):
        return True
    return any(catalog.domains.get(catalog.resolve(column.type.named), ()))  # a domain's checks look at every row


def _referenced(constraint: Constraint, ground: Ground) -> Lock:
    """Adding a foreign key makes triggers on both tables."""
    assert constraint.references is not None
    return Lock(relation=ground.catalog.resolve(constraint.references), mode=LockMode.SHARE_ROW_EXCLUSIVE)


def _drop_column(action: DropColumn, ground: Ground) -> Effect:
    found = ground.catalog.table(action.table)
    ends = [one for _, one in found.constraints_on(action.column) if one.references] if found else []
    others = [
        Lock(relation=ground.catalog.resolve(one.references), mode=LockMode.ACCESS_EXCLUSIVE)
        for one in ends
        if one.references is not None
    ]
    return Effect(
        locks=(locking(action, ground, LockMode.ACCESS_EXCLUSIVE), *others),
        phase=Phase.DESTRUCTIVE,
        compatibility=Compatibility.BREAKS,
    )


def _column_type(action: AlterColumnType, ground: Ground) -> Effect:
    own = locking(action, ground, LockMode.ACCESS_EXCLUSIVE, type_work(action, ground))
    return Effect(
        locks=(own, *_at_other_ends(action, ground)),
        phase=Phase.DESTRUCTIVE,
        compatibility=Compatibility.BREAKS,
    )


def _at_other_ends(action: AlterColumnType, ground: Ground) -> Iterator[Lock]:
    """Foreign keys of the column, and those to it, are made anew; the latter look at every row again."""
    catalog = ground.catalog
    table = catalog.table(action.table)
    if table is None:
        return
    for _, own in table.constraints_on(action.column):
        if own.references is not None:
            yield Lock(relation=catalog.resolve(own.references), mode=LockMode.ACCESS_EXCLUSIVE)
    primary = table.primary_key.columns if table.primary_key else ()
    for other, key in catalog.foreign_keys_to(action.table):
        if action.column in (key.referenced or primary):
            work = Work.SCAN if key.is_valid else Work.NONE
            yield Lock(relation=other.name, mode=LockMode.ACCESS_EXCLUSIVE, work=work)


def type_work(action: AlterColumnType, ground: Ground) -> Work:
    """Return what a change of type does to the rows: nothing only where the old type is known and fits."""
    catalog = ground.catalog
    column = catalog.column(action.table, action.column)
    if column is None or (action.using is not None and not _is_plain(action)):
        return Work.REWRITE
    if not keeps_rows(column.stored_type, action.type, time_zone_is_utc=ground.time_zone_is_utc):
        return Work.REWRITE
    table = catalog.table(action.table)
    is_checked = any(one.check for _, one in table.constraints_on(action.column)) if table else False
    return Work.SCAN if is_checked or _rebuilds_indexes(action, column, catalog) else Work.NONE


def _is_plain(action: AlterColumnType) -> bool:
    """USING c and USING c::type say what is done without them."""
    assert action.using is not None
    return action.using.text in {action.column, f"{action.column}::{action.type}"}


def _rebuilds_indexes(action: AlterColumnType, column: Column, catalog: Catalog) -> bool:
    """An index stays where operators and collation do: `varchar` and `text` share theirs, `citext` does not."""
    if action.collation != column.collation:
        return any(action.column in one.columns for one in catalog.indexes_on(action.table))
    same = {"varchar", "text"} >= {column.type.name, action.type.name} or column.type.name == action.type.name
    return not same and any(action.column in one.columns for one in catalog.indexes_on(action.table))


def _set_not_null(action: SetNotNull, ground: Ground) -> Effect:
    found = ground.catalog.table(action.table)
    column = found.columns.get(action.column) if found else None
    is_proven = found is not None and found.proves_not_null(action.column)
    is_idle = is_proven or (column is not None and column.is_not_null)
    return Effect(
        locks=(locking(action, ground, LockMode.ACCESS_EXCLUSIVE, Work.NONE if is_idle else Work.SCAN),),
        compatibility=Compatibility.FULL if is_idle else Compatibility.RESTRICTS,
    )


def _set_default(action: SetDefault, ground: Ground) -> Effect:
    drops = action.default is None
    return Effect(
        locks=(locking(action, ground, LockMode.ACCESS_EXCLUSIVE),),
        phase=Phase.DESTRUCTIVE if drops else Phase.ADDITIVE,
        compatibility=Compatibility.RESTRICTS if drops else Compatibility.FULL,
    )


def _drop_not_null(action: DropNotNull, ground: Ground) -> Effect:
    return Effect(locks=(locking(action, ground, LockMode.ACCESS_EXCLUSIVE),), phase=Phase.ADDITIVE)


def _set_expression(action: SetExpression, ground: Ground) -> Effect:
    column = ground.catalog.column(action.table, action.column)
    is_stored = column is None or column.generated != "virtual"
    work = Work.REWRITE if action.expression is not None and is_stored else Work.NONE
    return Effect(
        locks=(locking(action, ground, LockMode.ACCESS_EXCLUSIVE, work),),
        phase=Phase.DESTRUCTIVE,
        compatibility=Compatibility.BREAKS if action.expression is not None else Compatibility.RESTRICTS,
    )


def _identity(action: AlterIdentity, ground: Ground) -> Effect:
    drops = action.change is IdentityChange.DROP
    return Effect(
        locks=(locking(action, ground, LockMode.ACCESS_EXCLUSIVE),),
        phase=Phase.DESTRUCTIVE if drops else Phase.ADDITIVE,
        compatibility=Compatibility.RESTRICTS,
    )


def _column_option(action: SetColumnOption, ground: Ground) -> Effect:
    weak = action.option in {"statistics", "options"}
    mode = LockMode.SHARE_UPDATE_EXCLUSIVE if weak else LockMode.ACCESS_EXCLUSIVE
    return Effect(locks=(locking(action, ground, mode),))


def _add_constraint(action: AddConstraint, ground: Ground) -> Effect:
    constraint = action.constraint
    table = ground.catalog.resolve(action.table)
    mode = LockMode.ACCESS_EXCLUSIVE
    work = Work.SCAN if reads_rows(action, ground) else Work.NONE
    locks = [Lock(relation=table, mode=mode, work=work)]
    if constraint.kind is ConstraintKind.FOREIGN_KEY:
        locks = [Lock(relation=table, mode=LockMode.SHARE_ROW_EXCLUSIVE, work=work), _referenced(constraint, ground)]
    return Effect(
        locks=tuple(locks),
        phase=Phase.ADDITIVE,
        compatibility=Compatibility.RESTRICTS if constraint.is_enforced else Compatibility.FULL,
    )


def reads_rows(action: AddConstraint, ground: Ground) -> bool:
    """Tell whether adding the constraint reads the whole table while it is locked."""
    constraint = action.constraint
    match constraint.kind:
        case ConstraintKind.CHECK | ConstraintKind.FOREIGN_KEY:
            return constraint.is_valid and constraint.is_enforced
        case ConstraintKind.NOT_NULL:
            return constraint.is_valid and not _all_proven(action, ground)
        case _ if constraint.using_index is not None:
            is_key = constraint.kind is ConstraintKind.PRIMARY_KEY
            return is_key and not _all_proven(action, ground)
    return True


def _all_proven(action: AddConstraint, ground: Ground) -> bool:
    """Tell whether no column of it can be NULL, as a primary key and NOT NULL demand."""
    table = ground.catalog.table(action.table)
    columns = action.constraint.columns or _columns_of_index(action, ground)
    if table is None or not columns:
        return False
    return all(
        table.proves_not_null(one) or (one in table.columns and table.columns[one].is_not_null) for one in columns
    )


def _columns_of_index(action: AddConstraint, ground: Ground) -> tuple[str, ...]:
    name = ground.catalog.resolve(action.table).sibling(action.constraint.using_index or "")
    index = ground.catalog.indexes.get(name)
    return index.columns if index else ()


def _validate(action: ValidateConstraint, ground: Ground) -> Effect:
    locks = [locking(action, ground, LockMode.SHARE_UPDATE_EXCLUSIVE, Work.SCAN)]
    table = ground.catalog.table(action.table)
    constraint = table.constraints.get(action.name) if table else None
    if constraint is not None and constraint.references is not None:
        locks.append(Lock(relation=ground.catalog.resolve(constraint.references), mode=LockMode.ROW_SHARE))
    return Effect(locks=tuple(locks))


def _drop_constraint(action: DropConstraint, ground: Ground) -> Effect:
    locks = [locking(action, ground, LockMode.ACCESS_EXCLUSIVE)]
    table = ground.catalog.table(action.table)
    constraint = table.constraints.get(action.name) if table else None
    if constraint is not None and constraint.references is not None:
        other = ground.catalog.resolve(constraint.references)
        locks.append(Lock(relation=other, mode=LockMode.ACCESS_EXCLUSIVE))
    return Effect(locks=tuple(locks))


def _alter_constraint(action: AlterConstraint, ground: Ground) -> Effect:
    locks = [locking(action, ground, LockMode.ACCESS_EXCLUSIVE, Work.SCAN if action.enforces else Work.NONE)]
    table = ground.catalog.table(action.table)
    known = table.constraints.get(action.name) if table else None
    if known is not None and known.references is not None and action.enforces is not None:
        locks.append(Lock(relation=ground.catalog.resolve(known.references), mode=LockMode.ACCESS_EXCLUSIVE))
    return Effect(locks=tuple(locks), compatibility=Compatibility.RESTRICTS if action.enforces else Compatibility.FULL)


def _options(action: SetOptions, ground: Ground) -> Effect:
    strong = any(_takes_strong_lock(name) for name, _ in action.options)
    if action.relation in {RelationKind.VIEW, RelationKind.MATERIALIZED_VIEW}:
        strong = action.relation is RelationKind.VIEW
    mode = LockMode.ACCESS_EXCLUSIVE if strong else LockMode.SHARE_UPDATE_EXCLUSIVE
    return Effect(locks=(locking(action, ground, mode),))


_STRONG_OPTIONS = {"user_catalog_table", "buffering", "security_barrier", "security_invoker", "check_option"}


def _takes_strong_lock(option: str) -> bool:
    """See reloptions.c: most parameters of tables and indexes take SHARE UPDATE EXCLUSIVE."""
    return option in _STRONG_OPTIONS


def _attach(action: AttachPartition, ground: Ground) -> Effect:
    if action.relation is RelationKind.INDEX:
        parent = ground.catalog.index(action.table)
        relation = parent.table if parent else ground.catalog.resolve(action.table)
        return Effect(locks=(Lock(relation=relation, mode=LockMode.ACCESS_SHARE),), phase=Phase.ADDITIVE)
    part = ground.catalog.resolve(action.partition)
    locks = [
        Lock(relation=part, mode=LockMode.ACCESS_EXCLUSIVE, work=Work.SCAN),
        locking(action, ground, LockMode.SHARE_UPDATE_EXCLUSIVE),
    ]
    locks += [
        Lock(relation=other.name, mode=LockMode.ACCESS_EXCLUSIVE, work=Work.SCAN)
        for other in ground.catalog.partitions_of(action.table)
        if other.is_default_partition and not action.is_default
    ]
    return Effect(locks=tuple(locks), phase=Phase.ADDITIVE)


def _detach(action: DetachPartition, ground: Ground) -> Effect:
    gentle = action.concurrently or action.finalize
    mode = LockMode.SHARE_UPDATE_EXCLUSIVE if gentle else LockMode.ACCESS_EXCLUSIVE
    part = Lock(relation=ground.catalog.resolve(action.partition), mode=LockMode.ACCESS_EXCLUSIVE)
    rest = [
        Lock(relation=one.name, mode=LockMode.ACCESS_EXCLUSIVE)
        for one in ground.catalog.partitions_of(action.table)
        if one.is_default_partition and one.name != part.relation
    ]
    return Effect(
        locks=(part, locking(action, ground, mode), *(rest if not gentle else ())),
        phase=Phase.DESTRUCTIVE,
        compatibility=Compatibility.BREAKS,
        outside_transaction=action.concurrently,
    )


def _persistence(action: SetPersistence, ground: Ground) -> Effect:
    table = ground.catalog.table(action.table)
    wanted = Persistence.PERMANENT if action.is_logged else Persistence.UNLOGGED
    is_idle = table is not None and table.is_complete and table.persistence is wanted
    return Effect(locks=(locking(action, ground, LockMode.ACCESS_EXCLUSIVE, Work.NONE if is_idle else Work.REWRITE),))


def _inheritance(action: SetInheritance, ground: Ground) -> Effect:
    parent = Lock(relation=ground.catalog.resolve(action.parent), mode=LockMode.SHARE_UPDATE_EXCLUSIVE)
    return Effect(
        locks=(locking(action, ground, LockMode.ACCESS_EXCLUSIVE), parent),
        phase=Phase.ADDITIVE if action.inherits else Phase.DESTRUCTIVE,
        compatibility=Compatibility.BREAKS,
    )


def _owner(action: SetOwner, ground: Ground) -> Effect:
    return Effect(locks=(locking(action, ground, LockMode.ACCESS_EXCLUSIVE),), compatibility=Compatibility.RESTRICTS)


def plain(
    mode: LockMode, work: Work = Work.NONE, compatibility: Compatibility = Compatibility.FULL
) -> Callable[[Any, Ground], Effect]:
    """Return the effect of what does one thing to its own table, whatever it says."""
    return lambda action, ground: Effect(locks=(locking(action, ground, mode, work),), compatibility=compatibility)


_STRONG = plain(LockMode.ACCESS_EXCLUSIVE)

TABLE_EFFECTS: Mapping[type[TableAction], Callable[[Any, Ground], Effect]] = {
    AddColumn: _add_column,
    DropColumn: _drop_column,
    AlterColumnType: _column_type,
    SetDefault: _set_default,
    SetNotNull: _set_not_null,
    DropNotNull: _drop_not_null,
    SetExpression: _set_expression,
    AlterIdentity: _identity,
    SetColumnOption: _column_option,
    AddConstraint: _add_constraint,
    ValidateConstraint: _validate,
    AlterConstraint: _alter_constraint,
    DropConstraint: _drop_constraint,
    SetPersistence: _persistence,
    SetTablespace: plain(LockMode.ACCESS_EXCLUSIVE, Work.REWRITE),
    SetAccessMethod: plain(LockMode.ACCESS_EXCLUSIVE, Work.REWRITE),
    SetOptions: _options,
    SetClustering: plain(LockMode.SHARE_UPDATE_EXCLUSIVE),
    SwitchTrigger: plain(LockMode.SHARE_ROW_EXCLUSIVE, compatibility=Compatibility.RESTRICTS),
    SwitchRule: _STRONG,
    AttachPartition: _attach,
    DetachPartition: _detach,
    SetInheritance: _inheritance,
    SetReplicaIdentity: _STRONG,
    SetRowSecurity: plain(LockMode.ACCESS_EXCLUSIVE, compatibility=Compatibility.RESTRICTS),
    SetOwner: _owner,
    OtherTableAction: _STRONG,
}
