"""The contract guard: asked before each stop of a contract, and by `hitless migrate guard` at any time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import psycopg

from hitless.adapters.postgres import records
from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.faults import in_words
from hitless.adapters.postgres.guard.asked import ASKED, Asked
from hitless.adapters.postgres.guard.brownout import bypassing
from hitless.adapters.postgres.guard.demands import Demand, Seen, demands_of, outside, statements_of
from hitless.adapters.postgres.guard.inquiry import Inquiry, inquire
from hitless.adapters.postgres.guard.sessions import columns_of, look_around
from hitless.adapters.postgres.guard.statements import read_sent
from hitless.adapters.postgres.hold import Hold, Told
from hitless.adapters.postgres.patience import Try, patiently
from hitless.adapters.postgres.records import moment
from hitless.adapters.postgres.states import read_states
from hitless.errors import Refused
from hitless.schema.change.standing import Part, Standing, is_at_least
from hitless.schema.change.state import ChangeState
from hitless.schema.change.steps import Ddl, Plan
from hitless.schema.guard.decision import (
    Block,
    Counter,
    Decision,
    Override,
    decide,
    of_counters,
    of_dependents,
    of_retention,
)
from hitless.schema.guard.evidence import Evidence, Source
from hitless.schema.guard.verdict import Judged, Verdict, judge
from hitless.schema.names import Name

LOOKED = "guard.looked"
OVERRIDDEN = "guard.overridden"
_READINGS = """
SELECT at, data -> 'counters' -> %s FROM hitless.event WHERE change = %s AND type = 'guard.looked' ORDER BY number DESC
"""
_COUNTED = "SELECT last_value, is_called FROM {counter}"
_OVERRIDES = "SELECT actor, data FROM hitless.event WHERE change = %s AND type = 'guard.overridden' ORDER BY number"


class ContractBlocked(Refused):
    """The guard does not let a change be contracted."""

    code = "HL4540"

    def __init__(self, change: str, part: Part, decision: Decision) -> None:
        evidence = [line for one in decision.blocks for line in (one.sentence, *(f"  {each}" for each in one.evidence))]
        remedies = dict.fromkeys(remedy for one in decision.blocks for remedy in one.remedies)
        subject = next((one.subject for one in decision.blocks if one.may_be_overridden), None)
        word = f'hitless migrate contract {change} --override "{subject}" --reason "..." --expires 1d'
        super().__init__(
            f"{part.value} of {change} is blocked: {len(decision.blocks)} "
            f"{'reason' if len(decision.blocks) == 1 else 'reasons'}",
            evidence=tuple(evidence),
            hints=(*remedies, f"hitless migrate guard {change}   # all of the evidence", *([word] if subject else [])),
        )
        self.decision = decision


def permit(plan: Plan, part: Part, hold: Hold) -> Mapping[str, Any]:
    """Return the evidence on which a part of a contract may begin.

    Raises:
        ContractBlocked: something stands against it.
        DatabaseUnreachable, DumpUnavailable, ScratchFailed: it cannot be looked at, so it may not.
    """
    asked = ASKED.get()
    for one in asked.overrides:
        patiently(hold, lambda each, one=one: _write_override(each, one))  # type: ignore[misc]
        hold.tell(Told(kind="overridden", sentence=f"{one.actor} overrides {one.subject}: {one.reason}"))
    decision, counters = consider(hold.database, hold.change, plan, part, asked)
    told = {"part": part.value, "clear": decision.is_clear, "counters": counters, **summary(decision)}
    patiently(hold, lambda each: records.tell(each.connection, hold.change, hold.actor, LOOKED, **told))
    if not decision.is_clear:
        raise ContractBlocked(hold.change, part, decision)
    return told


def _write_override(one: Try, override: Override) -> None:
    records.tell(
        one.connection,
        one.hold.change,
        override.actor,
        OVERRIDDEN,
        subject=override.subject,
        reason=override.reason,
        expires_at=moment(override.expires_at),
    )


def consider(
    database: Database, change: str, plan: Plan, part: Part, asked: Asked
) -> tuple[Decision, Mapping[str, int | None]]:
    """Take evidence and decide; return the readings of the counters too.

    Raises:
        DatabaseUnreachable, DumpUnavailable, ScratchFailed: it cannot be looked at.
    """
    tables = tuple(str(one.table) for one in plan.removals)
    seen = _look(database, asked, tables)
    demands = demands_of(seen, asked)
    with database.connect() as connection, in_words(database):
        state = next((one for one in read_states(connection) if one.change == change), None)
        counters = tuple(_counters(connection, change, plan))
        overrides = (*_overrides(connection, change), *asked.overrides)
        bypass = bypassing(connection, tables)
        columns = columns_of(connection) if asked.consumers else {}
    undone = _undone(plan, state)
    inquiry = inquire(database, plan.removals, statements_of(demands), server=asked.scratch, undone=undone)
    judged = tuple(_judged(one, inquiry) for one in demands)
    now = seen.primary.now
    others = (
        *_of_standing(plan, state, part, asked, now),
        *outside(seen, asked),
        *_of_names(asked, columns, inquiry),
        *_of_troubles(inquiry),
        *of_dependents(inquiry.dependents, nested_is_seen=_nested_is_seen(judged)),
        *of_counters(counters, quiet=asked.quiet, now=now),
        *(_of_bypass(bypass, demands, seen) if part is Part.BROWNOUT else ()),
    )
    decision = decide(judged=judged, others=others, overrides=overrides, notes=inquiry.notes, now=now)
    return decision, {one.name: one.value for one in counters}


def _look(database: Database, asked: Asked, tables: tuple[str, ...]) -> Seen:
    around, sent = [], []
    for one in (database, *asked.replicas):
        with one.connect() as connection, in_words(one):
            around.append(look_around(connection, tables))
            sent.append(read_sent(connection, server=one.shown))
    return Seen(around=tuple(around), sent=tuple(sent))


def _judged(one: Demand, inquiry: Inquiry) -> Judged:
    return judge(
        one.name,
        because=tuple(dict.fromkeys(one.because)),
        evidence=[_beside_a_word(each, one, inquiry) for each in one.evidence],
        answers=inquiry.answers,
        mapped=inquiry.mapped,
    )


def _beside_a_word(evidence: Evidence, demand: Demand, inquiry: Inquiry) -> Evidence:
    """Leave out what nobody can judge where an owner answers for it; what is shown speaks against the owner's word."""
    if evidence.source is Source.DECLARED or not any(one.source is Source.DECLARED for one in demand.evidence):
        return evidence
    shown = (one for one in evidence.statements if inquiry.answers[one].verdict is Verdict.REFERENCES)
    return replace(evidence, statements=tuple(shown))


