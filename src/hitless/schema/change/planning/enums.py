"""Enums: values that one gets, and a column that gets another list of them.

PostgreSQL adds a value in an instant and takes none away. Anything else goes through a new type and a shadow column of
it; in the swap the types exchange their names as the columns do. Values of two enums are compared as text, so that no
expression names a type that will be called otherwise.
"""

from __future__ import annotations

from hitless.schema.change.expressions import RowExpression, read_trusted
from hitless.schema.change.intent import ExtendEnum, ReplaceEnum
from hitless.schema.change.pairs import Pair
from hitless.schema.change.planning.carrying import carried
from hitless.schema.change.planning.checks import SHOWN, lossless
from hitless.schema.change.planning.columns import adding
from hitless.schema.change.planning.ground import FORMER, SHADOW, Ground, Pieces, Turn, allowing, contracting, joined
from hitless.schema.change.planning.obstacles import Fate, hold_free
from hitless.schema.change.planning.types import swapping
from hitless.schema.change.refusals import CannotPlan
from hitless.schema.change.standing import Part
from hitless.schema.change.steps import Check, Ddl
from hitless.schema.names import Name, derived, literal, quoted


def plan_enum(intent: ExtendEnum, ground: Ground) -> Pieces:
    """Plan values that an enum gets. There is no way back, and none is needed."""
    name, known = _enum(intent.type, ground)
    if taken := [one for one in intent.values if known and one in known]:
        raise CannotPlan(f"{name.shown} has the value {literal(taken[0])} already", "leave it out")
    neighbour = intent.after or intent.before
    if known and neighbour is not None and neighbour not in known:
        raise CannotPlan(f"{name.shown} has no value {literal(neighbour)}", f"it has {', '.join(map(literal, known))}")
    place = f" BEFORE {literal(intent.before)}" if intent.before else ""
    place = f" AFTER {literal(intent.after)}" if intent.after else place
    statements: list[str] = []
    for one in intent.values:
        statements.append(f"ALTER TYPE {name} ADD VALUE IF NOT EXISTS {literal(one)}{place}")
        place = f" AFTER {literal(one)}" if place else ""
    step = Ddl(
        id="",
        part=Part.EXPAND,
        title=f"Add values to {quoted(name.name)}",
        do=tuple(statements),
        caveats=(
            "PostgreSQL takes no value of an enum away: undoing the change leaves them, unused",
            "the older release meets them once the newer one writes them: it must be able to read them",
        ),
    )
    return Pieces(expands=(step,))


def _enum(wanted: Name, ground: Ground) -> tuple[Name, tuple[str, ...] | None]:
    name = ground.catalog.resolve(wanted) if ground.known else wanted
    known = ground.catalog.enums.get(name)
    if ground.known is not None and known is None:
        raise CannotPlan(f"the schema has no enum {wanted.shown}", "write it as it is called, with its schema")
    return name, known


def plan_enum_values(intent: ReplaceEnum, ground: Ground) -> Pieces:
    """Plan a column that gets another list of values."""
    name, known = _enum(intent.type, ground)
    if known is None:
        raise CannotPlan(
            f"the values that {name.shown} has are not known", "show the schema: --schema dump.sql, or --database URL"
        )
    _hold_alone(ground, name, intent.column)
    _hold_mapped(intent, known)
    hold_free(ground, intent.column, Fate.SWAPPED)
    shadow_type = name.sibling(derived(SHADOW, name.name))
    pair = _pair(intent, known, str(shadow_type))
    checks, caveats = lossless(ground.table, pair, ground.change.lossy)
    shadow = pair.new[0]
    values = ", ".join(map(literal, intent.values))
    made = Turn(f"CREATE TYPE {shadow_type} AS ENUM ({values})", f"DROP TYPE {shadow_type}")
    own = Pieces(
        pairs=(pair,),
        columns=(made, adding(ground, shadow, str(shadow_type))),
        checks=(_uncalled(name), *checks),
        caveats=caveats,
    )
    former_type = name.sibling(derived(FORMER, name.name))
    exchanged = Pieces(
        swap=(_renamed(name, former_type), _renamed(shadow_type, name)),
        drops=(f"{contracting(ground.change.name)}\nDROP TYPE {former_type}",),
    )
    carrying = carried(ground, pair, {intent.column: shadow})
    return joined((own, swapping(intent.column, ground), carrying, exchanged))


