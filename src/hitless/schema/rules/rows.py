"""Rules about what fails because of the rows that are there.

What depends on the rows cannot be seen in a file; so each finding brings the query that finds the rows in the way. It
belongs on a replica or a copy: it reads the table.
"""

from __future__ import annotations

from collections.abc import Iterator

from hitless.schema.actions.objects import AlterDomain, CreateIndex
from hitless.schema.actions.tables import (
    AddConstraint,
    SetNotNull,
    ValidateConstraint,
)
from hitless.schema.actions.values import Constraint, ConstraintKind
from hitless.schema.catalog.catalog import Catalog
from hitless.schema.effects.effect import Work
from hitless.schema.names import Name, quoted
from hitless.schema.rules.rule import Family, Rule, Severity, Step, Trouble
from hitless.schema.rules.writing import build_index, index_name, script

BEFORE = "-- on a replica, before: it must find nothing"


_KEYS = {ConstraintKind.UNIQUE, ConstraintKind.PRIMARY_KEY}


def unique_may_fail(step: Step) -> Iterator[Trouble]:
    """UNIQUE and PRIMARY KEY over columns that are there, built in one go."""
    action = step.action
    if isinstance(action, AddConstraint) and action.constraint.kind in _KEYS and action.constraint.makes_index:
        columns, query = action.constraint.columns, duplicates(action.table, _each(action.constraint.columns))
        name, definition = action.constraint.named_for(action.table.name), action.constraint.index_definition
        build = build_index(name, action.table, definition, unique=True)
    elif isinstance(action, CreateIndex) and action.is_unique and not action.concurrently:
        columns, query = _columns(action), _duplicates_of(action)
        build = build_index(index_name(action), action.table, action.definition, unique=True)
    else:
        return
    if step.is_in_use(action.table) and not _is_unique_already(step, action.table, columns):
        yield Trouble(
            message=f"two rows of {action.table} with the same {', '.join(columns)} let it fail",
            fix=script(BEFORE, query, build),
        )


def concurrent_unique_may_fail(step: Step) -> Iterator[Trouble]:
    """CREATE UNIQUE INDEX CONCURRENTLY: what fails leaves an invalid index."""
    action = step.action
    if not isinstance(action, CreateIndex) or not action.is_unique or not action.concurrently:
        return
    columns = _columns(action)
    if step.is_in_use(action.table) and not _is_unique_already(step, action.table, columns):
        yield Trouble(
            message=f"two rows of {action.table} with the same {', '.join(columns)} let it fail, and leave an invalid "
            "index that still costs every write",
            fix=script(BEFORE, _duplicates_of(action)),
        )


def _columns(action: CreateIndex) -> tuple[str, ...]:
    return tuple(key.column or key.text for key in action.keys)


def _duplicates_of(action: CreateIndex) -> str:
    keys = (
        quoted(key.column) if key.column else f"({key.expression.text if key.expression else key.text})"
        for key in action.keys
    )
    return duplicates(action.table, tuple(keys), action.where.text if action.where else "")


def _each(columns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(quoted, columns))


def duplicates(table: Name, keys: tuple[str, ...], where: str = "") -> str:
    """Write the query that finds rows which keep expressions from being unique; NULLs are never equal."""
    names = ", ".join(keys)
    conditions = [f"({where})"] if where else []
    conditions += [f"{one} IS NOT NULL" for one in keys]
    return (
        f"SELECT {names}, count(*) FROM {table} WHERE {' AND '.join(conditions)} GROUP BY {names} "
        "HAVING count(*) > 1 LIMIT 20"
    )


def _is_unique_already(step: Step, table: Name, columns: tuple[str, ...]) -> bool:
    """Tell whether fewer of the columns are unique already."""
    return any(
        one.is_unique and one.is_valid and one.columns and set(one.columns) <= set(columns)
        for one in step.before.indexes_on(table)
        if not one.is_partial and not one.has_expressions
    )


def not_null_may_fail(step: Step) -> Iterator[Trouble]:
    """SET NOT NULL on what may hold NULL, as far as is known."""
    action = step.action
    if isinstance(action, SetNotNull):
        column = action.column
    elif isinstance(action, AddConstraint) and action.constraint.kind is ConstraintKind.NOT_NULL:
        column = action.constraint.columns[0]
    else:
        return
    if step.effect.work is not Work.NONE and step.is_in_use(action.table):
        yield Trouble(
            message=f"one row of {action.table} without {column} lets it fail, and nothing that is known says that "
            "there is none",
            fix=script(BEFORE, f"SELECT count(*) FROM {action.table} WHERE {quoted(column)} IS NULL"),
        )


