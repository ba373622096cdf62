"""SQL for fixes, put together from what a statement says."""

from __future__ import annotations

import re

from hitless.schema.actions.objects import CreateIndex
from hitless.schema.actions.tables import AddConstraint, TableAction
from hitless.schema.actions.values import Column
from hitless.schema.catalog.catalog import Catalog
from hitless.schema.effects.ground import NOT_NULL_NOT_VALID
from hitless.schema.names import Name, derived, quoted

BACKFILL = "-- fill the rows in batches, outside of any migration"


def script(*statements: str) -> str:
    """Write statements, one a line, each with its semicolon; comments stay as they are."""
    return "\n".join(one if one.startswith("--") else f"{one};" for one in statements)


def alter(action: TableAction, change: str) -> str:
    """Write an ALTER of the action's table."""
    only = "ONLY " if action.only else ""
    return f"ALTER {action.relation.value.upper()} {only}{action.table} {change}"


def column_definition(column: Column, *, default: bool = True, not_null: bool = True) -> str:
    """Write a column as ADD COLUMN does, without what is left out."""
    parts = [quoted(column.name), str(column.type)]
    if column.collation:
        parts.append(f"COLLATE {column.collation}")
    if default and column.default is not None:
        parts.append(f"DEFAULT {column.default.text}")
    if not_null and column.is_not_null:
        parts.append("NOT NULL")
    return " ".join(parts)


def not_null_safely(action: TableAction, column: str, postgres: int) -> tuple[str, ...]:
    """Write the way to NOT NULL that scans without keeping anybody from writing."""
    if postgres >= NOT_NULL_NOT_VALID:
        name = derived(action.table.name, column, "not_null")
        return (
            alter(action, f"ADD CONSTRAINT {quoted(name)} NOT NULL {quoted(column)} NOT VALID"),
            "-- in a transaction of its own:",
            alter(action, f"VALIDATE CONSTRAINT {quoted(name)}"),
        )
    name = derived(action.table.name, column, "filled")
    return (
        alter(action, f"ADD CONSTRAINT {quoted(name)} CHECK ({quoted(column)} IS NOT NULL) NOT VALID"),
        "-- in a transaction of its own:",
        alter(action, f"VALIDATE CONSTRAINT {quoted(name)}"),
        "-- reads nothing now:",
        alter(action, f"ALTER COLUMN {quoted(column)} SET NOT NULL"),
        alter(action, f"DROP CONSTRAINT {quoted(name)}"),
    )


def validated_later(action: AddConstraint) -> tuple[str, ...]:
    """Write a constraint that is added without looking at the rows, and validated afterwards."""
    name = quoted(action.constraint.named_for(action.table.name))
    return (
        alter(action, f"ADD CONSTRAINT {name} {action.constraint.definition()} NOT VALID"),
        "-- in a transaction of its own:",
        alter(action, f"VALIDATE CONSTRAINT {name}"),
    )


def index_name(action: CreateIndex) -> str:
    """Return the name that an index has, or that PostgreSQL would choose."""
    if action.name is not None:
        return action.name
    columns = [key.column or "expr" for key in action.keys]
    return derived("_".join((action.table.name, *columns)), "idx")


def build_index(name: str, table: Name, definition: str, *, unique: bool = False) -> str:
    """Write CREATE INDEX CONCURRENTLY."""
    return f"CREATE {'UNIQUE ' if unique else ''}INDEX CONCURRENTLY {quoted(name)} ON {table} {definition}"


def build_index_on_parts(action: CreateIndex, parts: tuple[Name, ...]) -> str:
    """Write the way to an index of a partitioned table that keeps no writer waiting."""
    name, unique = index_name(action), "UNIQUE " if action.is_unique else ""
    steps = [f"CREATE {unique}INDEX {quoted(name)} ON ONLY {action.table} {action.definition}"]
    for part in parts or (Name("part"),):
        own = derived(part.name, name)
        steps.append(build_index(own, part, action.definition, unique=action.is_unique))
        steps.append(f"ALTER INDEX {action.table.sibling(name)} ATTACH PARTITION {part.sibling(own)}")
    note = () if parts else ("-- for each part, here called part:",)
    return script(steps[0], *note, *steps[1:])


def size_of(table: Name, catalog: Catalog) -> str:
    """Say how large a table is, where that is known."""
    rows = catalog.rows_of(table)
    return "" if rows is None else f" of about {rows:,} rows"


def contract(change: tuple[str, ...], statement: str) -> str:
    """Write what takes something away, as the last part of a change that is named."""
    name = "-".join(re.sub(r"[^a-z0-9]+", "-", one.lower()).strip("-") for one in change)
    return script(
        "-- after the last version that uses it, the one that a rollback returns to included; in a file of its own:",
        f"-- hitless: contract {name}",
        statement,
    )
