"""Rules about locks that are held while indexes are built, and tables and parts moved as a whole."""

from __future__ import annotations

from collections.abc import Iterator

from hitless.schema.actions.action import Action
from hitless.schema.actions.data import Cluster, LockTables, Vacuum
from hitless.schema.actions.objects import CreateIndex, CreateTrigger, Drop, RefreshView, Reindex
from hitless.schema.actions.tables import AttachPartition, CreateTable, DetachPartition, RelationKind
from hitless.schema.effects.effect import Work
from hitless.schema.effects.locks import LockMode
from hitless.schema.names import Name, derived, quoted
from hitless.schema.rules.rule import Family, Pace, Rule, Severity, Step, Trouble
from hitless.schema.rules.writing import alter, build_index, build_index_on_parts, index_name, script


def index_blocks_writes(step: Step) -> Iterator[Trouble]:
    """CREATE INDEX without CONCURRENTLY."""
    action = step.action
    if not isinstance(action, CreateIndex) or action.concurrently or not step.is_in_use(action.table):
        return
    if step.effect.work is Work.NONE:
        return  # ONLY on a partitioned table: nothing is built
    table = step.before.table(action.table)
    if table is not None and table.is_partitioned:
        fix = build_index_on_parts(action, tuple(one.name for one in step.before.partitions_of(action.table)))
    else:
        fix = script(build_index(index_name(action), action.table, action.definition, unique=action.is_unique))
    yield Trouble(
        message=f"building the index keeps all writers of {step.whole(action.table, Pace.INDEX)} waiting",
        fix=fix,
        severity=step.gravity(action.table),
    )


def drop_index_blocks(step: Step) -> Iterator[Trouble]:
    """DROP INDEX without CONCURRENTLY."""
    action = step.action
    if not isinstance(action, Drop) or action.kind != "index" or action.concurrently:
        return
    for name in action.names:
        index = step.before.index(name)
        if index is not None and not step.is_in_use(index.table):
            continue
        of = f" on {index.table}" if index else ""
        exists = "IF EXISTS " if action.if_exists else ""
        yield Trouble(
            message=f"dropping {name} waits for every transaction{of}, and everybody who comes after waits for it",
            fix=script(f"DROP INDEX CONCURRENTLY {exists}{name}"),
            severity=step.gravity(index.table) if index else None,
        )


def reindex_blocks(step: Step) -> Iterator[Trouble]:
    """REINDEX without CONCURRENTLY."""
    action = step.action
    if not isinstance(action, Reindex) or action.concurrently:
        return
    if action.target is not None and action.what == "table" and not step.is_in_use(action.target):
        return
    if action.what == "system":
        fix = "-- REINDEX SYSTEM has no gentle way: do it in a window"
    else:
        fix = script(f"REINDEX {action.what.upper()} CONCURRENTLY {action.target or ''}".rstrip())
    yield Trouble(
        message=f"REINDEX {action.what.upper()} keeps writers waiting, and readers that want the index", fix=fix
    )


def table_is_locked_whole(step: Step) -> Iterator[Trouble]:
    """VACUUM FULL and CLUSTER."""
    action = step.action
    if isinstance(action, Vacuum) and action.is_full:
        names, what = action.tables, "VACUUM FULL"
    elif isinstance(action, Cluster):
        names, what = ((action.table,) if action.table else ()), "CLUSTER"
    else:
        return
    if names and not any(step.is_in_use(one) for one in names):
        return
    tables = ", ".join(map(str, names)) or "every table"
    yield Trouble(
        message=f"{what} writes {tables} anew while nobody can read or write it",
        fix="-- REPACK CONCURRENTLY (PostgreSQL 19), or the extension pg_repack; plain VACUUM frees space for new rows",
        severity=step.gravity(names[0]) if names else None,
    )


def refresh_blocks_reads(step: Step) -> Iterator[Trouble]:
    """REFRESH MATERIALIZED VIEW without CONCURRENTLY."""
    action = step.action
    if isinstance(action, RefreshView) and not action.concurrently and step.is_in_use(action.view):
        yield Trouble(
            message=f"nobody can read {action.view} until it is computed anew",
            fix=script(
                f"-- needs a unique index on {action.view} without a WHERE",
                f"REFRESH MATERIALIZED VIEW CONCURRENTLY {action.view}",
            ),
        )


