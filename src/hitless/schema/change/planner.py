"""From what somebody wants to how it is done: a change, and what is known of the schema, to a plan.

Pure: the same change and catalogue give the same plan. What cannot be done without downtime, or is not known to be
possible, is refused with names and a remedy; a plan is never silently unsafe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hitless.schema.catalog.catalog import Catalog
from hitless.schema.change.dependents import Dependents
from hitless.schema.change.intent import (
    Add,
    Change,
    Demand,
    DropColumns,
    DropTable,
    ExtendEnum,
    Intent,
    MakeIndex,
    MakeUnique,
    Move,
    Reference,
    Rename,
    ReplaceEnum,
    Require,
    Retype,
    Split,
    WidenKey,
)
from hitless.schema.change.planning.additions import plan_add, plan_not_null
from hitless.schema.change.planning.apart import hold_apart
from hitless.schema.change.planning.assembly import assembled
from hitless.schema.change.planning.constraints import plan_check, plan_foreign_key, plan_index, plan_unique
from hitless.schema.change.planning.enums import plan_enum, plan_enum_values
from hitless.schema.change.planning.ground import FORMER, Ground, Pieces, joined
from hitless.schema.change.planning.keys import plan_key
from hitless.schema.change.planning.moves import plan_move
from hitless.schema.change.planning.renames import plan_rename
from hitless.schema.change.planning.retiring import plan_drop, plan_drop_table
from hitless.schema.change.planning.splits import plan_split
from hitless.schema.change.planning.types import plan_type
from hitless.schema.change.refusals import CannotPlan
from hitless.schema.change.steps import Plan
from hitless.schema.names import listed, quoted

OLDEST = 15

PLANNERS: Mapping[type[Intent], Callable[[Any, Ground], Pieces]] = {
    Rename: plan_rename,
    Split: plan_split,
    Retype: plan_type,
    Require: plan_not_null,
    DropColumns: plan_drop,
    DropTable: plan_drop_table,
    Add: plan_add,
    MakeIndex: plan_index,
    MakeUnique: plan_unique,
    Reference: plan_foreign_key,
    Demand: plan_check,
    ExtendEnum: plan_enum,
    ReplaceEnum: plan_enum_values,
    WidenKey: plan_key,
    Move: plan_move,
}
"""How each intent is planned; the table is total."""


def plan_change(
    change: Change, catalog: Catalog | None = None, postgres: int = OLDEST, dependents: Dependents | None = None
) -> Plan:
    """Plan a change.

    Args:
        change: what is wanted.
        catalog: the schema as it is; None = nobody has told, and the plan says what it assumes.
        postgres: the server's major version, the oldest that the plan must run on.
        dependents: definitions of what hangs on the tables.

    Raises:
        CannotPlan: it cannot be done without downtime as it is written.
    """
    hold_apart(change)
    ground = ground_of(change, catalog, postgres, dependents)
    pieces = joined(PLANNERS[type(one)](one, ground) for one in change.intents)
    return assembled(ground, replace(pieces, notes=(*pieces.notes, *_of_subscribers(ground, pieces))))


def _of_subscribers(ground: Ground, pieces: Pieces) -> tuple[str, ...]:
    """Say that a table is published: who subscribes gets rows with columns that it must have."""
    if ground.dependents is None or not (pieces.columns or pieces.hidden):
        return ()
    names = dict.fromkeys(quoted(one.name.name) for one in ground.dependents.publications(ground.table))
    said = "add the new columns, without triggers, to what subscribes to {} before the expansion"
    former = [after for before, after in pieces.swapped if after.startswith(FORMER)]
    later = tuple(former + [after for _, after in pieces.hidden])
    also = f"; columns {listed(later)} too, as former ones are called in the end, or it stops applying rows"
    return (said.format(", ".join(names)) + (also if later else ""),) if names else ()


def ground_of(change: Change, catalog: Catalog | None, postgres: int, dependents: Dependents | None) -> Ground:
    """Gather what is known of the change's table.

    Raises:
        CannotPlan: the schema has no such table.
    """
    schema = catalog or Catalog()
    name = schema.resolve(change.table) if catalog else change.table
    known = schema.tables.get(name)
    if catalog is not None and known is None:
        there = ", ".join(sorted(one.shown for one in schema.tables)) or "none at all"
        raise CannotPlan(
            f"the schema has no table {change.table.shown}",
            "write the table as it is called, with its schema where that is not public",
            evidence=(f"it has {_shortened(there)}",),
        )
    return Ground(change=change, table=name, known=known, catalog=schema, dependents=dependents, postgres=postgres)


def _shortened(text: str) -> str:
    longest = 300
    return text if len(text) <= longest else text[:longest].rpartition(",")[0] + ", ..."
