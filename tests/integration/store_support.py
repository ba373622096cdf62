"""What tests of the store on a real file write, change and expect to be told."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from hitless.adapters.store_sql.store import FILE_NAME, SqlStore
from hitless.errors import HitlessError
from hitless.journal.record import Entry
from hitless.ports import Lease, Run

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)


def entry(number: int = 1) -> Entry:
    return Entry(at=NOON, type="rollout.stage", subject="service/checkout", actor="user:ana", data={"n": number})


def run(state: str = "{}") -> Run:
    return Run(id="rollout/1", kind="rollout", state=state, fence=1, updated_at=NOON)


def write(store: SqlStore, lease: Lease, number: int = 1, *, state: str = "{}") -> None:
    store.commit(lease=lease, runs=[run(state)], entries=[entry(number)], now=NOON)


def tamper(directory: Path, *statements: str) -> None:
    with closing(sqlite3.connect(directory / FILE_NAME, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def assert_is_told(error: HitlessError, *, code: str, path: Path) -> None:
    """Every fault has its own code, names the file, shows it as evidence and says how to go on."""
    assert error.code == code
    assert str(path) in error.message
    assert error.evidence
    assert error.hints
