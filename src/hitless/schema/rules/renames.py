"""Rules about new names for what others call by the old one.

A rename is the drop of a name: it too may be the last part of a change, marked `-- hitless: contract CHANGE`.
"""

from __future__ import annotations

from collections.abc import Iterator

from hitless.schema.actions.action import Action
from hitless.schema.actions.objects import Rename, RenameEnumValue, SetSchema
from hitless.schema.actions.values import ConstraintKind
from hitless.schema.names import Name, literal, quoted
from hitless.schema.rules.rule import Family, FileEnd, Rule, Severity, Step, Trouble
from hitless.schema.rules.use import full, is_used, provided, taken
from hitless.schema.rules.writing import script
from hitless.schema.session import Done

_TABLES = {"table", "view", "materialized view", "foreign table"}
_PARTS = {"column", "attribute"}
_UNNAMED_BY_STATEMENTS = {"index", "trigger", "policy", "rule", "statistics", "domain constraint", "event trigger"}
"""No statement of a release names these."""


def column_renamed(step: Step) -> Iterator[Trouble]:
    """RENAME COLUMN, and RENAME ATTRIBUTE."""
    action = step.action
    if not isinstance(action, Rename) or action.kind not in _PARTS or action.table is None:
        return
    old, table = action.old.name, action.table
    if not is_used(step, table) or step.before.is_new_column(table, old):
        return
    if step.before.resolve(table) in step.before.views:
        yield Trouble(
            message=f"code that runs reads the column {old} of {table} and fails from this moment on; new code fails "
            "before it",
            fix=f"-- leave {table} as it is, and create another view that has {quoted(action.new)} for new code",
        )
        return
    column = step.before.column(table, old)
    kind = column.stored_type if column else "text"
    doubt = () if column else (f"-- with the type of {quoted(old)}:",)
    yield Trouble(
        message=f"code that runs names the {action.kind} {old} of {table} and fails from this moment on; new code "
        "fails before it",
        fix=script(
            *doubt,
            f"ALTER TABLE {table} ADD COLUMN {quoted(action.new)} {kind}",
            f"-- a trigger BEFORE INSERT OR UPDATE that keeps both alike; fill {quoted(action.new)} in batches;",
            f"-- release code that uses {quoted(action.new)}; drop {quoted(old)} in a later release",
        ),
    )


def table_renamed(end: FileEnd) -> Iterator[Trouble]:
    """RENAME of a table or view whose old name nothing takes in the same transaction."""
    story = list(end.session.done)
    for done, _, back in taken(story, end.catalog, _renamed):
        action = done.action
        assert isinstance(action, Rename)
        if back is not None or _takes_over(action, done, story):
            continue
        yield Trouble(
            message=f"code that runs names {action.old} and fails from this moment on; new code fails before it",
            fix=script(
                "-- now, for code that uses the new name:",
                f"CREATE VIEW {action.old.sibling(action.new)} AS SELECT * FROM {action.old}",
                "-- when no version uses the old one, drop the view and rename in one transaction",
            ),
            at=done,
        )


def _renamed(action: Action) -> tuple[Name, ...]:
    if isinstance(action, Rename) and action.table is None and action.kind in _TABLES:
        return (action.old,)
    return ()


def _takes_over(action: Rename, done: Done, story: list[Done]) -> bool:
    """Tell whether the new name was given up in the same transaction: one table takes the place of another."""
    return any(
        one.transaction == done.transaction and _renamed(one.action) == (action.old.sibling(action.new),)
        for one in story
    )


def object_renamed(step: Step) -> Iterator[Trouble]:
    """RENAME of a type, function, schema, sequence, ..., and of a constraint that ON CONFLICT may name."""
    action = step.action
    if not isinstance(action, Rename) or action.kind in _TABLES | _PARTS | _UNNAMED_BY_STATEMENTS:
        return
    owner = action.table or action.old
    if not is_used(step, owner) or _is_of_this_file(step, action.old):
        return
    if action.kind == "constraint" and not _is_key(step, action):
        return
    kind = action.kind.upper()
    yield Trouble(
        message=f"code that runs names the {action.kind} {action.old.name} and fails from this moment on",
        fix=f"-- make a second {kind} called {quoted(action.new)}, release code that uses it, then drop the old one",
        severity=Severity.WARNING if action.kind == "constraint" else None,
    )