def attach_scans(step: Step) -> Iterator[Trouble]:
    """ATTACH PARTITION of a table that nothing proves to fit, or a new part beside a default part."""
    action = _attached(step.action)
    if action is None:
        return
    for lock in step.effect.locks:
        if lock.work is not Work.SCAN or not step.is_in_use(lock.relation):
            continue
        is_rest = lock.relation != step.before.resolve(action.partition)
        yield Trouble(
            message=f"{lock.relation.shown} is read to the end while nobody can read or write it"
            + (", for rows that belong to the new part" if is_rest else ", to see that every row belongs there"),
            fix=_attach_fix(step, action, lock.relation, is_rest=is_rest),
            severity=step.gravity(lock.relation),
        )


def _attached(action: Action) -> AttachPartition | None:
    """Return what attaches a part; CREATE TABLE ... PARTITION OF does it at once."""
    if isinstance(action, CreateTable) and action.partition_of is not None and action.bound is not None:
        return AttachPartition(table=action.partition_of, partition=action.table, bound=action.bound)
    is_of_index = isinstance(action, AttachPartition) and action.relation is RelationKind.INDEX
    return action if isinstance(action, AttachPartition) and not is_of_index else None


def _attach_fix(step: Step, action: AttachPartition, relation: Name, *, is_rest: bool) -> str:
    """Write the bound as a check that is validated beside readers and writers, and saves the reading."""
    parent = step.before.table(action.table)
    condition = action.bound.condition(parent.partition_key) if parent and action.bound else None
    if condition is None:
        return f"-- add the bound to {relation.shown} as CHECK ... NOT VALID, validate it, then attach"
    name = quoted(derived(relation.name, "bound"))
    check = f"NOT ({condition})" if is_rest else condition
    alone = (_created_alone(step.action),) if isinstance(step.action, CreateTable) else ()
    return script(
        *alone,
        f"ALTER TABLE {relation.shown} ADD CONSTRAINT {name} CHECK ({check}) NOT VALID",
        "-- in a transaction of its own:",
        f"ALTER TABLE {relation.shown} VALIDATE CONSTRAINT {name}",
        "-- reads nothing of it now:",
        alter(action, f"ATTACH PARTITION {action.partition} {action.bound}"),
        f"ALTER TABLE {relation.shown} DROP CONSTRAINT {name}",
    )


def detach_blocks(step: Step) -> Iterator[Trouble]:
    """DETACH PARTITION without CONCURRENTLY."""
    action = step.action
    if not isinstance(action, DetachPartition) or action.concurrently or action.finalize:
        return
    if step.is_in_use(action.table):
        rest = next((one.name for one in step.before.partitions_of(action.table) if one.is_default_partition), None)
        yield Trouble(
            message=f"detaching {action.partition} waits for every transaction on {action.table}, and everybody who "
            "comes after waits for it",
            fix=script(alter(action, f"DETACH PARTITION {action.partition} CONCURRENTLY"))
            if rest is None
            else script(
                f"-- PostgreSQL refuses CONCURRENTLY beside a default part ({rest.shown}); so, until it is had:",
                "SET lock_timeout = '100ms'",
                alter(action, f"DETACH PARTITION {action.partition}"),
            ),
            severity=step.gravity(action.table) if rest is None else Severity.WARNING,
        )


def _created_alone(action: CreateTable) -> str:
    return f"CREATE TABLE {action.table} (LIKE {action.partition_of} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"


def partition_of_blocks(step: Step) -> Iterator[Trouble]:
    """CREATE TABLE ... PARTITION OF locks the parent; ATTACH does so less."""
    action = step.action
    if not isinstance(action, CreateTable) or action.partition_of is None or not step.is_in_use(action.partition_of):
        return
    if any(attach_scans(step)):
        return  # it says the same way out
    yield Trouble(
        message=f"PARTITION OF waits for every transaction on {action.partition_of}, and everybody who comes after "
        "waits for it",
        fix=script(
            _created_alone(action),
            f"ALTER TABLE {action.partition_of} ATTACH PARTITION {action.table} {action.bound}",
        ),
        severity=Severity.WARNING,
    )


