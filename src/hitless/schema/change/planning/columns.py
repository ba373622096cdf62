"""Statements about columns that several intents need."""

from __future__ import annotations

from hitless.schema.actions.values import Column, SqlType
from hitless.schema.change.planning.ground import GONE, Ground, Turn, type_text
from hitless.schema.change.refusals import CannotPlan
from hitless.schema.names import Name, derived, literal, quoted


def renaming(table: Name, old: str, new: str, *, mark: str) -> Turn:
    """Rename a column; `mark` tells the lint why that may be."""
    return Turn(
        f"{mark}\nALTER TABLE {table} RENAME COLUMN {quoted(old)} TO {quoted(new)}",
        f"ALTER TABLE {table} RENAME COLUMN {quoted(new)} TO {quoted(old)}",
    )


def hold_unchecked(ground: Ground, kind: SqlType) -> None:
    """Hold that a new column of a type is there without a look at the rows.

    Raises:
        CannotPlan: the type is a domain with constraints, and every row would be written anew under a lock.
    """
    if any(ground.catalog.domains.get(ground.catalog.resolve(kind.named), ())):
        raise CannotPlan(
            f"{type_text(kind)} is a domain with constraints: a new column of it is checked in every row, under a lock",
            "take a column of the domain's own type, and the constraint as `check:`",
        )


def undefaulted(ground: Ground, kind: SqlType) -> str:
    """Write what keeps a domain's own default off a new column: it would look like a value that somebody wrote."""
    is_builtin = kind.schema is None and ground.catalog.resolve(kind.named) not in ground.catalog.domains
    return "" if is_builtin or kind.is_array else " DEFAULT NULL"


def adding(ground: Ground, name: str, kind: str) -> Turn:
    """Add a column, without a default: rows stay as they are."""
    ground.free(name)
    return Turn(
        f"ALTER TABLE {ground.table} ADD COLUMN {quoted(name)} {kind}",
        f"ALTER TABLE {ground.table} DROP COLUMN {quoted(name)}",
    )


def adding_like(ground: Ground, name: str, model: str) -> Turn:
    """Add a column of another column's type; where nobody has told it, the server is asked when it runs."""
    known = ground.column(model)
    if known is not None:
        hold_unchecked(ground, known.stored_type)
        return adding(ground, name, f"{definition(known)}{undefaulted(ground, known.stored_type)}")
    ground.free(name)
    relation = literal(str(ground.table))
    do = (
        "DO $$ BEGIN EXECUTE (\n"
        f"    SELECT format('ALTER TABLE {ground.table} ADD COLUMN %I %s',"
        f" {literal(name)}, format_type(atttypid, atttypmod))\n"
        f"    FROM pg_attribute WHERE attrelid = {relation}::regclass AND attname = {literal(model)}\n"
        "); END $$"
    )
    return Turn(do, f"ALTER TABLE {ground.table} DROP COLUMN {quoted(name)}")


def definition(column: Column) -> str:
    """Write a column's type, with its collation."""
    collation = f" COLLATE {column.collation}" if column.collation else ""
    return f"{type_text(column.stored_type)}{collation}"


def gone(column: str) -> str:
    """Return the name under which a column is hidden."""
    return derived(GONE, column)


def not_null_proof(ground: Ground, column: str) -> str:
    """Return the name of the constraint by which a column is proven not to be NULL."""
    return derived("hitless", ground.table.name, column, "not_null")
