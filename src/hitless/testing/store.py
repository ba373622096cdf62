"""A store in memory, under the same contract as the real one, that fails on demand."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from threading import Lock

from hitless.adapters.store_sql.lease import check_fence, next_lease
from hitless.errors import HitlessError
from hitless.journal.record import START, Break, Entry, Head, Record, chain, verify
from hitless.ports import Lease, Run


class MemoryStore:
    """`hitless.ports.Store` without a file. Share one object between controllers to test leases and take-over."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._lease: Lease | None = None
        self._fence = 0
        self._runs: dict[str, Run] = {}
        self._journal: list[Record] = []
        self._faults: list[HitlessError] = []

    def fail(self, error: HitlessError, *, times: int = 1) -> None:
        """Let the next `times` writes (lease or commit) raise `error` and write nothing."""
        self._faults.extend([error] * times)

    def acquire_lease(self, *, owner: str, now: datetime, ttl_s: float, above: int | None = None) -> Lease:
        """Take or renew the lease; its fence is higher than `above`.

        Raises:
            LeaseHeld: another owner's lease has not run out; names it and the moment.
        """
        with self._lock:
            self._fail_on_demand()
            self._lease = next_lease(self._lease, fence=self._fence, owner=owner, now=now, ttl_s=ttl_s, above=above)
            self._fence = self._lease.fence
            return self._lease

    def release_lease(self, lease: Lease) -> None:
        """Give the lease back; the fence stays used. One that has passed to another owner is left alone."""
        with self._lock:
            self._fail_on_demand()
            held = self._lease
            if held and (held.owner, held.fence) == (lease.owner, lease.fence):
                self._lease = None

    def commit(
        self, *, lease: Lease, runs: Sequence[Run], entries: Sequence[Entry], now: datetime
    ) -> tuple[Record, ...]:
        """Write state rows, stamped with the lease's fence and `now`, and journal entries; all or nothing.

        Raises:
            Fenced: the lease's fence is no longer the newest; nothing was written.
        """
        with self._lock:
            self._fail_on_demand()
            check_fence(lease, newest=self._fence, holder=self._lease.owner if self._lease else None)
            records = self._chained(entries)
            self._runs.update({run.id: replace(run, fence=lease.fence, updated_at=now) for run in runs})
            self._journal.extend(records)
            return records

    def run(self, run_id: str) -> Run | None:
        """Read one state row."""
        return self._runs.get(run_id)

    def runs(self, kind: str) -> tuple[Run, ...]:
        """Read all state rows of a kind, in the order of their first write."""
        with self._lock:
            return tuple(run for run in self._runs.values() if run.kind == kind)

    def newest_runs(self, kind: str, *, limit: int, before: str | None = None, prefix: str = "") -> tuple[Run, ...]:
        """Read state rows of a kind, the last one that was begun first; only those begun before `before`."""
        with self._lock:
            names = list(self._runs)
            older = names if before is None else names[: names.index(before)] if before in self._runs else []
            fitting = (self._runs[name] for name in reversed(older) if name.startswith(prefix))
            return tuple(itertools.islice((run for run in fitting if run.kind == kind), limit))

    def journal(self, *, after: int = 0, subject: str | None = None, limit: int | None = None) -> tuple[Record, ...]:
        """Read records with a sequence number above `after`, oldest first."""
        with self._lock:
            behind = self._journal[max(after, 0) :]
        wanted = (record for record in behind if subject in (None, record.entry.subject))
        return tuple(itertools.islice(wanted, limit))

    def last_record(self) -> Record | None:
        """Read the newest record."""
        return self._journal[-1] if self._journal else None

    def journal_head(self) -> Head:
        """Read where the journal ends; `seq` is 0 for an empty one."""
        last = self.last_record()
        return Head(seq=last.seq, hash=last.hash) if last else START

    def verify_journal(self) -> Break | None:
        """Recompute the whole chain against its head."""
        return verify(self.journal(), head=self.journal_head().hash)

    def _chained(self, entries: Sequence[Entry]) -> tuple[Record, ...]:
        last, records = self.last_record(), []
        for entry in entries:
            last = chain(entry, after=last)
            records.append(last)
        return tuple(records)

    def _fail_on_demand(self) -> None:
        if self._faults:
            raise self._faults.pop(0)
