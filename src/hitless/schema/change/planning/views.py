"""Views over a column that is swapped: dropped and made anew in the swap, with all that belongs to them.

A view follows a column by number, not by name: after the swap it would read the former one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from hitless.schema.change.dependents import Definition, Dependents, Kind
from hitless.schema.change.planning.ground import Ground, Pieces, Turn
from hitless.schema.change.refusals import CannotPlan
from hitless.schema.names import Name, quoted

_BELONGS = (Kind.OWNER, Kind.DEFAULT, Kind.COMMENT, Kind.TRIGGER, Kind.GRANT)


def views_remade(ground: Ground, columns: Collection[str]) -> Pieces:
    """Plan it: the drops come before anything else of the swap, the rest last.

    Raises:
        CannotPlan: there are views, and nobody has told how they are defined; or one of them holds rows.
    """
    if ground.dependents is None:
        found = [one for one in ground.catalog.views_on(ground.table) if one.takes_all or one.columns & set(columns)]
        if found:
            raise CannotPlan(
                f"the view {found[0].name.shown} reads {ground.table.shown}, and its definition is not known",
                "show the schema as pg_dump writes it: --schema dump.sql, or --database URL",
            )
        return Pieces()
    views = tuple(_reading(ground.dependents, ground.table, columns))
    for one in views:
        if one.kind is Kind.MATERIALIZED_VIEW:
            raise CannotPlan(
                f"the materialized view {one.name.shown} reads {ground.table.shown}.{quoted(next(iter(columns)))}",
                "drop it first, and make it anew afterwards",
            )
    dropped = tuple(turn for one in reversed(views) for turn in _dropped(ground.dependents, one))
    made = tuple(turn for one in views for turn in _made(ground.dependents, one))
    return Pieces(unswapped=dropped, swap=made)


def _reading(dependents: Dependents, table: Name, columns: Collection[str]) -> Iterator[Definition]:
    """Return the views that read one of the columns, and views that read those, in the order in which they are made."""
    found: set[Name] = set()
    for one in dependents.definitions:
        if one.kind not in {Kind.VIEW, Kind.MATERIALIZED_VIEW}:
            continue
        is_direct = table in one.relations and bool((one.columns & set(columns)) or "*" in one.columns)
        if is_direct or found & set(one.relations):
            found.add(one.name)
            yield one


def _made(dependents: Dependents, view: Definition) -> Iterator[Turn]:
    yield Turn(view.text, f"DROP VIEW {view.name}")
    yield from (Turn(do=one) for one in _belongings(dependents, view))


def _dropped(dependents: Dependents, view: Definition) -> Iterator[Turn]:
    """What belongs to it is made anew after the view is, so it stands before: taking back goes from the end."""
    yield from (Turn(undo=one) for one in reversed(_belongings(dependents, view)))
    yield Turn(f"DROP VIEW {view.name}", view.text)


def _belongings(dependents: Dependents, view: Definition) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.text for one in dependents.on(view.name, *_BELONGS)))
