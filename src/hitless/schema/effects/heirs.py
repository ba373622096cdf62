"""What a statement about a parent does to its parts: of a partitioned table, or of one that others inherit from.

Unless it says ONLY, most of ALTER TABLE goes down to them, with the same lock; a partitioned table has no rows of its
own, so the work is theirs. Parts that INSERT, UPDATE, DELETE and SELECT reach are not told: which ones, the rows
decide, and their locks let everybody go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hitless.schema.actions.action import Action
from hitless.schema.actions.data import LockTables, Truncate, Vacuum
from hitless.schema.actions.objects import CreateTrigger, Drop, Rename
from hitless.schema.actions.tables import (
    AddColumn,
    AddConstraint,
    AlterColumnType,
    AlterConstraint,
    DropColumn,
    DropConstraint,
    DropNotNull,
    SetColumnOption,
    SetDefault,
    SetExpression,
    SetNotNull,
    TableAction,
    ValidateConstraint,
)
from hitless.schema.catalog.catalog import Table
from hitless.schema.effects.effect import Effect, Lock, Work
from hitless.schema.effects.ground import Ground
from hitless.schema.effects.locks import LockMode
from hitless.schema.names import Name

_GO_DOWN = (
    AddColumn,
    AddConstraint,
    AlterColumnType,
    AlterConstraint,
    DropColumn,
    DropConstraint,
    DropNotNull,
    SetColumnOption,
    SetDefault,
    SetExpression,
    SetNotNull,
    ValidateConstraint,
)
LOCKS_HEIRS_TO_INDEX = 18
"""Before, UNIQUE took SHARE on parts of a partitioned table and nothing on heirs; since, ACCESS EXCLUSIVE on all."""


def with_heirs(action: Action, effect: Effect, ground: Ground) -> Effect:
    """Add the locks on parts."""
    roots = [table for name in _roots(action) if (table := ground.catalog.table(name)) is not None and table.is_parent]
    if not roots:
        return effect
    locks: list[Lock] = []
    for lock in effect.locks:
        root = next((one for one in roots if one.name == lock.relation), None)
        if root is None:
            locks.append(lock)
            continue
        locks.append(replace(lock, work=Work.NONE) if root.is_partitioned else lock)
        locks += _on_parts(action, lock, root, ground)
    return replace(effect, locks=tuple(locks))


def _roots(action: Action) -> tuple[Name, ...]:
    """Name the tables whose parts an action goes down to."""
    match action:
        case TableAction():
            return (action.table,) if isinstance(action, _GO_DOWN) and not action.only else ()
        case Rename() if action.kind == "column" and action.table is not None:
            return (action.table,)
        case CreateTrigger():
            return (action.table,)
        case Drop() if action.kind == "table":
            return action.names
        case Truncate() | LockTables() | Vacuum():
            return action.tables
    return ()


def _on_parts(action: Action, lock: Lock, root: Table, ground: Ground) -> Iterator[Lock]:
    mode, work = lock.mode, lock.work
    if isinstance(action, AddConstraint) and action.constraint.makes_index:
        work = work if root.is_partitioned else Work.NONE  # an index is of one table
        if ground.postgres < LOCKS_HEIRS_TO_INDEX:
            if not root.is_partitioned:
                return
            mode = LockMode.SHARE
    for part in ground.catalog.heirs_of(root):
        if root.is_partitioned or _reaches_heirs(action):
            yield Lock(relation=part.name, mode=mode, work=Work.NONE if part.is_partitioned else work)


def _reaches_heirs(action: Action) -> bool:
    """Tables that inherit are tables of their own: a trigger is not theirs, and they go only with CASCADE."""
    return not isinstance(action, CreateTrigger) and not (isinstance(action, Drop) and not action.cascade)
