"""What each action makes of the catalogue: a table of functions from a catalogue and an action to a catalogue."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hitless.schema.actions.action import Action
from hitless.schema.actions.data import Block
from hitless.schema.actions.objects import (
    AddEnumValue,
    AlterDomain,
    ChangeSequence,
    CreateDomain,
    CreateEnum,
    CreateFunction,
    CreateIndex,
    CreateStatistics,
    CreateTrigger,
    CreateType,
    CreateView,
    Drop,
    Reindex,
    Rename,
    RenameEnumValue,
    SetSchema,
)
from hitless.schema.actions.session import Boundary, SetVariable, TransactionStep
from hitless.schema.actions.tables import CreateTable, TableAction
from hitless.schema.catalog.catalog import Catalog, Index, Trigger, View
from hitless.schema.catalog.removals import drop, rename, set_schema
from hitless.schema.catalog.tables import TABLE_CHANGES, create_table
from hitless.schema.names import PUBLIC, Name


def apply(catalog: Catalog, action: Action) -> Catalog:
    """Return the catalogue after an action."""
    if isinstance(action, TableAction):
        change = TABLE_CHANGES.get(type(action))
        return change(catalog, action) if change else catalog
    apply_one = _CHANGES.get(type(action))
    return apply_one(catalog, action) if apply_one else catalog


def _create_index(catalog: Catalog, action: CreateIndex) -> Catalog:
    table = catalog.resolve(action.table)
    columns = tuple(key.column for key in action.keys if key.column is not None)
    name = table.sibling(action.name or "_".join((table.name, *(columns or ("expr",)), "idx")))
    if action.if_not_exists and name in catalog.indexes:
        return catalog
    index = Index(
        name=name,
        table=table,
        columns=columns,
        has_expressions=len(columns) < len(action.keys),
        is_unique=action.is_unique,
        is_partial=action.where is not None,
        method=action.method,
        is_valid=not action.only,
        born=catalog.file,
    )
    return replace(catalog, indexes={**catalog.indexes, name: index})


def _reindex(catalog: Catalog, action: Reindex) -> Catalog:
    index = catalog.index(action.target) if action.target and action.what == "index" else None
    if index is None:
        return catalog
    return replace(catalog, indexes={**catalog.indexes, index.name: replace(index, is_valid=True)})


def _create_view(catalog: Catalog, action: CreateView) -> Catalog:
    name = catalog.resolve(action.view)
    view = View(
        name=name,
        is_materialized=action.is_materialized,
        reads=tuple(catalog.resolve(one) for one in action.reads),
        columns=action.columns,
        takes_all=action.takes_all,
        options=action.options,  # of a view that is replaced, all old ones are forgotten (DefineVirtualRelation)
        born=catalog.views[name].born if name in catalog.views else catalog.file,
    )
    return replace(catalog, views={**catalog.views, name: view})


def _create_function(catalog: Catalog, action: CreateFunction) -> Catalog:
    name = action.function.within(catalog.search_path[0])
    words = frozenset(_WORD.findall(action.body.lower())) if action.body else frozenset()
    kept = frozenset() if action.replace else catalog.words.get(name, frozenset())  # of one with other arguments
    return replace(
        catalog,
        functions={**catalog.functions, name: action.volatility},
        words={**catalog.words, name: words | kept},
    )


_WORD = re.compile(r"[^\W\d][\w$]*")


def _create_trigger(catalog: Catalog, action: CreateTrigger) -> Catalog:
    table = catalog.resolve(action.table)
    trigger = Trigger(name=action.trigger, table=table, function=action.function)
    return replace(catalog, triggers={**catalog.triggers, (table, action.trigger): trigger})


def _create_enum(catalog: Catalog, action: CreateEnum) -> Catalog:
    name = catalog.resolve(action.type)
    return _born(replace(catalog, enums={**catalog.enums, name: action.values}), name)


def _create_type(catalog: Catalog, action: CreateType) -> Catalog:
    return _born(catalog, catalog.resolve(action.type))


def _born(catalog: Catalog, name: Name) -> Catalog:
    return replace(catalog, born={**catalog.born, name: catalog.file})


def _add_enum_value(catalog: Catalog, action: AddEnumValue) -> Catalog:
    name = catalog.resolve(action.type)
    values = list(catalog.enums.get(name, ()))
    if name not in catalog.enums or action.value in values:
        return catalog
    place = len(values)
    if action.neighbour in values:
        place = values.index(action.neighbour) + (1 if action.is_after else 0)
    values.insert(place, action.value)
    return replace(catalog, enums={**catalog.enums, name: tuple(values)})


def _rename_enum_value(catalog: Catalog, action: RenameEnumValue) -> Catalog:
    name = catalog.resolve(action.type)
    if name not in catalog.enums:
        return catalog
    values = tuple(action.new if one == action.old else one for one in catalog.enums[name])
    return replace(catalog, enums={**catalog.enums, name: values})


def _create_domain(catalog: Catalog, action: CreateDomain) -> Catalog:
    name = catalog.resolve(action.domain)
    return _born(replace(catalog, domains={**catalog.domains, name: action.constraints}), name)


def _alter_domain(catalog: Catalog, action: AlterDomain) -> Catalog:
    name = catalog.resolve(action.domain)
    constraints = catalog.domains.get(name)
    if constraints is None:
        return catalog
    if action.change == "add constraint" and action.constraint is not None:
        constraints = (*constraints, action.constraint)
    elif action.change == "drop constraint":
        constraints = tuple(one for one in constraints if one.name != action.name)
    elif action.change == "validate constraint":
        constraints = tuple(replace(one, is_valid=True) if one.name == action.name else one for one in constraints)
    return replace(catalog, domains={**catalog.domains, name: constraints})


def _sequence(catalog: Catalog, action: ChangeSequence) -> Catalog:
    name = catalog.resolve(action.sequence)
    owner = catalog.resolve(action.owned_by) if action.owned_by else catalog.sequences.get(name)
    catalog = replace(catalog, sequences={**catalog.sequences, name: owner})
    return _born(catalog, name) if action.is_new else catalog


def _statistics(catalog: Catalog, action: CreateStatistics) -> Catalog:
    if action.name is None or not action.tables:
        return catalog
    name = catalog.resolve(action.name)
    return replace(catalog, statistics={**catalog.statistics, name: catalog.resolve(action.tables[0])})


def _block(catalog: Catalog, action: Block) -> Catalog:
    """What a program may do is taken as done."""
    for inner in action.actions:
        catalog = apply(catalog, inner)
    return catalog


def _variable(catalog: Catalog, action: SetVariable) -> Catalog:
    if action.name not in {"search_path", "all"}:
        return catalog
    path = tuple(one for one in action.values if one and not one.startswith(("$", "pg_"))) or (PUBLIC,)
    if action.is_local:
        return replace(catalog, local_path=path)
    return replace(catalog, session_path=path)


def _boundary(catalog: Catalog, action: TransactionStep) -> Catalog:
    return replace(catalog, local_path=None) if action.boundary in _ENDS else catalog


_ENDS = {Boundary.COMMIT, Boundary.ROLLBACK, Boundary.PREPARE}


_CHANGES: Mapping[type[Action], Callable[[Catalog, Any], Catalog]] = {
    CreateTable: create_table,
    CreateIndex: _create_index,
    Reindex: _reindex,
    CreateView: _create_view,
    CreateFunction: _create_function,
    CreateTrigger: _create_trigger,
    CreateEnum: _create_enum,
    CreateType: _create_type,
    AddEnumValue: _add_enum_value,
    RenameEnumValue: _rename_enum_value,
    CreateDomain: _create_domain,
    AlterDomain: _alter_domain,
    ChangeSequence: _sequence,
    CreateStatistics: _statistics,
    Drop: drop,
    Rename: rename,
    SetSchema: set_schema,
    Block: _block,
    SetVariable: _variable,
    TransactionStep: _boundary,
}
