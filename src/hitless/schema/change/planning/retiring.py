"""Columns and tables that go: revoked first, then hidden under another name, then dropped."""

from __future__ import annotations

from collections.abc import Iterator

from hitless.schema.change.expressions import read_expression
from hitless.schema.change.intent import DropColumns, DropTable
from hitless.schema.change.planning.columns import gone, renaming
from hitless.schema.change.planning.ground import GONE, Ground, Pieces, Turn, allowing, contracting, joined
from hitless.schema.change.planning.obstacles import Fate, hold_free, triggers_that_name, views_that_stay
from hitless.schema.change.refusals import CannotPlan
from hitless.schema.change.standing import Part
from hitless.schema.change.steps import Ddl, Removal, Revoke, Step
from hitless.schema.names import derived, listed, quoted


def retired(ground: Ground, columns: tuple[str, ...]) -> Pieces:
    """Plan the end of columns that releases know by name.

    Raises:
        CannotPlan: an earlier change keeps a column of the same name hidden.
    """
    for one in columns:
        if ground.known is not None and gone(one) in ground.known.columns:
            raise CannotPlan(
                f"{ground.table.shown} has a hidden {quoted(one)} of an earlier change: {quoted(gone(one))}",
                "hitless migrate status   # contract that change to its end first",
            )
    return Pieces(
        revoked=columns,
        hides=tuple(renaming(ground.table, one, gone(one), mark=contracting(ground.change.name)) for one in columns),
        hidden=tuple((one, gone(one)) for one in columns),
        drops=tuple(dropping(ground, gone(one), model=one) for one in columns),
        removals=(
            Removal(table=ground.table, columns=columns, statements=tuple(dropping(ground, one) for one in columns)),
        ),
        notes=(*views_that_stay(ground, columns), *triggers_that_name(ground, columns)),
    )


def contract(ground: Ground, statement: str) -> str:
    """Mark a statement as a contract: the lint lets it pass, the guard holds it."""
    return f"{contracting(ground.change.name)}\n{statement}"


def dropping(ground: Ground, column: str, *, model: str | None = None, is_swapped: bool = False) -> str:
    """Drop a column; `model` is what it was called when the plan was made."""
    found = ground.known.columns.get(model) if ground.known and model else None
    is_required = found is not None and found.is_not_null and (is_swapped or not found.fills_itself)
    filled = f"{allowing('required-column-dropped', 'a trigger fills it until now')}\n" if is_required else ""
    return contract(ground, f"{filled}ALTER TABLE {ground.table} DROP COLUMN {quoted(column)}")


def plan_drop(intent: DropColumns, ground: Ground) -> Pieces:
    """Plan the end of columns that nothing takes the place of."""
    for one in intent.columns:
        ground.existing(one)
        hold_free(ground, one, Fate.DROPPED)
    steps = tuple(step for one in intent.columns for step in _ready(intent, one, ground))
    unknown = () if ground.known else (UNKNOWN.format(listed(intent.columns)),)
    own = Pieces(expands=steps, notes=(*unknown, *_taken_along(intent, ground)))
    return joined((own, retired(ground, intent.columns)))


UNKNOWN = "whether rows can be written without {} is not known: show the schema (--schema dump.sql, --database URL)"


def _ready(intent: DropColumns, name: str, ground: Ground) -> Iterator[Step]:
    """Let rows be written without the column: new code does not name it."""
    found = ground.known.columns.get(name) if ground.known else None
    default = intent.defaults.get(name)
    if default is None:
        if found is not None and found.is_not_null and not found.fills_itself:
            raise CannotPlan(
                f"{ground.table.shown}.{quoted(name)} is NOT NULL without a default: new code's rows would fail",
                f"drop: {{{name}: {{default: VALUE}}}}   # what those rows get",
            )
        return
    alter = f"ALTER TABLE {ground.table} ALTER COLUMN {quoted(name)}"
    former = found.default.text if found and found.default else None
    yield Ddl(
        id="",
        part=Part.EXPAND,
        title=f"Let rows be written without {quoted(name)}",
        do=(f"{alter} SET DEFAULT {read_expression(default, may_vary=True).text}",),
        undo=(f"{alter} SET DEFAULT {former}" if former else f"{alter} DROP DEFAULT",),
    )


def _taken_along(intent: DropColumns, ground: Ground) -> Iterator[str]:
    """Say what of other columns goes with these."""
    gone_with = set(intent.columns)
    for index in ground.catalog.indexes_on(ground.table):
        if set(index.columns) & gone_with and set(index.columns) - gone_with:
            others = listed(tuple(one for one in index.columns if one not in gone_with))
            yield f"{quoted(index.name.name)} goes with it, which also serves {others}: build another before"
    for name, one in ground.known.constraints.items() if ground.known else ():
        read = one.check.columns if one.check else frozenset()
        if read & gone_with and read - gone_with:
            yield f"the CHECK {quoted(name)} goes with it, which also reads {listed(tuple(sorted(read - gone_with)))}"


def plan_drop_table(intent: DropTable, ground: Ground) -> Pieces:
    """Plan the end of a table.

    Raises:
        CannotPlan: something else needs it.
    """
    del intent
    known = ground.known
    if known is not None and known.partition_of is not None:
        raise CannotPlan(
            f"{ground.table.shown} is a part of {known.partition_of.shown}",
            f"ALTER TABLE {known.partition_of} DETACH PARTITION {ground.table} CONCURRENTLY   # first",
        )
    for other, constraint in ground.catalog.foreign_keys_to(ground.table) if known else ():
        if other.name != ground.table:
            name = quoted(constraint.named_for(other.name.name))
            raise CannotPlan(
                f"the foreign key {name} of {other.name.shown} references {ground.table.shown}",
                f"ALTER TABLE {other.name} DROP CONSTRAINT {name}   # once nobody relies on it",
            )
    hidden = derived(GONE, ground.table.name)
    former = ground.table.sibling(hidden)
    rename = Turn(
        f"{contracting(ground.change.name)}\nALTER TABLE {ground.table} RENAME TO {quoted(hidden)}",
        f"ALTER TABLE {former} RENAME TO {quoted(ground.table.name)}",
    )
    removal = Removal(table=ground.table, columns=(), statements=(contract(ground, f"DROP TABLE {ground.table}"),))
    return Pieces(
        hides=(rename,),
        drops=(contract(ground, f"DROP TABLE {former}"),),
        removals=(removal,),
        brownouts=(_revoke(ground),),
        notes=tuple(
            f"the view {one.name.shown} reads {ground.table.shown}: drop it before the contract"
            for one in (ground.catalog.views_on(ground.table) if known else ())
        ),
    )


def _revoke(ground: Ground) -> Step:
    return Revoke(
        id="",
        part=Part.BROWNOUT,
        title=f"Take privileges on {ground.table.shown} away from every role but the owner",
        table=ground.table,
        columns=(),
    )