def _nested_is_seen(judged: Sequence[Judged]) -> bool:
    """Tell whether what functions send was captured for everybody: a declaration answers for itself."""
    shown = [[one.nested_seen for one in each.evidence if one.shows_absence] for each in judged]
    return bool(shown) and all(any(one) for one in shown)


def _undone(plan: Plan, state: ChangeState | None) -> tuple[str, ...]:
    """Return what brings a copy back to how it was before the contract began."""
    if state is None:
        return ()
    done = [one for one in plan.of(Part.HIDE) if one.id in state.done and isinstance(one, Ddl)]
    return tuple(statement for one in reversed(done) for statement in one.undo)


def _of_standing(plan: Plan, state: ChangeState | None, part: Part, asked: Asked, now: datetime) -> tuple[Block, ...]:
    if state is None or not is_at_least(state.standing, Standing.SWITCHED):
        standing = state.standing.value.replace("_", " ") if state is not None else "not begun"
        return (
            Block(
                subject="standing",
                sentence=f"the change is {standing}: rows are filled, compared and switched before anything goes",
                remedies=(f"hitless migrate status {plan.change}",),
                may_be_overridden=False,
            ),
        )
    if part is not Part.DROP:
        return ()
    hidden = [state.done[one.id].at for one in plan.of(Part.HIDE) if one.id in state.done]
    return of_retention(max(hidden, default=None), retention=asked.retention, now=now)


