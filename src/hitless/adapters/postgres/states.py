"""Where each change stands, as the database itself tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.errors import UndefinedTable
from psycopg.rows import dict_row

from hitless.adapters.postgres.blockers import Blocker
from hitless.adapters.postgres.records import is_there
from hitless.adapters.postgres.taking import holders_of
from hitless.schema.change.standing import Standing
from hitless.schema.change.state import ChangeState, Done, Event, Filled, Holder
from hitless.schema.change.stored import plan_of

EVENTS = 20
"""The newest of a change that are told."""


_CHANGES = "SELECT * FROM hitless.change ORDER BY begun_at, id"
_STEPS = "SELECT change, id, done_at, evidence FROM hitless.step"
_FILLS = "SELECT * FROM hitless.backfill ORDER BY begun_at"
_EVENTS = f"""
SELECT number, change, at, actor, type, data
FROM (SELECT *, row_number() OVER (PARTITION BY change ORDER BY number DESC) AS newest FROM hitless.event) e
WHERE newest <= {EVENTS} ORDER BY number
"""  # noqa: S608 - a number of ours
_BEGUN = """
SELECT DISTINCT ON (change, data ->> 'step') change, data ->> 'step' AS step, type FROM hitless.event e
WHERE type IN ('step.began', 'step.undone') ORDER BY change, data ->> 'step', number DESC
"""
_FOUND = {"steps": _STEPS, "fills": _FILLS, "events": _EVENTS, "begun": _BEGUN}


def read_states(connection: psycopg.Connection) -> tuple[ChangeState, ...]:
    """Return all changes, in the order in which they began; none where the schema `hitless` is not there."""
    if not is_there(connection):
        return ()
    try:
        return _read(connection)
    except UndefinedTable:  # the last change went meanwhile, and took the schema with it
        return ()


def _read(connection: psycopg.Connection) -> tuple[ChangeState, ...]:
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '5s'")  # behind the last change that goes; nobody else waits here
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")  # one moment for all of it
        changes = _rows(connection, _CHANGES)
        found = {name: _rows(connection, query) for name, query in _FOUND.items()}
    return tuple(_state(connection, one, found) for one in changes)


def _rows(connection: psycopg.Connection, query: str) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode()).fetchall()


def _state(
    connection: psycopg.Connection,
    row: Mapping[str, Any],
    found: Mapping[str, list[dict[str, Any]]],
) -> ChangeState:
    change = row["id"]
    of = {name: [one for one in rows if one["change"] == change] for name, rows in found.items()}
    done = {one["id"]: Done(at=one["done_at"], evidence=one["evidence"]) for one in of["steps"]}
    open_ = (one["step"] for one in of["begun"] if one["type"] == "step.began")
    return ChangeState(
        change=change,
        spec=row["spec"],
        plan=plan_of(row["plan"]),
        standing=Standing(row["standing"]),
        wanted=Standing(row["wanted"]),
        fence=row["fence"],
        worker=row["worker"],
        begun_at=row["begun_at"],
        changed_at=row["changed_at"],
        held_by=tuple(_holder(one) for one in holders_of(connection, change)),
        done=done,
        begun=tuple(one for one in open_ if one not in done),
        fills=tuple(_filled(one) for one in of["fills"]),
        events=tuple(_event(one) for one in of["events"]),
    )


def _holder(one: Blocker) -> Holder:
    return Holder(pid=one.pid, user=one.user, application=one.application, client=one.client, age_s=one.age_s)


def _filled(row: Mapping[str, Any]) -> Filled:
    return Filled(
        step=row["step"],
        rows=row["rows"],
        changed=row["changed"],
        batches=row["batches"],
        upper=row["upper"],
        position=row["position"],
        is_paused=row["paused"],
        begun_at=row["begun_at"],
        changed_at=row["changed_at"],
        evidence=row["evidence"],
    )


def _event(row: Mapping[str, Any]) -> Event:
    return Event(number=row["number"], at=row["at"], actor=row["actor"], type=row["type"], data=row["data"])
