"""What DROP, RENAME and SET SCHEMA make of the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from hitless.schema.actions.objects import Drop, Rename, SetSchema
from hitless.schema.catalog.catalog import Catalog, Index, Table
from hitless.schema.names import Name

K = TypeVar("K")
V = TypeVar("V")


def drop(catalog: Catalog, action: Drop) -> Catalog:
    """Take away what is dropped."""
    remove = _REMOVALS.get(action.kind)
    for name in action.names if remove else ():
        catalog = remove(catalog, catalog.resolve(name)) if remove else catalog
    if action.kind == "trigger" and action.table is not None:
        gone = (catalog.resolve(action.table), action.names[0].name)
        catalog = replace(catalog, triggers=_without(catalog.triggers, gone))
    return catalog


def _without(known: Mapping[K, V], gone: K) -> dict[K, V]:
    return {key: value for key, value in known.items() if key != gone}


def _table(catalog: Catalog, name: Name) -> Catalog:
    return replace(
        catalog,
        tables=_without(catalog.tables, name),
        indexes={key: one for key, one in catalog.indexes.items() if one.table != name},
        triggers={key: one for key, one in catalog.triggers.items() if one.table != name},
    )


def _schema(catalog: Catalog, name: Name) -> Catalog:
    return replace(
        catalog,
        tables={key: one for key, one in catalog.tables.items() if key.schema != name.name},
        views={key: one for key, one in catalog.views.items() if key.schema != name.name},
        indexes={key: one for key, one in catalog.indexes.items() if key.schema != name.name},
    )


def _function(catalog: Catalog, name: Name) -> Catalog:
    return replace(catalog, functions=_without(catalog.functions, name), words=_without(catalog.words, name))


_REMOVALS: Mapping[str, Callable[[Catalog, Name], Catalog]] = {
    "table": _table,
    "foreign table": _table,
    "schema": _schema,
    "index": lambda catalog, name: replace(catalog, indexes=_without(catalog.indexes, name)),
    "view": lambda catalog, name: replace(catalog, views=_without(catalog.views, name)),
    "materialized view": lambda catalog, name: replace(catalog, views=_without(catalog.views, name)),
    "type": lambda catalog, name: replace(catalog, enums=_without(catalog.enums, name)),
    "domain": lambda catalog, name: replace(catalog, domains=_without(catalog.domains, name)),
    "sequence": lambda catalog, name: replace(catalog, sequences=_without(catalog.sequences, name)),
    "function": _function,
    "procedure": _function,
    "routine": _function,
}


def rename(catalog: Catalog, action: Rename) -> Catalog:
    """Give what is renamed its new name."""
    if action.table is not None:
        return _rename_part(catalog, action, action.table)
    old = catalog.resolve(action.old)
    return _moved(catalog, old, Name(action.new, old.schema))


def _rename_part(catalog: Catalog, action: Rename, owner: Name) -> Catalog:
    table = catalog.table(owner)
    if table is None:
        return catalog
    if action.kind == "column":
        return _rename_column(catalog, table, action.old.name, action.new)
    if action.kind == "constraint":
        constraints = {
            (action.new if name == action.old.name else name): one for name, one in table.constraints.items()
        }
        return catalog.with_table(replace(table, constraints=constraints))
    return catalog


def _rename_column(catalog: Catalog, table: Table, old: str, new: str) -> Catalog:
    columns = {
        (new if name == old else name): (replace(one, name=new) if name == old else one)
        for name, one in table.columns.items()
    }
    constraints = {
        name: replace(one, columns=tuple(new if column == old else column for column in one.columns))
        for name, one in table.constraints.items()
    }
    indexes = {name: _renamed_key(one, table.name, old, new) for name, one in catalog.indexes.items()}
    return replace(catalog.with_table(replace(table, columns=columns, constraints=constraints)), indexes=indexes)


def _renamed_key(index: Index, table: Name, old: str, new: str) -> Index:
    if index.table != table or old not in index.columns:
        return index
    return replace(index, columns=tuple(new if one == old else one for one in index.columns))


def set_schema(catalog: Catalog, action: SetSchema) -> Catalog:
    """Move something to another schema."""
    old = catalog.resolve(action.name)
    return _moved(catalog, old, Name(old.name, action.schema))


def _moved(catalog: Catalog, old: Name, new: Name) -> Catalog:
    """Move a relation or type, and what points to it."""
    return replace(
        catalog,
        tables={
            (new if name == old else name): replace(
                one,
                name=new if name == old else one.name,
                partition_of=new if one.partition_of == old else one.partition_of,
                parents=tuple(new if parent == old else parent for parent in one.parents),
            )
            if old in {name, one.partition_of, *one.parents}
            else one
            for name, one in catalog.tables.items()
        },
        indexes={
            (new if name == old else name): replace(
                one, name=new if name == old else one.name, table=new if one.table == old else one.table
            )
            if old in {name, one.table}
            else one
            for name, one in catalog.indexes.items()
        },
        views={(new if name == old else name): one for name, one in catalog.views.items()},
        enums={(new if name == old else name): one for name, one in catalog.enums.items()},
        rows={(new if name == old else name): one for name, one in catalog.rows.items()},
    )
