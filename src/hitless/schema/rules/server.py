"""Rules about what the server itself refuses, because it is older than the words of a statement."""

from __future__ import annotations

from collections.abc import Iterator

from hitless.schema.actions.action import Action
from hitless.schema.actions.tables import AddColumn, AddConstraint, AlterConstraint, CreateTable, SetExpression
from hitless.schema.actions.values import Column, Constraint, ConstraintKind
from hitless.schema.rules.constraints import NOT_VALID_ON_PARENTS
from hitless.schema.rules.rule import Family, Rule, Severity, Step, Trouble


def needs_newer_server(step: Step) -> Iterator[Trouble]:
    """What servers learned later than the one that is named."""
    for version, what in (*_needs(step.action), *_needs_of_parent(step)):
        if version > step.settings.postgres:
            yield Trouble(
                message=f"{what} needs PostgreSQL {version}, and the files must run on {step.settings.postgres}",
                fix=f"-- if all servers are newer: --postgres {version}",
            )


def _needs_of_parent(step: Step) -> Iterator[tuple[int, str]]:
    action = step.action
    if isinstance(action, AddConstraint) and action.constraint.kind is ConstraintKind.FOREIGN_KEY:
        table = step.before.table(action.table)
        if table is not None and table.is_partitioned and not action.constraint.is_valid:
            yield NOT_VALID_ON_PARENTS, "NOT VALID for a foreign key of a partitioned table"


def _needs(action: Action) -> Iterator[tuple[int, str]]:
    match action:
        case AddColumn():
            yield from _column(action.column)
        case CreateTable():
            for column in action.columns:
                yield from _column(column)
            for constraint in action.constraints:
                yield from _constraint(constraint)
        case AddConstraint():
            if action.constraint.kind is ConstraintKind.NOT_NULL:
                yield 18, "ADD CONSTRAINT ... NOT NULL"
            yield from _constraint(action.constraint)
        case AlterConstraint() if action.enforces is not None:
            yield 18, "ALTER CONSTRAINT ... ENFORCED"
        case SetExpression() if action.expression is not None:
            yield 17, "SET EXPRESSION"


def _column(column: Column) -> Iterator[tuple[int, str]]:
    if column.generated == "virtual":
        yield 18, "a generated column that is not STORED"
    for constraint in column.constraints:
        yield from _constraint(constraint)


def _constraint(constraint: Constraint) -> Iterator[tuple[int, str]]:
    if not constraint.is_enforced:
        yield 18, "NOT ENFORCED"


RULES = (
    Rule(
        id="needs-newer-server",
        family=Family.SERVER,
        severity=Severity.ERROR,
        summary="A statement uses what the named version of PostgreSQL does not know yet.",
        why="The oldest server that the files must run on (--postgres, 15 where it is not given) refuses it.",
        safe="Write it in the older way, or name the version that all servers have.",
        on_action=needs_newer_server,
    ),
)
