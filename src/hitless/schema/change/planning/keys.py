"""A primary key of integers that becomes bigint: by a shadow column, and a swap that exchanges the key as well.

The swap drops the key and makes another one of an index that is there: no row is looked at. It also drops the foreign
keys of other tables and makes them anew NOT VALID: they hold every write at once, and are validated afterwards. For
the way back an index on the former column is built before; a constraint that was dropped would take its index along.
"""

from __future__ import annotations

from collections.abc import Iterator

from hitless.schema.actions.values import Constraint
from hitless.schema.catalog.catalog import Table
from hitless.schema.change.dependents import Kind
from hitless.schema.change.expressions import read_type
from hitless.schema.change.intent import Retype, WidenKey
from hitless.schema.change.planning import proofs
from hitless.schema.change.planning.carrying import carried, commented
from hitless.schema.change.planning.casts import Cast, cast_of
from hitless.schema.change.planning.columns import adding
from hitless.schema.change.planning.defaults import sequence_widened
from hitless.schema.change.planning.ground import FORMER, SHADOW, Ground, Pieces, Turn, allowing, joined, type_text
from hitless.schema.change.planning.obstacles import Fate, hold_free
from hitless.schema.change.planning.types import narrowed, retyping, swapping
from hitless.schema.change.refusals import CannotPlan
from hitless.schema.change.standing import Part
from hitless.schema.change.steps import Step, Validate
from hitless.schema.effects.ground import NOT_NULL_NOT_VALID
from hitless.schema.names import derived, listed, quoted


def plan_key(intent: WidenKey, ground: Ground) -> Pieces:
    """Plan it.

    Raises:
        CannotPlan: the column is no primary key, or something of the key cannot be exchanged.
    """
    known, key = _key(intent, ground)
    hold_free(ground, intent.column, Fate.KEY)
    old_type, new_type = known.columns[intent.column].stored_type, read_type(intent.to)
    if cast_of(old_type, new_type) is not Cast.TOTAL:
        raise CannotPlan(
            f"{type_text(old_type)} to {type_text(new_type)} is no widening: keys would fail or change", "to: bigint"
        )
    pair = retyping(Retype(column=intent.column, to=intent.to), old_type, new_type, ground)
    shadow = pair.new[0]
    names = {intent.column: shadow}
    others = tuple(_referencing(ground, known, key))
    keys = tuple(ForeignKey(*one) for one in others)
    exchange = _exchange(ground, key, intent.column)
    swapped = swapping(intent.column, ground)
    widened = Pieces(swap=sequence_widened(ground, known.columns[intent.column]))
    return joined(
        (
            Pieces(
                pairs=(pair,),
                columns=(adding(ground, shadow, type_text(new_type)),),
                caveats=narrowed(intent.column, old_type),
                switches=tuple(_validation(other, name) for other, name, _ in others),
                unswapped=tuple(turn for one in keys for turn in (*_back(one.comments(ground)), one.undoing)),
            ),
            exchange,
            swapped,
            carried(ground, pair, names),
            Pieces(swap=_new_key(ground, key)),
            widened,
            Pieces(
                swap=tuple(turn for one in keys for turn in (one.doing, *one.comments(ground))),
                settles=tuple(_validated(other, name) for other, name, _ in others),
            ),
        )
    )


def _key(intent: WidenKey, ground: Ground) -> tuple[Table, Constraint]:
    known = ground.known
    if known is None:
        raise CannotPlan(
            "a primary key is exchanged with its sequence and the foreign keys to it, which are not known",
            "show the schema: --schema dump.sql, or --database URL",
        )
    ground.column(intent.column)
    key = known.primary_key
    if key is None or intent.column not in key.columns:
        raise CannotPlan(
            f"{ground.table.shown}.{quoted(intent.column)} is not of the primary key",
            f"type: {{{intent.column}: {intent.to}}}",
        )
    if known.is_partitioned:
        raise CannotPlan(
            f"{ground.table.shown} is partitioned: its key cannot be exchanged by an index that is there",
            "make a new table with the key that is wanted, and move the rows",
        )
    for one in ground.dependents.on(ground.table, Kind.REPLICA_IDENTITY) if ground.dependents else ():
        if "USING INDEX" in one.text.upper():
            raise CannotPlan(
                f"the replica identity of {ground.table.shown} is an index, which would be lost in the swap",
                f"ALTER TABLE {ground.table} REPLICA IDENTITY DEFAULT   # the primary key, whichever it is",
            )
    return known, key


