"""What every store promises, asked of the real one and of the fake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest

from hitless.adapters.store_sql.store import open_store
from hitless.errors import Fenced, LeaseHeld
from hitless.journal.record import GENESIS, Break, Entry, Head, verify
from hitless.ports import Lease, Run, Store
from hitless.testing import MemoryStore

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)


class VerifiedStore(Store, Protocol):
    """A store that also says where its journal ends and whether it holds."""

    def journal_head(self) -> Head: ...

    def verify_journal(self) -> Break | None: ...


def later(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def entry(number: int = 1, *, subject: str = "service/checkout") -> Entry:
    return Entry(at=later(number), type="rollout.stage", subject=subject, actor="user:ana", data={"n": number})


def run(name: str = "rollout/1", *, kind: str = "rollout", state: str = "{}", fence: int = 1) -> Run:
    return Run(id=name, kind=kind, state=state, fence=fence, updated_at=NOON)


@pytest.fixture(params=["memory", "sql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VerifiedStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with open_store(tmp_path) as opened:
        yield opened


@pytest.fixture
def lease(store: VerifiedStore) -> Lease:
    return store.acquire_lease(owner="one", now=NOON, ttl_s=10)


def test_the_first_holder_gets_fence_one_until_the_time_to_live_is_over(store: VerifiedStore) -> None:
    lease = store.acquire_lease(owner="one", now=NOON, ttl_s=10)
    assert lease == Lease(owner="one", fence=1, until=later(10))


def test_renewing_keeps_the_fence_and_moves_the_end(store: VerifiedStore, lease: Lease) -> None:
    renewed = store.acquire_lease(owner="one", now=later(5), ttl_s=10)
    assert renewed == replace(lease, until=later(15))


def test_its_holder_may_renew_a_lease_that_ran_out_and_that_nobody_took(store: VerifiedStore, lease: Lease) -> None:
    assert store.acquire_lease(owner="one", now=later(60), ttl_s=10).fence == lease.fence


@pytest.mark.usefixtures("lease")
def test_a_lease_that_runs_is_refused_to_others_and_says_who_until_when_and_what_to_do(store: VerifiedStore) -> None:
    with pytest.raises(LeaseHeld, match=r"one, until 2030-01-31T12:00:10\.000000Z") as caught:
        store.acquire_lease(owner="two", now=later(9.999), ttl_s=10)
    assert any("hitless status" in hint for hint in caught.value.hints)
    assert caught.value.exit_code == 7


@pytest.mark.usefixtures("lease")
def test_a_new_owner_gets_the_next_fence_from_the_moment_the_old_lease_ran_out(store: VerifiedStore) -> None:
    assert store.acquire_lease(owner="two", now=later(10), ttl_s=10).fence == 2


def test_a_lease_that_was_given_back_is_free_at_once_and_its_fence_stays_used(
    store: VerifiedStore, lease: Lease
) -> None:
    store.release_lease(lease)
    assert store.acquire_lease(owner="one", now=later(1), ttl_s=10).fence == 2


def test_giving_back_a_lease_that_has_passed_on_takes_nothing_from_its_new_holder(
    store: VerifiedStore, lease: Lease
) -> None:
    store.acquire_lease(owner="two", now=later(10), ttl_s=10)
    store.release_lease(lease)
    with pytest.raises(LeaseHeld, match="two"):
        store.acquire_lease(owner="one", now=later(11), ttl_s=10)


def test_a_commit_writes_rows_and_records_together(store: VerifiedStore, lease: Lease) -> None:
    records = store.commit(lease=lease, runs=[run()], entries=[entry(1), entry(2)], now=NOON)
    assert store.run("rollout/1") == run()
    assert store.journal() == records
    assert [record.entry for record in records] == [entry(1), entry(2)]
    assert store.last_record() == records[-1]


def test_rows_are_stamped_with_the_fence_and_the_moment_of_the_commit(store: VerifiedStore, lease: Lease) -> None:
    store.commit(lease=lease, runs=[run(fence=99)], entries=[], now=later(3))
    assert store.run("rollout/1") == replace(run(), fence=lease.fence, updated_at=later(3))


def test_an_overtaken_controller_writes_nothing(store: VerifiedStore, lease: Lease) -> None:
    store.commit(lease=lease, runs=[run(state="old")], entries=[entry()], now=NOON)
    store.acquire_lease(owner="two", now=later(10), ttl_s=10)
    before = store.journal()
    with pytest.raises(Fenced, match="another controller has taken over") as caught:
        store.commit(lease=lease, runs=[run(state="new")], entries=[entry()], now=later(11))
    assert caught.value.evidence == ("newest fence: 2, held by two", "fence of one: 1")
    assert store.journal() == before
    assert store.run("rollout/1") == run(state="old")


def test_a_controller_with_a_fence_from_the_future_of_a_restored_store_writes_nothing(
    store: VerifiedStore, lease: Lease
) -> None:
    with pytest.raises(Fenced, match="replaced by an older one"):
        store.commit(lease=replace(lease, fence=7), runs=[run()], entries=[entry()], now=NOON)
    assert store.journal() == ()


def test_an_expired_lease_that_nobody_took_still_writes(store: VerifiedStore, lease: Lease) -> None:
    assert store.commit(lease=lease, runs=[], entries=[entry()], now=later(60))


def test_an_entry_that_cannot_be_recorded_leaves_nothing_behind(store: VerifiedStore, lease: Lease) -> None:
    bad = replace(entry(2), data={"n": float("nan")})
    with pytest.raises(ValueError, match="nan"):
        store.commit(lease=lease, runs=[run()], entries=[entry(1), bad], now=NOON)
    assert store.run("rollout/1") is None
    assert store.journal() == ()
    assert store.journal_head() == Head(seq=0, hash=GENESIS)


def test_the_chain_goes_on_from_commit_to_commit_and_ends_at_the_head(store: VerifiedStore, lease: Lease) -> None:
    for number in range(1, 6):
        store.commit(lease=lease, runs=[], entries=[entry(number)] * (number % 3), now=NOON)
    records = store.journal()
    assert [record.seq for record in records] == [1, 2, 3, 4, 5, 6]
    assert store.journal_head() == Head(seq=6, hash=records[-1].hash)
    assert verify(records, head=store.journal_head().hash) is None
    assert store.verify_journal() is None


def test_what_a_commit_returns_is_what_is_read_later(store: VerifiedStore, lease: Lease) -> None:
    data = {
        "tuple": (1, 2),
        "large": 1e16,
        "one": 1.0,
        "text": "Zürich 🚆 \x00 \u2028",
        "none": None,
        "deep": [{"a": []}],
    }
    (record,) = store.commit(lease=lease, runs=[], entries=[replace(entry(), data=data)], now=NOON)
    assert store.journal() == (record,)
    assert store.verify_journal() is None


def test_state_is_read_back_to_the_letter(store: VerifiedStore, lease: Lease) -> None:
    state = '{"b": 1,  "a": "Zürich 🚆", "large": ' + "9" * 5_000 + "}"
    store.commit(lease=lease, runs=[run(state=state)], entries=[], now=NOON)
    found = store.run("rollout/1")
    assert found is not None
    assert found.state == state


def test_runs_come_by_kind_in_the_order_of_their_first_write(store: VerifiedStore, lease: Lease) -> None:
    store.commit(lease=lease, runs=[run("b"), run("a"), run("x", kind="train")], entries=[], now=NOON)
    store.commit(lease=lease, runs=[run("c"), run("b", state="new")], entries=[], now=later(1))
    assert [(one.id, one.state) for one in store.runs("rollout")] == [("b", "new"), ("a", "{}"), ("c", "{}")]
    assert store.runs("nothing") == ()


def test_the_journal_is_read_from_a_place_for_a_subject_and_up_to_a_limit(store: VerifiedStore, lease: Lease) -> None:
    entries = [entry(number, subject=f"service/{number % 2}") for number in range(1, 11)]
    store.commit(lease=lease, runs=[], entries=entries, now=NOON)
    assert [record.seq for record in store.journal(after=7)] == [8, 9, 10]
    assert [record.seq for record in store.journal(limit=2)] == [1, 2]
    assert [record.seq for record in store.journal(after=3, subject="service/0", limit=2)] == [4, 6]
    assert store.journal(limit=0) == ()
    assert store.journal(after=10) == ()


def test_a_new_store_is_empty(store: VerifiedStore) -> None:
    assert store.run("rollout/1") is None
    assert store.runs("rollout") == ()
    assert store.journal() == ()
    assert store.last_record() is None
    assert store.journal_head() == Head(seq=0, hash=GENESIS)
    assert store.verify_journal() is None
