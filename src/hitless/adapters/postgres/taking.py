"""Taking hold of a change: a lock that ends with its session, and a fence that outlives it.

Two things, because each covers what the other cannot. The session's advisory lock tells at once that somebody works on
the change, and goes by itself when that worker dies; but a session can be lost while its worker goes on. The fence is a
number in the change's row that each new hold raises, and that every transaction of a worker confirms: whoever was
overtaken writes nothing more.

Behind a pooler the lock would stay with a session that applications get next, and nobody could give it back. So there
is none there, and the fence alone tells workers apart: the later one goes on, the earlier one is told.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import psycopg
from psycopg.errors import LockNotAvailable

from hitless.adapters.postgres.blockers import Blocker, sessions
from hitless.adapters.postgres.database import set_in_session
from hitless.adapters.postgres.faults import in_words, read_only
from hitless.adapters.postgres.hold import Hold, Told
from hitless.adapters.postgres.records import is_there
from hitless.errors import Conflict, UserError

LOCK_CLASS = 1_751_742_580
"""First number of our advisory locks ("hitt" in ASCII); the second is a hash of the change's name."""

POOLED = "a pooler stands before the server: nobody is told who holds the change; connect to the server where you can"

LINGER_S = 3.0
"""How long the session of a killed worker may need to end."""

_TRY = "SELECT pg_try_advisory_lock(%s, hashtext(%s))"
_HOLDERS = """
SELECT l.pid FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = %s::bigint::oid AND l.granted
AND l.objid = (hashtext(%s)::bigint & 4294967295)::oid
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_RAISE = """
UPDATE hitless.change SET fence = fence + 1, worker = %s, changed_at = clock_timestamp() WHERE id = %s RETURNING fence
"""


class ChangeHeld(Conflict):
    """Another worker carries this change out."""

    code = "HL4522"

    def __init__(self, change: str, by: tuple[Blocker, ...]) -> None:
        super().__init__(
            f"another worker carries {change} out",
            evidence=tuple(_who(one) for one in by) or ("it has just ended, or its session is not visible here",),
            hints=(f"hitless migrate status {change} --watch",),
        )


class UnknownChange(UserError):
    """No change of this name is in the database."""

    code = "HL2089"
    http_status = 404


@contextmanager
def taken(unfenced: Hold) -> Iterator[Hold]:
    """Take hold of a change, and let it go at the end.

    Args:
        unfenced: the hold without its fence.

    Raises:
        ChangeHeld: another worker has it.
        UnknownChange: there is no such change.
        ReadOnly, NotPermitted, ConnectionLost, DatabaseUnreachable: the server.
    """
    with unfenced.database.connect() as connection:
        with in_words(unfenced.database):
            is_own = set_in_session(connection, "SET idle_session_timeout = 0")  # it waits in this session for hours
            must_write(unfenced, connection)
            if not is_there(connection):
                raise unknown(unfenced.change, ())
            if is_own:
                _lock(unfenced, connection)
            else:
                unfenced.tell(Told(kind="pooled", sentence=POOLED))
        try:
            yield _fenced(unfenced, connection)
        finally:
            if is_own:
                _let_go(unfenced, connection)


def must_write(hold: Hold, connection: psycopg.Connection) -> None:
    """Return where something can be written.

    Raises:
        ReadOnly: it cannot.
    """
    row = connection.execute("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool").fetchone()
    if row and row[0]:
        raise read_only(hold.database)


def holders_of(connection: psycopg.Connection, change: str) -> tuple[Blocker, ...]:
    """Return the sessions that hold a change."""
    pids = [pid for (pid,) in connection.execute(_HOLDERS, (LOCK_CLASS, change)).fetchall()]
    return sessions(connection, pids)


def unknown(change: str, known: tuple[str, ...]) -> UnknownChange:
    """Return what is said of a change that is not there."""
    return UnknownChange(
        f"no change is called {change!r} in this database",
        evidence=(f"known: {', '.join(known)}",) if known else (),
        hints=("hitless migrate expand CHANGE.yaml   # begins one", "hitless migrate status"),
    )


def _lock(hold: Hold, connection: psycopg.Connection) -> None:
    deadline_s = time.monotonic() + LINGER_S
    while True:
        row = connection.execute(_TRY, (LOCK_CLASS, hold.change)).fetchone()
        if row and row[0]:
            return
        if time.monotonic() > deadline_s:
            raise ChangeHeld(hold.change, holders_of(connection, hold.change))
        hold.stopping.wait(0.1)


def _fenced(hold: Hold, connection: psycopg.Connection) -> Hold:
    """Raise the fence; a transaction of the worker before us may hold the row until its session has ended."""
    deadline_s = time.monotonic() + max(LINGER_S, hold.patience.deadline_s)
    while True:
        hold.stop_if_asked()
        try:
            with in_words(hold.database), connection.transaction():
                connection.execute("SET LOCAL lock_timeout = '100ms'")
                row = connection.execute(_RAISE, (worker(), hold.change)).fetchone()
        except LockNotAvailable:
            if time.monotonic() > deadline_s:
                raise ChangeHeld(hold.change, holders_of(connection, hold.change)) from None
            hold.stopping.wait(0.2)
            continue
        if row is None:
            names = connection.execute("SELECT id FROM hitless.change ORDER BY id").fetchall()
            raise unknown(hold.change, tuple(name for (name,) in names))
        return replace(hold, fence=row[0])


def _let_go(hold: Hold, connection: psycopg.Connection) -> None:
    """Unlock, for a pooler that keeps the session; a session that is gone holds nothing, and says so to nobody."""
    with suppress(psycopg.OperationalError):
        connection.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", (LOCK_CLASS, hold.change))


def worker() -> str:
    """Name this process."""
    return f"{platform.node()} pid {os.getpid()}"


def _who(one: Blocker) -> str:
    since = f", for {one.age_s:.0f} s" if one.age_s is not None else ""
    return f"pid {one.pid}, {one.user}@{one.client} ({one.application}){since}"
