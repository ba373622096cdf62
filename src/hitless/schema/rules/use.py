"""What a file itself has made, and what others may use: questions that many rules ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

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


_MAKES: Mapping[type[Action], Callable[[Any], Name | None]] = {
    CreateTable: lambda action: action.table,
    CreateView: lambda action: action.view,
    CreateFunction: lambda action: action.function,
    CreateEnum: lambda action: action.type,
    CreateType: lambda action: action.type,
    CreateDomain: lambda action: action.domain,
    ChangeSequence: lambda action: action.sequence if action.is_new else None,
    CreateSchema: lambda action: Name(action.schema),
    ChangeExtension: lambda action: Name(action.extension) if action.is_new else None,
    Rename: lambda action: action.old.sibling(action.new) if action.table is None else None,
    SetSchema: lambda action: Name(action.name.name, action.schema),
}


def provides(action: Action) -> Name | None:
    """Return the name that an action brings into being."""
    makes = _MAKES.get(type(action))
    return makes(action) if makes else None


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


def taken(
    story: Sequence[Done], catalog: Catalog, takes: Callable[[Action], Iterable[Name]]
) -> Iterator[tuple[Done, Name, Action | None]]:
    """Return the names that a file takes away from others, each with what gives it back in the same transaction.

    What the file itself has made before is nobody's loss.
    """
    given = provided(story, catalog)
    own: set[Name] = set()
    for place, done in enumerate(story):
        for name in takes(done.action):
            whole = full(name, catalog)
            if whole not in own:
                yield done, name, _given_back(whole, story, place, catalog) if whole in given else None
        if (made := provides(done.action)) is not None:
            own.add(full(made, catalog))


def _given_back(name: Name, story: Sequence[Done], place: int, catalog: Catalog) -> Action | None:
    for number in range(place + 1, len(story)):
        if story[number].transaction != story[place].transaction:
            return None
        if name in provided([story[number]], catalog):
            return story[number].action
    return None