def constraint_may_fail(step: Step) -> Iterator[Trouble]:
    """CHECK and FOREIGN KEY that are checked as they are added; how to add them other rules tell."""
    action = step.action
    if not isinstance(action, AddConstraint) or not step.is_in_use(action.table):
        return
    constraint = action.constraint
    if constraint.kind is ConstraintKind.NOT_NULL:
        return  # not-null-may-fail tells of it
    query = breaking_rows(action.table, constraint, step.before)
    if constraint.is_valid and constraint.is_enforced and query is not None:
        yield Trouble(
            message=f"one row of {action.table} that breaks it lets it fail",
            fix=script(BEFORE, query),
        )


def validation_may_fail(step: Step) -> Iterator[Trouble]:
    """VALIDATE CONSTRAINT, and its query."""
    action = step.action
    if isinstance(action, ValidateConstraint):
        table = step.before.table(action.table)
        constraint = table.constraints.get(action.name) if table else None
        if constraint is not None and constraint.is_valid:
            return
        query = breaking_rows(action.table, constraint, step.before) if constraint else None
        fix = script(BEFORE, query) if query else "-- look for rows that break it before"
        yield Trouble(message=f"one row of {action.table} that breaks {action.name} lets it fail", fix=fix)
    elif isinstance(action, AlterDomain) and action.change == "validate constraint":
        yield Trouble(
            message=f"one value of the domain {action.domain} that breaks {action.name} lets it fail",
            fix="-- look for values that break it before",
        )


def breaking_rows(table: Name, constraint: Constraint, catalog: Catalog) -> str | None:
    """Write the query that finds rows which break a CHECK, a NOT NULL or a foreign key."""
    if constraint.kind is ConstraintKind.CHECK and constraint.check is not None:
        return f"SELECT count(*) FROM {table} WHERE NOT ({constraint.check.text})"
    if constraint.kind is ConstraintKind.NOT_NULL:
        return f"SELECT count(*) FROM {table} WHERE {quoted(constraint.columns[0])} IS NULL"
    if constraint.kind is ConstraintKind.FOREIGN_KEY and constraint.references is not None:
        there = constraint.referenced or _key_of(constraint.references, catalog) or _usual_key(constraint)
        pairs = zip(there, constraint.columns, strict=False)
        joined = " AND ".join(f"there.{quoted(one)} = here.{quoted(other)}" for one, other in pairs)
        filled = " AND ".join(f"here.{quoted(one)} IS NOT NULL" for one in constraint.columns)
        return (
            f"SELECT count(*) FROM {table} AS here WHERE {filled} AND NOT EXISTS "
            f"(SELECT FROM {constraint.references} AS there WHERE {joined})"
        )
    return None


def _key_of(table: Name, catalog: Catalog) -> tuple[str, ...]:
    known = catalog.table(table)
    return known.primary_key.columns if known and known.primary_key else ()


def _usual_key(constraint: Constraint) -> tuple[str, ...]:
    return ("id",) if len(constraint.columns) == 1 else constraint.columns


def _precheck(rule: str, severity: Severity, summary: str, why: str) -> Rule:
    return Rule(
        id=rule,
        family=Family.DATA,
        severity=severity,
        summary=summary,
        why=why,
        safe="Run the query of the finding on a replica first, and mend what it finds in batches.",
        on_action=_CHECKS[rule],
    )


_CHECKS = {
    "unique-may-fail": unique_may_fail,
    "concurrent-unique-may-fail": concurrent_unique_may_fail,
    "not-null-may-fail": not_null_may_fail,
    "constraint-may-fail": constraint_may_fail,
    "validation-may-fail": validation_may_fail,
}

RULES = (
    _precheck(
        "unique-may-fail",
        Severity.WARNING,
        "UNIQUE or PRIMARY KEY over columns that may hold the same twice.",
        "The first pair of equal rows lets the migration fail, after everybody has waited for it.",
    ),
    _precheck(
        "concurrent-unique-may-fail",
        Severity.OFF,
        "CREATE UNIQUE INDEX CONCURRENTLY over columns that may hold the same twice.",
        "The first pair of equal rows lets it fail, and an invalid index stays that every write keeps up to date.",
    ),
    _precheck(
        "not-null-may-fail",
        Severity.WARNING,
        "NOT NULL is set on a column that may hold NULL.",
        "The first row without a value lets the migration fail.",
    ),
    _precheck(
        "constraint-may-fail",
        Severity.WARNING,
        "A CHECK or foreign key is checked as it is added.",
        "The first row that breaks it lets the migration fail; added NOT VALID, it lets only VALIDATE fail.",
    ),
    _precheck(
        "validation-may-fail",
        Severity.OFF,
        "VALIDATE CONSTRAINT may find rows that break it.",
        "The first such row lets the migration fail; nobody waits for it, but the release does.",
    ),
)
