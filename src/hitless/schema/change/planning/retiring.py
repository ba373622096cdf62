"""Columns that go: revoked first, then hidden under another name, then dropped."""

from __future__ import annotations

from hitless.schema.change.planning.columns import gone, renaming
from hitless.schema.change.planning.ground import Ground, Pieces
from hitless.schema.change.steps import Removal
from hitless.schema.names import quoted


def retired(ground: Ground, columns: tuple[str, ...]) -> Pieces:
    """Plan the end of columns that releases know by name."""
    return Pieces(
        revoked=columns,
        hides=tuple(renaming(ground.table, one, gone(one)) for one in columns),
        hidden=tuple((one, gone(one)) for one in columns),
        drops=tuple(dropping(ground, gone(one)) for one in columns),
        removals=(
            Removal(table=ground.table, columns=columns, statements=tuple(dropping(ground, one) for one in columns)),
        ),
    )


def dropping(ground: Ground, column: str) -> str:
    """Drop a column; the comment tells the lint that this is a contract, which the guard holds."""
    return f"-- hitless: contract {ground.change.name}\nALTER TABLE {ground.table} DROP COLUMN {quoted(column)}"
