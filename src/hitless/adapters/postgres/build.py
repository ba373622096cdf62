"""An index that is built, or dropped, concurrently.

What PostgreSQL does. CREATE INDEX CONCURRENTLY takes SHARE UPDATE EXCLUSIVE, writes an index that is not valid,
commits, waits until every transaction has ended that may not know of it, reads the table, waits again, and says that
it is valid. It is no transaction: what ends it in the middle leaves the index behind, which costs every write and
serves no read. DROP INDEX CONCURRENTLY waits in the same way.

Rules.
* Its locks hinder neither readers nor writers, and nobody of them queues behind its waits. So its waits may be long,
  and each ends at the deadline all the same: lock_timeout counts for waits for transactions too.
* Meanwhile another session looks at how far it is, and names whom it waits for.
* That it begins is recorded before, that it is done after. Between the two the catalogue is asked: a whole index of the
  same definition is done; one that is not whole is dropped and built anew; another one of that name is in the way.
* An index that was there before we began is not ours: taking back leaves it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

import psycopg
from psycopg import sql
from psycopg.errors import LockNotAvailable, QueryCanceled, UniqueViolation

from hitless.adapters.postgres.blockers import sessions
from hitless.adapters.postgres.database import set_in_session
from hitless.adapters.postgres.faults import StatementFailed, in_words
from hitless.adapters.postgres.hold import Hold, Stopped, Told
from hitless.adapters.postgres.indexes import (
    Found,
    IndexInTheWay,
    data_of,
    duplicate_rows,
    duplicates,
    find,
    is_same,
    progress,
)
from hitless.adapters.postgres.patience import LocksNotHad, Try, patiently
from hitless.adapters.postgres.records import done, forget, has_begun, tell
from hitless.schema.change.steps import Build
from hitless.schema.names import Name

LOOK_S = 0.25
LINGER_S = 10.0
"""How long the session of a killed worker may need to notice (client_connection_check_interval, 1 s) and to end."""


def run(step: Build, hold: Hold) -> Mapping[str, Any]:
    """Build an index, or drop it where the step says so.

    Raises:
        IndexInTheWay: another index has its name.
        DuplicateRows: it is unique, and rows are not.
        LocksNotHad: transactions did not end before the deadline.
        Stopped, Fenced, StatementFailed, NotPermitted, ReadOnly, ConnectionLost: see `patiently`.
    """
    return _drop_recorded(step.index, step.id, hold) if step.is_drop else _build(step.index, step.do, step.id, hold)


def take_back(step: Build, hold: Hold) -> None:
    """Take a step back; same errors. An index that was there before stays."""
    with hold.database.connect() as connection, in_words(hold.database):
        evidence = done(connection, hold.change).get(step.id, {})
        has_acted = has_begun(connection, hold.change, step.id) and not evidence.get("was_there")
    if has_acted and step.is_drop:
        _build(step.index, step.undo, step.id, hold)
    elif has_acted:
        _drop(step.index, hold)
    patiently(hold, lambda one: _forgotten(one, step))


def _forgotten(one: Try, step: Build) -> None:
    forget(one.connection, one.hold, step.id)
    tell(one.connection, one.hold.change, one.hold.actor, "step.undone", step=step.id)


def _build(index: Name, statement: str, step: str, hold: Hold) -> Mapping[str, Any]:
    with hold.database.connect() as connection, in_words(hold.database):
        _await_builder(connection, index, hold)
        there = find(connection, index)
        is_ours = has_begun(connection, hold.change, step)
        if there is not None and there.is_whole:
            _refuse_another(connection, there, index, statement)
            return {} if is_ours else {"was_there": True}
        if there is not None:
            if not is_ours:
                _refuse_another(connection, there, index, statement)
            hold.tell(Told(kind="rebuilds", sentence=f"{index.shown} was left behind half built: builds it anew"))
            _drop(index, hold)
    _begin(step, hold)
    return _create(index, statement, hold)


def _refuse_another(connection: psycopg.Connection, there: Found, index: Name, statement: str) -> None:
    if not is_same(connection, there, statement):
        raise IndexInTheWay(index, there.definition, statement)


def _begin(step: str, hold: Hold) -> None:
    patiently(hold, lambda one: tell(one.connection, hold.change, hold.actor, "step.began", step=step))


def _create(index: Name, statement: str, hold: Hold) -> Mapping[str, Any]:
    began_s = time.monotonic()
    try:
        _run_watched(statement, hold, _Teller(index, hold).look)
    except UniqueViolation as error:
        with hold.database.connect() as connection, in_words(hold.database):
            found = duplicates(connection, statement)
        _drop(index, hold)
        raise duplicate_rows(index, found, error.diag.message_detail) from error
    with hold.database.connect() as connection, in_words(hold.database):
        there = find(connection, index)
    if there is None or not there.is_whole:
        raise StatementFailed(f"{index.shown} was built, and is not there as a whole", evidence=(statement,))
    return {"took_s": round(time.monotonic() - began_s, 3)}


def _drop_recorded(index: Name, step: str, hold: Hold) -> Mapping[str, Any]:
    with hold.database.connect() as connection, in_words(hold.database):
        there = find(connection, index)
    if there is not None:
        _begin(step, hold)
        _drop(index, hold)
    return {"was": there.definition} if there else {}


def _drop(index: Name, hold: Hold) -> None:
    names = [sql.Identifier(*(part for part in (index.schema, index.name) if part is not None))]
    statement = sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(*names).as_string()
    _run_watched(statement, hold, _Teller(index, hold).look)


def drop_index(connection: psycopg.Connection, index: Name, wait_s: float) -> None:
    """Drop an index concurrently, outside of any change; raises what psycopg raises."""
    set_in_session(connection, f"SET lock_timeout = '{round(wait_s * 1_000)}ms'")
    names = [sql.Identifier(*(part for part in (index.schema, index.name) if part is not None))]
    connection.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(*names))


def _await_builder(connection: psycopg.Connection, index: Name, hold: Hold) -> None:
    """Let a build of the same index end that goes on: of a worker that was killed, or somebody else's."""
    deadline_s = time.monotonic() + LINGER_S
    while (busy := progress(connection, index=index)) is not None:
        hold.stop_if_asked()
        if time.monotonic() > deadline_s:
            raise LocksNotHad(
                f"{index.shown} is being built by another session",
                evidence=tuple(one.sentence for one in sessions(connection, [busy.pid])),
                hints=("let it end, then run the same command again",),
            )
        hold.stopping.wait(LOOK_S)


