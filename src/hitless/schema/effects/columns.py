"""Effects of the subcommands of ALTER TABLE that are about columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hitless.schema.actions.tables import (
    AddColumn,
    AlterColumnType,
    AlterIdentity,
    DropColumn,
    DropNotNull,
    IdentityChange,
    SetColumnOption,
    SetDefault,
    SetExpression,
    SetNotNull,
    TableAction,
)
from hitless.schema.actions.values import Column, ConstraintKind
from hitless.schema.catalog.catalog import Catalog
from hitless.schema.effects.effect import Compatibility, Effect, Lock, Phase, Work
from hitless.schema.effects.ground import Ground, locking, referenced
from hitless.schema.effects.locks import LockMode
from hitless.schema.effects.types import keeps_rows
from hitless.schema.effects.volatility import is_volatile


def _add_column(action: AddColumn, ground: Ground) -> Effect:
    column = action.column
    work = Work.REWRITE if fills_every_row(column, ground.catalog) else Work.NONE
    checks = [one for one in column.constraints if one.kind is ConstraintKind.CHECK]
    if work is Work.NONE and (checks or any(one.makes_index for one in column.constraints)):
        work = Work.SCAN
    locks = [locking(action, ground, LockMode.ACCESS_EXCLUSIVE, work)]
    locks += [referenced(one, ground) for one in column.constraints if one.references is not None]
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


COLUMN_EFFECTS: Mapping[type[TableAction], Callable[[Any, Ground], Effect]] = {
    AddColumn: _add_column,
    DropColumn: _drop_column,
    AlterColumnType: _column_type,
    SetDefault: _set_default,
    SetNotNull: _set_not_null,
    DropNotNull: _drop_not_null,
    SetExpression: _set_expression,
    AlterIdentity: _identity,
    SetColumnOption: _column_option,
}
