"""What the effects of statements depend on, and are made of."""

from __future__ import annotations

from dataclasses import dataclass

from hitless.schema.actions.tables import TableAction
from hitless.schema.actions.values import Constraint
from hitless.schema.catalog.catalog import Catalog
from hitless.schema.effects.effect import Lock, Work
from hitless.schema.effects.locks import LockMode

NOT_NULL_NOT_VALID = 18
"""The first PostgreSQL with constraints NOT NULL ... NOT VALID (release notes of 18)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the effect of a statement depends on, beside the statement.

    Attributes:
        time_zone_is_utc: the session has said so: only then do timestamps with and without time zone look the same.
    """

    catalog: Catalog
    postgres: int
    time_zone_is_utc: bool = False


def locking(action: TableAction, ground: Ground, mode: LockMode, work: Work = Work.NONE) -> Lock:
    """Return a lock on the action's own table."""
    return Lock(relation=ground.catalog.resolve(action.table), mode=mode, work=work)


def referenced(constraint: Constraint, ground: Ground) -> Lock:
    """Adding a foreign key makes triggers on both tables."""
    assert constraint.references is not None
    return Lock(relation=ground.catalog.resolve(constraint.references), mode=LockMode.SHARE_ROW_EXCLUSIVE)