class ForeignKey:
    """A foreign key of another table, dropped and made anew."""

    def __init__(self, other: Table, name: str, one: Constraint) -> None:
        alter = f"ALTER TABLE {other.name}"
        self._name = other.name.sibling(name)
        self._dropped = f"{alter} DROP CONSTRAINT {quoted(name)}"
        self._added = f"{alter} ADD CONSTRAINT {quoted(name)} {one.definition()} NOT VALID"

    @property
    def undoing(self) -> Turn:
        """Drop it."""
        return Turn(self._dropped, self._added)

    @property
    def doing(self) -> Turn:
        """Make it."""
        return Turn(self._added, self._dropped)

    def comments(self, ground: Ground) -> tuple[Turn, ...]:
        """Say of it what was said before."""
        return commented(ground, self._name)


def _back(turns: tuple[Turn, ...]) -> Iterator[Turn]:
    """Do on the way back what is done on the way there; it stands before what it depends on."""
    return (Turn(undo=one.do) for one in turns)


def _referencing(ground: Ground, known: Table, key: Constraint) -> Iterator[tuple[Table, str, Constraint]]:
    """Return the foreign keys that reference the primary key."""
    for other in ground.catalog.tables.values():
        for name, one in other.constraints.items():
            if one.references is None or ground.catalog.resolve(one.references) != known.name:
                continue
            if one.referenced and set(one.referenced) != set(key.columns):
                continue
            if other.is_partitioned and ground.postgres < NOT_NULL_NOT_VALID:
                raise CannotPlan(
                    f"{other.name.shown} is partitioned, and PostgreSQL before 18 refuses to add NOT VALID there",
                    f"drop {quoted(name)} first, and add it to each part afterwards",
                )
            yield other, name, one


def _key_name(ground: Ground, key: Constraint) -> str:
    return key.named_for(ground.table.name)


def _exchange(ground: Ground, key: Constraint, column: str) -> Pieces:
    """Build the index of the new key and that of the way back; drop the key in the swap."""
    name = _key_name(ground, key)
    shadow, spare = derived(SHADOW, name), derived(FORMER, name)
    columns = tuple(derived(SHADOW, column) if one == column else one for one in key.columns)

    def definition(of: tuple[str, ...]) -> str:
        included = f" INCLUDE ({listed(key.including)})" if key.including else ""
        return f"CREATE UNIQUE INDEX x ON {ground.table} ({listed(of)}){included}"

    alter = f"ALTER TABLE {ground.table}"
    return Pieces(
        switches=(
            *proofs.built(ground, shadow, definition(columns), f"Build the index of the new key, {quoted(name)} to be"),
            *proofs.built(ground, spare, definition(key.columns), "Build an index for the way back"),
        ),
        unswapped=(
            *_back(commented(ground, ground.table.sibling(name))),
            Turn(
                f"{allowing('constraint-dropped', 'made anew from another index in the same transaction')}\n"
                f"{alter} DROP CONSTRAINT {quoted(name)}",
                f"{alter} ADD CONSTRAINT {quoted(name)} PRIMARY KEY USING INDEX {quoted(spare)}{key.tail}",
            ),
        ),
    )


def _new_key(ground: Ground, key: Constraint) -> tuple[Turn, ...]:
    name = _key_name(ground, key)
    alter = f"ALTER TABLE {ground.table}"
    return (
        Turn(
            f"{alter} ADD CONSTRAINT {quoted(name)} PRIMARY KEY USING INDEX {quoted(derived(SHADOW, name))}{key.tail}",
            f"{alter} DROP CONSTRAINT {quoted(name)}",
        ),
        *commented(ground, ground.table.sibling(name)),
    )


def _validation(other: Table, name: str) -> Step:
    """Nothing on the way there, where it is valid; on the way back it is validated again."""
    statement = f"ALTER TABLE {other.name} VALIDATE CONSTRAINT {quoted(name)}"
    title = f"Hold that {quoted(name)} of {other.name.shown} is valid, now and after the way back"
    return Validate(id="", part=Part.SWITCH, title=title, do=(statement,), undo=(statement,))


def _validated(other: Table, name: str) -> Step:
    return Validate(
        id="",
        part=Part.SWITCH,
        title=f"Look whether every row of {other.name.shown} meets {quoted(name)}",
        do=(f"ALTER TABLE {other.name} VALIDATE CONSTRAINT {quoted(name)}",),
    )
