"""What must hold of the data before a step begins."""

from __future__ import annotations

import psycopg

from hitless.adapters.postgres import records
from hitless.adapters.postgres.faults import in_words
from hitless.adapters.postgres.hold import Hold, Told
from hitless.adapters.postgres.patience import patiently
from hitless.adapters.postgres.validate import until_stopped
from hitless.adapters.postgres.verification.asking import count_rows, read_patiently
from hitless.errors import Refused
from hitless.schema.change.steps import Check, Step

SHOWN = 20
"""Rows that are shown."""

WHAT = "what a check reads"


class DataSpeakAgainst(Refused):
    """Rows speak against a step."""

    code = "HL4525"


def check(step: Step, hold: Hold) -> None:
    """Look whether the data let a step begin; what a person allows is recorded with its reason.

    Raises:
        DataSpeakAgainst: rows speak against it, and nobody has allowed them, or nobody may.
        StatementFailed, NotPermitted, ConnectionLost: the server.
    """
    for one in step.checks:
        found, rows = _ask(one, hold)
        if not found:
            continue
        reason = hold.allowed.get(step.id)
        if reason is None or not one.may_be_allowed:
            raise _refusal(step, one, found, rows, hold.change)
        hold.tell(Told(kind="allowed", sentence=f"{one.trouble} ({found} rows): allowed by {hold.actor}: {reason}"))
        _record(step, one, found, reason, hold)


def _ask(one: Check, hold: Hold) -> tuple[int, tuple[str, ...]]:
    with hold.database.connect() as connection, until_stopped(hold, connection):
        found = _count(connection, one, hold)
        if not found:
            return 0, ()
        with in_words(hold.database, one.query):
            return found, read_patiently(connection, lambda: _rows(connection, one), hold, what=WHAT)


def _rows(connection: psycopg.Connection, one: Check) -> tuple[str, ...]:
    cursor = connection.execute(one.query.encode())
    names = [column.name for column in cursor.description or ()]
    return tuple(
        ", ".join(f"{name} = {value!r}" for name, value in zip(names, row, strict=True))
        for row in cursor.fetchmany(SHOWN)
    )


def _count(connection: psycopg.Connection, one: Check, hold: Hold) -> int:
    """Count the rows that speak against it: in ranges, where each row speaks for itself and there is a key."""
    with in_words(hold.database, one.counted):
        counted = count_rows(connection, one.rows_of, one.wrong, hold) if one.rows_of else None
        if counted is not None:
            return counted
        query = one.counted.encode()
        row = read_patiently(connection, lambda: connection.execute(query).fetchone(), hold, what=WHAT)
    assert row is not None, "a count is a row"
    return int(row[0])


def _refusal(step: Step, one: Check, found: int, rows: tuple[str, ...], change: str) -> DataSpeakAgainst:
    verb = step.part.value
    allow = f'hitless migrate {verb} {change} --allow {step.id} --reason "..."   # when that is right'
    return DataSpeakAgainst(
        f"{step.title}: {one.trouble}",
        evidence=(f"{found} such rows", *rows),
        hints=(one.remedy, *((allow,) if one.may_be_allowed else ())),
    )


def _record(step: Step, one: Check, found: int, reason: str, hold: Hold) -> None:
    patiently(
        hold,
        lambda each: records.tell(
            each.connection,
            hold.change,
            hold.actor,
            "check.allowed",
            step=step.id,
            trouble=one.trouble,
            rows=found,
            reason=reason,
        ),
    )
