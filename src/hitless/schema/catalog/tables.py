"""What CREATE TABLE, and each subcommand of ALTER TABLE, makes of the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

from hitless.schema.actions.tables import (
    AddColumn,
    AddConstraint,
    AlterColumnType,
    AlterConstraint,
    AlterIdentity,
    AttachPartition,
    CreateTable,
    DetachPartition,
    DropColumn,
    DropConstraint,
    DropNotNull,
    IdentityChange,
    Persistence,
    RelationKind,
    SetDefault,
    SetExpression,
    SetInheritance,
    SetNotNull,
    SetOptions,
    SetPersistence,
    SwitchTrigger,
    TableAction,
    TriggerState,
    ValidateConstraint,
)
from hitless.schema.actions.values import Constraint, ConstraintKind
from hitless.schema.catalog.catalog import TEMPORARY, Catalog, Index, Table
from hitless.schema.names import Name

Change = Callable[[Catalog, Any], Catalog]


def create_table(catalog: Catalog, action: CreateTable) -> Catalog:
    """Add a table with its columns, constraints and the indexes that serve them."""
    name = action.table.within(TEMPORARY if _is_temporary(action) else catalog.search_path[0])
    if action.if_not_exists and name in catalog.tables:
        return catalog
    parent = catalog.table(action.partition_of) if action.partition_of else None
    table = Table(
        name=name,
        columns={**(parent.columns if parent else {}), **{one.name: one for one in action.columns}},
        is_complete=not action.is_from_query
        and not action.inherits
        and (parent is not None or not action.partition_of),
        born=catalog.file,
        persistence=action.persistence,
        is_partitioned=action.is_partitioned,
        partition_of=catalog.resolve(action.partition_of) if action.partition_of else None,
        is_default_partition=action.bound is not None and action.bound.is_default,
        partition_key=action.partition_key,
        parents=tuple(catalog.resolve(one) for one in action.inherits),
        is_foreign=action.is_foreign,
    )
    for parent_name in table.parents:
        catalog = catalog.with_table(replace(known(catalog, parent_name), has_heirs=True))
    inline = (constraint for one in action.columns for constraint in one.constraints)
    return _with_constraints(catalog.with_table(table), table, [*inline, *action.constraints])


def _is_temporary(action: CreateTable) -> bool:
    return action.persistence is Persistence.TEMPORARY


def _with_constraints(catalog: Catalog, table: Table, constraints: Iterable[Constraint]) -> Catalog:
    for one in constraints:
        catalog, table = _with_constraint(catalog, table, one)
    return catalog


def _with_constraint(catalog: Catalog, table: Table, constraint: Constraint) -> tuple[Catalog, Table]:
    name = constraint.named_for(table.name.name)
    source = constraint.using_index
    if source is not None:
        index = catalog.indexes.get(table.name.sibling(source))
        constraint = replace(constraint, columns=index.columns if index else ())
        name = constraint.name or source
        catalog = _without_index(catalog, source, table)
    columns = dict(table.columns)
    if constraint.kind in {ConstraintKind.PRIMARY_KEY, ConstraintKind.NOT_NULL} and constraint.is_valid:
        for column in constraint.columns:
            if column in columns:
                columns[column] = replace(columns[column], is_not_null=True)
    table = replace(table, columns=columns, constraints={**table.constraints, name: replace(constraint, name=name)})
    catalog = catalog.with_table(table)
    if constraint.kind in {ConstraintKind.UNIQUE, ConstraintKind.PRIMARY_KEY, ConstraintKind.EXCLUSION}:
        index = Index(
            name=table.name.sibling(name),
            table=table.name,
            columns=constraint.columns,
            is_unique=constraint.kind is not ConstraintKind.EXCLUSION,
            constraint=name,
            born=catalog.file,
        )
        catalog = replace(catalog, indexes={**catalog.indexes, index.name: index})
    return catalog, table


def _without_index(catalog: Catalog, name: str, table: Table) -> Catalog:
    gone = table.name.sibling(name)
    return replace(catalog, indexes={key: one for key, one in catalog.indexes.items() if key != gone})


def known(catalog: Catalog, name: Name) -> Table:
    """Return a table, or what is known of one that was never seen created."""
    full = catalog.resolve(name)
    return catalog.tables.get(full) or Table(name=full)


def _with_column(catalog: Catalog, action: TableAction, name: str, **changes: Any) -> Catalog:
    table = known(catalog, action.table)
    column = table.columns.get(name)
    if column is None:
        return catalog
    return catalog.with_table(replace(table, columns={**table.columns, name: replace(column, **changes)}))


def _add_column(catalog: Catalog, action: AddColumn) -> Catalog:
    table, column = known(catalog, action.table), action.column
    if action.if_not_exists and column.name in table.columns:
        return catalog
    table = replace(
        table,
        columns={**table.columns, column.name: column},
        new_columns={**table.new_columns, column.name: catalog.file},
    )
    return _with_constraints(catalog.with_table(table), table, column.constraints)


def _drop_column(catalog: Catalog, action: DropColumn) -> Catalog:
    table, column = known(catalog, action.table), action.column
    gone = {name for name, _ in table.constraints_on(column)}
    indexes = {
        name: one for name, one in catalog.indexes.items() if not (one.table == table.name and column in one.columns)
    }
    table = replace(
        table,
        columns={name: one for name, one in table.columns.items() if name != column},
        constraints={name: one for name, one in table.constraints.items() if name not in gone},
    )
    return replace(catalog.with_table(table), indexes=indexes)


def _column_type(catalog: Catalog, action: AlterColumnType) -> Catalog:
    return _with_column(catalog, action, action.column, type=action.type, collation=action.collation)


def _set_default(catalog: Catalog, action: SetDefault) -> Catalog:
    return _with_column(catalog, action, action.column, default=action.default)


def _set_not_null(catalog: Catalog, action: SetNotNull) -> Catalog:
    """Also of a table that is not known: what follows in the same history may depend on it."""
    table = known(catalog, action.table)
    constraint = Constraint(kind=ConstraintKind.NOT_NULL, columns=(action.column,))
    name = _free(constraint.named_for(table.name.name), table)
    catalog = catalog.with_table(replace(table, constraints={**table.constraints, name: constraint}))
    return _with_column(catalog, action, action.column, is_not_null=True)


def _free(name: str, table: Table) -> str:
    """Return a name that no constraint has yet, as PostgreSQL does: with a number behind it."""
    numbered = (f"{name}{number or ''}" for number in count())
    return next(one for one in numbered if one not in table.constraints)


def _drop_not_null(catalog: Catalog, action: DropNotNull) -> Catalog:
    table = known(catalog, action.table)
    kept = {
        name: one
        for name, one in table.constraints.items()
        if not (one.kind is ConstraintKind.NOT_NULL and one.columns == (action.column,))
    }
    return _with_column(catalog.with_table(replace(table, constraints=kept)), action, action.column, is_not_null=False)


def _set_expression(catalog: Catalog, action: SetExpression) -> Catalog:
    if action.expression is not None:
        return _with_column(catalog, action, action.column, generation=action.expression)
    return _with_column(catalog, action, action.column, generated=None, generation=None)


def _identity(catalog: Catalog, action: AlterIdentity) -> Catalog:
    if action.change is IdentityChange.SET:
        return catalog
    identity = "by default" if action.change is IdentityChange.ADD else None
    return _with_column(catalog, action, action.column, identity=identity)


def _add_constraint(catalog: Catalog, action: AddConstraint) -> Catalog:
    table = known(catalog, action.table)
    return _with_constraint(catalog.with_table(table), table, action.constraint)[0]


def _with_changed_constraint(catalog: Catalog, action: TableAction, name: str, **changes: Any) -> Catalog:
    table = known(catalog, action.table)
    constraint = table.constraints.get(name)
    if constraint is None:
        return catalog
    changed = replace(constraint, **changes)
    table = replace(table, constraints={**table.constraints, name: changed})
    catalog = catalog.with_table(table)
    if changed.kind is ConstraintKind.NOT_NULL and changed.is_valid and changed.columns:
        return _with_column(catalog, action, changed.columns[0], is_not_null=True)
    return catalog


def _validate(catalog: Catalog, action: ValidateConstraint) -> Catalog:
    return _with_changed_constraint(catalog, action, action.name, is_valid=True)


def _alter_constraint(catalog: Catalog, action: AlterConstraint) -> Catalog:
    if action.enforces is None:
        return catalog
    return _with_changed_constraint(catalog, action, action.name, is_enforced=action.enforces, is_valid=action.enforces)


def _drop_constraint(catalog: Catalog, action: DropConstraint) -> Catalog:
    table = known(catalog, action.table)
    kept = {name: one for name, one in table.constraints.items() if name != action.name}
    indexes = {
        name: one
        for name, one in catalog.indexes.items()
        if not (one.table == table.name and one.constraint == action.name)
    }
    return replace(catalog.with_table(replace(table, constraints=kept)), indexes=indexes)


def _persistence(catalog: Catalog, action: SetPersistence) -> Catalog:
    persistence = Persistence.PERMANENT if action.is_logged else Persistence.UNLOGGED
    return catalog.with_table(replace(known(catalog, action.table), persistence=persistence))


def _attach(catalog: Catalog, action: AttachPartition) -> Catalog:
    if action.relation is RelationKind.INDEX:
        return catalog
    part = replace(
        known(catalog, action.partition),
        partition_of=catalog.resolve(action.table),
        is_default_partition=action.is_default,
    )
    return catalog.with_table(replace(known(catalog, action.table), is_partitioned=True)).with_table(part)


def _inheritance(catalog: Catalog, action: SetInheritance) -> Catalog:
    table, parent = known(catalog, action.table), known(catalog, action.parent)
    others = tuple(one for one in table.parents if one != parent.name)
    parents = (*others, parent.name) if action.inherits else others
    return catalog.with_table(replace(parent, has_heirs=True)).with_table(replace(table, parents=parents))


def _detach(catalog: Catalog, action: DetachPartition) -> Catalog:
    part = replace(known(catalog, action.partition), partition_of=None, is_default_partition=False)
    return catalog.with_table(part)


def _switch_trigger(catalog: Catalog, action: SwitchTrigger) -> Catalog:
    key = (catalog.resolve(action.table), action.trigger)
    trigger = catalog.triggers.get(key)
    if trigger is None:
        return catalog
    changed = replace(trigger, is_enabled=action.state is TriggerState.ENABLED)
    return replace(catalog, triggers={**catalog.triggers, key: changed})


def _options(catalog: Catalog, action: SetOptions) -> Catalog:
    """Those of a view change what its readers see; those of a table nothing that is known here."""
    view = catalog.views.get(catalog.resolve(action.table))
    if view is None:
        return catalog
    names = frozenset(name for name, _ in action.options)
    changed = view.options - names if action.is_reset else view.options | names
    return replace(catalog, views={**catalog.views, view.name: replace(view, options=changed)})


TABLE_CHANGES: Mapping[type[TableAction], Change] = {
    AddColumn: _add_column,
    DropColumn: _drop_column,
    AlterColumnType: _column_type,
    SetDefault: _set_default,
    SetNotNull: _set_not_null,
    DropNotNull: _drop_not_null,
    SetExpression: _set_expression,
    AlterIdentity: _identity,
    AddConstraint: _add_constraint,
    ValidateConstraint: _validate,
    AlterConstraint: _alter_constraint,
    DropConstraint: _drop_constraint,
    SetPersistence: _persistence,
    AttachPartition: _attach,
    DetachPartition: _detach,
    SetOptions: _options,
    SetInheritance: _inheritance,
    SwitchTrigger: _switch_trigger,
}
"""Subcommands that are not named change nothing that is known here."""
