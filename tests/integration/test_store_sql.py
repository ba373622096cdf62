"""The store on a real file: crashes, several processes, damage, and every way in which a disk can fail."""

from __future__ import annotations

import itertools
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

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
from hitless.errors import HitlessError
from hitless.journal.record import Break, Entry
from hitless.ports import Lease, Run

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
NOBODY = 65_534

# Commits again and again; a sequence number is acknowledged in a file only once the store has acknowledged it.
WRITER = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from hitless.adapters.store_sql.store import open_store
from hitless.journal.record import Entry
from hitless.ports import Lease, Run

now = datetime(2030, 1, 31, 12, tzinfo=UTC)

def write(directory, name, count, acknowledge, opened=lambda: None):
    lease = Lease(owner=name, fence=1, until=now)
    with open_store(Path(directory), busy_timeout_s=60) as store:
        opened()
        for number in range(count):
            run = Run(id=name, kind="rollout", state=str(number) + " " * 5_000, fence=1, updated_at=now)
            parts = [Entry(at=now, type="t", subject=name, actor="a", data={"n": number, "part": n}) for n in (1, 2)]
            records = store.commit(lease=lease, runs=[run], entries=parts, now=now)
            acknowledge(records[-1].seq)
"""

# One process for each name: all open the store at the same moment, and write once all have opened it.
WRITE_AT_ONCE = f"""{WRITER}
import multiprocessing, time, traceback
opened = multiprocessing.get_context("fork").Barrier(len(sys.argv) - 3, timeout=120)
children = []
for name in sys.argv[3:]:
    child = os.fork()
    if child == 0:
        try:
            write(sys.argv[1], name, int(sys.argv[2]), lambda seq: time.sleep(0.002), opened.wait)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    children.append(child)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""

# Imports once and forks for every line that it reads: a death takes milliseconds, not a start of Python.
WRITE_UNTIL_KILLED = f"""{WRITER}
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        file = os.open(line.strip(), os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        write(sys.argv[1], "one", 10**9, lambda seq: os.write(file, f"{{seq}}\\n".encode()))
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def entry(number: int = 1) -> Entry:
    return Entry(at=NOON, type="rollout.stage", subject="service/checkout", actor="user:ana", data={"n": number})


def run(state: str = "{}") -> Run:
    return Run(id="rollout/1", kind="rollout", state=state, fence=1, updated_at=NOON)


def write(store: SqlStore, lease: Lease, number: int = 1, *, state: str = "{}") -> None:
    store.commit(lease=lease, runs=[run(state)], entries=[entry(number)], now=NOON)


def write_at_once(directory: Path, *names: str, count: int) -> None:
    command = [sys.executable, "-c", WRITE_AT_ONCE, str(directory), str(count), *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr


def tamper(directory: Path, *statements: str) -> None:
    with closing(sqlite3.connect(directory / FILE_NAME, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


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
def directory(tmp_path: Path) -> Path:
    return tmp_path / ".hitless"


@pytest.fixture
def store(directory: Path) -> Iterator[SqlStore]:
    with open_store(directory) as opened:
        yield opened


@pytest.fixture
def lease(store: SqlStore) -> Lease:
    return store.acquire_lease(owner="one", now=NOON, ttl_s=10)


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """A directory that another user can reach; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
        Path(name).chmod(0o755)


def assert_is_told(error: HitlessError, *, code: str, path: Path) -> None:
    """Every fault has its own code, names the file, shows it as evidence and says how to go on."""
    assert error.code == code
    assert str(path) in error.message
    assert error.evidence
    assert error.hints


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


# Several processes, crashes


def test_two_processes_that_write_at_once_build_one_unbroken_chain(
    directory: Path, store: SqlStore, lease: Lease
) -> None:
    assert lease.fence == 1
    write_at_once(directory, "one", "two", count=100)
    records = store.journal()
    assert store.verify_journal() is None
    assert [record.seq for record in records] == list(range(1, 401))
    order = [record.entry.subject for record in records]
    assert sum(before != after for before, after in itertools.pairwise(order)) > 1, "they never met"


def test_several_processes_may_create_the_store_at_once(directory: Path) -> None:
    write_at_once(directory, "one", "two", "three", "four", count=0)
    with open_store(directory) as store:
        assert store.acquire_lease(owner="one", now=NOON, ttl_s=1).fence == 1


@pytest.fixture
def mortal(directory: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WRITE_UNTIL_KILLED, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        yield process


def test_a_store_survives_being_killed_at_any_moment_with_all_that_it_acknowledged(
    directory: Path, tmp_path: Path, mortal: subprocess.Popen[str]
) -> None:
    chance = random.Random(0)
    with open_store(directory) as store:
        store.acquire_lease(owner="one", now=NOON, ttl_s=10)
    lives_with_commits = 0
    for life in range(42):
        acknowledgements = tmp_path / f"acknowledged-{life}"
        is_at_work = life % 2 == 0  # the others may die while they open the store
        acknowledged = _killed_writer(mortal, acknowledgements, is_at_work=is_at_work, after_s=chance.uniform(0, 0.1))
        lives_with_commits += acknowledged > 0
        with open_store(directory) as store:
            records, head, row = store.journal(), store.journal_head(), store.run("one")
            assert store.verify_journal() is None
        assert head.seq == len(records) >= acknowledged
        assert len(records) % 2 == 0, "half a commit"
        if records:
            assert row is not None
            assert int(row.state) == records[-1].entry.data["n"], "row and journal are of different commits"
    assert lives_with_commits >= 21


def _killed_writer(mortal: subprocess.Popen[str], acknowledgements: Path, *, is_at_work: bool, after_s: float) -> int:
    """Let a process write, kill it; return the last sequence number that it had acknowledged."""
    assert mortal.stdin is not None
    assert mortal.stdout is not None
    mortal.stdin.write(f"{acknowledgements}\n")
    pid = int(mortal.stdout.readline())
    deadline = time.monotonic() + 60
    while is_at_work and not (acknowledgements.exists() and acknowledgements.stat().st_size):
        assert time.monotonic() < deadline, "the writer does not get to work"
        time.sleep(0.001)
    time.sleep(after_s)  # the random moment of death, not a wait for anything
    os.kill(pid, signal.SIGKILL)
    assert int(mortal.stdout.readline()) == signal.SIGKILL, "it ended by itself"
    if not acknowledgements.exists():
        return 0
    whole = [line for line in acknowledgements.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return int(whole[-1]) if whole else 0


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


# Faults of the surroundings


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
