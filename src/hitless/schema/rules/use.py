"""What a file itself has made, and what others may use: questions that many rules ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hitless.schema.actions.action import Action
from hitless.schema.actions.objects import (
    ChangeExtension,
    ChangeSequence,
    CreateDomain,
    CreateEnum,
    CreateFunction,
    CreateSchema,
    CreateType,
    CreateView,
    Rename,
    SetSchema,
)
from hitless.schema.actions.tables import CreateTable, RelationKind, TableAction
from hitless.schema.catalog.catalog import Catalog
from hitless.schema.names import Name
from hitless.schema.rules.rule import Step
from hitless.schema.session import Done

HEAPS = {RelationKind.TABLE, RelationKind.FOREIGN_TABLE}
"""What has columns that statements of a release name."""

RELATIONS = {"table", "view", "materialized view", "foreign table", "sequence"}
"""Kinds of RENAME, DROP and SET SCHEMA whose names share one space."""


def provides(action: Action) -> Name | None:
    """Return the name that an action brings into being."""
    match action:
        case CreateTable():
            return action.table
        case CreateView():
            return action.view
        case CreateFunction():
            return action.function
        case CreateEnum() | CreateType():
            return action.type
        case CreateDomain():
            return action.domain
        case ChangeSequence() if action.is_new:
            return action.sequence
        case CreateSchema():
            return Name(action.schema)
        case ChangeExtension() if action.is_new:
            return Name(action.extension)
        case Rename() if action.table is None:
            return action.old.sibling(action.new)
        case SetSchema():
            return Name(action.name.name, action.schema)
    return None


def is_provided(name: Name, story: Iterable[Done], catalog: Catalog) -> bool:
    """Tell whether one of these actions brings a name into being."""
    return name in provided(story, catalog)


def provided(story: Iterable[Done], catalog: Catalog) -> set[Name]:
    """Return the names that actions bring into being, each with its schema."""
    return {full(name, catalog) for done in story if (name := provides(done.action)) is not None}


def full(name: Name, catalog: Catalog) -> Name:
    """Return a name with its schema, whether or not anything is called so."""
    return name.within(catalog.search_path[0] if catalog.search_path else "public")


def is_used(step: Step, name: Name) -> bool:
    """Tell whether others may use a relation or type: this file has not created it."""
    return not step.before.is_new(name) and not step.before.is_new_type(name)


def is_used_column(step: Step, action: TableAction, column: str) -> bool:
    """Tell whether others may use a column: this file has added neither it nor its table."""
    return is_used(step, action.table) and not step.before.is_new_column(action.table, column)


def later_in_transaction(done: Done, story: Iterable[Done]) -> Iterator[Done]:
    """Return what the same transaction does after an action; statements on their own have nothing after them."""
    seen = False
    for other in story:
        if seen and other.transaction == done.transaction:
            yield other
        seen = seen or other is done
