"""The store on SQL: state rows and journal in one transaction, guarded by the fence.

Nothing here knows which database it talks to; `sqlite.py` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, Engine, RowMapping, Select, select
from sqlalchemy.exc import DBAPIError, NoResultFound

from hitless.adapters.store_sql.codec import UnreadableRow, lease_of, record_of, record_row, run_of, run_row
from hitless.adapters.store_sql.faults import StoreCorrupt
from hitless.adapters.store_sql.lease import check_fence, next_lease
from hitless.adapters.store_sql.schema import CURRENT, migrate, schema_version
from hitless.adapters.store_sql.sqlite import SqliteFile
from hitless.adapters.store_sql.tables import JOURNAL, LEASE, META, RUN
from hitless.journal.record import Break, Entry, Head, Record, chain, timestamp, verify
from hitless.ports import Lease, Run

FILE_NAME = "hitless.db"

_PAGE_ROWS = 1_000


def open_store(state_directory: Path, *, busy_timeout_s: float = 5.0) -> SqlStore:
    """Open the store in a state directory; create it, or bring its schema up to date, where needed.

    Args:
        state_directory: usually `.hitless`; made for its owner alone where it is missing.
        busy_timeout_s: how long a transaction waits for another process's.

    Raises:
        StoreFault: it cannot be used; one of its kinds says why.
        SchemaTooNew: a newer hitless wrote it.
    """
    store = SqlStore(SqliteFile(state_directory / FILE_NAME, busy_timeout_s=busy_timeout_s))
    try:
        store.migrate()
    except BaseException:
        store.close()
        raise
    return store


class SqlStore:
    """`hitless.ports.Store` on SQL. Safe to call from several threads and several processes."""

    def __init__(self, database: SqliteFile) -> None:
        self._database = database

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._database.engine.dispose()

    def migrate(self) -> None:
        """Bring the schema up to date; takes the write lock only when it is not.

        Raises:
            SchemaTooNew: a newer hitless wrote it.
        """
        with self._reading() as connection:
            found = schema_version(connection, path=self._database.path)
        if found < CURRENT:
            with self._writing() as connection:
                migrate(connection, path=self._database.path)

    def acquire_lease(self, *, owner: str, now: datetime, ttl_s: float, above: int | None = None) -> Lease:
        """Take or renew the lease; its fence is higher than `above`.

        Raises:
            LeaseHeld: another owner's lease has not run out; names it and the moment.
        """
        with self._writing() as connection:
            row = _lease_row(connection)
            lease = next_lease(lease_of(row), fence=row["fence"], owner=owner, now=now, ttl_s=ttl_s, above=above)
            changed = {"owner": lease.owner, "fence": lease.fence, "until": timestamp(lease.until)}
            connection.execute(LEASE.update().values(changed))
        return lease

    def release_lease(self, lease: Lease) -> None:
        """Give the lease back; the fence stays used. One that has passed to another owner is left alone."""
        with self._writing() as connection:
            is_ours = (LEASE.c.fence == lease.fence) & (LEASE.c.owner == lease.owner)
            connection.execute(LEASE.update().where(is_ours).values(owner=None))

    def commit(
        self, *, lease: Lease, runs: Sequence[Run], entries: Sequence[Entry], now: datetime
    ) -> tuple[Record, ...]:
        """Write state rows and journal entries in one transaction; return the entries as recorded.

        Rows are stamped with the lease's fence and `now`. Once this returns, no crash or power cut loses it.

        Raises:
            Fenced: the lease's fence is no longer the newest; nothing was written.
        """
        with self._writing() as connection:
            row = _lease_row(connection)
            check_fence(lease, newest=row["fence"], holder=row["owner"])
            for run in runs:
                _write_run(connection, replace(run, fence=lease.fence, updated_at=now))
            return _append(connection, entries)

    def run(self, run_id: str) -> Run | None:
        """Read one state row."""
        with self._reading() as connection:
            row = connection.execute(select(RUN).where(RUN.c.id == run_id)).mappings().one_or_none()
            return run_of(row) if row else None

    def runs(self, kind: str) -> tuple[Run, ...]:
        """Read all state rows of a kind, in the order of their first write."""
        with self._reading() as connection:
            wanted = select(RUN).where(RUN.c.kind == kind).order_by(RUN.c.number)
            return tuple(run_of(row) for row in connection.execute(wanted).mappings())

    def newest_runs(self, kind: str, *, limit: int, before: str | None = None, prefix: str = "") -> tuple[Run, ...]:
        """Read state rows of a kind, the last one that was begun first; only those begun before `before`."""
        with self._reading() as connection:
            wanted = select(RUN).where(RUN.c.kind == kind, RUN.c.id.startswith(prefix, autoescape=True))
            if before is not None:
                wanted = wanted.where(RUN.c.number < select(RUN.c.number).where(RUN.c.id == before).scalar_subquery())
            page = wanted.order_by(RUN.c.number.desc()).limit(limit)
            return tuple(run_of(row) for row in connection.execute(page).mappings())

    def journal(self, *, after: int = 0, subject: str | None = None, limit: int | None = None) -> tuple[Record, ...]:
        """Read records with a sequence number above `after`, oldest first."""
        wanted = select(JOURNAL).where(JOURNAL.c.seq > after).order_by(JOURNAL.c.seq).limit(limit)
        return self._records(wanted if subject is None else wanted.where(JOURNAL.c.subject == subject))

    def last_record(self) -> Record | None:
        """Read the newest record."""
        found = self._records(select(JOURNAL).order_by(JOURNAL.c.seq.desc()).limit(1))
        return found[0] if found else None

    def journal_head(self) -> Head:
        """Read where the journal ends, as kept beside it; `seq` is 0 for an empty one."""
        with self._reading() as connection:
            return _head(connection)

    def verify_journal(self) -> Break | None:
        """Recompute the whole chain against its head, in one view of the store that no writer disturbs."""
        with self._reading() as connection:
            head = _head(connection)
            try:
                return verify(_stream(connection), head=head.hash)
            except UnreadableRow as error:
                return Break(seq=error.seq, problem=error.problem)

    def _records(self, wanted: Select[tuple[object, ...]]) -> tuple[Record, ...]:
        with self._reading() as connection:
            return tuple(record_of(row) for row in connection.execute(wanted).mappings())

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._transaction(self._database.engine) as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._transaction(self._database.writing()) as connection:
            yield connection

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        try:
            with engine.begin() as connection:
                yield connection
                self._database.check_in_place()
        except DBAPIError as error:
            raise self._database.fault(error) from error
        except (UnreadableRow, NoResultFound) as error:
            raise StoreCorrupt(self._database.path, str(error)) from error


def _lease_row(connection: Connection) -> RowMapping:
    return connection.execute(select(LEASE).with_for_update()).mappings().one()


def _write_run(connection: Connection, run: Run) -> None:
    row = run_row(run)
    if not connection.execute(RUN.update().where(RUN.c.id == run.id).values(row)).rowcount:
        connection.execute(RUN.insert().values(row))


def _append(connection: Connection, entries: Sequence[Entry]) -> tuple[Record, ...]:
    if not entries:
        return ()
    end: Record | Head = _head(connection)
    records: list[Record] = []
    for entry in entries:
        end = chain(entry, after=end)
        records.append(end)
    connection.execute(JOURNAL.insert(), [record_row(record) for record in records])
    connection.execute(META.update().values(journal_seq=end.seq, journal_hash=end.hash))
    return tuple(records)


def _head(connection: Connection) -> Head:
    row = connection.execute(select(META.c.journal_seq, META.c.journal_hash)).one()
    return Head(seq=row.journal_seq, hash=row.journal_hash)


def _stream(connection: Connection) -> Iterator[Record]:
    wanted = select(JOURNAL).order_by(JOURNAL.c.seq).execution_options(yield_per=_PAGE_ROWS)
    return (record_of(row) for row in connection.execute(wanted).mappings())
