"""From traced statements to the document that `hitless migrate trace --json` prints."""

from __future__ import annotations

from collections.abc import Iterable

from hitless.schema.effects.effect import Lock
from hitless.view.lint import WORKS
from hitless.view.schema_models import TableLockView


def lock_views(locks: Iterable[Lock]) -> list[TableLockView]:
    """Render locks."""
    return [
        {
            "relation": str(one.relation),
            "mode": one.mode.sql,
            "blocks_reads": one.mode.blocks_reads,
            "blocks_writes": one.mode.blocks_writes,
            "work": WORKS[one.work],
        }
        for one in locks
    ]
