"""The store as it can be read without writing a byte, beside a control plane or without one; for `hitless doctor`.

A reader in WAL mode holds no writer up. A long one keeps the WAL from being folded back, so the check of the whole file
is given up after a while.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from sqlalchemy import Connection, StaticPool, create_engine, select
from sqlalchemy.exc import DBAPIError, NoResultFound

from hitless.adapters.store_sql.codec import UnreadableRow, lease_of, record_of, run_of
from hitless.adapters.store_sql.schema import CURRENT
from hitless.adapters.store_sql.store import FILE_NAME
from hitless.adapters.store_sql.tables import JOURNAL, LEASE, META, RUN
from hitless.doctor.finding import NotMeasured
from hitless.doctor.measures import StoreState
from hitless.journal.record import START, Head, verify
from hitless.ports import Lease, Run

PATIENCE_S = 5.0
_STEPS_BETWEEN_LOOKS = 10_000
_NEWEST = 1_000
_LOOK = "hitless doctor --only store"


def store(state_directory: Path, *, patience_s: float = PATIENCE_S) -> StoreState:
    """Look at the file's integrity, its schema, and the journal's newest records."""
    path = state_directory / FILE_NAME
    if not path.exists():
        return StoreState(path=str(path), exists=False, known_schema=CURRENT)
    try:
        with _reading(path) as connection:
            return _look(connection, path, patience_s)
    except NotMeasured as error:
        return StoreState(path=str(path), problem=str(error), known_schema=CURRENT)


def lease(state_directory: Path) -> Lease | None:
    """Read who may write; None: nobody, or there is no store.

    Raises:
        NotMeasured: it cannot be read.
    """
    path = state_directory / FILE_NAME
    if not path.exists():
        return None
    with _reading(path) as connection:
        return lease_of(connection.execute(select(LEASE)).mappings().one())


def runs(state_directory: Path, kind: str) -> tuple[Run, ...]:
    """Read state rows of a kind; none where there is no store.

    Raises:
        NotMeasured: it cannot be read.
    """
    path = state_directory / FILE_NAME
    if not path.exists():
        return ()
    with _reading(path) as connection:
        return tuple(run_of(row) for row in connection.execute(select(RUN).where(RUN.c.kind == kind)).mappings())


def _look(connection: Connection, path: Path, patience_s: float) -> StoreState:
    integrity = _integrity(connection, patience_s)
    meta = connection.execute(select(META)).one()
    head = Head(seq=meta.journal_seq, hash=meta.journal_hash)
    verified, broken = _newest(connection, head)
    return StoreState(
        path=str(path),
        integrity=integrity,
        patience_s=patience_s,
        schema=meta.schema_version,
        known_schema=CURRENT,
        records=head.seq,
        verified=verified,
        journal_break=broken,
    )


def _integrity(connection: Connection, patience_s: float) -> str | None:
    """Check the whole file; None: it took too long."""
    raw = cast("sqlite3.Connection", connection.connection.driver_connection)
    deadline = time.monotonic() + patience_s
    raw.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_BETWEEN_LOOKS)
    try:
        return "; ".join(str(line) for (line,) in raw.execute("PRAGMA quick_check(3)"))
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return None
    finally:
        raw.set_progress_handler(None, 0)


def _newest(connection: Connection, head: Head) -> tuple[int, str | None]:
    """Recompute the newest records up to the head; return how many, and where they break."""
    wanted = select(JOURNAL).order_by(JOURNAL.c.seq.desc()).limit(_NEWEST + 1)
    try:
        rows = connection.execute(wanted).mappings().all()
        found = [record_of(row) for row in reversed(rows)]
    except UnreadableRow as error:
        return 0, str(error)
    is_all = len(found) <= _NEWEST
    records = found if is_all else found[1:]
    behind = START if is_all else Head(seq=found[0].seq, hash=found[0].hash)
    broken = verify(records, head=head.hash, after=behind)
    return len(records), f"record {broken.seq} {broken.problem}" if broken else None


@contextmanager
def _reading(path: Path) -> Iterator[Connection]:
    """Open it read-only: nothing is created, migrated or locked.

    Raises:
        NotMeasured: it cannot be read.
    """
    engine = create_engine("sqlite://", creator=lambda: _open(path), poolclass=StaticPool)
    try:
        with engine.connect() as connection:
            yield connection
    except (DBAPIError, sqlite3.Error, UnreadableRow, NoResultFound) as error:
        raise NotMeasured(f"the store cannot be read: {getattr(error, 'orig', None) or error}", _LOOK) from error
    finally:
        engine.dispose()


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0, check_same_thread=False)
