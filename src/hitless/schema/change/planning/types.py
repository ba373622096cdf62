"""A column of another type: by the catalogue alone where PostgreSQL can, else by a shadow column and a swap."""

from __future__ import annotations

from dataclasses import replace

from hitless.schema.actions.tables import AlterColumnType
from hitless.schema.actions.values import ConstraintKind, SqlType
from hitless.schema.change.expressions import RowExpression, column_of, read_expression, read_type
from hitless.schema.change.intent import Retype
from hitless.schema.change.pairs import Pair, follows_collation, is_exact, is_exact_column
from hitless.schema.change.planning.carrying import carried
from hitless.schema.change.planning.casts import Cast, cast_of, hold_steady
from hitless.schema.change.planning.checks import lossless
from hitless.schema.change.planning.columns import adding, hold_unchecked, renaming, undefaulted
from hitless.schema.change.planning.defaults import filling_themselves, is_cascaded, sequence_widened
from hitless.schema.change.planning.ground import (
    FORMER,
    SHADOW,
    Ground,
    Pieces,
    allowing,
    done,
    joined,
    type_text,
    undone,
)
from hitless.schema.change.planning.obstacles import Fate, hold_free
from hitless.schema.change.planning.retiring import dropping, retired
from hitless.schema.change.planning.views import views_remade
from hitless.schema.change.refusals import CannotPlan
from hitless.schema.change.standing import Part
from hitless.schema.change.steps import Ddl, Exchange
from hitless.schema.effects.columns import type_work
from hitless.schema.effects.effect import Work
from hitless.schema.effects.ground import NOT_NULL_NOT_VALID
from hitless.schema.effects.ground import Ground as EffectGround
from hitless.schema.names import derived, literal, quoted

SMALL_PAGES = 1_000
"""Pages of a table that is written anew in less than a fifth of a second."""


def plan_type(intent: Retype, ground: Ground) -> Pieces:
    """Plan it."""
    old_type, assumed = _old_type(intent, ground)
    new_type = read_type(intent.to)
    if old_type == new_type:
        column = f"{ground.table.shown}.{quoted(intent.column)}"
        raise CannotPlan(f"{column} is {type_text(new_type)} already", "leave it out")
    if intent.using is None and intent.new_name is None and _is_catalogue_alone(intent, new_type, ground):
        return _direct(intent, old_type, new_type, ground)
    hold_unchecked(ground, new_type)
    hold_free(ground, intent.column, Fate.RENAMED if intent.new_name else Fate.SWAPPED)
    pair = retyping(intent, old_type, new_type, ground)
    is_proven = intent.using is None and intent.inverse is None and cast_of(old_type, new_type) is Cast.TOTAL
    checks, caveats = ((), ()) if is_proven else lossless(ground.table, pair, ground.change.lossy)
    new = pair.new[0]
    own = Pieces(
        pairs=(pair,),
        columns=(adding(ground, new, f"{_collated(intent.column, new_type, ground)}{undefaulted(ground, new_type)}"),),
        checks=checks,
        caveats=(*caveats, *narrowed(intent.column, old_type)),
        notes=assumed,
    )
    carrying = joined((carried(ground, pair, {intent.column: new}), _counting_on(intent, new_type, ground)))
    if pair.is_swapped:
        return joined((own, swapping(intent.column, ground), carrying))
    return joined((own, carrying, retired(ground, (intent.column,))))  # what the old one owns is taken over first


def _collated(column: str, new_type: SqlType, ground: Ground) -> str:
    """Write the new type, with the collation that the column has."""
    found = ground.known.columns.get(column) if ground.known else None
    is_kept = found is not None and found.collation and new_type.name in {"text", "varchar", "character", "citext"}
    return f"{type_text(new_type)} COLLATE {found.collation}" if found and is_kept else type_text(new_type)


def _counting_on(intent: Retype, new_type: SqlType, ground: Ground) -> Pieces:
    """Let a sequence that the column draws from count as far as the new type."""
    found = ground.known.columns.get(intent.column) if ground.known else None
    if found is None or new_type != SqlType(name="bigint"):
        return Pieces()
    turns = sequence_widened(ground, found)
    return Pieces(drops=done(turns)) if intent.new_name else Pieces(swap=turns)


