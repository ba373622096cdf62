"""Rules about waiting: statements that wait for a lock, and transactions that hold one while they do something else.

A lock that is waited for keeps out everybody who comes after it and wants what it conflicts with, readers too. So what
counts is how long a statement may wait (lock_timeout), and how long a transaction goes on once it has the lock.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hitless.schema.actions.action import Action
from hitless.schema.actions.data import Block, Write
from hitless.schema.actions.objects import CreateIndex, CreateView, Drop
from hitless.schema.actions.tables import AddConstraint, DropConstraint, ValidateConstraint
from hitless.schema.effects.effect import Lock, Work
from hitless.schema.effects.locks import LockMode
from hitless.schema.names import Name, quoted
from hitless.schema.rules.release import is_unbounded
from hitless.schema.rules.rule import Family, FileEnd, Rule, Severity, Step, Trouble
from hitless.schema.rules.writing import build_index_on_parts, script
from hitless.schema.session import Done

LONGEST_WAIT_MS = 1_000
"""Behind a transaction of 8 s writers waited 102 ms at most with 100 ms and retries, 3.8 s with 2 s (measured)."""

_UNITS_MS = {"": 1.0, "us": 0.001, "ms": 1.0, "s": 1_000.0, "min": 60_000.0, "h": 3_600_000.0, "d": 86_400_000.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*\Z")


def duration_ms(text: str) -> float | None:
    """Read a time as PostgreSQL's settings write it, a number alone as milliseconds; None = it is none."""
    found = _DURATION.match(text.lower())
    return float(found[1]) * _UNITS_MS[found[2]] if found and found[2] in _UNITS_MS else None


def _strong_locks(step: Step) -> list[Lock]:
    """Return the locks on tables in use that writers or readers wait for."""
    return [one for one in step.effect.locks if one.mode.blocks_writes and step.is_in_use(one.relation)]


def lock_timeout_missing(step: Step) -> Iterator[Trouble]:
    """A strong lock is waited for without an end; told once a file, of a DO block by what stands in it."""
    if isinstance(step.action, Block):
        return
    if step.session.setting("lock_timeout") is not None or step.session.has_waited or not _strong_locks(step):
        return
    lock = _strong_locks(step)[0]
    yield Trouble(
        message=f"it waits for {lock.mode.sql} on {lock.relation.shown} as long as the longest transaction there, "
        "and everybody who comes after waits behind it",
        fix=script(f"SET {'LOCAL ' if step.session.in_block else ''}lock_timeout = '100ms'")
        + "\n-- and try again, later each time, until it is had",
    )


def lock_timeout_long(step: Step) -> Iterator[Trouble]:
    """A strong lock may be waited for longer than users stand."""
    setting = step.session.setting("lock_timeout")
    wait_ms = duration_ms(setting) if setting is not None else None
    if wait_ms is None or 0 < wait_ms <= LONGEST_WAIT_MS or not _strong_locks(step):
        return
    lock = _strong_locks(step)[0]
    longest = "without an end" if wait_ms == 0 else f"up to {wait_ms / 1_000:g} s at each try"
    yield Trouble(
        message=f"lock_timeout is {setting}: it may wait for {lock.mode.sql} on {lock.relation.shown} {longest}, and "
        "everybody who comes after waits behind it",
        fix=script(f"SET {'LOCAL ' if step.session.in_block else ''}lock_timeout = '100ms'"),
    )


def statement_timeout_missing(step: Step) -> Iterator[Trouble]:
    """A statement that holds a strong lock may take as long as it likes; told once a file."""
    if isinstance(step.action, Block):
        return
    if step.session.setting("statement_timeout") is None and not step.session.has_waited and _strong_locks(step):
        yield Trouble(
            message="once it has its lock, nothing bounds how long it keeps it",
            fix=script(f"SET {'LOCAL ' if step.session.in_block else ''}statement_timeout = '5s'"),
        )


def _held(step: Step) -> dict[Name, Done]:
    """Return the tables in use that earlier statements of the open transaction keep others from."""
    return {name: done for name, done in step.session.held.items() if done.statement != step.number}


