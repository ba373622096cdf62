"""A column under another name: both are there, and say the same, until nobody needs the old one."""

from __future__ import annotations

from hitless.schema.change.expressions import column_of
from hitless.schema.change.intent import Rename
from hitless.schema.change.pairs import Pair, is_exact_column
from hitless.schema.change.planning.carrying import carried
from hitless.schema.change.planning.columns import adding_like
from hitless.schema.change.planning.defaults import filling_themselves, is_cascaded
from hitless.schema.change.planning.ground import Ground, Pieces, joined
from hitless.schema.change.planning.obstacles import Fate, hold_free
from hitless.schema.change.planning.retiring import retired
from hitless.schema.names import quoted


def plan_rename(intent: Rename, ground: Ground) -> Pieces:
    """Plan it."""
    hold_free(ground, intent.column, Fate.RENAMED)
    known = ground.column(intent.column)
    old, new = intent.column, intent.to
    pair = Pair(
        forward={new: column_of(old)},
        backward={old: column_of(new)},
        as_text=frozenset() if is_exact_column(known) else frozenset((old, new)),
        defaults=filling_themselves(ground, (old,)),
        is_cascaded=is_cascaded(ground, (old,)),
    )
    own = Pieces(
        pairs=(pair,),
        columns=(adding_like(ground, new, old),),
        notes=() if known else (f"the type of {quoted(new)} is asked of the server when the step runs",),
    )
    return joined((own, carried(ground, pair, {old: new}), retired(ground, (old,))))