def _old_type(intent: Retype, ground: Ground) -> tuple[SqlType, tuple[str, ...]]:
    """Return the type that the column has, and what is said where it was assumed."""
    known = ground.type_of(intent.column)
    if known is not None:
        return known, ()
    if intent.old_type is not None:
        return read_type(intent.old_type), ()
    if read_type(intent.to) == SqlType(name="bigint"):
        return SqlType(name="integer"), (f"{quoted(intent.column)} is taken to be integer: nobody has told",)
    raise CannotPlan(
        f"the type that {quoted(intent.column)} has is not known, and the way back needs it",
        f"type: {{{intent.column}: {{to: {intent.to}, from: TYPE}}}}",
        "or show the schema: --schema dump.sql, --database URL",
    )


def _is_catalogue_alone(intent: Retype, new_type: SqlType, ground: Ground) -> bool:
    if ground.known is None:
        return False
    action = AlterColumnType(table=ground.table, column=intent.column, type=new_type)
    return type_work(action, EffectGround(catalog=ground.catalog, postgres=ground.postgres)) is Work.NONE


def _direct(intent: Retype, old_type: SqlType, new_type: SqlType, ground: Ground) -> Pieces:
    """Rows stay as they are. The way back may write them anew, and is done on small tables only."""
    is_key = ground.known is not None and intent.column in getattr(ground.known.primary_key, "columns", ())
    is_referenced = any(intent.column in one.referenced for _, one in ground.catalog.foreign_keys_to(ground.table))
    hold_free(ground, intent.column, Fate.KEY if is_key and not is_referenced else Fate.SWAPPED)
    views = views_remade(ground, (intent.column,))
    alter = f"ALTER TABLE {ground.table} ALTER COLUMN {quoted(intent.column)} TYPE"
    back = _way_back(f"{alter} {type_text(old_type)}", intent, old_type, new_type, ground)
    step = Ddl(
        id="",
        part=Part.EXPAND,
        title=f"Make {quoted(intent.column)} {type_text(new_type)}; no row is touched",
        do=(*done(views.unswapped), f"{alter} {type_text(new_type)}", *done(views.swap)),
        undo=(
            *undone(views.swap),
            *back,
            *undone(views.unswapped),
        ),
        caveats=(
            "sessions that keep a prepared statement whose result holds the column get one error each (0A000)",
            *((LEFT_WIDE,) if len(back) == 1 and back[0].startswith("DO ") else ()),
        ),
        exchange=Exchange(table=ground.table, columns=(intent.column,)),
    )
    return Pieces(expands=(step,))


def _way_back(statement: str, intent: Retype, old_type: SqlType, new_type: SqlType, ground: Ground) -> tuple[str, ...]:
    known = ground.known
    assert known is not None
    column = known.columns[intent.column]
    widened = {**known.columns, intent.column: replace(column, type=new_type)}
    catalog = ground.catalog.with_table(replace(known, columns=widened))
    action = AlterColumnType(table=ground.table, column=intent.column, type=old_type)
    if type_work(action, EffectGround(catalog=catalog, postgres=ground.postgres)) is Work.NONE:
        return (statement,)
    relation = literal(str(ground.table))
    return (
        (
            f"DO $$ BEGIN IF (SELECT sum(pg_table_size(relid)) FROM (SELECT {relation}::regclass AS relid\n"
            f"    UNION SELECT relid FROM pg_partition_tree({relation})) AS parts) > {SMALL_PAGES} * 8192 THEN\n"
            f"    RAISE WARNING {literal(LEFT_WIDE)};\n"
            f"ELSE\n    {statement};\nEND IF;\n"
            f"EXCEPTION WHEN data_exception THEN RAISE WARNING {literal(LEFT_WIDE)};\nEND $$"
        ),
    )


LEFT_WIDE = (
    "undoing leaves the wider type, which harms nobody, where the table has more than 8 MB, as every row would be"
    " written anew under a lock, and where a value needs it"
)


