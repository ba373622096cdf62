"""What depends on a table or a column, as far as the catalogue knows; and the rule about what PostgreSQL refuses then.

Of a view only the names of tables and columns are known. So where it reads several tables, a column that another of
them has too, or may have, is not surely that of the table in question.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hitless.schema.actions.action import Action
from hitless.schema.actions.objects import Drop, Rename
from hitless.schema.actions.tables import AlterColumnType, DropColumn
from hitless.schema.catalog.catalog import Catalog, View
from hitless.schema.names import PUBLIC, Name
from hitless.schema.rules.rule import Family, Rule, Severity, Step, Trouble
from hitless.schema.rules.use import HEAPS, is_used


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """What reads a column: surely, or perhaps."""

    known: tuple[str, ...] = ()
    possible: tuple[str, ...] = ()


def readers_of_column(catalog: Catalog, table: Name, column: str) -> Readers:
    """Name the views that read a column, and the columns that are computed from it."""
    whole = catalog.resolve(table)
    views = [one for one in catalog.views.values() if whole in one.reads and (one.takes_all or column in one.columns)]
    sure = [one for one in views if _is_surely_of(one, whole, column, catalog)]
    found = catalog.tables.get(whole)
    computed = [
        f"generated column {one.name}"
        for one in (found.columns.values() if found else ())
        if one.generation is not None and column in one.generation.columns
    ]
    return Readers(
        known=(*map(_called, sure), *computed), possible=tuple(_called(one) for one in views if one not in sure)
    )


def _called(view: View) -> str:
    return f"view {view.name.shown}"


def _is_surely_of(view: View, table: Name, column: str, catalog: Catalog) -> bool:
    others = [catalog.tables.get(one) for one in view.reads if one != table]
    return all(one is not None and one.is_complete and column not in one.columns for one in others)


def dependents_of(catalog: Catalog, name: Name) -> Iterator[str]:
    """Name what depends on a relation: views, and foreign keys of other tables."""
    whole = catalog.resolve(name)
    yield from (_called(one) for one in catalog.views_on(name))
    yield from (
        f"foreign key of {table.name.shown}" for table, _ in catalog.foreign_keys_to(name) if table.name != whole
    )


_WHOLE = {"table", "view", "materialized view"}


def dependents_refuse(step: Step) -> Iterator[Trouble]:
    """What PostgreSQL refuses because something known depends on it."""
    action = step.action
    match action:
        case DropColumn() | AlterColumnType() if action.relation in HEAPS:
            if isinstance(action, DropColumn) and action.cascade:
                return
            found = readers_of_column(step.before, action.table, action.column)
            what = f"{action.column} of {action.table}"
        case Drop() if action.kind in _WHOLE and not action.cascade:
            found = Readers(known=tuple(dict.fromkeys(_left_behind(step.before, action.names))))
            what = ", ".join(map(str, action.names))
        case _:
            return
    if found.known or found.possible:
        yield Trouble(
            message=f"PostgreSQL refuses this: {', '.join(found.known)} depends on {what}"
            if found.known
            else f"PostgreSQL refuses this if {', '.join(found.possible)} depends on {what}",
            fix="-- first change or drop what depends on it, by name, each when nobody uses it",
            severity=None if found.known else Severity.WARNING,
        )


def _left_behind(catalog: Catalog, names: tuple[Name, ...]) -> Iterator[str]:
    """Name what depends on these, and is not dropped with them."""
    gone = {catalog.resolve(one) for one in names}
    for name in names:
        yield from (_called(one) for one in catalog.views_on(name) if one.name not in gone)
        for table, _ in catalog.foreign_keys_to(name):
            if table.name not in gone:
                yield f"foreign key of {table.name.shown}"


def function_still_names_it(step: Step) -> Iterator[Trouble]:
    """What is dropped or renamed, and stands in the text of a function, as which PostgreSQL does not read it."""
    for table, column in _gone(step.action):
        functions = _functions_naming(step.before, table, column) if is_used(step, table) else ()
        found = sorted(name.shown for name in functions)
        if found:
            yield Trouble(
                message=f"the text of {', '.join(found)} names {column or table.name}: PostgreSQL lets it be, and the "
                "next call fails",
                fix="-- CREATE OR REPLACE each without it first, in an earlier migration",
            )


def _gone(action: Action) -> Iterator[tuple[Name, str | None]]:
    """Return the tables that go, and the columns with their tables."""
    match action:
        case DropColumn() if action.relation in HEAPS:
            yield action.table, action.column
        case Rename() if action.kind == "column" and action.table is not None:
            yield action.table, action.old.name
        case Drop() if action.kind == "table":
            yield from ((name, None) for name in action.names)


def _functions_naming(catalog: Catalog, table: Name, column: str | None) -> Iterator[Name]:
    """Find functions whose text has the names of table and column; of its own triggers just the column's."""
    whole = catalog.resolve(table)
    path = catalog.search_path[0] if catalog.search_path else PUBLIC
    of_triggers = {one.function.within(path) for one in catalog.triggers.values() if one.table == whole}
    for name, words in catalog.words.items():
        is_about_it = table.name.lower() in words or (column is not None and name in of_triggers)
        if is_about_it and (column is None or column.lower() in words):
            yield name


RULES = (
    Rule(
        id="function-still-names-it",
        family=Family.COMPATIBILITY,
        severity=Severity.WARNING,
        summary="What is dropped or renamed stands in the text of a function that is known.",
        why="PostgreSQL reads such a text when the function is called: nothing is refused, and the next call, or the "
        "next write where a trigger calls it, fails. Views are changed with a rename, functions are not.",
        safe="Replace the function first.",
        on_action=function_still_names_it,
    ),
    Rule(
        id="dependents-refuse",
        family=Family.COMPATIBILITY,
        severity=Severity.ERROR,
        summary="Something that is known depends on what is dropped or changed.",
        why="PostgreSQL refuses it, and the migration fails half way.",
        safe="Change or drop what depends on it first, by name.",
        on_action=dependents_refuse,
    ),
)
