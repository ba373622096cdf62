"""The store on a real file: what is written, and what shows when someone changes it."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from store_support import NOON, assert_is_told, run, tamper, write

from hitless.adapters.store_sql.faults import StoreCorrupt
from hitless.adapters.store_sql.store import FILE_NAME, SqlStore, open_store
from hitless.journal.record import Break
from hitless.ports import Lease


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


# The file


@pytest.mark.usefixtures("store")
def test_directory_and_files_are_for_their_owner_alone(directory: Path) -> None:
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == dict.fromkeys([FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"], 0o600)


def test_a_file_that_others_could_read_is_closed_to_them(directory: Path) -> None:
    open_store(directory).close()
    (directory / FILE_NAME).chmod(0o644)
    open_store(directory).close()
    assert stat.S_IMODE((directory / FILE_NAME).stat().st_mode) == 0o600


def test_every_connection_waits_for_the_disk_and_for_other_writers(store: SqlStore) -> None:
    with store._database.engine.connect() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5_000}


def test_a_path_with_characters_of_urls_is_just_a_path(tmp_path: Path) -> None:
    directory = tmp_path / "a b?mode=memory#c%20d"
    with open_store(directory) as store:
        write(store, store.acquire_lease(owner="one", now=NOON, ttl_s=10))
    assert (directory / FILE_NAME).stat().st_size > 0


def test_what_was_written_is_there_after_reopening(directory: Path) -> None:
    with open_store(directory) as store:
        lease = store.acquire_lease(owner="one", now=NOON, ttl_s=10)
        write(store, lease, state="kept")
        before = store.journal()
    with open_store(directory) as store:
        assert store.run("rollout/1") == run("kept")
        assert store.journal() == before
        assert store.acquire_lease(owner="two", now=NOON + timedelta(seconds=10), ttl_s=10).fence == 2


def test_threads_share_a_store(store: SqlStore, lease: Lease) -> None:
    threads = [threading.Thread(target=lambda: [write(store, lease, number) for number in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.journal_head().seq == 40
    assert store.verify_journal() is None


def test_a_reader_is_not_held_up_by_a_writer(store: SqlStore, lease: Lease) -> None:
    write(store, lease)
    with store._writing():
        assert store.last_record() is not None
        assert store.verify_journal() is None


# What shows when someone changes the file


@pytest.fixture
def written(store: SqlStore, lease: Lease) -> SqlStore:
    for number in range(1, 6):
        write(store, lease, number)
    assert store.verify_journal() is None
    return store


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE journal SET actor = 'user:eve' WHERE seq = 3", (3, "was changed after it was written")),
        ("UPDATE journal SET data = '{\"n\":4}' WHERE seq = 3", (3, "was changed after it was written")),
        ("UPDATE journal SET hash = previous WHERE seq = 3", (3, "was changed after it was written")),
        ("DELETE FROM journal WHERE seq = 3", (3, "record 3 is missing")),
        ("DELETE FROM journal WHERE seq > 3", (4, "records are missing at the end")),
        ("DELETE FROM journal", (1, "records are missing at the end")),
        ("UPDATE journal SET seq = 9 WHERE seq = 5", (5, "record 5 is missing")),
    ],
)
def test_a_tampered_journal_is_found_out(
    written: SqlStore, directory: Path, statement: str, expected: tuple[int, str]
) -> None:
    tamper(directory, statement)
    seq, problem = expected
    assert written.verify_journal() == Break(seq=seq, problem=problem)


@pytest.mark.parametrize("change", ["data = 'no json'", "data = x'00'", "at = 'noon'", "at = 5", "data = '[]'"])
def test_a_row_that_is_no_record_any_more_is_found_out_and_named(
    written: SqlStore, directory: Path, change: str
) -> None:
    tamper(directory, f"UPDATE journal SET {change} WHERE seq = 3", "UPDATE journal SET actor = 'eve' WHERE seq = 4")
    found = written.verify_journal()
    assert found is not None
    assert found.seq == 3
    with pytest.raises(StoreCorrupt, match="record 3: is not a record any more") as caught:
        written.journal()
    assert_is_told(caught.value, code="HL6304", path=directory / FILE_NAME)


def test_a_cut_off_end_stays_visible_when_the_journal_goes_on(written: SqlStore, directory: Path, lease: Lease) -> None:
    tamper(directory, "DELETE FROM journal WHERE seq > 3")
    write(written, lease, 6)
    assert written.verify_journal() == Break(seq=4, problem="record 4 is missing")


def test_rows_behind_the_head_stop_the_next_commit(written: SqlStore, directory: Path, lease: Lease) -> None:
    tamper(
        directory, "INSERT INTO journal SELECT 6, at, type, subject, actor, data, previous, hash FROM journal LIMIT 1"
    )
    with pytest.raises(StoreCorrupt):
        write(written, lease, 6, state="half")
    assert written.run("rollout/1") == run()


@pytest.mark.parametrize("table", ["lease", "meta"])
def test_a_missing_row_of_the_stores_own_is_damage(
    written: SqlStore, directory: Path, lease: Lease, table: str
) -> None:
    tamper(directory, f"DELETE FROM {table}")
    with pytest.raises(StoreCorrupt):
        write(written, lease, 6)