def retyping(intent: Retype, old_type: SqlType, new_type: SqlType, ground: Ground) -> Pair:
    """Return the pair of a column and its successor of another type.

    Raises:
        CannotPlan: a plain cast would not do, or an expression reads more than the column.
    """
    old, new = intent.column, intent.new_name or derived(SHADOW, intent.column)
    forward = _expression(intent, "using", old_type, new_type, ground)
    backward = _expression(intent, "inverse", new_type, old_type, ground).renamed({old: new})
    inexact = {name for name, one in ((old, old_type), (new, new_type)) if not is_exact(one)}
    known = ground.column(old)
    inexact |= set() if is_exact_column(known) else {old}
    inexact |= {new} if inexact and follows_collation(new_type) else set()
    inexact |= {old} if inexact and follows_collation(old_type) else set()
    return Pair(
        forward={new: forward},
        backward={old: backward},
        as_text=frozenset(inexact),
        is_swapped=intent.new_name is None,
        defaults=filling_themselves(ground, (old,)),
        is_cascaded=is_cascaded(ground, (old,)),
    )


_ADVICE = {
    Cast.PARTIAL: "some values would fail, or be rounded or cut",
    Cast.BY_SESSION: "the result depends on settings of the session, so two sessions would not agree",
}


def _expression(intent: Retype, what: str, old: SqlType, new: SqlType, ground: Ground) -> RowExpression:
    """Return the expression of one direction: what the user says, or a cast."""
    text = intent.using if what == "using" else intent.inverse
    if text is not None:
        one = _said(intent.column, what, text, new)
        hold_steady(one, {intent.column: old})
        return one
    found = cast_of(old, new)
    if found is Cast.BY_SESSION or (found is Cast.PARTIAL and what == "using"):
        raise CannotPlan(
            f"a cast of {ground.table.shown}.{quoted(intent.column)} from {type_text(old)} to {type_text(new)} will not"
            f" do: {_ADVICE[found]}",
            f"say the value: type: {{{intent.column}: {{to: {intent.to}, {what}: EXPRESSION}}}}",
            "as `x AT TIME ZONE 'UTC'`, `to_char(x, 'YYYY-MM-DD')`, `CASE WHEN x ~ '^[0-9]{1,9}$' THEN x::int END`",
        )
    return column_of(intent.column).cast(type_text(new))


def _said(column: str, what: str, text: str, wanted: SqlType) -> RowExpression:
    one = read_expression(text)
    if strangers := sorted(one.columns - {column}):
        raise CannotPlan(
            f"`{what}` of {quoted(column)} reads {', '.join(map(quoted, strangers))}",
            f"it may read {quoted(column)} alone; what is made of several columns is a split",
        )
    return one.cast(type_text(wanted))


def narrowed(column: str, old_type: SqlType) -> tuple[str, ...]:
    """Say what cannot be written before the contract."""
    return (
        (
            f"until the contract the former column is kept right too: a value that {type_text(old_type)} cannot hold is"
            f" refused for {quoted(column)}, as it was before"
        ),
    )


SWAPPED = allowing("column-renamed", "the two exchange their names in one transaction")


def swapping(column: str, ground: Ground) -> Pieces:
    """Plan the exchange of a column and its shadow, and the end of the former."""
    shadow, former = derived(SHADOW, column), derived(FORMER, column)
    ground.free(former)
    return Pieces(
        drops=(dropping(ground, former, model=column, is_swapped=True), *_named_as_before(ground, column)),
        swap=(
            renaming(ground.table, column, former, mark=SWAPPED),
            renaming(ground.table, shadow, column, mark=SWAPPED),
        ),
        swapped=((column, former), (shadow, column)),
    )


def _named_as_before(ground: Ground, column: str) -> tuple[str, ...]:
    """Give NOT NULL of the successor the former one's name: since PostgreSQL 18 it is a constraint that has one."""
    found = ground.known.columns.get(column) if ground.known else None
    if found is None or not found.is_not_null or ground.postgres < NOT_NULL_NOT_VALID:
        return ()
    assert ground.known is not None
    named = (
        name
        for name, one in ground.known.constraints.items()
        if one.kind is ConstraintKind.NOT_NULL and one.columns == (column,)
    )
    wanted = next(named, derived(ground.table.name, column, "not_null"))
    statement = f"ALTER TABLE {ground.table} RENAME CONSTRAINT %I TO {quoted(wanted)}"
    return (
        (
            "DO $$ BEGIN EXECUTE (\n"
            f"    SELECT format({literal(statement)}, conname)\n"
            "    FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid\n"
            f"    WHERE conrelid = {literal(str(ground.table))}::regclass AND contype = 'n'"
            f" AND conkey = ARRAY[attnum] AND attname = {literal(column)}\n"
            "); END $$"
        ),
    )
