"""The right to write: one lease for the whole control plane, renewed while it lives, and every commit under it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from hitless.errors import EnvironmentFault, Fenced, LeaseHeld
from hitless.journal.record import Entry, Record
from hitless.ports import Clock, Lease, Run, Store

LEASE_S = 10.0
RENEW_S = 3.0

log = logging.getLogger("hitless")


@dataclass(slots=True, kw_only=True)
class Keeper:
    """Commits under the lease; one at a time, off the loop.

    Attributes:
        seq: number of the newest journal record that this control plane wrote or read.
        fault: why the store cannot be written to at the moment.
    """

    store: Store
    clock: Clock
    lease: Lease
    seq: int = 0
    fault: EnvironmentFault | None = None
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    def is_sure(self) -> bool:
        """Tell whether nobody else can hold the lease at this moment."""
        return self.lease.until > self.clock.now()

    async def commit(self, *, runs: Sequence[Run] = (), entries: Sequence[Entry] = ()) -> tuple[Record, ...]:
        """Write state rows and entries in one transaction.

        Raises:
            Fenced: another controller has taken over.
            EnvironmentFault: the store cannot be written to; nothing was.
        """
        async with self._one_at_a_time:
            try:
                records = await asyncio.to_thread(self._commit, runs, entries)
            except EnvironmentFault as fault:
                self.fault = fault
                raise
        self.fault = None
        self.seq = records[-1].seq if records else self.seq
        return records

    def _commit(self, runs: Sequence[Run], entries: Sequence[Entry]) -> tuple[Record, ...]:
        return self.store.commit(lease=self.lease, runs=runs, entries=entries, now=self.clock.now())

    async def renew_forever(self) -> None:
        """Keep the lease.

        Raises:
            Fenced: it was lost.
        """
        while True:
            await self.clock.sleep(RENEW_S)
            try:
                async with self._one_at_a_time:
                    renewed = await asyncio.to_thread(self._renew)
            except EnvironmentFault as fault:
                self.fault = fault  # every commit is guarded by the fence, so trying on is safe
                continue
            except LeaseHeld as held:
                raise self._overtaken(f"{held.owner} has fence {held.fence}") from held
            if renewed.fence != self.lease.fence:
                raise self._overtaken(f"the newest fence is {renewed.fence}")
            self.lease, self.fault = renewed, None

    def _overtaken(self, by: str) -> Fenced:
        return Fenced(
            "another controller has taken over while this one stood still; this one writes nothing more and ends",
            evidence=(by, f"{self.lease.owner} has fence {self.lease.fence}"),
            hints=("see which controller is at work: hitless status",),
        )

    def _renew(self) -> Lease:
        return self.store.acquire_lease(owner=self.lease.owner, now=self.clock.now(), ttl_s=LEASE_S)


@contextmanager
def told_only(consequence: str) -> Iterator[None]:
    """Let what must end end although the store cannot be written to; log what that means."""
    try:
        yield
    except EnvironmentFault as fault:
        log.warning("%s: %s", consequence, fault.in_words)