def _of_troubles(inquiry: Inquiry) -> Iterator[Block]:
    for one in inquiry.troubles:
        yield Block(
            subject="copy",
            sentence=one,
            remedies=("see what the plan does: hitless migrate plan",),
            may_be_overridden=False,
        )


def _of_bypass(bypass: Mapping[str, str], demands: Sequence[Demand], seen: Seen) -> Iterator[Block]:
    for demand in demands:
        for role in demand.roles:
            is_application = demand.is_version or bool(demand.sessions)
            if role in bypass and role != seen.primary.me and is_application:
                yield Block(
                    subject=f"bypass {role}",
                    sentence=f"a brownout proves nothing for {demand.name}: {role} {bypass[role]}",
                    remedies=("let applications log in as roles that own nothing and are no superusers",),
                )


def _of_names(asked: Asked, columns: Mapping[str, frozenset[str]], inquiry: Inquiry) -> Iterator[Block]:
    """Block for what a consumer declares and is not there: a name that is written wrong would say "not used"."""
    for consumer in asked.consumers:
        for table, named in consumer.uses.items():
            missing = [one for one in named or ("*",) if (table, one) not in inquiry.mapped]
            wrong = [one for one in missing if one != "*" and one not in columns.get(table, ())]
            if missing and (table not in columns or wrong):
                what = table if table not in columns else ", ".join(f"{table}.{one}" for one in wrong)
                yield Block(
                    subject=f"names of {consumer.name}",
                    sentence=f"{consumer.name} declares {what}, which is not in this database",
                    remedies=("write tables and columns as the catalogue does: users, or shop.users",),
                )


def _counters(connection: psycopg.Connection, change: str, plan: Plan) -> Iterator[Counter]:
    for watch in plan.watches:
        value = _value(connection, watch.counter)
        yield Counter(
            name=str(watch.counter),
            sentence=watch.sentence,
            value=value,
            quiet_since=_quiet_since(connection, change, str(watch.counter), value),
        )


def counted(database: Database, plan: Plan) -> dict[str, int | None]:
    """Return what each of a plan's counters says now; None = it cannot be read."""
    with database.connect() as connection, in_words(database):
        return {str(one.counter): _value(connection, one.counter) for one in plan.watches}


def _value(connection: psycopg.Connection, counter: Name) -> int | None:
    try:
        row = connection.execute(_COUNTED.format(counter=counter).encode()).fetchone()
    except psycopg.Error:
        return None
    return None if row is None else int(row[0]) if row[1] else 0


def _quiet_since(connection: psycopg.Connection, change: str, counter: str, value: int | None) -> datetime | None:
    """Return the earliest of the latest readings that all had this value."""
    since = None
    if value is not None and records.is_there(connection):
        for at, read in connection.execute(_READINGS, (counter, change)).fetchall():
            if read != value:
                break
            since = at
    return since


def _overrides(connection: psycopg.Connection, change: str) -> tuple[Override, ...]:
    if not records.is_there(connection):
        return ()
    return tuple(
        Override(
            subject=data["subject"],
            actor=actor,
            reason=data["reason"],
            expires_at=datetime.fromisoformat(data["expires_at"]),
        )
        for actor, data in connection.execute(_OVERRIDES, (change,)).fetchall()
    )


def summary(decision: Decision) -> dict[str, Any]:
    """Return what is written down of a decision: verdicts, what blocks, what was overridden; JSON values."""
    return {
        "verdicts": {one.name: one.verdict.value for one in decision.judged},
        "unclear": [one.name for one in decision.judged if one.verdict is not Verdict.CLEAR],
        "blocks": [{"subject": one.subject, "sentence": one.sentence} for one in decision.blocks],
        "overridden": [
            {"subject": block.subject, "by": word.actor, "reason": word.reason} for block, word in decision.overridden
        ],
    }