def several_tables_locked(step: Step) -> Iterator[Trouble]:
    """A transaction waits for a second table while it keeps others from a first."""
    if not step.session.in_block or step.action is not step.siblings[0]:
        return
    wanted = [one for one in _strong_locks(step) if one.mode is LockMode.ACCESS_EXCLUSIVE]
    held = _held(step) if wanted else {}
    others = [
        name for name, done in held.items() if name not in {one.relation for one in wanted} and not _is_of_view(done)
    ]
    if others and wanted[0].relation not in held:
        yield Trouble(
            message=f"it waits for {wanted[0].relation.shown} while it keeps everybody from {others[0].shown} since "
            f"line {held[others[0]].line}; who takes the two the other way round deadlocks with it",
            fix=script("COMMIT", "BEGIN", step.statement.text),
        )


def _is_of_view(done: Done) -> bool:
    """A view is locked before what it reads, by its users too: nobody takes the two the other way round."""
    return isinstance(done.action, CreateView) or (isinstance(done.action, Drop) and done.action.kind == "view")


def lock_held_while_working(step: Step) -> Iterator[Trouble]:
    """A transaction keeps others from a table while it reads or writes many rows.

    What reads a table under a strong lock of its own is told by the rule about that.
    """
    if not step.session.in_block or not _works(step):
        return
    own = {one.relation for one in _strong_locks(step)}
    for table, since in _held(step).items():
        if table in own or _adds_what_is_validated(step.action, since):
            continue
        mode = since.effect.lock_on(table)
        yield Trouble(
            message=f"{mode.mode.sql if mode else 'a lock'} on {table.shown} is held since line {since.line} while "
            "this goes through many rows",
            fix=script("COMMIT", "BEGIN", step.statement.text),
            severity=step.gravity(table),
        )
        return


def _adds_what_is_validated(action: Action, since: Done) -> bool:
    """Tell whether it is what validated-at-once tells."""
    if not isinstance(action, ValidateConstraint) or not isinstance(since.action, AddConstraint):
        return False
    return since.action.constraint.named_for(since.action.table.name) == action.name


def _works(step: Step) -> bool:
    """Tell whether an action goes through many rows of a table in use."""
    if isinstance(step.action, Write):
        return is_unbounded(step.action, step.before)
    return any(one.work is not Work.NONE and step.is_in_use(one.relation) for one in step.effect.locks)


def index_may_stay_invalid(step: Step) -> Iterator[Trouble]:
    """CREATE INDEX CONCURRENTLY IF NOT EXISTS takes an invalid index of that name for the one that is wanted."""
    action = step.action
    if isinstance(action, CreateIndex) and action.concurrently and action.if_not_exists and action.name is not None:
        name = action.table.sibling(action.name)
        unique = "UNIQUE " if action.is_unique else ""
        yield Trouble(
            message=f"a build of {action.name} that failed has left it invalid, and IF NOT EXISTS passes over it",
            fix=script(
                f"DROP INDEX CONCURRENTLY IF EXISTS {name}",
                f"CREATE {unique}INDEX CONCURRENTLY {quoted(action.name)} ON {action.table} {action.definition}",
            ),
        )


def index_on_parent(step: Step) -> Iterator[Trouble]:
    """CREATE INDEX CONCURRENTLY on a partitioned table, which PostgreSQL refuses."""
    action = step.action
    if not isinstance(action, CreateIndex) or not action.concurrently or action.only:
        return
    table = step.before.table(action.table)
    if table is None or not table.is_partitioned:
        return
    parts = tuple(one.name for one in step.before.partitions_of(action.table))
    yield Trouble(
        message="PostgreSQL builds no index of a partitioned table concurrently",
        fix=build_index_on_parts(action, parts),
    )


def other_end_locked(step: Step) -> Iterator[Trouble]:
    """Dropping a foreign key, or its table, locks the table that it references."""
    action = step.action
    if isinstance(action, Drop) and action.kind == "table":
        tables = {step.before.resolve(one) for one in action.names}
    elif isinstance(action, DropConstraint):
        tables = {step.before.resolve(action.table)}
    else:
        return
    if not any(map(step.is_in_use, tables)):
        return
    for lock in step.effect.locks:
        is_table = step.before.resolve(lock.relation) not in step.before.views
        if is_table and lock.relation not in tables and step.is_in_use(lock.relation):
            yield Trouble(
                message=f"{lock.mode.sql} on {lock.relation.shown} too: their foreign key has triggers there",
                fix=script(
                    "SET lock_timeout = '100ms'", "-- drop the foreign key alone, and try again until both are had"
                ),
            )


