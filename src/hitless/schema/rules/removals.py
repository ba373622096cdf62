"""Rules about what is dropped: the release that runs names it, and its rows are gone.

A comment `-- hitless: contract CHANGE` before the statement says that it is the last part of a change. The lint then
lets it pass; whether a version that runs, or that a rollback could bring back, still names it, only the contract guard
can see when the migration runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from hitless.schema.actions.action import Action, Other
from hitless.schema.actions.objects import Drop, Rename, SetSchema
from hitless.schema.actions.tables import (
    AddConstraint,
    DropColumn,
    DropConstraint,
    RelationKind,
    SetExpression,
)
from hitless.schema.actions.values import Column, Constraint, ConstraintKind
from hitless.schema.catalog.catalog import Catalog, Table, proven
from hitless.schema.names import Name, quoted
from hitless.schema.rules.dependents import dependents_of, readers_of_column
from hitless.schema.rules.rule import Family, FileEnd, OnFile, Rule, Severity, Step, Trouble
from hitless.schema.rules.use import is_used, is_used_column, taken
from hitless.schema.rules.writing import alter, contract, script, size_of
from hitless.schema.session import Done

_STILL = "code that still runs names"


def column_dropped(step: Step) -> Iterator[Trouble]:
    """DROP COLUMN, and DROP ATTRIBUTE of a composite type."""
    action = step.action
    if not isinstance(action, DropColumn) or not is_used_column(step, action, action.column):
        return
    yield Trouble(
        message=f"{_STILL} the {_word(action).lower()} {action.column} of {action.table} and fails; its values"
        f"{size_of(action.table, step.before)} are lost",
        fix=contract(
            ("drop", action.table.name, action.column), alter(action, f"DROP {_word(action)} {quoted(action.column)}")
        ),
    )


def _word(action: DropColumn) -> str:
    return "ATTRIBUTE" if action.relation is RelationKind.TYPE else "COLUMN"


def required_column_dropped(step: Step) -> Iterator[Trouble]:
    """DROP COLUMN of what every INSERT had to name until now."""
    action = step.action
    if not isinstance(action, DropColumn) or not is_used_column(step, action, action.column):
        return
    table, column = step.before.table(action.table), step.before.column(action.table, action.column)
    if table is None or column is None or column.fills_itself or not _is_required(table, column):
        return
    if _has_trigger(step.before, table.name):
        return  # one before INSERT may fill it
    yield Trouble(
        message=f"{action.column} is NOT NULL and has no default: no version that leaves it out of its INSERTs can "
        "have run until now, so the one that runs still writes it",
        fix=script(
            "-- before the version that stops writing it; drop the column one release after that version:",
            alter(action, f"ALTER COLUMN {quoted(action.column)} DROP NOT NULL"),
        ),
    )


def _is_required(table: Table, column: Column) -> bool:
    return column.is_not_null or table.proves_not_null(column.name)


def _has_trigger(catalog: Catalog, table: Name) -> bool:
    return any(one.table == table for one in catalog.triggers.values())


def table_dropped(step: Step) -> Iterator[Trouble]:
    """DROP TABLE."""
    action = step.action
    if not isinstance(action, Drop) or action.kind not in {"table", "foreign table"}:
        return
    for name in action.names:
        if is_used(step, name):
            lost = f"; its rows{size_of(name, step.before)} are lost" if action.kind == "table" else ""
            yield Trouble(
                message=f"{_STILL} {name} and fails{lost}",
                fix=contract(("drop", name.name), f"DROP {action.kind.upper()} {name}"),
            )


def _dropped(*kinds: str) -> OnFile:
    """Look for drops of what is neither made by the same file, nor given back in the same transaction."""

    def look(end: FileEnd) -> Iterator[Trouble]:
        for done, name, back in taken(list(end.session.done), end.catalog, takes):
            assert isinstance(done.action, Drop)
            if back is None:
                yield Trouble(message=f"{_STILL} {name} and fails", fix=_contract_of(done.action, name), at=done)
            elif not isinstance(back, (Rename, SetSchema)):  # these bring their own privileges
                yield _made_anew(done.action, name, done)

    def takes(action: Action) -> tuple[Name, ...]:
        return action.names if isinstance(action, Drop) and action.kind in kinds else ()

    return look


def _made_anew(action: Drop, name: Name, done: Done) -> Trouble:
    alike = action.kind in {"view", "function", "procedure"}
    way = f"CREATE OR REPLACE {action.kind.upper()} keeps them" if alike else "grant them again"
    return Trouble(
        message=f"{name} is made anew in the same transaction, without the privileges and the comment that it had",
        fix=f"-- {way}",
        severity=Severity.WARNING,
        at=done,
    )


_WANT_MORE = {"aggregate", "operator", "operator class", "operator family", "cast", "transform", "user mapping"}
"""Kinds whose DROP names more than the object."""


def _contract_of(action: Drop, name: Name) -> str:
    exists = "IF EXISTS " if action.if_exists else ""
    statement = f"DROP {action.kind.upper()} {exists}{name}"
    if action.kind in _WANT_MORE:
        statement = f"-- {statement} (...)"
    return contract(("drop", name.name), statement)


def constraint_dropped(step: Step) -> Iterator[Trouble]:
    """DROP CONSTRAINT of what others rely on."""
    action = step.action
    if not isinstance(action, DropConstraint) or not is_used(step, action.table) or _has_added(step, action):
        return
    table = step.before.table(action.table)
    constraint = table.constraints.get(action.name) if table else None
    if constraint is not None and table is not None and _is_replaced(table, action.name, constraint):
        return
    is_key = constraint is not None and constraint.kind in {ConstraintKind.UNIQUE, ConstraintKind.PRIMARY_KEY}
    what = "ON CONFLICT and foreign keys need it, and" if is_key else "the release that runs may rely on it, and"
    yield Trouble(
        message=f"{action.name} of {action.table} no longer holds: {what} rows that break it keep it from coming back",
        fix=contract(("drop", action.table.name, action.name), alter(action, f"DROP CONSTRAINT {quoted(action.name)}")),
        severity=Severity.ERROR if is_key else None,
    )


_LOOKED_BACK = 1_000
"""Actions: a file may have a hundred thousand, and drop as many constraints."""


def _has_added(step: Step, action: DropConstraint) -> bool:
    """Tell whether the file itself has added the constraint: nobody relies on it yet."""
    table = step.before.resolve(action.table)
    return any(
        isinstance(one.action, AddConstraint)
        and one.action.constraint.named_for(table.name) == action.name
        and step.before.resolve(one.action.table) == table
        for one in islice(reversed(step.session.done), _LOOKED_BACK)
    )


def _is_replaced(table: Table, name: str, constraint: Constraint) -> bool:
    """Tell whether what is left says the same: NOT NULL after its CHECK, or a validated twin."""
    if constraint.kind is ConstraintKind.CHECK and constraint.check is not None:
        only_not_null = constraint.check.columns == proven(constraint)
        filled = all(name in table.columns and table.columns[name].is_not_null for name in proven(constraint))
        has_not_null = {
            one.columns[0]
            for one in table.constraints.values()
            if one.kind is ConstraintKind.NOT_NULL and one.is_valid and one.columns
        }
        if only_not_null and (filled or proven(constraint) <= has_not_null):
            return True
    return any(
        other != name
        and one.is_valid
        and (one.kind, one.columns, one.check, one.references)
        == (constraint.kind, constraint.columns, constraint.check, constraint.references)
        for other, one in table.constraints.items()
    )


def expression_dropped(step: Step) -> Iterator[Trouble]:
    """DROP EXPRESSION."""
    action = step.action
    if isinstance(action, SetExpression) and action.expression is None and is_used(step, action.table):
        yield Trouble(
            message=f"{action.column} is no longer computed, and code that still runs cannot know that it has to "
            "write it",
            fix=contract(
                (action.table.name, action.column, "expression"),
                alter(action, f"ALTER COLUMN {quoted(action.column)} DROP EXPRESSION"),
            ),
        )


def drop_cascades(step: Step) -> Iterator[Trouble]:
    """CASCADE and DROP OWNED: what nobody listed goes too."""
    action = step.action
    match action:
        case Drop() if action.cascade:
            used = [one for one in action.names if is_used(step, one)]
            known = [other for one in used for other in dependents_of(step.before, one)]
            place = f" ON {action.table}" if action.table is not None else ""
            plain = f"DROP {action.kind.upper()} {', '.join(map(str, action.names))}{place}"
            if action.kind in _WANT_MORE:
                plain = "-- the same statement without CASCADE"
        case DropColumn() if action.cascade:
            used = [action.table] if is_used_column(step, action, action.column) else []
            known = list(readers_of_column(step.before, action.table, action.column).known)
            plain = alter(action, f"DROP {_word(action)} {quoted(action.column)}")
        case DropConstraint() if action.cascade:
            used, known = [action.table] if is_used(step, action.table) else [], []
            plain = alter(action, f"DROP CONSTRAINT {quoted(action.name)}")
        case Other() if action.kind == "drop owned":
            yield Trouble(
                message="it drops every object that the role owns in this database, and takes back all its privileges; "
                "nothing in the file says what",
                fix="-- REASSIGN OWNED BY ... TO ... keeps the objects; drop by name what nobody uses",
            )
            return
        case _:
            return
    if used:
        goes = f"{', '.join(known)} goes too" if known else "views, foreign keys and functions may go too"
        yield Trouble(
            message=f"CASCADE drops whatever depends on it, and nothing in the file says what: {goes}",
            fix=script("-- name what goes, each in its own statement; without CASCADE PostgreSQL tells you:", plain),
            severity=None if known or isinstance(action, Drop) else Severity.WARNING,  # ORMs write it at every column
        )


_KINDS: Mapping[str, tuple[tuple[str, ...], Family, str]] = {
    "view-dropped": (("view", "materialized view"), Family.COMPATIBILITY, "A view is dropped that others may read."),
    "function-dropped": (
        ("function", "procedure", "routine", "aggregate"),
        Family.COMPATIBILITY,
        "A function or procedure is dropped that others may call.",
    ),
    "type-dropped": (("type",), Family.COMPATIBILITY, "A type is dropped that others may name."),
    "domain-dropped": (("domain",), Family.COMPATIBILITY, "A domain is dropped that others may name."),
    "sequence-dropped": (("sequence",), Family.DATA_LOSS, "A sequence is dropped, and with it the number it stood at."),
    "extension-dropped": (
        ("extension",),
        Family.COMPATIBILITY,
        "An extension is dropped, with its functions and types.",
    ),
    "schema-dropped": (("schema",), Family.DATA_LOSS, "A schema is dropped."),
    "database-dropped": (("database", "tablespace"), Family.DATA_LOSS, "A database is dropped."),
}


def _rule_of_kind(rule: str, family: Family, summary: str, on_file: OnFile) -> Rule:
    return Rule(
        id=rule,
        family=family,
        severity=Severity.ERROR,
        summary=summary,
        why="Versions that still run, and the one that a rollback returns to, fail with the first statement that names "
        "it.",
        safe="Release code that does not use it first; drop it in a later release, marked "
        "`-- hitless: contract CHANGE`.",
        on_file=on_file,
        is_contract=True,
    )


RULES = (
    Rule(
        id="column-dropped",
        family=Family.DATA_LOSS,
        severity=Severity.ERROR,
        summary="A column is dropped that others may use.",
        why="Versions that still run, and the one that a rollback returns to, fail: ORMs name every column that they "
        "know. The values cannot be brought back.",
        safe="Release code that does not name it first; drop it in a later release, marked "
        "`-- hitless: contract CHANGE`, so that the guard can ask for evidence.",
        on_action=column_dropped,
        is_contract=True,
    ),
    Rule(
        id="required-column-dropped",
        family=Family.RELEASE,
        severity=Severity.ERROR,
        summary="A column is dropped that every INSERT had to name until now.",
        why="A version that does not write the column could not have run: it is NOT NULL and has no default. So the "
        "version that runs writes it, and fails when it is gone.",
        safe="DROP NOT NULL, or a default, before the version that stops writing it; the drop one release later.",
        on_action=required_column_dropped,
    ),
    Rule(
        id="table-dropped",
        family=Family.DATA_LOSS,
        severity=Severity.ERROR,
        summary="A table is dropped that others may use.",
        why="Versions that still run, and the one that a rollback returns to, fail; the rows cannot be brought back.",
        safe="Release code that does not use it first; drop it in a later release, marked "
        "`-- hitless: contract CHANGE`.",
        on_action=table_dropped,
        is_contract=True,
    ),
    *(_rule_of_kind(rule, family, summary, _dropped(*kinds)) for rule, (kinds, family, summary) in _KINDS.items()),
    Rule(
        id="constraint-dropped",
        family=Family.COMPATIBILITY,
        severity=Severity.WARNING,
        summary="A constraint is dropped, and nothing says the same.",
        why="Code may rely on it: ON CONFLICT fails without its unique constraint, and rows that break it are in the "
        "way of putting it back.",
        safe="Drop it when no version relies on it any more, marked `-- hitless: contract CHANGE`.",
        on_action=constraint_dropped,
        is_contract=True,
    ),
    Rule(
        id="expression-dropped",
        family=Family.COMPATIBILITY,
        severity=Severity.ERROR,
        summary="A generated column becomes a plain one.",
        why="Versions that still run do not write it: it is NULL, or stale, in every row that they touch.",
        safe="A trigger that computes it, before; drop the trigger when every version writes the column.",
        on_action=expression_dropped,
        is_contract=True,
    ),
    Rule(
        id="drop-cascades",
        family=Family.DATA_LOSS,
        severity=Severity.ERROR,
        summary="Something is dropped with CASCADE, or DROP OWNED.",
        why="Views, foreign keys and functions that depend on it go too, whoever owns and uses them.",
        safe="Drop what depends on it by name, each when nobody uses it, then the thing itself without CASCADE.",
        on_action=drop_cascades,
    ),
)
