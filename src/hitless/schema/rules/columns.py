"""Rules about locks that are held while a table is written anew: columns, and tables as a whole.

Severity follows the table: one that this file has created locks nobody, one that is known to be small warns.
"""

from __future__ import annotations

from collections.abc import Iterator

from hitless.schema.actions.tables import (
    MOVE_ALL,
    AddColumn,
    AddConstraint,
    AlterColumnType,
    OtherTableAction,
    RelationKind,
    SetAccessMethod,
    SetExpression,
    SetPersistence,
    SetTablespace,
)
from hitless.schema.actions.values import ConstraintKind
from hitless.schema.effects.effect import Work
from hitless.schema.effects.volatility import is_surely_volatile, is_volatile
from hitless.schema.names import derived, literal, quoted
from hitless.schema.rules.rule import Family, Pace, Rule, Severity, Step, Trouble
from hitless.schema.rules.writing import (
    BACKFILL,
    alter,
    build_index,
    column_definition,
    not_null_safely,
    script,
    validated_later,
)


def column_default_rewrites(step: Step) -> Iterator[Trouble]:
    """ADD COLUMN with a default that differs from row to row."""
    action = step.action
    if not isinstance(action, AddColumn) or not step.is_in_use(action.table):
        return
    column = action.column
    if column.default is None or not is_volatile(column.default, step.before):
        return
    doubt = "is" if is_surely_volatile(column.default) else "may be"
    bare = column_definition(column, default=False, not_null=False)
    steps = [alter(action, f"ADD COLUMN {bare}")]
    steps.append(alter(action, f"ALTER COLUMN {quoted(column.name)} SET DEFAULT {column.default.text}"))
    steps.append(BACKFILL)
    if column.is_not_null:
        steps += not_null_safely(action, column.name, step.settings.postgres)
    yield Trouble(
        message=f"{column.default.text} {doubt} volatile: every row of {step.whole(action.table, Pace.REWRITE)} "
        "is written anew while nobody can read or write it",
        fix=script(*steps),
        severity=step.gravity(action.table),
    )


def column_generated_rewrites(step: Step) -> Iterator[Trouble]:
    """ADD COLUMN ... GENERATED ... STORED, and a new expression for one."""
    action = step.action
    if isinstance(action, AddColumn) and action.column.generated == "stored" and step.is_in_use(action.table):
        column = action.column
        virtual = f"ADD COLUMN {column_definition(column)} GENERATED ALWAYS AS ({_generation(action)}) VIRTUAL"
        plain = (
            alter(action, f"ADD COLUMN {column_definition(column, not_null=False)}"),
            "-- a trigger BEFORE INSERT OR UPDATE that computes it, then:",
            BACKFILL,
        )
        yield Trouble(
            message=f"a stored generated column is computed for every row of "
            f"{step.whole(action.table, Pace.REWRITE)} while nobody can read or write it",
            fix=script(alter(action, virtual)) if step.settings.postgres >= 18 else script(*plain),  # noqa: PLR2004
            severity=step.gravity(action.table),
        )
    if isinstance(action, SetExpression) and step.effect.work is Work.REWRITE and step.is_in_use(action.table):
        yield Trouble(
            message=f"a new expression for {action.column} computes it anew for every row of {action.table} while "
            "nobody can read or write it",
            fix="-- add another column with the new expression, move readers to it, then drop this one",
            severity=step.gravity(action.table),
        )


def _generation(action: AddColumn) -> str:
    return action.column.generation.text if action.column.generation else "..."


def column_identity_rewrites(step: Step) -> Iterator[Trouble]:
    """ADD COLUMN of serial or identity."""
    action = step.action
    if not isinstance(action, AddColumn) or not step.is_in_use(action.table):
        return
    column = action.column
    if not column.is_serial and column.identity is None:
        return
    sequence = action.table.sibling(derived(action.table.name, column.name, "seq"))
    yield Trouble(
        message=f"numbers are drawn for every row of {step.whole(action.table, Pace.REWRITE)} while nobody "
        "can read or write it",
        fix=script(
            alter(action, f"ADD COLUMN {quoted(column.name)} {column.stored_type}"),
            f"CREATE SEQUENCE {sequence} OWNED BY {action.table}.{quoted(column.name)}",
            alter(action, f"ALTER COLUMN {quoted(column.name)} SET DEFAULT nextval({literal(str(sequence))})"),
            BACKFILL,
            *not_null_safely(action, column.name, step.settings.postgres),
        ),
        severity=step.gravity(action.table),
    )


def column_constraint_scans(step: Step) -> Iterator[Trouble]:
    """ADD COLUMN with a constraint that reads the table or builds an index under the lock."""
    action = step.action
    if not isinstance(action, AddColumn) or not step.is_in_use(action.table):
        return
    for constraint in action.column.constraints:
        if constraint.kind is ConstraintKind.FOREIGN_KEY and action.column.default is None:
            continue  # a new column without a default is NULL everywhere, and PostgreSQL knows
        later = AddConstraint(table=action.table, relation=action.relation, constraint=constraint)
        name = constraint.named_for(action.table.name)
        steps = [alter(action, f"ADD COLUMN {column_definition(action.column)}")]
        if constraint.makes_index:
            steps.append(build_index(name, action.table, constraint.index_definition, unique=True))
            taken = f"{constraint.kind} USING INDEX {quoted(name)}{constraint.tail}"
            steps.append(alter(action, f"ADD CONSTRAINT {quoted(name)} {taken}"))
        else:
            steps += validated_later(later)
        what = "builds its index over" if constraint.makes_index else "reads every row of"
        yield Trouble(
            message=f"{constraint.kind} on the new column {action.column.name} {what} "
            f"{step.whole(action.table, Pace.READ)} while nobody can read or write it",
            fix=script(*steps),
            severity=step.gravity(action.table),
        )


