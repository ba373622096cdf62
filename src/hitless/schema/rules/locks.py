"""Rules about locks that are held while a table is read or written anew: columns and constraints.

Severity follows the table: one that this file has created locks nobody, one that is known to be small warns.
"""

from __future__ import annotations

from collections.abc import Iterator

from hitless.schema.actions.objects import AlterDomain
from hitless.schema.actions.tables import (
    AddColumn,
    AddConstraint,
    AlterColumnType,
    AlterConstraint,
    SetAccessMethod,
    SetExpression,
    SetNotNull,
    SetPersistence,
    SetTablespace,
)
from hitless.schema.actions.values import ConstraintKind
from hitless.schema.effects.effect import Work
from hitless.schema.effects.volatility import is_surely_volatile, is_volatile
from hitless.schema.names import derived, listed, quoted
from hitless.schema.rules.rule import Family, Pace, Rule, Severity, Step, Trouble
from hitless.schema.rules.writing import (
    alter,
    build_index,
    column_definition,
    not_null_safely,
    script,
    validated_later,
)

BACKFILL = "-- fill the rows in batches, outside of any migration, for example: hitless migrate backfill"


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
    sequence = quoted(derived(action.table.name, column.name, "seq"))
    yield Trouble(
        message=f"numbers are drawn for every row of {step.whole(action.table, Pace.REWRITE)} while nobody "
        "can read or write it",
        fix=script(
            alter(action, f"ADD COLUMN {quoted(column.name)} {column.stored_type}"),
            f"CREATE SEQUENCE {sequence} OWNED BY {action.table}.{quoted(column.name)}",
            alter(action, f"ALTER COLUMN {quoted(column.name)} SET DEFAULT nextval('{sequence}')"),
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
            steps.append(build_index(name, action.table, f"({listed(constraint.columns)})", unique=True))
            steps.append(alter(action, f"ADD CONSTRAINT {quoted(name)} {constraint.kind} USING INDEX {quoted(name)}"))
        else:
            steps += validated_later(later)
        what = "builds its index" if constraint.makes_index else "reads every row"
        yield Trouble(
            message=f"{constraint.kind} on the new column {action.column.name} {what} while nobody can read or write "
            f"{step.whole(action.table, Pace.READ)}",
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


def not_null_scans(step: Step) -> Iterator[Trouble]:
    """SET NOT NULL, and ADD CONSTRAINT ... NOT NULL, that read every row."""
    action = step.action
    if isinstance(action, SetNotNull):
        column = action.column
    elif isinstance(action, AddConstraint) and action.constraint.kind is ConstraintKind.NOT_NULL:
        column = action.constraint.columns[0]
    else:
        return
    if step.effect.work is Work.NONE or not step.is_in_use(action.table):
        return
    yield Trouble(
        message=f"NOT NULL on {column} reads every row of {step.whole(action.table, Pace.READ)} while "
        "nobody can read or write it",
        fix=script(*not_null_safely(action, column, step.settings.postgres)),
        severity=step.gravity(action.table),
    )


def check_scans(step: Step) -> Iterator[Trouble]:
    """ADD CHECK without NOT VALID."""
    action = step.action
    if not isinstance(action, AddConstraint) or action.constraint.kind is not ConstraintKind.CHECK:
        return
    if step.effect.work is Work.NONE or not step.is_in_use(action.table):
        return
    yield Trouble(
        message=f"the check reads every row of {step.whole(action.table, Pace.READ)} while nobody can read or write it",
        fix=script(*validated_later(action)),
        severity=step.gravity(action.table),
    )


def foreign_key_scans(step: Step) -> Iterator[Trouble]:
    """ADD FOREIGN KEY without NOT VALID."""
    action = step.action
    if not isinstance(action, AddConstraint) or action.constraint.kind is not ConstraintKind.FOREIGN_KEY:
        return
    if step.effect.work is Work.NONE or not step.is_in_use(action.table):
        return
    yield Trouble(
        message=f"every row of {step.whole(action.table, Pace.READ)} is looked up in "
        f"{action.constraint.references} while nobody can write to either",
        fix=_key_fix(step, action),
        severity=step.gravity(action.table),
    )


NOT_VALID_ON_PARENTS = 18
"""Before, PostgreSQL refuses NOT VALID for foreign keys of partitioned tables."""


def _key_fix(step: Step, action: AddConstraint) -> str:
    table = step.before.table(action.table)
    if table is None or not table.is_partitioned or step.settings.postgres >= NOT_VALID_ON_PARENTS:
        return script(*validated_later(action))
    parts = [str(one.name) for one in step.before.partitions_of(action.table)] or ["PART"]
    name = quoted(action.constraint.named_for(action.table.name))
    steps = [
        line
        for part in parts
        for line in (
            f"ALTER TABLE {part} ADD CONSTRAINT {name} {action.constraint.definition()} NOT VALID",
            f"ALTER TABLE {part} VALIDATE CONSTRAINT {name}",
        )
    ]
    whole = alter(action, f"ADD CONSTRAINT {name} {action.constraint.definition()}")
    return script("-- on each part, each statement in a transaction of its own:", *steps, "-- then:", whole)


def unique_builds_index(step: Step) -> Iterator[Trouble]:
    """ADD UNIQUE or PRIMARY KEY that builds its index under the lock."""
    action = step.action
    kinds = {ConstraintKind.UNIQUE, ConstraintKind.PRIMARY_KEY}
    if not isinstance(action, AddConstraint) or action.constraint.kind not in kinds:
        return
    if not action.constraint.makes_index or not step.is_in_use(action.table):
        return
    constraint = action.constraint
    name = constraint.named_for(action.table.name)
    definition = f"({listed(constraint.columns)})"
    steps = [build_index(name, action.table, definition, unique=True)]
    if constraint.kind is ConstraintKind.PRIMARY_KEY:
        for column in constraint.columns:
            steps += _proof(step, action, column)
    steps.append(alter(action, f"ADD CONSTRAINT {quoted(name)} {constraint.kind} USING INDEX {quoted(name)}"))
    table = step.before.table(action.table)
    if table is not None and table.is_partitioned:
        steps = [
            "-- a partitioned table takes no index that is there: build a unique index concurrently on each part, add",
            "-- the constraint USING INDEX there, then here, where it takes them over:",
            alter(action, f"ADD CONSTRAINT {quoted(name)} {constraint.definition()}"),
        ]
    yield Trouble(
        message=f"{constraint.kind} builds an index over {step.whole(action.table, Pace.INDEX)} while "
        "nobody can read or write it",
        fix=script(*steps),
        severity=step.gravity(action.table),
    )


def _proof(step: Step, action: AddConstraint, column: str) -> tuple[str, ...]:
    table = step.before.table(action.table)
    known = table.columns.get(column) if table else None
    if table and (table.proves_not_null(column) or (known and known.is_not_null)):
        return ()
    return not_null_safely(action, column, step.settings.postgres)


def primary_key_scans(step: Step) -> Iterator[Trouble]:
    """PRIMARY KEY USING INDEX on columns that may be NULL as far as is known."""
    action = step.action
    if not isinstance(action, AddConstraint) or action.constraint.kind is not ConstraintKind.PRIMARY_KEY:
        return
    if action.constraint.using_index is None or step.effect.work is Work.NONE or not step.is_in_use(action.table):
        return
    index = step.before.index(action.table.sibling(action.constraint.using_index))
    steps = [one for column in (index.columns if index else ()) for one in _proof(step, action, column)]
    yield Trouble(
        message=f"PRIMARY KEY sets its columns NOT NULL, which reads every row of {action.table} while nobody can read "
        "or write it; nothing proves them to be so",
        fix=script(*steps, alter(action, f"ADD {action.constraint.definition()}")),
        severity=step.gravity(action.table),
    )


def exclusion_builds_index(step: Step) -> Iterator[Trouble]:
    """ADD EXCLUDE: there is no way to build its index beside writers."""
    action = step.action
    if not isinstance(action, AddConstraint) or action.constraint.kind is not ConstraintKind.EXCLUSION:
        return
    if step.is_in_use(action.table):
        yield Trouble(
            message=f"EXCLUDE builds an index over {step.whole(action.table, Pace.INDEX)} while nobody can "
            "read or write it, and has neither NOT VALID nor USING INDEX",
            fix="-- create a new table that has the constraint, copy the rows in batches, and swap the two",
            severity=step.gravity(action.table),
        )


def enforcing_scans(step: Step) -> Iterator[Trouble]:
    """ALTER CONSTRAINT ... ENFORCED reads every row."""
    action = step.action
    if isinstance(action, AlterConstraint) and action.enforces and step.is_in_use(action.table):
        yield Trouble(
            message=f"enforcing {action.name} reads every row of {action.table} while nobody can read or write it",
            fix="-- add the constraint once more under another name with NOT VALID, validate it, drop this one",
            severity=step.gravity(action.table),
        )


def table_rewrites(step: Step) -> Iterator[Trouble]:
    """SET LOGGED, UNLOGGED, TABLESPACE, ACCESS METHOD."""
    action = step.action
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


def domain_constraint_scans(step: Step) -> Iterator[Trouble]:
    """ALTER DOMAIN that checks every column of the domain."""
    action = step.action
    if not isinstance(action, AlterDomain) or step.before.is_new_type(action.domain):
        return
    if action.change == "add constraint" and action.constraint is not None and action.constraint.is_valid:
        name = quoted(action.constraint.name or derived(action.domain.name, "check"))
        fix = script(
            f"ALTER DOMAIN {action.domain} ADD CONSTRAINT {name} {action.constraint.definition()} NOT VALID",
            "-- still keeps writers of its tables waiting while it reads them; find rows that break it before:",
            f"ALTER DOMAIN {action.domain} VALIDATE CONSTRAINT {name}",
        )
    elif action.change == "set not null":
        fix = "-- set NOT NULL on the columns instead, each by a validated check"
    else:
        return
    yield Trouble(
        message=f"every table with a column of the domain {action.domain} is read while nobody can write to it", fix=fix
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
        id="not-null-scans",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="NOT NULL is set on a column that nothing proves to be filled.",
        why="Every row is read under ACCESS EXCLUSIVE. A validated CHECK (column IS NOT NULL) of exactly this column "
        "saves the reading.",
        safe="Add such a check NOT VALID, validate it, set NOT NULL, drop the check; since PostgreSQL 18, NOT NULL ... "
        "NOT VALID itself.",
        on_action=not_null_scans,
    ),
    Rule(
        id="check-scans",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="A CHECK is added without NOT VALID.",
        why="Every row is read under ACCESS EXCLUSIVE.",
        safe="Add it NOT VALID, then VALIDATE it in another transaction: that lets readers and writers go on.",
        on_action=check_scans,
    ),
    Rule(
        id="foreign-key-scans",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="A foreign key is added without NOT VALID.",
        why="Every row is looked up in the other table while SHARE ROW EXCLUSIVE keeps writers of both waiting.",
        safe="Add it NOT VALID, then VALIDATE it in another transaction.",
        on_action=foreign_key_scans,
    ),
    Rule(
        id="unique-builds-index",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="UNIQUE or PRIMARY KEY is added without an index that is there.",
        why="The index is built under ACCESS EXCLUSIVE.",
        safe="CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT ... USING INDEX.",
        on_action=unique_builds_index,
    ),
    Rule(
        id="primary-key-scans",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="PRIMARY KEY USING INDEX takes columns that nothing proves to be filled.",
        why="It sets them NOT NULL, which reads every row under ACCESS EXCLUSIVE.",
        safe="Make the columns NOT NULL in the safe way before.",
        on_action=primary_key_scans,
    ),
    Rule(
        id="exclusion-builds-index",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="EXCLUDE is added to a table with rows.",
        why="Its index is built under ACCESS EXCLUSIVE, and there is neither NOT VALID nor USING INDEX for it.",
        safe="Create a new table with the constraint, copy, swap.",
        on_action=exclusion_builds_index,
    ),
    Rule(
        id="enforcing-scans",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="ALTER CONSTRAINT ... ENFORCED reads the table.",
        why="What was not enforced is not validated: every row is read under the lock.",
        safe="Add the constraint again NOT VALID under another name, validate it, drop the old one.",
        on_action=enforcing_scans,
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
    Rule(
        id="domain-constraint-scans",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="A constraint is added to a domain that is in use.",
        why="Every column of the domain, in every table, is read while SHARE keeps writers waiting.",
        safe="Add it NOT VALID; better, put checks on the columns, which can be validated beside writers.",
        on_action=domain_constraint_scans,
    ),
)
