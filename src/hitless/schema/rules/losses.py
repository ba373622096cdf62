"""Rules about rows that are lost: by types that do not keep them, by TRUNCATE, by tables that a crash empties.

What is dropped is in `removals`.
"""

from __future__ import annotations

from collections.abc import Iterator

from hitless.schema.actions.data import Truncate
from hitless.schema.actions.tables import AlterColumnType, SetPersistence
from hitless.schema.actions.values import SqlType
from hitless.schema.effects.types import loses_values
from hitless.schema.names import Name, literal, quoted
from hitless.schema.rules.rows import BEFORE
from hitless.schema.rules.rule import Family, Rule, Severity, Step, Trouble
from hitless.schema.rules.writing import script, size_of

_INTEGERS = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
_TEXTS = {"text", "varchar", "character", "citext"}


def type_loses_values(step: Step) -> Iterator[Trouble]:
    """ALTER COLUMN TYPE to what does not take, or does not keep, every value."""
    action = step.action
    if not isinstance(action, AlterColumnType) or not step.is_in_use(action.table):
        return
    column = step.before.column(action.table, action.column)
    if column is None or not _may_lose(column.stored_type, action.type):
        return
    yield Trouble(
        message=f"{action.column} of {action.table}{size_of(action.table, step.before)} holds {column.stored_type}, of "
        f"which {action.type} does not take, or keep, every value: the statement fails on the first such, or changes "
        "it without a word; so do writes of code that runs",
        fix=script(
            BEFORE, lossy_values(action.table, action.column, column.stored_type, action.type, step.settings.postgres)
        ),
    )


def _may_lose(old: SqlType, new: SqlType) -> bool:
    if new.name in _TEXTS and not new.arguments and new.name != "character":
        return False
    stamps = ("timestamp", "date")
    if old.name == "date" and new.name.startswith(stamps):
        return False
    widening = {("real", "double precision"), ("json", "text"), ("jsonb", "json"), ("smallint", "real")}
    widening |= {(one, "double precision") for one in ("smallint", "integer")} | {(one, "numeric") for one in _INTEGERS}
    return (old.name, new.name) not in widening and loses_values(old, new)


def lossy_values(table: Name, column: str, old: SqlType, new: SqlType, postgres: int) -> str:
    """Write the query that finds values which the new type does not take, or does not keep."""
    name = quoted(column)
    if new.name in {"varchar", "character"} and old.name in _TEXTS and new.arguments:
        return f"SELECT count(*) FROM {table} WHERE char_length({name}) > {new.arguments[0]}"
    if new.name in _INTEGERS and old.name in {*_INTEGERS, "numeric", "real", "double precision"}:
        most = _INTEGERS[new.name]
        rounded = "" if old.name in _INTEGERS else f" OR {name} <> trunc({name})"
        return f"SELECT count(*) FROM {table} WHERE {name} NOT BETWEEN -{most} AND {most - 1}{rounded}"
    if old.name in _TEXTS and postgres >= 16:  # noqa: PLR2004 - pg_input_is_valid
        return f"SELECT count(*) FROM {table} WHERE NOT pg_input_is_valid({name}, {literal(str(new))})"
    back = f"{name}::{new}::{old}"
    return f"SELECT count(*) FROM {table} WHERE {back}::text IS DISTINCT FROM {name}::text"


def truncated(step: Step) -> Iterator[Trouble]:
    """TRUNCATE."""
    action = step.action
    if isinstance(action, Truncate):
        for table in action.tables:
            if step.is_in_use(table):
                yield Trouble(
                    message=f"every row of {table}{size_of(table, step.before)} is lost, and nobody can read or write "
                    "it until the transaction ends",
                    fix="-- delete in batches, what nobody uses, outside of any migration",
                )


def truncate_cascades(step: Step) -> Iterator[Trouble]:
    """TRUNCATE ... CASCADE."""
    action = step.action
    if not isinstance(action, Truncate) or not action.cascade:
        return
    others = {
        table.name.shown: None
        for one in action.tables
        for table, _ in step.before.foreign_keys_to(one)
        if table.name not in {step.before.resolve(name) for name in action.tables}
    }
    if others or any(step.is_in_use(table) for table in action.tables):
        which = ", ".join(others) or "every table with a foreign key to it, and to those in turn,"
        yield Trouble(
            message=f"{which} loses every row too",
            fix="-- name every table that is meant, without CASCADE: PostgreSQL tells you what is missing",
        )


def made_unlogged(step: Step) -> Iterator[Trouble]:
    """SET UNLOGGED."""
    action = step.action
    if isinstance(action, SetPersistence) and not action.is_logged and step.is_in_use(action.table):
        yield Trouble(
            message=f"{action.table} is empty after a crash, and is not there on replicas",
            fix="-- keep it logged; rows that may be lost belong into a table of their own",
        )


RULES = (
    Rule(
        id="type-loses-values",
        family=Family.DATA_LOSS,
        severity=Severity.ERROR,
        summary="A column gets a type that does not take, or does not keep, every value of the old one.",
        why="A value that does not fit lets the migration fail; one that is rounded or cut is lost without a word. "
        "Versions that still run write values of the old type.",
        safe="A second column of the new type, filled and compared before anything reads it.",
        on_action=type_loses_values,
    ),
    Rule(
        id="table-truncated",
        family=Family.DATA_LOSS,
        severity=Severity.ERROR,
        summary="TRUNCATE of a table that others may use.",
        why="The rows cannot be brought back, and readers wait for ACCESS EXCLUSIVE.",
        safe="Delete in batches what nobody uses.",
        on_action=truncated,
    ),
    Rule(
        id="truncate-cascades",
        family=Family.DATA_LOSS,
        severity=Severity.ERROR,
        summary="TRUNCATE with CASCADE.",
        why="Every table with a foreign key to it is emptied too, and those with one to that.",
        safe="Name every table that is meant.",
        on_action=truncate_cascades,
    ),
    Rule(
        id="table-made-unlogged",
        family=Family.DATA_LOSS,
        severity=Severity.ERROR,
        summary="A table becomes UNLOGGED.",
        why="It is emptied by a crash, and replicas have nothing of it: a failover loses every row.",
        safe="Keep it logged.",
        on_action=made_unlogged,
    ),
)