def _run_watched(statement: str, hold: Hold, look: Callable[[psycopg.Connection, int], None]) -> None:
    hold.stop_if_asked()
    wait_ms = round(hold.patience.deadline_s * 1_000)
    with hold.database.connect() as connection:
        with in_words(hold.database):
            with connection.transaction():  # or who was overtaken drops what the next worker has built
                hold.confirm(connection)
            set_in_session(connection, f"SET lock_timeout = '{wait_ms}ms'")
        try:
            with _watched(hold, connection, look), in_words_but_unique(hold, statement):
                connection.execute(statement.encode())
        except LockNotAvailable as error:
            raise _not_had(hold, statement) from error
        except QueryCanceled as error:
            if hold.stopping.is_set():
                raise Stopped(hold.change) from None
            raise StatementFailed("somebody ended the statement", evidence=(statement,)) from error


@contextmanager
def in_words_but_unique(hold: Hold, statement: str) -> Iterator[None]:
    """As `in_words`; that rows are not unique is told to the caller."""
    try:
        with in_words(hold.database, statement):
            yield
    except StatementFailed as error:
        if isinstance(error.__cause__, UniqueViolation):
            raise error.__cause__ from None
        raise


def _not_had(hold: Hold, statement: str) -> LocksNotHad:
    return LocksNotHad(
        f"transactions that are older did not end within {hold.patience.deadline_s:.0f} s",
        evidence=(statement, "nobody who reads or writes waited for it"),
        hints=(
            "SELECT pid, usename, xact_start, query FROM pg_stat_activity ORDER BY xact_start LIMIT 5   # who",
            f"hitless migrate status {hold.change}   # what was left behind; the next try builds it anew",
        ),
    )


@contextmanager
def _watched(
    hold: Hold, connection: psycopg.Connection, look: Callable[[psycopg.Connection, int], None]
) -> Iterator[None]:
    """Look at a statement from another session while it runs; end it when somebody asks to stop."""
    over, pid = Event(), connection.info.backend_pid

    def watch() -> None:
        with hold.database.connect() as observer:
            while not over.wait(LOOK_S):
                if hold.stopping.is_set():
                    connection.cancel_safe()
                look(observer, pid)

    def watch_safely() -> None:
        try:
            watch()
        except (psycopg.Error, OSError) as error:  # the statement itself tells what became of the server
            hold.tell(Told(kind="unseen", sentence=f"how far it is cannot be seen: {error}"))

    watcher = Thread(target=watch_safely, name="hitless-progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@dataclass(slots=True)
class _Teller:
    """Tells how far a statement on an index is, and whom it waits for; what has not changed is told once."""

    index: Name
    hold: Hold
    told: set[str] = field(default_factory=set)

    def look(self, connection: psycopg.Connection, pid: int) -> None:
        seen = progress(connection, pid=pid)
        sentence = f"{self.index.shown}: {seen.sentence}" if seen else ""
        if seen is not None and sentence not in self.told:
            self.told.add(sentence)
            self.hold.tell(Told(kind="builds", sentence=sentence, data=data_of(seen)))
        row = connection.execute("SELECT pg_blocking_pids(%s)", (pid,)).fetchone()
        for one in sessions(connection, list(row[0]) if row else []):
            if one.transaction not in self.told:
                self.told.add(one.transaction)
                sentence = f"{self.index.shown} waits for {one.sentence}"
                self.hold.tell(Told(kind="blocked_by", sentence=sentence, data=one.data))