def _is_of_this_file(step: Step, name: Name) -> bool:
    return full(name, step.before) in provided(step.session.done, step.before)


def _is_key(step: Step, action: Rename) -> bool:
    """Only constraints with an index can be named by a statement: ON CONFLICT ON CONSTRAINT."""
    table = step.before.table(action.table) if action.table else None
    found = table.constraints.get(action.old.name) if table else None
    return found is not None and found.kind not in {ConstraintKind.CHECK, ConstraintKind.FOREIGN_KEY}


def enum_value_renamed(step: Step) -> Iterator[Trouble]:
    """RENAME VALUE of an enum."""
    action = step.action
    if isinstance(action, RenameEnumValue) and is_used(step, action.type):
        yield Trouble(
            message=f"code that runs writes {literal(action.old)} and fails, and reads {literal(action.new)}, which it "
            "does not know",
            fix=script(
                f"ALTER TYPE {action.type} ADD VALUE {literal(action.new)} AFTER {literal(action.old)}",
                "-- release code that reads both and writes the new one; update the rows in batches",
            ),
        )


def schema_changed(step: Step) -> Iterator[Trouble]:
    """SET SCHEMA."""
    action = step.action
    if not isinstance(action, SetSchema) or not is_used(step, action.name) or action.kind == "extension":
        return
    there = Name(action.name.name, action.schema)
    fix = f"-- make it anew in {quoted(action.schema)}, release code that uses that, then drop the old one"
    if action.kind == "table":
        fix = script(
            "-- now, for code that uses the new schema:",
            f"CREATE VIEW {there} AS SELECT * FROM {action.name}",
            "-- when no version uses the old one, drop the view and move the table in one transaction",
        )
    yield Trouble(message=f"code that runs looks for {action.name} where it was and fails from this moment on", fix=fix)


_SAFE = "A second one beside it, written by both versions; the old one is dropped in a later release."

RULES = (
    Rule(
        id="column-renamed",
        family=Family.COMPATIBILITY,
        severity=Severity.ERROR,
        summary="A column is renamed that others may use.",
        why="Two versions run side by side in every rollout, and one of them names a column that is not there.",
        safe="A second column kept alike by a trigger, filled in batches; the old one is dropped in a later release.",
        on_action=column_renamed,
        is_contract=True,
    ),
    Rule(
        id="table-renamed",
        family=Family.COMPATIBILITY,
        severity=Severity.ERROR,
        summary="A table or view is renamed that others may use.",
        why="Two versions run side by side in every rollout, and one of them names a table that is not there.",
        safe="A view under the new name for the new version; or, in the transaction of the rename, one under the old.",
        on_file=table_renamed,
        is_contract=True,
    ),
    Rule(
        id="object-renamed",
        family=Family.COMPATIBILITY,
        severity=Severity.ERROR,
        summary="A type, function, schema, sequence or key is renamed that others may name.",
        why="Two versions run side by side in every rollout, and one of them names what is not there.",
        safe=_SAFE,
        on_action=object_renamed,
        is_contract=True,
    ),
    Rule(
        id="enum-value-renamed",
        family=Family.COMPATIBILITY,
        severity=Severity.ERROR,
        summary="A value of an enum is renamed.",
        why="Versions that still run write the old one, which is refused, and read a new one that they do not know.",
        safe="Add the new value, release code that reads both, update the rows in batches.",
        on_action=enum_value_renamed,
        is_contract=True,
    ),
    Rule(
        id="schema-changed",
        family=Family.COMPATIBILITY,
        severity=Severity.ERROR,
        summary="Something moves to another schema.",
        why="Versions that still run look for it where it was.",
        safe="A view there for the new version; move it when no version uses the old place.",
        on_action=schema_changed,
        is_contract=True,
    ),
)