def type_change_rewrites(step: Step) -> Iterator[Trouble]:
    """ALTER COLUMN TYPE that writes, or checks, every row."""
    action = step.action
    if not isinstance(action, AlterColumnType) or not step.is_in_use(action.table) or step.effect.work is Work.NONE:
        return
    known = step.before.column(action.table, action.column)
    before = f"from {known.stored_type} " if known else ""
    does = "rewrites" if step.effect.work is Work.REWRITE else "checks every row of, or builds indexes of,"
    shadow = quoted(derived(action.column, "new"))
    doubt = "" if known else "; give the schema with --schema if the change is a harmless one"
    yield Trouble(
        message=f"changing {action.column} {before}to {action.type} {does} "
        f"{step.whole(action.table, Pace.REWRITE)} while nobody can read or write it{doubt}",
        fix=script(
            alter(action, f"ADD COLUMN {shadow} {action.type}"),
            f"-- a trigger BEFORE INSERT OR UPDATE that sets {shadow} from {quoted(action.column)}, then:",
            BACKFILL,
            f"-- release code that reads and writes {shadow}; drop {quoted(action.column)} in a later release",
        ),
        severity=step.gravity(action.table),
    )


def table_rewrites(step: Step) -> Iterator[Trouble]:
    """SET LOGGED, UNLOGGED, TABLESPACE, ACCESS METHOD."""
    action = step.action
    if isinstance(action, OtherTableAction) and action.kind == MOVE_ALL:
        yield Trouble(
            message="every table of the tablespace is written anew, one behind the other, while nobody can read or "
            "write those that are done or in work",
            fix="-- move one table at a time, each in a transaction of its own, the large ones by a copy and a swap",
        )
        return
    if isinstance(action, SetTablespace) and action.relation is RelationKind.INDEX:
        yield from _index_rewrites(step, action)
        return
    if not isinstance(action, (SetPersistence, SetTablespace, SetAccessMethod)) or not step.is_in_use(action.table):
        return
    if step.effect.work is not Work.REWRITE:
        return
    match action:
        case SetPersistence():
            what = "SET LOGGED" if action.is_logged else "SET UNLOGGED"
        case SetTablespace():
            what = "SET TABLESPACE"
        case _:
            what = "SET ACCESS METHOD"
    yield Trouble(
        message=f"{what} writes all of {step.whole(action.table, Pace.REWRITE)} anew while nobody can read or write it",
        fix="-- create a table as it should be, copy the rows in batches while a trigger keeps up, and swap the two",
        severity=step.gravity(action.table),
    )


def _index_rewrites(step: Step, action: SetTablespace) -> Iterator[Trouble]:
    index = step.before.index(action.table)
    if index is None or step.is_in_use(index.table):
        yield Trouble(
            message=f"SET TABLESPACE copies all of {action.table} while nobody can read or write the table that it is "
            "an index of",
            fix=script(f"REINDEX (TABLESPACE {quoted(action.tablespace)}, CONCURRENTLY) INDEX {action.table}"),
            severity=step.gravity(index.table) if index else None,
        )


RULES = (
    Rule(
        id="column-default-rewrites",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="ADD COLUMN has a volatile default.",
        why="Such a default is computed for every row, and the table is written anew under ACCESS EXCLUSIVE. A "
        "constant or stable default, such as now(), is stored once in the catalogue and costs nothing.",
        safe="Add the column without a default, set the default, fill the rows in batches.",
        on_action=column_default_rewrites,
    ),
    Rule(
        id="column-generated-rewrites",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="A stored generated column is added, or gets another expression.",
        why="Its value is computed for every row, and the table is written anew under ACCESS EXCLUSIVE.",
        safe="PostgreSQL 18 has virtual ones; before, a plain column that a trigger fills.",
        on_action=column_generated_rewrites,
    ),
    Rule(
        id="column-identity-rewrites",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="A column of serial or identity is added to a table with rows.",
        why="Every row draws a number, and the table is written anew under ACCESS EXCLUSIVE.",
        safe="Add a plain column, give it a sequence as default, fill the rows in batches.",
        on_action=column_identity_rewrites,
    ),
    Rule(
        id="column-constraint-scans",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="ADD COLUMN has a CHECK, UNIQUE, PRIMARY KEY or filled REFERENCES beside it.",
        why="The constraint is checked for every row, or its index built, under the ACCESS EXCLUSIVE of ADD COLUMN.",
        safe="Add the column alone, then the constraint in its own safe way.",
        on_action=column_constraint_scans,
    ),
    Rule(
        id="type-change-rewrites",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="ALTER COLUMN TYPE rewrites the table, or reads all of it.",
        why="Only few changes keep the rows as they are: a longer varchar, varchar to text, a larger numeric of the "
        "same scale. All others write every row and build every index anew under ACCESS EXCLUSIVE.",
        safe="A second column, kept up to date by a trigger, filled in batches, swapped by a release.",
        on_action=type_change_rewrites,
    ),
    Rule(
        id="table-rewrites",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="SET LOGGED, UNLOGGED, TABLESPACE or ACCESS METHOD writes a table anew.",
        why="All of it is copied under ACCESS EXCLUSIVE.",
        safe="Create another table, copy the rows in batches while a trigger keeps up, swap.",
        on_action=table_rewrites,
    ),
)
