"""Everything that only SQLite needs: its file, its settings, its locks and its error codes.

Rules:
* WAL with `synchronous=FULL`: a commit is on the disk before it is acknowledged; readers never wait.
* A transaction that writes begins with BEGIN IMMEDIATE: it holds the write lock before it reads the fence and the
  journal's head, so two processes can never both build on the same head. (PostgreSQL: the row lock of `FOR UPDATE`.)
* A file is opened, never created, by SQLite itself; and it must still be the one at its path when a transaction ends.
  SQLite goes on writing into a deleted file without a word.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from pathlib import Path

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError

from hitless.adapters.store_sql.faults import (
    DiskFull,
    StoreCorrupt,
    StoreFault,
    StoreLocked,
    StoreReadOnly,
    StoreVanished,
)

_WRITES = "hitless_writes"
_WAL_RETRY_S = 0.01

_FAULTS: dict[int, type[StoreFault]] = {
    sqlite3.SQLITE_BUSY: StoreLocked,
    sqlite3.SQLITE_LOCKED: StoreLocked,
    sqlite3.SQLITE_READONLY: StoreReadOnly,
    sqlite3.SQLITE_PERM: StoreReadOnly,
    sqlite3.SQLITE_FULL: DiskFull,
    sqlite3.SQLITE_CORRUPT: StoreCorrupt,
    sqlite3.SQLITE_NOTADB: StoreCorrupt,
    sqlite3.SQLITE_CONSTRAINT: StoreCorrupt,  # the only unique keys are counted up from the head: rows stand behind it
}


_FAULTS_OF_OS: dict[int | None, type[StoreFault]] = {
    errno.EACCES: StoreReadOnly,
    errno.EPERM: StoreReadOnly,
    errno.EROFS: StoreReadOnly,
    errno.ENOSPC: DiskFull,
    errno.EDQUOT: DiskFull,
}


class SqliteFile:
    """One database file: how to reach it, and what its errors mean."""

    def __init__(self, path: Path, *, busy_timeout_s: float) -> None:
        self.path = path.absolute()
        self._busy_timeout_s = busy_timeout_s
        self._identity = _claim(self.path)
        self.engine = self._create_engine()

    def writing(self) -> Engine:
        """Return the engine whose transactions write."""
        return self.engine.execution_options(**{_WRITES: True})

    def check_in_place(self) -> None:
        """Refuse to go on with a file that nobody will find again.

        Raises:
            StoreVanished: the path names another file now, or none.
        """
        if problem := self._out_of_place():
            raise StoreVanished(self.path, problem)

    def fault(self, error: DBAPIError) -> StoreFault:
        """Say what a database error means for a user."""
        cause = str(error.orig or error)
        if problem := self._out_of_place():
            return StoreVanished(self.path, problem)
        primary = _primary_code(error.orig)
        if primary == sqlite3.SQLITE_CANTOPEN and not _is_writable(self.path):
            return StoreReadOnly(self.path, cause)
        return _FAULTS.get(primary, StoreFault)(self.path, cause)

    def _out_of_place(self) -> str | None:
        try:
            found = self.path.stat()
        except OSError as error:
            return error.strerror or str(error)
        is_same = (found.st_dev, found.st_ino) == self._identity
        return None if is_same else "another file stands at its path now"

    def _create_engine(self) -> Engine:
        # No limit beyond the callers' threads: a thread that waits here would say nothing of the store's real state.
        engine = create_engine("sqlite://", creator=self._connect, poolclass=QueuePool, max_overflow=-1)
        event.listen(engine, "begin", _begin)
        return engine

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode=rw",
            uri=True,
            timeout=self._busy_timeout_s,
            isolation_level=None,  # transactions are begun by `_begin` alone
            check_same_thread=False,  # the pool gives a connection to one thread at a time
        )
        try:
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        self._enter_wal(connection)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    def _enter_wal(self, connection: sqlite3.Connection) -> None:
        # SQLite does not wait for its busy time-out when two connections change the mode of a new file.
        deadline = time.monotonic() + self._busy_timeout_s
        while True:
            try:
                (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            except sqlite3.OperationalError as error:
                if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
                time.sleep(_WAL_RETRY_S)
            else:
                break
        if mode != "wal":
            raise sqlite3.OperationalError("its file system has no shared memory for SQLite's WAL mode")


def _primary_code(error: BaseException | None) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF  # the higher bits refine it


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _claim(path: Path) -> tuple[int, int]:
    """Create the file for its owner alone where it is missing; return its identity."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create_if_missing(path)
        found = path.stat()
        if found.st_mode & 0o077 and found.st_uid == os.geteuid():
            path.chmod(0o600)
    except OSError as error:
        raise _FAULTS_OF_OS.get(error.errno, StoreFault)(path, error.strerror or str(error)) from error
    if not _is_writable(path):
        raise StoreReadOnly(path, "no permission to write the file and its directory")
    return found.st_dev, found.st_ino


def _create_if_missing(path: Path) -> None:
    # An existing file must not be opened here: closing any descriptor of it gives up all locks that SQLite
    # holds on it in this process (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _is_writable(path: Path) -> bool:
    return all(os.access(one, os.W_OK, effective_ids=True) for one in (path, path.parent))
