"""Indexes and constraints that new code wants. The data are asked first; nothing waits for a build or a look."""

from __future__ import annotations

import re

from hitless.schema.actions.values import Constraint, ConstraintKind
from hitless.schema.change.expressions import RowExpression, read_expression
from hitless.schema.change.intent import (
    Add,
    Change,
    Demand,
    MakeIndex,
    MakeUnique,
    Reference,
    Rename,
    Retype,
    Split,
)
from hitless.schema.change.planning import proofs
from hitless.schema.change.planning.checks import no_duplicates, orphans, rows_where
from hitless.schema.change.planning.ground import Ground, Pieces
from hitless.schema.change.refusals import CannotPlan
from hitless.schema.change.standing import Part
from hitless.schema.names import Name, listed, quoted
from hitless.schema.parser import SyntaxProblemError, parse_statement

_PLAIN = re.compile(r"\w+")
RESTRICTS = "a write of the older release that breaks {} fails from here on"


def made_by(change: Change) -> frozenset[str]:
    """Return the columns that a change makes itself."""
    made: set[str] = set()
    for one in change.intents:
        match one:
            case Split():
                made |= one.into.keys()
            case Rename():
                made.add(one.to)
            case Retype() if one.new_name:
                made.add(one.new_name)
            case Add():
                made.add(one.column)
    return frozenset(made)


def _hold_columns(ground: Ground, columns: tuple[str, ...]) -> None:
    made = made_by(ground.change)
    for one in columns:
        if one not in made:
            ground.existing(one)


def _hold_new(ground: Ground, name: str) -> None:
    if ground.known is None:
        return
    if name in ground.known.constraints or ground.table.sibling(name) in ground.catalog.indexes:
        raise CannotPlan(f"{ground.table.shown} has a {quoted(name)} already", "choose another name, or leave it out")


def plan_index(intent: MakeIndex, ground: Ground) -> Pieces:
    """Plan it: with the expansion, or after the rows are filled where it is on columns that the change makes."""
    _hold_new(ground, intent.name)
    keys = tuple(quoted(one) if _PLAIN.fullmatch(one) else one for one in intent.keys)
    plain = tuple(one for one in intent.keys if _PLAIN.fullmatch(one))
    _hold_columns(ground, (*plain, *intent.including))
    where = read_expression(intent.where).text if intent.where is not None else None
    definition = _definition(intent, ground, keys, where)
    is_late = intent.is_unique or bool(made_by(ground.change))
    checks = (
        (
            no_duplicates(
                ground.table,
                tuple(map(_bare, keys)),
                where=where,
                trouble=f"several rows have the same {', '.join(intent.keys)}",
                remedy="decide which of them stays, and correct the others",
            ),
        )
        if intent.is_unique
        else ()
    )
    steps = proofs.built(
        ground,
        intent.name,
        definition,
        f"Build {quoted(intent.name)}",
        checks=checks,
        part=Part.SWITCH if is_late else Part.EXPAND,
    )
    return Pieces(switches=steps) if is_late else Pieces(expands=steps)


def _bare(key: str) -> str:
    """Leave out what an index says beside the value: an operator class, an order."""
    return re.sub(r"\s+(?:\w+_ops\b.*|asc\b.*|desc\b.*|nulls\b.*)\Z", "", key, flags=re.IGNORECASE | re.DOTALL)


def _definition(intent: MakeIndex, ground: Ground, keys: tuple[str, ...], where: str | None) -> str:
    unique = "UNIQUE " if intent.is_unique else ""
    included = f" INCLUDE ({listed(intent.including)})" if intent.including else ""
    text = (
        f"CREATE {unique}INDEX {quoted(intent.name)} ON {ground.table} USING {intent.method}"
        f" ({', '.join(keys)}){included}{f' WHERE {where}' if where else ''}"
    )
    try:
        parse_statement(text)
    except SyntaxProblemError as problem:
        raise CannotPlan(
            f"the index {quoted(intent.name)} is no SQL: {problem.message}",
            "columns are written plain, expressions in parentheses: [customer_id, (lower(email))]",
            evidence=(text,),
        ) from None
    return text


def plan_unique(intent: MakeUnique, ground: Ground) -> Pieces:
    """Plan it."""
    _hold_new(ground, intent.name)
    _hold_columns(ground, intent.columns)
    model = Constraint(kind=ConstraintKind.UNIQUE, columns=intent.columns, nulls_not_distinct=intent.nulls_not_distinct)
    check = no_duplicates(
        ground.table,
        tuple(map(quoted, intent.columns)),
        nulls_not_distinct=intent.nulls_not_distinct,
        trouble=f"several rows have the same {listed(intent.columns)}",
        remedy="decide which of them stays, and correct the others",
    )
    steps = proofs.unique(
        ground, intent.name, intent.columns, model, checks=(check,), caveats=(RESTRICTS.format(quoted(intent.name)),)
    )
    return Pieces(switches=steps)


def plan_check(intent: Demand, ground: Ground) -> Pieces:
    """Plan it."""
    _hold_new(ground, intent.name)
    condition: RowExpression = read_expression(intent.condition)
    _hold_columns(ground, tuple(sorted(condition.columns)))
    check = rows_where(
        ground.table,
        tuple(sorted(condition.columns)),
        f"NOT ({condition.text})",
        trouble=f"these rows do not meet {condition.text}",
        remedy="correct them, or the condition",
    )
    steps = proofs.check(
        ground,
        intent.name,
        condition.text,
        Constraint(kind=ConstraintKind.CHECK),
        checks=(check,),
        caveats=(RESTRICTS.format(quoted(intent.name)),),
    )
    return Pieces(switches=steps)


def plan_foreign_key(intent: Reference, ground: Ground) -> Pieces:
    """Plan it."""
    _hold_new(ground, intent.name)
    _hold_columns(ground, intent.columns)
    if len(intent.columns) != len(intent.referenced):
        raise CannotPlan(
            f"{quoted(intent.name)} has {len(intent.columns)} columns here and {len(intent.referenced)} there",
            "references: [...]   # as many as columns",
        )
    other = _referenced(intent, ground)
    reactions = (("DELETE", intent.on_delete), ("UPDATE", intent.on_update))
    tail = "".join(f" ON {event} {one}" for event, one in reactions if one != "NO ACTION")
    model = Constraint(
        kind=ConstraintKind.FOREIGN_KEY,
        columns=intent.columns,
        references=other,
        referenced=intent.referenced,
        tail=tail,
    )
    steps = proofs.foreign_key(
        ground,
        intent.name,
        intent.columns,
        model,
        checks=(orphans(ground.table, intent.columns, other, intent.referenced),),
        caveats=(RESTRICTS.format(quoted(intent.name)),),
    )
    return Pieces(switches=steps)


def _referenced(intent: Reference, ground: Ground) -> Name:
    """Return the other table; its columns must be the whole of a key."""
    if ground.known is None:
        return intent.table
    other = ground.catalog.table(intent.table)
    if other is None:
        raise CannotPlan(f"the schema has no table {intent.table.shown}", "write the table as it is called")
    keys = [set(one.columns) for one in ground.catalog.indexes_on(other.name) if one.is_unique and not one.is_partial]
    if other.is_complete and set(intent.referenced) not in keys:
        raise CannotPlan(
            f"{listed(intent.referenced)} is no key of {other.name.shown}: a foreign key needs a unique one",
            f"unique: {{NAME: [{', '.join(intent.referenced)}]}}   # a change of {other.name.shown}, before",
        )
    return other.name