def _uncalled(name: Name) -> Check:
    """Ask for functions that take or give the type: they would keep the former one, and statements not find them."""
    found = (
        "FROM pg_depend AS d JOIN pg_type AS y ON y.oid = d.refobjid WHERE d.classid = 'pg_proc'::regclass"
        f" AND d.refclassid = 'pg_type'::regclass AND {literal(str(name))}::regtype IN (y.oid, y.typelem)"
    )
    return Check(
        query=f"SELECT DISTINCT d.objid::regprocedure::text AS function {found} LIMIT {SHOWN}",
        counted=f"SELECT count(DISTINCT d.objid) {found}",
        trouble=f"functions take or give {name.shown}, and would go on with the former list under another name",
        remedy="let them take text, or drop them first",
    )


def _renamed(old: Name, new: Name) -> Turn:
    mark = allowing("object-renamed", "the two exchange their names in one transaction")
    return Turn(
        f"{mark}\nALTER TYPE {old} RENAME TO {quoted(new.name)}", f"ALTER TYPE {new} RENAME TO {quoted(old.name)}"
    )


def _pair(intent: ReplaceEnum, known: tuple[str, ...], shadow_type: str) -> Pair:
    """Values that both lists have stay; a new one that the old list lacks is what maps to it, or NULL, for old code."""
    old, new = intent.column, derived(SHADOW, intent.column)
    there = {value: intent.mapping.get(value, value) for value in known}
    back = {value: old_value for old_value, value in reversed(there.items())}
    back |= {value: value for value in intent.values if value in known}
    return Pair(
        forward={new: _cases(old, there)},
        backward={old: _cases(new, back)},
        as_text=frozenset((old, new)),
        casts={new: shadow_type},
        values=there,
        is_swapped=True,
    )


def _cases(column: str, values: dict[str, str]) -> RowExpression:
    cases = " ".join(f"WHEN {literal(one)} THEN {literal(other)}" for one, other in values.items() if one != other)
    kept = f"{quoted(column)}::text"
    return read_trusted(f"CASE {kept} {cases} ELSE {kept} END" if cases else kept)


def _hold_alone(ground: Ground, name: Name, column: str) -> None:
    """Hold that no other column has this type: it would be left with the former one."""
    known = ground.known.columns.get(column) if ground.known else None
    if known is None or ground.catalog.resolve(known.type.named) != name:
        raise CannotPlan(f"{ground.table.shown}.{quoted(column)} is no {name.shown}", "name the enum that it has")
    for table in ground.catalog.tables.values():
        for other in table.columns.values():
            is_this = table.name == ground.table and other.name == column
            if not is_this and ground.catalog.resolve(other.type.named) == name:
                raise CannotPlan(
                    f"{table.name.shown}.{quoted(other.name)} is {name.shown} too, and would keep the former list",
                    f"give {quoted(column)} a type of its own first: type: {{{column}: {{to: NEW_TYPE, using: ...}}}}",
                )


def _hold_mapped(intent: ReplaceEnum, known: tuple[str, ...]) -> None:
    if not intent.values:
        raise CannotPlan("the new list of values is missing", "values: [...]   # all of them, in their order")
    for one in known:
        becomes = intent.mapping.get(one, one)
        if becomes not in intent.values:
            raise CannotPlan(
                f"the new list lacks {literal(one)}, and nothing says what rows with it become",
                f"map: {{{one}: {intent.values[0]}}}",
            )
    if strangers := [one for one in intent.values if one not in known and one not in intent.mapping.values()]:
        raise CannotPlan(
            f"{literal(strangers[0])} is new, and the former list cannot hold it: the way back would be lost",
            f"add it first, in a change of its own: enum: {{{intent.type.name}: {{add: [{strangers[0]}]}}}}",
        )
