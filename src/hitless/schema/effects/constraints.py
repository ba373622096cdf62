"""Effects of the subcommands of ALTER TABLE that are about constraints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hitless.schema.actions.tables import (
    AddConstraint,
    AlterConstraint,
    DropConstraint,
    TableAction,
    ValidateConstraint,
)
from hitless.schema.actions.values import ConstraintKind
from hitless.schema.effects.effect import Compatibility, Effect, Lock, Phase, Work
from hitless.schema.effects.ground import Ground, locking, referenced
from hitless.schema.effects.locks import LockMode


def _add_constraint(action: AddConstraint, ground: Ground) -> Effect:
    constraint = action.constraint
    table = ground.catalog.resolve(action.table)
    mode = LockMode.ACCESS_EXCLUSIVE
    work = Work.SCAN if reads_rows(action, ground) else Work.NONE
    locks = [Lock(relation=table, mode=mode, work=work)]
    if constraint.kind is ConstraintKind.FOREIGN_KEY:
        locks = [Lock(relation=table, mode=LockMode.SHARE_ROW_EXCLUSIVE, work=work), referenced(constraint, ground)]
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


CONSTRAINT_EFFECTS: Mapping[type[TableAction], Callable[[Any, Ground], Effect]] = {
    AddConstraint: _add_constraint,
    ValidateConstraint: _validate,
    AlterConstraint: _alter_constraint,
    DropConstraint: _drop_constraint,
}
