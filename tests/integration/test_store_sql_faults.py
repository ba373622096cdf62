"""Every way in which a disk, a lock or somebody else may fail the store."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event
from store_support import NOON, assert_is_told, run, tamper, write

from hitless.adapters.store_sql.faults import (
    DiskFull,
    SchemaTooNew,
    StoreCorrupt,
    StoreFault,
    StoreLocked,
    StoreReadOnly,
    StoreVanished,
)
from hitless.adapters.store_sql.store import FILE_NAME, SqlStore, open_store
from hitless.ports import Lease

NOBODY = 65_534


@contextmanager
def without_privileges() -> Iterator[None]:
    """Be an ordinary user: root may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """A directory that another user can reach; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
        Path(name).chmod(0o755)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / ".hitless"


@pytest.fixture
def store(directory: Path) -> Iterator[SqlStore]:
    with open_store(directory) as opened:
        yield opened


@pytest.fixture
def lease(store: SqlStore) -> Lease:
    return store.acquire_lease(owner="one", now=NOON, ttl_s=10)


def test_a_lock_that_lasts_too_long_is_named_and_nothing_is_written(directory: Path) -> None:
    with open_store(directory, busy_timeout_s=0.1) as store:
        lease = store.acquire_lease(owner="one", now=NOON, ttl_s=10)
        with closing(sqlite3.connect(directory / FILE_NAME, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreLocked) as caught:
                write(store, lease)
        assert_is_told(caught.value, code="HL6301", path=directory / FILE_NAME)
        assert caught.value.temporary
        assert store.journal() == ()
        write(store, lease)


def test_a_lock_that_is_released_in_time_is_waited_for(directory: Path, store: SqlStore, lease: Lease) -> None:
    with closing(sqlite3.connect(directory / FILE_NAME, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.2, other.execute, ["COMMIT"])
        release.start()
        write(store, lease)
        release.join()
    assert store.journal_head().seq == 1


def test_opening_waits_for_another_process_that_is_creating_the_same_store(directory: Path) -> None:
    directory.mkdir()
    with closing(sqlite3.connect(directory / FILE_NAME, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE not_yet_in_wal (id)")
        other.execute("BEGIN")
        other.execute("SELECT * FROM not_yet_in_wal").fetchall()
        release = threading.Timer(0.2, other.execute, ["COMMIT"])
        release.start()
        with open_store(directory) as store:
            assert store.journal_head().seq == 0
        release.join()


class BusyAtFirst(sqlite3.Connection):
    """Answers SQLITE_BUSY at once, as SQLite does to all but one of several that change a new file's mode together."""

    refusals = 3

    def execute(self, statement: str, *args: object) -> sqlite3.Cursor:
        if "journal_mode" in statement and self.refusals:
            self.refusals -= 1
            busy = sqlite3.OperationalError("database is locked")
            busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise busy
        return super().execute(statement, *args)


def test_opening_tries_again_where_sqlite_does_not_wait(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, factory=BusyAtFirst, **options))
    with open_store(directory) as store:
        assert store.journal_head().seq == 0
    with pytest.raises(StoreLocked):
        open_store(directory, busy_timeout_s=0)


@pytest.mark.parametrize("what", ["directory and file", "file", "directory"])
def test_a_store_without_the_right_to_write_is_refused_at_once(public_directory: Path, what: str) -> None:
    open_store(public_directory).close()
    path = public_directory / FILE_NAME
    if os.geteuid() == 0:
        os.chown(public_directory, 0 if "directory" in what else NOBODY, -1)
        os.chown(path, 0 if "file" in what else NOBODY, -1)
    public_directory.chmod(0o555 if "directory" in what else 0o755)
    path.chmod(0o444 if "file" in what else 0o600)
    with without_privileges(), pytest.raises(StoreReadOnly) as caught:
        open_store(public_directory)
    assert_is_told(caught.value, code="HL6302", path=path)


def test_a_directory_that_cannot_be_made_is_named(public_directory: Path) -> None:
    public_directory.chmod(0o555)
    with without_privileges(), pytest.raises(StoreReadOnly) as caught:
        open_store(public_directory / "inside")
    assert_is_told(caught.value, code="HL6302", path=public_directory / "inside" / FILE_NAME)


def test_a_store_that_turns_read_only_is_named_and_nothing_is_written(
    directory: Path, store: SqlStore, lease: Lease
) -> None:
    write(store, lease)
    with store._database.engine.connect() as connection:  # the one in the pool
        connection.exec_driver_sql("PRAGMA query_only=ON")
    with pytest.raises(StoreReadOnly) as caught:
        write(store, lease, 2, state="new")
    assert_is_told(caught.value, code="HL6302", path=directory / FILE_NAME)
    assert store.run("rollout/1") == run()
    assert store.journal_head().seq == 1


