"""A plan as a script for psql: what a person reads, and may paste.

What hitless does beside it (trying again, throttling, checkpoints, the guard) is said in comments, not imitated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hitless.schema.change.standing import Part
from hitless.schema.change.steps import Build, Check, Compare, Ddl, Fill, Plan, Revoke, Step, Validate
from hitless.schema.effects.effect import Effect, Lock, Work
from hitless.schema.names import literal, quoted

WHEN: Mapping[Part, str] = {
    Part.EXPAND: "before the new release; the one that runs notices nothing",
    Part.BACKFILL: "any time after",
    Part.VERIFY: "every row, once it is filled",
    Part.SWITCH: "then the new release may go in; the old one goes on, and may come back",
    Part.BROWNOUT: "once no release that runs, or that a rollback could bring back, uses the old ones",
    Part.HIDE: "a while after",
    Part.DROP: "after the retention; there is no way back from here",
}
BATCH_PAGES = 500


def script_of(plan: Plan, effects: Mapping[str, Effect]) -> str:
    """Write a plan."""
    return "\n".join(_lines(plan, effects)) + "\n"


def _lines(plan: Plan, effects: Mapping[str, Effect]) -> Iterator[str]:
    yield f"-- Change {plan.change}"
    for note in plan.notes:
        yield from _comment(f"note: {note}")
    yield "SET lock_timeout = '100ms';  -- what waits longer is tried again: hitless does, with pauses"
    yield "CREATE SCHEMA IF NOT EXISTS hitless;"
    for part in Part:
        steps = plan.of(part)
        if steps:
            yield from ("", f"-- ===== {part.upper()}: {WHEN[part]}")
        for step in steps:
            yield from ("", *_step(step, effects.get(step.id, Effect())))
    for one in plan.watches:
        yield from ("", f"-- watch: before the brownout {one.counter} must stand still; it moves when {one.sentence}")
        yield f"--   SELECT last_value FROM {one.counter};"


def _step(step: Step, effect: Effect) -> Iterator[str]:
    yield from _comment(f"{step.id}: {step.title}")
    for lock in effect.locks:
        yield from _comment(f"lock: {_lock(lock, step)}")
    for check in step.checks:
        yield from _check(check)
    for caveat in step.caveats:
        yield from _comment(f"caveat: {caveat}")
    yield from _sql(step)
    yield from _undo(step)


def _comment(text: str) -> Iterator[str]:
    return (f"-- {line}" for line in text.splitlines())


def _lock(lock: Lock, step: Step) -> str:
    table = f"{lock.mode.sql} on {lock.relation.shown}"
    if isinstance(step, Fill):
        return f"{table}, and each row of a batch"
    if isinstance(step, Build):
        return f"{table}; waits for transactions that are older, holds nobody up"
    if not lock.mode.blocks_writes:
        return f"{table}{', while every row is read' if lock.work is not Work.NONE else ''}; holds nobody up"
    waits = "readers and writers" if lock.mode.blocks_reads else "writers"
    return f"{table}, for milliseconds; waits for transactions that use it, and {waits} wait behind it, 100 ms at most"


def _check(check: Check) -> Iterator[str]:
    pass_on = "; may be allowed by name" if check.may_be_allowed else ""
    yield from _comment(f"check: must be 0, else {check.trouble}{pass_on}")
    yield from _comment(f"  {check.counted};")


def _sql(step: Step) -> Iterator[str]:
    match step:
        case Ddl():
            yield "BEGIN;"
            yield from (f"{one};" for one in step.do)
            yield "COMMIT;"
        case Validate():
            yield from (f"{one};" for one in step.do)
        case Build():
            yield f"{step.do};"
        case Fill():
            yield from _fill(step)
        case Compare():
            shown = ", ".join(map(quoted, step.shown))
            yield "-- no row may come back:"
            yield f"SELECT {shown} FROM {step.table} WHERE NOT ({step.forward}) AND NOT ({step.backward}) LIMIT 10;"
        case Revoke():
            yield "-- hitless migrate contract: from the privileges that are there then; one GRANT gives them back"


def _fill(step: Fill) -> Iterator[str]:
    """By pages, because a script knows no primary key; hitless goes by the key, and watches the writers."""
    table = literal(str(step.table))
    values = ",\n            ".join(f"{quoted(name)} = {text}" for name, text in step.assignments.items())
    yield "-- hitless does this by ranges of the primary key, throttled; this does it by pages, in short transactions"
    yield "DO $fill$ DECLARE page bigint := 0; last bigint; BEGIN"
    yield f"    SELECT max(pg_relation_size(relid)) / 8192 INTO last FROM (SELECT {table}::regclass AS relid"
    yield f"        UNION ALL SELECT relid FROM pg_partition_tree({table})) AS parts;"
    yield "    WHILE page <= last LOOP"
    yield f"        UPDATE {step.table} SET {values}"
    yield f"        WHERE ctid >= format('(%s,0)', page)::tid AND ctid < format('(%s,0)', page + {BATCH_PAGES})::tid"
    yield f"            AND ({step.todo});"
    yield "        COMMIT;"
    yield f"        page := page + {BATCH_PAGES};"
    yield "    END LOOP;"
    yield "END $fill$;"


def _undo(step: Step) -> Iterator[str]:
    if isinstance(step, Build):
        yield from _comment(f"undo: {step.undo};")
        return
    for one in step.undo if isinstance(step, Ddl | Validate) else ():
        first, *rest = one.splitlines()
        yield from _comment(f"undo: {first}{' ...' if rest else ';'}")
