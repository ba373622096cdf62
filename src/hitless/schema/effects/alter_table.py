"""Effects of ALTER TABLE's subcommands: one function or one row each.

Locks are those of AlterTableGetLockLevel (tablecmds.c), and of the page "ALTER TABLE"; what rewrites a table, or reads
all of it, is in the notes of that page and in ATRewriteTables. tests/integration/test_schema_locks.py holds every row
against real servers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hitless.schema.actions.tables import (
    MOVE_ALL,
    AttachPartition,
    DetachPartition,
    OtherTableAction,
    Persistence,
    RelationKind,
    SetAccessMethod,
    SetClustering,
    SetInheritance,
    SetOptions,
    SetOwner,
    SetPersistence,
    SetReplicaIdentity,
    SetRowSecurity,
    SetTablespace,
    SwitchRule,
    SwitchTrigger,
    TableAction,
)
from hitless.schema.effects.columns import COLUMN_EFFECTS
from hitless.schema.effects.constraints import CONSTRAINT_EFFECTS
from hitless.schema.effects.effect import Compatibility, Effect, Lock, Phase, Work
from hitless.schema.effects.ground import Ground, locking
from hitless.schema.effects.locks import LockMode
from hitless.schema.names import Name


def _options(action: SetOptions, ground: Ground) -> Effect:
    strong = any(_takes_strong_lock(name) for name, _ in action.options)
    if action.relation in {RelationKind.VIEW, RelationKind.MATERIALIZED_VIEW}:
        strong = action.relation is RelationKind.VIEW
    mode = LockMode.ACCESS_EXCLUSIVE if strong else LockMode.SHARE_UPDATE_EXCLUSIVE
    return Effect(locks=(locking(action, ground, mode),))


_STRONG_OPTIONS = {"user_catalog_table", "buffering", "security_barrier", "security_invoker", "check_option"}


def _takes_strong_lock(option: str) -> bool:
    """See reloptions.c: most parameters of tables and indexes take SHARE UPDATE EXCLUSIVE."""
    return option in _STRONG_OPTIONS


def _attach(action: AttachPartition, ground: Ground) -> Effect:
    if action.relation is RelationKind.INDEX:
        parent = ground.catalog.index(action.table)
        relation = parent.table if parent else ground.catalog.resolve(action.table)
        return Effect(locks=(Lock(relation=relation, mode=LockMode.ACCESS_SHARE),), phase=Phase.ADDITIVE)
    part = ground.catalog.resolve(action.partition)
    locks = [
        Lock(relation=part, mode=LockMode.ACCESS_EXCLUSIVE, work=work_of_bound(action.table, part, ground)),
        locking(action, ground, LockMode.SHARE_UPDATE_EXCLUSIVE),
    ]
    locks += [
        Lock(relation=other.name, mode=LockMode.ACCESS_EXCLUSIVE, work=work_of_bound(action.table, other.name, ground))
        for other in ground.catalog.partitions_of(action.table)
        if other.is_default_partition and not action.is_default
    ]
    return Effect(locks=tuple(locks), phase=Phase.ADDITIVE)


def work_of_bound(whole: Name, part: Name, ground: Ground) -> Work:
    """A part is read for rows that do not belong there, unless a valid CHECK of the key says that there are none.

    Whether the check says so is for PostgreSQL to conclude; one that reads the key is taken to.
    """
    table, parent = ground.catalog.tables.get(part), ground.catalog.table(whole)
    key = set(parent.partition_key) if parent else set()
    constraints = table.constraints.values() if table else ()
    checks = (one.check for one in constraints if one.check is not None and one.is_valid)
    return Work.NONE if any(key <= one.columns for one in checks) else Work.SCAN


def _detach(action: DetachPartition, ground: Ground) -> Effect:
    gentle = action.concurrently or action.finalize
    mode = LockMode.SHARE_UPDATE_EXCLUSIVE if gentle else LockMode.ACCESS_EXCLUSIVE
    part = Lock(relation=ground.catalog.resolve(action.partition), mode=LockMode.ACCESS_EXCLUSIVE)
    rest = [
        Lock(relation=one.name, mode=LockMode.ACCESS_EXCLUSIVE)
        for one in ground.catalog.partitions_of(action.table)
        if one.is_default_partition and one.name != part.relation
    ]
    return Effect(
        locks=(part, locking(action, ground, mode), *(rest if not gentle else ())),
        phase=Phase.DESTRUCTIVE,
        compatibility=Compatibility.BREAKS,
        outside_transaction=action.concurrently,
    )


def _persistence(action: SetPersistence, ground: Ground) -> Effect:
    table = ground.catalog.table(action.table)
    wanted = Persistence.PERMANENT if action.is_logged else Persistence.UNLOGGED
    is_idle = table is not None and table.is_complete and table.persistence is wanted
    return Effect(locks=(locking(action, ground, LockMode.ACCESS_EXCLUSIVE, Work.NONE if is_idle else Work.REWRITE),))


def _inheritance(action: SetInheritance, ground: Ground) -> Effect:
    parent = Lock(relation=ground.catalog.resolve(action.parent), mode=LockMode.SHARE_UPDATE_EXCLUSIVE)
    return Effect(
        locks=(locking(action, ground, LockMode.ACCESS_EXCLUSIVE), parent),
        phase=Phase.ADDITIVE if action.inherits else Phase.DESTRUCTIVE,
        compatibility=Compatibility.BREAKS,
    )


def _owner(action: SetOwner, ground: Ground) -> Effect:
    return Effect(locks=(locking(action, ground, LockMode.ACCESS_EXCLUSIVE),), compatibility=Compatibility.RESTRICTS)


def plain(
    mode: LockMode, work: Work = Work.NONE, compatibility: Compatibility = Compatibility.FULL
) -> Callable[[Any, Ground], Effect]:
    """Return the effect of what does one thing to its own table, whatever it says."""
    return lambda action, ground: Effect(locks=(locking(action, ground, mode, work),), compatibility=compatibility)


_STRONG = plain(LockMode.ACCESS_EXCLUSIVE)


def _other(action: OtherTableAction, ground: Ground) -> Effect:
    work = Work.REWRITE if action.kind == MOVE_ALL else Work.NONE
    return Effect(locks=(locking(action, ground, LockMode.ACCESS_EXCLUSIVE, work),))


TABLE_EFFECTS: Mapping[type[TableAction], Callable[[Any, Ground], Effect]] = {
    **COLUMN_EFFECTS,
    **CONSTRAINT_EFFECTS,
    SetPersistence: _persistence,
    SetTablespace: plain(LockMode.ACCESS_EXCLUSIVE, Work.REWRITE),
    SetAccessMethod: plain(LockMode.ACCESS_EXCLUSIVE, Work.REWRITE),
    SetOptions: _options,
    SetClustering: plain(LockMode.SHARE_UPDATE_EXCLUSIVE),
    SwitchTrigger: plain(LockMode.SHARE_ROW_EXCLUSIVE, compatibility=Compatibility.RESTRICTS),
    SwitchRule: _STRONG,
    AttachPartition: _attach,
    DetachPartition: _detach,
    SetInheritance: _inheritance,
    SetReplicaIdentity: _STRONG,
    SetRowSecurity: plain(LockMode.ACCESS_EXCLUSIVE, compatibility=Compatibility.RESTRICTS),
    SetOwner: _owner,
    OtherTableAction: _other,
}
