"""Rules about locks that are held while constraints are checked, or their indexes built."""

from __future__ import annotations

from collections.abc import Iterator

from hitless.schema.actions.objects import AlterDomain
from hitless.schema.actions.tables import (
    AddConstraint,
    AlterConstraint,
    SetNotNull,
)
from hitless.schema.actions.values import ConstraintKind
from hitless.schema.effects.effect import Work
from hitless.schema.names import derived, quoted
from hitless.schema.rules.rule import Family, Pace, Rule, Severity, Step, Trouble
from hitless.schema.rules.writing import (
    alter,
    build_index,
    not_null_safely,
    script,
    validated_later,
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
    steps = [build_index(name, action.table, constraint.index_definition, unique=True)]
    if constraint.kind is ConstraintKind.PRIMARY_KEY:
        for column in constraint.columns:
            steps += _proof(step, action, column)
    taken = f"{constraint.kind} USING INDEX {quoted(name)}{constraint.tail}"
    steps.append(alter(action, f"ADD CONSTRAINT {quoted(name)} {taken}"))
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
        id="domain-constraint-scans",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="A constraint is added to a domain that is in use.",
        why="Every column of the domain, in every table, is read while SHARE keeps writers waiting.",
        safe="Add it NOT VALID; better, put checks on the columns, which can be validated beside writers.",
        on_action=domain_constraint_scans,
    ),
)