def trigger_blocks_writes(step: Step) -> Iterator[Trouble]:
    """CREATE TRIGGER on a table that is in use."""
    action = step.action
    if isinstance(action, CreateTrigger) and step.is_in_use(action.table) and action.timing != "instead of":
        yield Trouble(
            message=f"from now on every writer of {action.table} runs {action.function}, and CREATE TRIGGER waits for "
            "those that write now while everybody behind it waits too",
            fix=script(
                "SET lock_timeout = '100ms'", "-- and try again until it is had; measure what the function costs"
            ),
        )


def explicit_lock(step: Step) -> Iterator[Trouble]:
    """LOCK TABLE in a mode that keeps somebody waiting."""
    action = step.action
    if not isinstance(action, LockTables) or not LockMode(min(max(action.mode, 1), 8)).blocks_writes:
        return
    busy = [one for one in action.tables if step.is_in_use(one)]
    if busy:
        yield Trouble(
            message=f"LOCK TABLE {', '.join(map(str, busy))} IN {LockMode(action.mode).sql} MODE keeps others waiting "
            "to the end of the transaction",
            fix="-- lock rows (SELECT ... FOR UPDATE), or use an advisory lock that only migrations take",
        )


RULES = (
    Rule(
        id="index-blocks-writes",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="CREATE INDEX is not CONCURRENTLY.",
        why="SHARE keeps every writer of the table waiting until the index is built.",
        safe="CREATE INDEX CONCURRENTLY; on a partitioned table, on each part, then ATTACH.",
        on_action=index_blocks_writes,
    ),
    Rule(
        id="drop-index-blocks",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="DROP INDEX is not CONCURRENTLY.",
        why="ACCESS EXCLUSIVE on the table waits for the longest transaction, and everybody queues behind it.",
        safe="DROP INDEX CONCURRENTLY.",
        on_action=drop_index_blocks,
    ),
    Rule(
        id="reindex-blocks",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="REINDEX is not CONCURRENTLY.",
        why="Writers wait, and readers that want the index do too, until it is built.",
        safe="REINDEX ... CONCURRENTLY.",
        on_action=reindex_blocks,
    ),
    Rule(
        id="table-copied-whole",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="VACUUM FULL or CLUSTER.",
        why="The table is copied under ACCESS EXCLUSIVE.",
        safe="REPACK CONCURRENTLY (PostgreSQL 19) or pg_repack.",
        on_action=table_is_locked_whole,
    ),
    Rule(
        id="refresh-blocks-reads",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="REFRESH MATERIALIZED VIEW is not CONCURRENTLY.",
        why="Nobody can read the view while it is computed.",
        safe="REFRESH MATERIALIZED VIEW CONCURRENTLY; it needs a unique index.",
        on_action=refresh_blocks_reads,
    ),
    Rule(
        id="attach-scans",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="ATTACH PARTITION, or PARTITION OF, reads a table for rows that do not fit.",
        why="The part, and the default part, are read under ACCESS EXCLUSIVE unless a valid CHECK proves the bound.",
        safe="Add the bound as CHECK ... NOT VALID, validate it, attach, drop the check.",
        on_action=attach_scans,
    ),
    Rule(
        id="detach-blocks",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="DETACH PARTITION is not CONCURRENTLY.",
        why="ACCESS EXCLUSIVE on the parent waits for the longest transaction, and everybody queues behind it.",
        safe="DETACH PARTITION ... CONCURRENTLY.",
        on_action=detach_blocks,
    ),
    Rule(
        id="partition-of-blocks",
        family=Family.LOCKS,
        severity=Severity.WARNING,
        summary="CREATE TABLE ... PARTITION OF on a parent in use.",
        why="It takes ACCESS EXCLUSIVE on the parent; ATTACH PARTITION takes SHARE UPDATE EXCLUSIVE.",
        safe="Create the table alone, then attach it.",
        on_action=partition_of_blocks,
    ),
    Rule(
        id="trigger-blocks-writes",
        family=Family.LOCKS,
        severity=Severity.WARNING,
        summary="CREATE TRIGGER on a table in use.",
        why="SHARE ROW EXCLUSIVE keeps writers waiting, and every write costs more from then on.",
        safe="With a short lock_timeout and retries; keep the function cheap.",
        on_action=trigger_blocks_writes,
    ),
    Rule(
        id="explicit-lock",
        family=Family.LOCKS,
        severity=Severity.ERROR,
        summary="LOCK TABLE in a mode that keeps writers waiting.",
        why="It is held to the end of the transaction.",
        safe="Lock rows, or take an advisory lock.",
        on_action=explicit_lock,
    ),
)
