"""What each action does to others while it runs: locks, work, phase, compatibility. The table is total."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from hitless.schema.actions.action import Action, Other
from hitless.schema.actions.data import Block, Call, Cluster, LockTables, Read, Truncate, Vacuum, Write
from hitless.schema.actions.objects import (
    AddEnumValue,
    AlterDomain,
    ChangeExtension,
    ChangePolicy,
    ChangePrivileges,
    ChangePublication,
    ChangeSequence,
    CreateDomain,
    CreateEnum,
    CreateFunction,
    CreateIndex,
    CreateRule,
    CreateSchema,
    CreateStatistics,
    CreateTrigger,
    CreateType,
    CreateView,
    Describe,
    Drop,
    RefreshView,
    Reindex,
    Rename,
    RenameEnumValue,
    SetSchema,
)
from hitless.schema.actions.session import SetVariable, TransactionStep
from hitless.schema.actions.tables import CreateTable, RelationKind, SetTablespace, TableAction
from hitless.schema.effects.alter_table import TABLE_EFFECTS, work_of_bound
from hitless.schema.effects.effect import Compatibility, Effect, Lock, Phase, Work, merged
from hitless.schema.effects.ground import Ground
from hitless.schema.effects.heirs import with_heirs
from hitless.schema.effects.locks import LockMode
from hitless.schema.names import Name

_ADDITIVE = Effect(phase=Phase.ADDITIVE)
_NEUTRAL = Effect()


def effect_of(action: Action, ground: Ground) -> Effect:
    """Classify an action by what is known before it runs."""
    if isinstance(action, TableAction):
        found = TABLE_EFFECTS[type(action)](action, ground)
        return with_heirs(action, found, ground) if action.relation in _HEAPS else _of_no_heap(action, found)
    return with_heirs(action, EFFECTS[type(action)](action, ground), ground)


_HEAPS = {RelationKind.TABLE, RelationKind.FOREIGN_TABLE, RelationKind.MATERIALIZED_VIEW}


def _of_no_heap(action: TableAction, found: Effect) -> Effect:
    """ALTER INDEX, VIEW, SEQUENCE and TYPE have the same subcommands, and no rows."""
    if action.relation is RelationKind.TYPE:
        return replace(found, locks=())  # of the type alone; tables that use it are not locked for what is allowed then
    if action.relation is RelationKind.INDEX and isinstance(action, SetTablespace):
        return found  # its file is copied
    return replace(found, locks=tuple(replace(one, work=Work.NONE) for one in found.locks))


def _locks(ground: Ground, names: tuple[Name, ...], mode: LockMode, work: Work = Work.NONE) -> tuple[Lock, ...]:
    return tuple(Lock(relation=ground.catalog.resolve(one), mode=mode, work=work) for one in names)


def _create_table(action: CreateTable, ground: Ground) -> Effect:
    locks = list(_locks(ground, action.reads, LockMode.ACCESS_SHARE))
    inline = (one for column in action.columns for one in column.constraints)
    for one in (*inline, *action.constraints):
        if one.references is not None and one.references != action.table:
            locks += _locks(ground, (one.references,), LockMode.SHARE_ROW_EXCLUSIVE)
    if action.partition_of is not None:
        locks += _locks(ground, (action.partition_of,), LockMode.ACCESS_EXCLUSIVE)
        for other in ground.catalog.partitions_of(action.partition_of):
            if other.is_default_partition:
                work = work_of_bound(action.partition_of, other.name, ground)
                locks.append(Lock(relation=other.name, mode=LockMode.ACCESS_EXCLUSIVE, work=work))
    locks += _locks(ground, action.inherits, LockMode.SHARE_UPDATE_EXCLUSIVE)
    return Effect(locks=tuple(locks), phase=Phase.ADDITIVE)


def _create_index(action: CreateIndex, ground: Ground) -> Effect:
    mode = LockMode.SHARE_UPDATE_EXCLUSIVE if action.concurrently else LockMode.SHARE
    table = ground.catalog.table(action.table)
    is_parent = table is not None and table.is_partitioned
    parts = tuple(one.name for one in ground.catalog.partitions_of(action.table)) if is_parent else ()
    return Effect(
        locks=(
            *_locks(ground, (action.table,), mode, Work.NONE if is_parent else Work.SCAN),
            *_locks(ground, () if action.only else parts, mode, Work.SCAN),
        ),
        phase=Phase.ADDITIVE,
        compatibility=Compatibility.RESTRICTS if action.is_unique else Compatibility.FULL,
        outside_transaction=action.concurrently,
    )


def _reindex(action: Reindex, ground: Ground) -> Effect:
    mode = LockMode.SHARE_UPDATE_EXCLUSIVE if action.concurrently else LockMode.SHARE
    locks: list[Lock] = []
    if action.target is not None and action.what == "index":
        index = ground.catalog.index(action.target)
        if index is not None:
            locks.append(Lock(relation=index.table, mode=mode, work=Work.SCAN))
        if not action.concurrently:
            locks += _locks(ground, (action.target,), LockMode.ACCESS_EXCLUSIVE, Work.REWRITE)
    elif action.target is not None and action.what == "table":
        locks += _locks(ground, (action.target,), mode, Work.SCAN)
    many = action.what in {"schema", "database", "system"}
    return Effect(locks=tuple(locks), outside_transaction=action.concurrently or many)


def _create_view(action: CreateView, ground: Ground) -> Effect:
    view = ground.catalog.resolve(action.view)
    locks = list(_locks(ground, action.reads, LockMode.ACCESS_SHARE))
    replaces = action.replace and view in ground.catalog.views
    if replaces:
        locks.append(Lock(relation=view, mode=LockMode.ACCESS_EXCLUSIVE))
    return Effect(locks=tuple(locks), phase=Phase.ADDITIVE)


def _refresh(action: RefreshView, ground: Ground) -> Effect:
    mode = LockMode.EXCLUSIVE if action.concurrently else LockMode.ACCESS_EXCLUSIVE
    work = Work.SCAN if action.concurrently else Work.REWRITE
    view = ground.catalog.views.get(ground.catalog.resolve(action.view))
    read = _locks(ground, view.reads if view else (), LockMode.ACCESS_SHARE)
    return Effect(locks=(*_locks(ground, (action.view,), mode, work), *read), phase=Phase.DATA)


def _trigger(action: CreateTrigger, ground: Ground) -> Effect:
    return Effect(
        locks=_locks(ground, (action.table,), LockMode.SHARE_ROW_EXCLUSIVE),
        phase=Phase.ADDITIVE,
        compatibility=Compatibility.RESTRICTS,
    )


def _policy(action: ChangePolicy, ground: Ground) -> Effect:
    return Effect(
        locks=_locks(ground, (action.table,), LockMode.ACCESS_EXCLUSIVE),
        phase=Phase.ADDITIVE if action.is_new else Phase.NEUTRAL,
        compatibility=Compatibility.RESTRICTS,
    )


def _rule(action: CreateRule, ground: Ground) -> Effect:
    return Effect(
        locks=_locks(ground, (action.table,), LockMode.ACCESS_EXCLUSIVE),
        phase=Phase.ADDITIVE,
        compatibility=Compatibility.BREAKS,
    )


def _domain(action: AlterDomain, ground: Ground) -> Effect:
    """Checking reads every table that has a column of the domain, under SHARE (validateDomainConstraint)."""
    restricts = action.change in {"add constraint", "set not null"}
    checks = (restricts and (action.constraint is None or action.constraint.is_valid)) or (
        action.change == "validate constraint"
    )
    users = tuple(_users_of_type(action.domain, ground)) if checks else ()
    return Effect(
        locks=_locks(ground, users, LockMode.SHARE, Work.SCAN),
        compatibility=Compatibility.RESTRICTS if restricts else Compatibility.FULL,
    )


def _users_of_type(name: Name, ground: Ground) -> Iterator[Name]:
    full = ground.catalog.resolve(name)
    for table in ground.catalog.tables.values():
        if any(ground.catalog.resolve(one.type.named) == full for one in table.columns.values()):
            yield table.name


def _sequence(action: ChangeSequence, ground: Ground) -> Effect:
    if action.is_new:
        return _ADDITIVE
    owner = _locks(ground, (action.owned_by,) if action.owned_by else (), LockMode.ACCESS_SHARE)
    return Effect(locks=(*_locks(ground, (action.sequence,), LockMode.SHARE_ROW_EXCLUSIVE), *owner))


_DROPPED = LockMode.ACCESS_EXCLUSIVE
_LOCKED_WHOLE = {"table", "foreign table", "view", "materialized view", "sequence"}


def _drop(action: Drop, ground: Ground) -> Effect:
    locks: list[Lock] = []
    if action.kind in _LOCKED_WHOLE:
        locks += _locks(ground, action.names, LockMode.ACCESS_EXCLUSIVE)
        locks += _referenced_by(action, ground) if action.kind == "table" else ()
    elif action.kind == "index":
        locks += _dropped_indexes(action, ground)
    elif action.kind == "statistics":
        tables = (ground.catalog.statistics.get(ground.catalog.resolve(one)) for one in action.names)
        known = tuple(one for one in tables if one is not None)
        locks += _locks(ground, known, LockMode.SHARE_UPDATE_EXCLUSIVE)
    elif action.table is not None:
        locks += _locks(ground, (action.table,), LockMode.ACCESS_EXCLUSIVE)
    is_gone = action.kind not in {"index", "trigger", "policy", "rule", "statistics"}
    return Effect(
        locks=tuple(locks),
        phase=Phase.DESTRUCTIVE if is_gone else Phase.NEUTRAL,
        compatibility=Compatibility.BREAKS if is_gone else Compatibility.FULL,
        outside_transaction=action.concurrently or action.kind in {"database", "tablespace", "subscription"},
    )


def _referenced_by(action: Drop, ground: Ground) -> Iterator[Lock]:
    """Dropping a table drops its foreign keys, and their triggers on the other table; CASCADE those to it as well."""
    for name in action.names:
        table = ground.catalog.table(name)
        if action.cascade:
            keys = (one.name for one, _ in ground.catalog.foreign_keys_to(name))
            yield from _locks(ground, (*keys, *(one.name for one in ground.catalog.views_on(name))), _DROPPED)
        for one in table.constraints.values() if table else ():
            if one.references is not None:
                yield from _locks(ground, (one.references,), LockMode.ACCESS_EXCLUSIVE)


def _dropped_indexes(action: Drop, ground: Ground) -> Iterator[Lock]:
    mode = LockMode.SHARE_UPDATE_EXCLUSIVE if action.concurrently else LockMode.ACCESS_EXCLUSIVE
    for name in action.names:
        index = ground.catalog.index(name)
        if index is not None:
            yield Lock(relation=index.table, mode=mode)
        yield Lock(relation=ground.catalog.resolve(name), mode=mode)


def _rename(action: Rename, ground: Ground) -> Effect:
    relation = action.table or (action.old if action.kind in {*_LOCKED_WHOLE, "index"} else None)
    mode = LockMode.SHARE_UPDATE_EXCLUSIVE if action.kind == "index" else LockMode.ACCESS_EXCLUSIVE
    harmless = action.kind in {"index", "constraint", "trigger", "policy", "rule", "domain constraint", "statistics"}
    is_relation = relation is not None and action.kind != "domain constraint"
    return Effect(
        locks=_locks(ground, (relation,), mode) if relation is not None and is_relation else (),
        phase=Phase.NEUTRAL if harmless else Phase.DESTRUCTIVE,
        compatibility=Compatibility.FULL if harmless else Compatibility.BREAKS,
    )


def _set_schema(action: SetSchema, ground: Ground) -> Effect:
    locks = _locks(ground, (action.name,), LockMode.ACCESS_EXCLUSIVE) if action.kind in _LOCKED_WHOLE else ()
    return Effect(locks=locks, phase=Phase.DESTRUCTIVE, compatibility=Compatibility.BREAKS)


def _describe(action: Describe, ground: Ground) -> Effect:
    names = (action.relation,) if action.relation is not None else ()
    return Effect(locks=_locks(ground, names, LockMode.SHARE_UPDATE_EXCLUSIVE))


_GRANT_LOCKS = 18


def _privileges(action: ChangePrivileges, ground: Ground) -> Effect:
    """GRANT and REVOKE change a row of the catalogue; since 18 they keep the table from being dropped meanwhile."""
    names = action.names if action.kind in {*_LOCKED_WHOLE} and ground.postgres >= _GRANT_LOCKS else ()
    return Effect(
        locks=_locks(ground, names, LockMode.ACCESS_SHARE),
        compatibility=Compatibility.FULL if action.is_grant else Compatibility.BREAKS,
    )


def _publication(action: ChangePublication, ground: Ground) -> Effect:
    return Effect(locks=_locks(ground, action.tables, LockMode.SHARE_UPDATE_EXCLUSIVE))


def _statistics(action: CreateStatistics, ground: Ground) -> Effect:
    return Effect(locks=_locks(ground, action.tables, LockMode.SHARE_UPDATE_EXCLUSIVE), phase=Phase.ADDITIVE)


def _write(action: Write, ground: Ground) -> Effect:
    locks = _locks(ground, (action.table,), LockMode.ROW_EXCLUSIVE)
    return Effect(locks=(*locks, *_locks(ground, action.reads, LockMode.ACCESS_SHARE)), phase=Phase.DATA)


def _read(action: Read, ground: Ground) -> Effect:
    locked = _locks(ground, action.locked, LockMode.ROW_SHARE)
    others = tuple(one for one in action.reads if one not in action.locked)
    return Effect(locks=(*locked, *_locks(ground, others, LockMode.ACCESS_SHARE)))


def _truncate(action: Truncate, ground: Ground) -> Effect:
    return Effect(
        locks=_locks(ground, action.tables, LockMode.ACCESS_EXCLUSIVE, Work.REWRITE),
        phase=Phase.DESTRUCTIVE,
        compatibility=Compatibility.BREAKS,
    )


def _lock_tables(action: LockTables, ground: Ground) -> Effect:
    return Effect(locks=_locks(ground, action.tables, LockMode(min(max(action.mode, 1), 8))))


def _vacuum(action: Vacuum, ground: Ground) -> Effect:
    mode = LockMode.ACCESS_EXCLUSIVE if action.is_full else LockMode.SHARE_UPDATE_EXCLUSIVE
    work = Work.REWRITE if action.is_full else Work.SCAN
    return Effect(locks=_locks(ground, action.tables, mode, work), outside_transaction=action.is_vacuum)


def _cluster(action: Cluster, ground: Ground) -> Effect:
    names = (action.table,) if action.table is not None else ()
    return Effect(
        locks=_locks(ground, names, LockMode.ACCESS_EXCLUSIVE, Work.REWRITE), outside_transaction=action.table is None
    )


def _block(action: Block, ground: Ground) -> Effect:
    return merged(tuple(effect_of(one, ground) for one in action.actions))


_NEVER_IN_A_TRANSACTION = ("createdb", "create table space", "alter system", "create subscription")


def _other(action: Other, _ground: Ground) -> Effect:
    takes = action.kind.startswith("drop ")
    return Effect(
        phase=Phase.DESTRUCTIVE if takes else Phase.NEUTRAL,
        compatibility=Compatibility.BREAKS if takes else Compatibility.FULL,
        outside_transaction=action.kind.startswith(_NEVER_IN_A_TRANSACTION),
    )


def _always(effect: Effect) -> Callable[[Any, Ground], Effect]:
    return lambda _action, _ground: effect


EFFECTS: Mapping[type[Action], Callable[[Any, Ground], Effect]] = {
    CreateTable: _create_table,
    CreateIndex: _create_index,
    Reindex: _reindex,
    CreateView: _create_view,
    RefreshView: _refresh,
    CreateFunction: _always(_ADDITIVE),
    CreateTrigger: _trigger,
    ChangePolicy: _policy,
    CreateRule: _rule,
    CreateEnum: _always(_ADDITIVE),
    AddEnumValue: _always(_ADDITIVE),
    RenameEnumValue: _always(Effect(phase=Phase.DESTRUCTIVE, compatibility=Compatibility.BREAKS)),
    CreateType: _always(_ADDITIVE),
    CreateDomain: _always(_ADDITIVE),
    AlterDomain: _domain,
    ChangeSequence: _sequence,
    CreateSchema: _always(_ADDITIVE),
    ChangeExtension: _always(_ADDITIVE),
    Drop: _drop,
    Rename: _rename,
    SetSchema: _set_schema,
    Describe: _describe,
    ChangePrivileges: _privileges,
    ChangePublication: _publication,
    CreateStatistics: _statistics,
    Write: _write,
    Read: _read,
    Truncate: _truncate,
    LockTables: _lock_tables,
    Vacuum: _vacuum,
    Cluster: _cluster,
    Block: _block,
    Call: _always(Effect(phase=Phase.DATA)),
    TransactionStep: _always(_NEUTRAL),
    SetVariable: _always(_NEUTRAL),
    Other: _other,
}
