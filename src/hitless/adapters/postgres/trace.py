"""What a statement really locks and writes anew: run on a server, in a transaction that is rolled back.

How it is seen. Locks that the transaction holds stand in pg_locks under its own pid. A table that was written anew has
another relfilenode. What was read to the end PostgreSQL tells at DEBUG1: "verifying table", "building index"
(tablecmds.c, index.c).

A statement that cannot run in a transaction is not run to its end: another session holds a weak lock that conflicts
with what it wants, and the request that waits shows its mode.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Thread

import psycopg
from psycopg.errors import Diagnostic, QueryCanceled

from hitless.schema.effects.effect import Work
from hitless.schema.effects.locks import LockMode
from hitless.schema.names import Name

_RELATIONS = """
SELECT c.oid, n.nspname, c.relname, CASE WHEN c.relkind = 'S' THEN 0 ELSE c.relfilenode END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
"""
_LOCKS = "SELECT relation, mode FROM pg_locks WHERE locktype = 'relation' AND pid = %s AND relation = ANY(%s)"
_KEYS = """
SELECT k.conname, k.conrelid FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE k.contype = 'f' AND c.relkind <> 'p'
"""
_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")
_READS = re.compile(
    r'verifying table "(?P<table>[^"]+)"|building index "[^"]+" on table "(?P<indexed>[^"]+)"'
    r'|validating foreign key constraint "(?P<key>[^"]+)"'
)

WAIT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """What a statement did to relations that were there before."""

    locks: Mapping[Name, LockMode]
    work: Mapping[Name, Work]


@dataclass(frozen=True, slots=True)
class _Relation:
    name: Name
    file: int


def trace(connection: psycopg.Connection, statement: str) -> Traced:
    """Run a statement in the open transaction, and say what it did; the caller rolls back.

    Raises:
        psycopg.Error: the server refuses it.
    """
    before = _relations(connection)
    with _told(connection) as told:
        connection.execute(statement.encode())
    after = _relations(connection)
    locks = _locks(connection, connection.info.backend_pid, before)
    read = set(_read(told, _keys(connection, before)))
    work = {one.name: Work.SCAN for one in before.values() if one.name.name in read}
    anew = {one.name: Work.REWRITE for oid, one in before.items() if oid in after and after[oid].file != one.file}
    return Traced(locks=locks, work={**work, **anew})


def trace_request(connection: psycopg.Connection, observer: psycopg.Connection, statement: str) -> Traced:
    """Say which locks a statement asks for that cannot run in a transaction; it is cancelled before it has them.

    Args:
        connection: outside of a transaction, to run the statement.
        observer: in a transaction that holds SHARE UPDATE EXCLUSIVE on the tables that matter.
        statement: what to run.
    """
    before = _relations(observer)
    pid = connection.info.backend_pid
    runner = Thread(target=_run_until_cancelled, args=(connection, statement))
    runner.start()
    try:
        locks = _requested(observer, pid, before)
    finally:
        connection.cancel()
        runner.join(WAIT_S)
    return Traced(locks=locks, work={})


def _run_until_cancelled(connection: psycopg.Connection, statement: str) -> None:
    with suppress(QueryCanceled):
        connection.execute(statement.encode())


def _requested(observer: psycopg.Connection, pid: int, before: Mapping[int, _Relation]) -> dict[Name, LockMode]:
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        waiting = observer.execute("SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted", (pid,)).fetchone()
        if waiting is not None:
            break
        time.sleep(0.01)
    return _locks(observer, pid, before)


def _locks(connection: psycopg.Connection, pid: int, before: Mapping[int, _Relation]) -> dict[Name, LockMode]:
    """Return the strongest lock on each relation that was there before."""
    locks: dict[Name, LockMode] = {}
    for oid, mode in connection.execute(_LOCKS, (pid, list(before))).fetchall():
        name = before[oid].name
        locks[name] = max(locks.get(name, LockMode.ACCESS_SHARE), lock_mode(mode))
    return locks


def _relations(connection: psycopg.Connection) -> dict[int, _Relation]:
    found = connection.execute(_RELATIONS).fetchall()
    return {oid: _Relation(Name(name, schema), file) for oid, schema, name, file in found}


@contextmanager
def _told(connection: psycopg.Connection) -> Iterator[list[str]]:
    """Collect what the server tells at DEBUG1."""
    heard: list[str] = []

    def hear(diagnostic: Diagnostic) -> None:
        heard.append(diagnostic.message_primary or "")

    connection.execute("SET LOCAL client_min_messages = debug1")
    connection.add_notice_handler(hear)
    try:
        yield heard
    finally:
        connection.remove_notice_handler(hear)
    connection.execute("SET LOCAL client_min_messages = warning")


def _keys(connection: psycopg.Connection, before: Mapping[int, _Relation]) -> dict[str, list[str]]:
    """Return the tables of foreign keys: a message names the key alone, and parts have it by the same name."""
    tables: dict[str, list[str]] = {}
    for key, oid in connection.execute(_KEYS).fetchall():
        tables.setdefault(key, []).extend([before[oid].name.name] if oid in before else [])
    return tables


def _read(told: list[str], keys: Mapping[str, list[str]]) -> Iterator[str]:
    """Name the tables that were read to the end."""
    for sentence in told:
        if found := _READS.match(sentence):
            yield from keys.get(found["key"], ()) if found["key"] else (found["table"] or found["indexed"],)


def lock_mode(name: str) -> LockMode:
    """Read a mode as pg_locks writes it: `ShareRowExclusiveLock`."""
    return LockMode["_".join(_WORD.split(name.removesuffix("Lock"))).upper()]
