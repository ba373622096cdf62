"""Values that an enum gets. PostgreSQL takes none away, so there is no way back, and none is needed."""

from __future__ import annotations

from hitless.schema.change.intent import ExtendEnum
from hitless.schema.change.planning.ground import Ground, Pieces
from hitless.schema.change.refusals import CannotPlan
from hitless.schema.change.standing import Part
from hitless.schema.change.steps import Ddl
from hitless.schema.names import literal, quoted


def plan_enum(intent: ExtendEnum, ground: Ground) -> Pieces:
    """Plan it."""
    name = ground.catalog.resolve(intent.type) if ground.known else intent.type
    known = ground.catalog.enums.get(name)
    if ground.known is not None and known is None:
        raise CannotPlan(
            f"the schema has no enum {intent.type.shown}", "write the type as it is called, with its schema"
        )
    if taken := [one for one in intent.values if known and one in known]:
        raise CannotPlan(f"{name.shown} has the value {literal(taken[0])} already", "leave it out")
    neighbour = intent.after or intent.before
    if known and neighbour is not None and neighbour not in known:
        raise CannotPlan(f"{name.shown} has no value {literal(neighbour)}", f"it has {', '.join(map(literal, known))}")
    place = f" BEFORE {literal(intent.before)}" if intent.before else ""
    place = f" AFTER {literal(intent.after)}" if intent.after else place
    statements: list[str] = []
    for one in intent.values:
        statements.append(f"ALTER TYPE {name} ADD VALUE {literal(one)}{place}")
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
