"""A column that goes to another table: refused, with the way that works.

Why. Old code locks a row here and a trigger then writes there; new code locks the row there and a trigger writes here.
Two such writes of the same entity wait for each other, and PostgreSQL ends one of them: a failed request. No lock that
a trigger takes comes before the lock of the row that it fires for.
"""

from __future__ import annotations

from hitless.schema.change.intent import Move
from hitless.schema.change.planning.ground import Ground, Pieces
from hitless.schema.change.refusals import CannotPlan
from hitless.schema.names import listed


def plan_move(intent: Move, ground: Ground) -> Pieces:
    """Refuse it.

    Raises:
        CannotPlan: always.
    """
    columns = listed(tuple(intent.columns))
    raise CannotPlan(
        f"{columns} of {ground.table.shown} cannot be kept the same in {intent.to.shown} by triggers: old and new code"
        " would lock the two rows in different order, and PostgreSQL would end one of them (deadlock)",
        f"first `add:` the columns to {intent.to.shown}, and let a release write both tables, always in the same order",
        f"then copy what is there, let a release read {intent.to.shown} alone, and `drop:` {columns} here",
    )