def test_a_full_disk_is_named_and_nothing_is_half_written(directory: Path) -> None:
    with open_store(directory) as store:
        lease = store.acquire_lease(owner="one", now=NOON, ttl_s=10)
        write(store, lease)
    with open_store(directory) as store:
        _limit_pages(store, 20)
        with pytest.raises(DiskFull) as caught:
            write(store, lease, 2, state="x" * 1_000_000)
        assert_is_told(caught.value, code="HL6303", path=directory / FILE_NAME)
        assert store.run("rollout/1") == run()
        assert store.journal_head().seq == 1
        assert store.verify_journal() is None
        write(store, lease, 2)
    assert caught.value.temporary


def _limit_pages(store: SqlStore, count: int) -> None:
    """Let SQLite itself answer SQLITE_FULL, as it does when the disk has no space left."""
    store.close()
    event.listen(
        store._database.engine, "connect", lambda connection, _: connection.execute(f"PRAGMA max_page_count={count}")
    )


def test_a_write_that_the_system_refuses_is_told_and_nothing_is_half_written(directory: Path) -> None:
    script = """
import resource, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from hitless.adapters.store_sql.faults import StoreFault
from hitless.adapters.store_sql.store import open_store
from hitless.journal.record import Entry
from hitless.ports import Run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
now = datetime(2030, 1, 31, 12, tzinfo=UTC)
store = open_store(Path(sys.argv[1]))
lease = store.acquire_lease(owner="one", now=now, ttl_s=10)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
number = 0
try:
    while number < 1_000:
        entry = Entry(at=now, type="t", subject="s", actor="a", data={"n": number})
        store.commit(lease=lease, runs=[], entries=[entry, entry], now=now)
        number += 1
except StoreFault as error:
    print(type(error).__name__, error.code, number, store.journal_head().seq)
"""
    command = [sys.executable, "-c", script, str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    name, code, commits, head = done.stdout.split()
    assert (name, code) == ("StoreFault", "HL6300")
    assert int(head) == 2 * int(commits)
    with open_store(directory) as store:
        assert store.journal_head().seq == int(head)
        assert store.verify_journal() is None


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\x00" + b"\xff" * 5_000])
def test_a_file_that_is_no_database_is_named_and_left_alone(directory: Path, content: bytes) -> None:
    directory.mkdir()
    path = directory / FILE_NAME
    path.write_bytes(content)
    with pytest.raises(StoreCorrupt) as caught:
        open_store(directory)
    assert_is_told(caught.value, code="HL6304", path=path)
    assert path.read_bytes() == content


def test_a_damaged_page_is_named(directory: Path) -> None:
    with open_store(directory) as store:
        lease = store.acquire_lease(owner="one", now=NOON, ttl_s=10)
        for number in range(200):
            write(store, lease, number)
    path = directory / FILE_NAME
    content = path.read_bytes()
    path.write_bytes(content[:4_096] + b"\xff" * (len(content) - 4_096))
    with pytest.raises(StoreCorrupt) as caught, open_store(directory) as store:
        store.journal()
    assert_is_told(caught.value, code="HL6304", path=path)


def test_a_deleted_file_is_noticed_before_anything_is_written_into_nowhere(
    directory: Path, store: SqlStore, lease: Lease
) -> None:
    write(store, lease)
    (directory / FILE_NAME).unlink()
    with pytest.raises(StoreVanished) as caught:
        write(store, lease, 2)
    assert_is_told(caught.value, code="HL6305", path=directory / FILE_NAME)
    with pytest.raises(StoreVanished):
        store.journal()
    assert not (directory / FILE_NAME).exists()


def test_a_deleted_file_is_noticed_by_a_new_connection_too(directory: Path, store: SqlStore, lease: Lease) -> None:
    store.close()
    (directory / FILE_NAME).unlink()
    with pytest.raises(StoreVanished):
        write(store, lease)
    assert not (directory / FILE_NAME).exists()


def test_a_replaced_file_is_noticed_and_not_written_to(
    directory: Path, tmp_path: Path, store: SqlStore, lease: Lease
) -> None:
    write(store, lease)
    open_store(tmp_path / "other").close()
    (tmp_path / "other" / FILE_NAME).rename(directory / FILE_NAME)
    with pytest.raises(StoreVanished, match="another file"):
        write(store, lease, 2)


def test_a_moved_directory_works_again_once_it_is_back(
    directory: Path, tmp_path: Path, store: SqlStore, lease: Lease
) -> None:
    directory.rename(tmp_path / "away")
    with pytest.raises(StoreVanished):
        write(store, lease)
    (tmp_path / "away").rename(directory)
    write(store, lease)
    assert store.journal_head().seq == 1


def test_a_directory_in_place_of_the_file_is_told(directory: Path) -> None:
    (directory / FILE_NAME).mkdir(parents=True)
    with pytest.raises(StoreFault) as caught:
        open_store(directory)
    assert_is_told(caught.value, code="HL6300", path=directory / FILE_NAME)


def test_a_schema_from_a_newer_hitless_is_refused_and_left_alone(directory: Path) -> None:
    open_store(directory).close()
    tamper(directory, "UPDATE meta SET schema_version = 99")
    with pytest.raises(SchemaTooNew, match="newer hitless") as caught:
        open_store(directory)
    assert_is_told(caught.value, code="HL6306", path=directory / FILE_NAME)
    assert caught.value.evidence[0] == "its schema has version 99"
    assert caught.value.exit_code == 4
