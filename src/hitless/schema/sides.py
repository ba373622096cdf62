"""On which side of a release an action stands: it adds what new code needs, or takes away what old code needs.

What the same file has made counts for neither when it goes again, and so do temporary tables. Indexes, constraints,
triggers and changed types are on no side: they are judged by rules of their own.
"""

from __future__ import annotations

from collections.abc import Iterable

from hitless.schema.actions.action import Action
from hitless.schema.actions.objects import (
    AddEnumValue,
    CreateDomain,
    CreateEnum,
    CreateFunction,
    CreateSchema,
    CreateType,
    CreateView,
    Drop,
    Rename,
    RenameEnumValue,
    SetSchema,
)
from hitless.schema.actions.tables import AddColumn, CreateTable, DropColumn, Persistence
from hitless.schema.catalog.catalog import Catalog
from hitless.schema.names import Name
from hitless.schema.session import Side

_TAKEN = {
    "table",
    "foreign table",
    "view",
    "materialized view",
    "sequence",
    "function",
    "procedure",
    "routine",
    "type",
    "domain",
    "schema",
}
_PARTS = {"column", "attribute"}


def side_of(action: Action, before: Catalog) -> Side | None:
    """Tell the side of an action, by what is known before it."""
    if _expands(action, before):
        return Side.EXPANDS
    return Side.CONTRACTS if _contracts(action, before) else None


def _expands(action: Action, before: Catalog) -> bool:
    match action:
        case AddColumn():
            return not before.is_new(action.table)
        case CreateTable():
            return action.persistence is not Persistence.TEMPORARY
        case CreateView():
            return not action.is_temporary and not action.replace
        case CreateFunction():
            return not action.replace
    return isinstance(action, (CreateEnum, CreateType, CreateDomain, CreateSchema, AddEnumValue))


def _contracts(action: Action, before: Catalog) -> bool:
    match action:
        case DropColumn():
            return _is_used_column(action.table, action.column, before)
        case Drop() if action.kind in _TAKEN:
            return any(_is_used(one, before) for one in action.names)
        case Rename() if action.kind in _PARTS and action.table is not None:
            return _is_used_column(action.table, action.old.name, before)
        case Rename() if action.kind in _TAKEN:
            return _is_used(action.old, before)
        case SetSchema() | RenameEnumValue():
            return _is_used(action.name if isinstance(action, SetSchema) else action.type, before)
    return False


def _is_used_column(table: Name, column: str, before: Catalog) -> bool:
    return not before.is_new(table) and not before.is_new_column(table, column)


def _is_used(name: Name, before: Catalog) -> bool:
    return not before.is_new(name) and not before.is_new_type(name)


def gone(action: Action) -> Iterable[Name]:
    """Return the names that an action takes away; of a column, none: nothing takes its place by name."""
    match action:
        case Drop():
            return action.names
        case Rename() if action.table is None:
            return (action.old,)
        case SetSchema():
            return (action.name,)
    return ()