def transactions_mixed(end: FileEnd) -> Iterator[Trouble]:
    """A file has statements that cannot run in a transaction, and others beside them."""
    alone = [one for one in end.session.done if one.effect.outside_transaction]
    others = [one for one in end.session.done if not one.effect.outside_transaction and one.effect.locks]
    if alone and others and not any(one.in_block for one in alone):
        yield Trouble(
            message="it runs outside of a transaction, and others stand beside it: a failure in between leaves half of "
            "the file done, and the file cannot be run again",
            fix="-- a file of its own for each statement that runs on its own",
            at=alone[0],
        )


RULES = (
    Rule(
        id="lock-timeout-missing",
        family=Family.LOCKS,
        severity=Severity.WARNING,
        summary="A strong lock is waited for without lock_timeout.",
        why="The request waits for the longest transaction, and all that come later queue behind it: 8 s of one report "
        "stalled 2,306 of 2,799 transactions of others; with 100 ms and retries, none (measured).",
        safe="SET lock_timeout to 50 to 100 ms and try again, later each time.",
        on_action=lock_timeout_missing,
    ),
    Rule(
        id="lock-timeout-long",
        family=Family.LOCKS,
        severity=Severity.WARNING,
        summary="The setting lock_timeout is longer than a second.",
        why="Users stand behind each try as long as it waits.",
        safe="Set 50 to 100 ms, and pause longer between tries.",
        on_action=lock_timeout_long,
    ),
    Rule(
        id="statement-timeout-missing",
        family=Family.LOCKS,
        severity=Severity.OFF,
        summary="A strong lock is held without statement_timeout.",
        why="A statement that takes longer than expected keeps its lock until somebody notices.",
        safe="SET statement_timeout for statements that should take milliseconds.",
        on_action=statement_timeout_missing,
    ),
    Rule(
        id="several-tables-locked",
        family=Family.TRANSACTIONS,
        severity=Severity.WARNING,
        summary="One transaction takes ACCESS EXCLUSIVE on a second table while it holds a strong lock on a first.",
        why="The first stays closed as long as the second is waited for, and two transactions that take them in "
        "another order deadlock.",
        safe="A transaction for each table.",
        on_action=several_tables_locked,
    ),
    Rule(
        id="lock-held-while-working",
        family=Family.TRANSACTIONS,
        severity=Severity.ERROR,
        summary="A transaction holds a strong lock while it goes through many rows.",
        why="Locks are held until the end of the transaction, whatever it does after it has taken them.",
        safe="Commit before the work; fill rows outside of migrations.",
        on_action=lock_held_while_working,
    ),
    Rule(
        id="index-may-stay-invalid",
        family=Family.TRANSACTIONS,
        severity=Severity.WARNING,
        summary="CREATE INDEX CONCURRENTLY has IF NOT EXISTS.",
        why="A build that failed leaves an invalid index of that name: it costs every write, serves no read, and is "
        "taken for the one that is wanted.",
        safe="DROP INDEX CONCURRENTLY IF EXISTS before it.",
        on_action=index_may_stay_invalid,
    ),
    Rule(
        id="index-on-parent-concurrently",
        family=Family.TRANSACTIONS,
        severity=Severity.ERROR,
        summary="CREATE INDEX CONCURRENTLY on a partitioned table.",
        why="PostgreSQL refuses it.",
        safe="ON ONLY for the table, CONCURRENTLY for each part, then ATTACH PARTITION.",
        on_action=index_on_parent,
    ),
    Rule(
        id="other-end-locked",
        family=Family.LOCKS,
        severity=Severity.WARNING,
        summary="Dropping a foreign key, or a table that has one, locks the table that it references.",
        why="Its triggers on the other table are dropped too, under ACCESS EXCLUSIVE; it may be the busiest.",
        safe="Drop the foreign key alone, with a short lock_timeout and retries, then the table.",
        on_action=other_end_locked,
    ),
    Rule(
        id="transactions-mixed",
        family=Family.TRANSACTIONS,
        severity=Severity.WARNING,
        summary="A file has statements that run outside of a transaction, and others beside them.",
        why="A failure between them leaves half of the file done, and running it again fails at what is done.",
        safe="A file for each statement that runs on its own.",
        on_file=transactions_mixed,
    ),
)
