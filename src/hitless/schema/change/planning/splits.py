"""Columns that become other columns by expressions: splits, merges, and anything between."""

from __future__ import annotations

from collections.abc import Iterator

from hitless.schema.actions.values import SqlType
from hitless.schema.change.expressions import RowExpression, read_expression, read_type
from hitless.schema.change.intent import Split
from hitless.schema.change.pairs import Pair, follows_collation, is_exact, is_exact_column
from hitless.schema.change.planning.carrying import granted
from hitless.schema.change.planning.casts import hold_steady
from hitless.schema.change.planning.checks import lossless
from hitless.schema.change.planning.columns import adding, hold_unchecked, undefaulted
from hitless.schema.change.planning.defaults import filling_themselves, is_cascaded
from hitless.schema.change.planning.ground import Ground, Pieces, joined, type_text
from hitless.schema.change.planning.obstacles import Fate, hold_free
from hitless.schema.change.planning.retiring import retired
from hitless.schema.change.refusals import CannotPlan
from hitless.schema.names import quoted

_TEXT = SqlType(name="text")
_GIVE_TEXT = frozenset(
    """
    lower upper initcap substr substring left right trim btrim ltrim rtrim lpad rpad replace translate concat concat_ws
    format repeat reverse split_part md5 to_char
    """.split()
)
"""Functions whose result is text already."""


def plan_split(intent: Split, ground: Ground) -> Pieces:
    """Plan it."""
    types = {name: read_type(intent.types[name]) if name in intent.types else _TEXT for name in intent.into}
    forward = {name: _typed(read_expression(text), types[name]) for name, text in intent.into.items()}
    backward = {name: read_expression(text) for name, text in intent.inverse.items()}
    _hold_to(forward, intent.sources, "into")
    _hold_to(backward, tuple(forward), "inverse")
    for kind in types.values():
        hold_unchecked(ground, kind)
    for one in intent.sources:
        hold_free(ground, one, Fate.RENAMED)
    olds = {name: ground.column(name) for name in intent.sources}
    for said, of in ((forward, {name: ground.type_of(name) for name in intent.sources}), (backward, types)):
        for expression in said.values():
            hold_steady(expression, of)
    inexact = {name for name, one in types.items() if not is_exact(one)}
    inexact |= {name for name, one in olds.items() if not is_exact_column(one)}
    inexact |= {name for name, one in forward.items() if one.columns & inexact and follows_collation(types[name])}
    inexact |= {
        name for name, one in backward.items() if one.columns & inexact and follows_collation(ground.type_of(name))
    }
    pair = Pair(
        forward=forward,
        backward=backward,
        as_text=frozenset(inexact),
        defaults=filling_themselves(ground, intent.sources),
        is_cascaded=is_cascaded(ground, intent.sources),
    )
    checks, caveats = lossless(ground.table, pair, ground.change.lossy)
    assumed = [name for name in intent.into if name not in intent.types]
    own = Pieces(
        pairs=(pair,),
        columns=(
            *(
                adding(ground, name, f"{type_text(types[name])}{undefaulted(ground, types[name])}")
                for name in intent.into
            ),
            *(turn for old in intent.sources for new in intent.into for turn in granted(ground, old, new)),
        ),
        checks=checks,
        caveats=caveats,
        notes=(
            *(f"{quoted(one)} is text; where it is another, say {{as: ..., type: ...}}" for one in assumed),
            *_holding(ground, intent),
        ),
    )
    return joined((own, retired(ground, intent.sources)))


def _holding(ground: Ground, intent: Split) -> Iterator[str]:
    """Say what old columns are held to: so is what a newer release writes, and no new column gets it."""
    for name in intent.sources:
        column = ground.known.columns.get(name) if ground.known else None
        if ground.known is None or column is None:
            continue
        held = [quoted(found) for found, _ in ground.known.constraints_on(name)]
        held += [
            quoted(one.name.name)
            for one in ground.catalog.indexes_on(ground.table)
            if one.is_unique and one.constraint is None and name in one.columns
        ]
        if what := [*(["NOT NULL"] if column.is_not_null else []), *held]:
            yield (
                f"{', '.join(what)} of {quoted(name)} holds what `inverse` gives too, until the contract; new columns"
                " get nothing of it: say not_null, unique, check, foreign_key"
            )


def _typed(one: RowExpression, wanted: SqlType) -> RowExpression:
    """Cast to the column's type, but for functions that give text anyway."""
    head = one.text.partition("(")[0].strip().lower()
    is_call = one.text.endswith(")") and head in _GIVE_TEXT and _is_one_call(one.text)
    return one if wanted == _TEXT and is_call else one.cast(type_text(wanted))


def _is_one_call(text: str) -> bool:
    """Tell whether the first parenthesis is closed by the last: `f(a) || g(b)` is no call of `f`."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == ")" and depth == 0:
            return position == len(text) - 1
    return False


def _hold_to(side: dict[str, RowExpression], columns: tuple[str, ...], what: str) -> None:
    for name, one in side.items():
        strangers = sorted(one.columns - set(columns))
        if strangers:
            raise CannotPlan(
                f"`{what}` of {quoted(name)} reads {', '.join(map(quoted, strangers))}, which it is not made of",
                f"it may read {', '.join(map(quoted, columns))}: only what the other side has",
            )
