"""Statements that read a table to its end under a lock that hinders neither readers nor writers.

VALIDATE CONSTRAINT takes SHARE UPDATE EXCLUSIVE, and ROW SHARE on the other table of a foreign key: nobody who reads or
writes rows waits for it, nor behind it. So it is waited for as briefly as anything else, and runs as long as it needs.
It holds a snapshot meanwhile: what is deleted is not cleaned up before it ends. PostgreSQL tells no progress of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import psycopg
from psycopg.errors import QueryCanceled

from hitless.adapters.postgres.evidence import evidence_of
from hitless.adapters.postgres.hold import Hold, Stopped
from hitless.adapters.postgres.patience import Try, locks_of, patiently
from hitless.adapters.postgres.records import forget, record, tell
from hitless.schema.change.steps import Validate

LOOK_S = 0.2


def run(step: Validate, hold: Hold) -> Mapping[str, Any]:
    """Do a step; for errors see `ddl.run`."""

    def act(one: Try) -> Mapping[str, Any]:
        _read(step.do, one)
        evidence = evidence_of(one)
        record(one.connection, hold, step.id, evidence)
        tell(one.connection, hold.change, hold.actor, "step.done", step=step.id, **evidence)
        return evidence

    return patiently(hold, act, wanted=locks_of(step.do), longest_ms=0)


def take_back(step: Validate, hold: Hold) -> None:
    """Take a step back, which may read as long: what was valid before is valid again at the end."""

    def act(one: Try) -> None:
        _read(step.undo, one)
        forget(one.connection, hold, step.id)
        tell(one.connection, hold.change, hold.actor, "step.undone", step=step.id, **evidence_of(one))

    patiently(hold, act, wanted=locks_of(step.undo), longest_ms=0)


def _read(statements: Iterable[str], one: Try) -> None:
    for statement in statements:
        one.spent_s = 0.0  # nobody waits while it reads, so each lock has the whole wait
        with until_stopped(one.hold, one.connection):
            one.run((statement,))


@contextmanager
def until_stopped(hold: Hold, connection: psycopg.Connection) -> Iterator[None]:
    """End the statement that runs inside when somebody asks to stop.

    Raises:
        Stopped: somebody did.
    """
    over = Event()

    def watch() -> None:
        while not over.wait(LOOK_S):
            if hold.stopping.is_set():
                connection.cancel_safe()

    watcher = Thread(target=watch, name="hitless-stopping", daemon=True)
    watcher.start()
    try:
        yield
    except QueryCanceled:
        if hold.stopping.is_set():
            raise Stopped(hold.change) from None
        raise
    finally:
        over.set()
        watcher.join()
