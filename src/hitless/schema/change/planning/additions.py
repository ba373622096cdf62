"""Columns that are added, and columns that stop being NULL."""

from __future__ import annotations

from hitless.schema.actions.values import SERIALS, Column, Expression
from hitless.schema.change.expressions import RowExpression, read_expression, read_type
from hitless.schema.change.intent import Add, Require
from hitless.schema.change.pairs import Gap
from hitless.schema.change.planning import proofs
from hitless.schema.change.planning.checks import rows_where
from hitless.schema.change.planning.columns import hold_unchecked
from hitless.schema.change.planning.ground import Ground, Pieces, Turn, type_text
from hitless.schema.change.planning.obstacles import hold_table, hold_unchanged
from hitless.schema.change.refusals import CannotPlan
from hitless.schema.change.steps import Check
from hitless.schema.effects.columns import fills_every_row
from hitless.schema.names import quoted


def plan_not_null(intent: Require, ground: Ground) -> Pieces:
    """Plan it: what is NULL is filled, what an older release still writes too, and then it is proven."""
    hold_table(ground)
    known = ground.column(intent.column)
    if known is not None and known.is_not_null:
        raise CannotPlan(f"{ground.table.shown}.{quoted(intent.column)} is NOT NULL already", "leave it out")
    fill = read_expression(intent.fill, may_vary=True)
    _hold_columns(ground, fill, intent.column)
    return Pieces(
        gaps=(Gap(column=intent.column, fill=fill),),
        checks=_fillable(ground, intent.column, fill),
        switches=proofs.not_null(ground, intent.column, is_asked=bool(fill.columns)),
        caveats=(f"an older release that writes NULL into {quoted(intent.column)} reads {fill.text} back",),
    )


def _hold_columns(ground: Ground, expression: RowExpression, own: str) -> None:
    for one in expression.columns:
        ground.column(one, why="it is computed after the triggers, which read NULL there")
        hold_unchanged(ground, one)
    if own in expression.columns:
        raise CannotPlan(f"`fill` of {quoted(own)} reads {quoted(own)}, which is NULL then", "say another value")


def _fillable(ground: Ground, column: str, fill: RowExpression) -> tuple[Check, ...]:
    if not fill.columns:
        return ()
    return (
        rows_where(
            ground.table,
            (column, *sorted(fill.columns)),
            f"{quoted(column)} IS NULL AND ({fill.text}) IS NULL",
            trouble=f"what is to fill {quoted(column)} is NULL itself in these rows",
            remedy="wrap it: coalesce(..., VALUE)",
        ),
    )


def plan_add(intent: Add, ground: Ground) -> Pieces:
    """Plan it: at once where no row needs to be touched, else empty first and filled in batches."""
    ground.free(intent.column)
    column = _column(intent, ground)
    if intent.not_null and intent.default is None and intent.fill is None:
        raise CannotPlan(
            f"{quoted(intent.column)} NOT NULL without a default: rows that the older release writes would fail",
            f"add: {{{intent.column}: {{type: {intent.type}, not_null: true, default: VALUE}}}}",
            "or `fill: EXPRESSION`, where it comes from other columns",
        )
    if intent.fill is None and not fills_every_row(column, ground.catalog):
        return _at_once(intent, column, ground)
    return _in_batches(intent, column, ground)


def _column(intent: Add, ground: Ground) -> Column:
    kind = read_type(intent.type)
    if kind.name in SERIALS and kind.schema is None:
        raise CannotPlan(
            f"{quoted(intent.column)} {kind} would write every row anew under a lock",
            f"add it as {SERIALS[kind.name]}, with `default: nextval('SEQUENCE')`",
        )
    hold_unchecked(ground, kind)
    return Column(name=intent.column, type=kind, default=_default(intent.default))


def _default(text: str | None) -> Expression | None:
    return read_expression(text, may_vary=True).read if text is not None else None


def _added(ground: Ground, definition: str, column: str) -> Turn:
    return Turn(
        f"ALTER TABLE {ground.table} ADD COLUMN {quoted(column)} {definition}",
        f"ALTER TABLE {ground.table} DROP COLUMN {quoted(column)}",
    )


def _at_once(intent: Add, column: Column, ground: Ground) -> Pieces:
    default = f" DEFAULT {column.default.text}" if column.default is not None else ""
    required = " NOT NULL" if intent.not_null else ""
    return Pieces(columns=(_added(ground, f"{type_text(column.type)}{default}{required}", intent.column),))


LEFT = "rows that an older release writes after the backfill have NULL in {}; `not_null: true` fills them too"


def _in_batches(intent: Add, column: Column, ground: Ground) -> Pieces:
    added = [_added(ground, type_text(column.type), intent.column)]
    if column.default is not None:
        default = f"ALTER TABLE {ground.table} ALTER COLUMN {quoted(intent.column)} SET DEFAULT {column.default.text}"
        added.append(Turn(default))
    said = intent.fill if intent.fill is not None else intent.default
    assert said is not None
    fill = read_expression(said, may_vary=True)
    _hold_columns(ground, fill, intent.column)
    todo = f"{quoted(intent.column)} IS NULL"
    needs_trigger = intent.not_null and intent.default is None
    is_left = intent.default is None and not intent.not_null
    if needs_trigger:
        hold_table(ground)
    return Pieces(
        columns=tuple(added),
        gaps=(Gap(column=intent.column, fill=fill),) if needs_trigger else (),
        fills=() if needs_trigger else ((intent.column, fill.text, todo),),
        switches=proofs.not_null(ground, intent.column, is_asked=bool(fill.columns)) if intent.not_null else (),
        caveats=(LEFT.format(quoted(intent.column)),) if is_left else (),
    )
