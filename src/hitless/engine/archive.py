"""What the store remembers, read off the loop: rollouts that have ended, and the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from hitless.engine.codec import load_rollout, load_state
from hitless.engine.service import ROLLOUT, SERVICE
from hitless.errors import UnknownRollout
from hitless.journal.record import document
from hitless.ports import Run, Store
from hitless.rollout.state import Rollout, ServiceState
from hitless.view.models import JournalRecordView, VerifyView

Wanted = TypeVar("Wanted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Reads one store."""

    store: Store

    async def states(self) -> list[ServiceState]:
        """Read every service's state."""
        return [load_state(run.state) for run in await _read(lambda: self.store.runs(SERVICE))]

    async def rollouts(self, service: str | None, *, limit: int, before: str | None) -> list[Rollout]:
        """Read rollouts, newest first: at most `limit`, only those begun before `before`."""
        found: list[Rollout] = []
        while len(found) < limit and (page := await self._page(service, limit - len(found), before)):
            before = page[-1].id
            rollouts = [load_rollout(run.state) for run in page]
            found += [one for one in rollouts if service in {None, service_of(one)}]
        return found

    async def _page(self, service: str | None, limit: int, before: str | None) -> tuple[Run, ...]:
        prefix = "" if service is None else f"{service}-r"  # of a service `shop-r2` too: looked at again by name
        return await _read(lambda: self.store.newest_runs(ROLLOUT, limit=limit, before=before, prefix=prefix))

    async def rollout(self, rollout_id: str) -> Rollout:
        """Read one rollout.

        Raises:
            UnknownRollout: there is none.
        """
        run = await _read(lambda: self.store.run(rollout_id))
        if run is None or run.kind != ROLLOUT:
            raise UnknownRollout(rollout_id)
        return load_rollout(run.state)

    async def journal(self, after: int, subject: str | None, limit: int) -> list[JournalRecordView]:
        """Read the journal."""
        records = await _read(lambda: self.store.journal(after=after, subject=subject, limit=limit))
        return [cast("JournalRecordView", document(record)) for record in records]

    async def newest_seq(self) -> int:
        """Return the number of the newest record, 0 before the first."""
        newest = await _read(self.store.last_record)
        return newest.seq if newest else 0

    async def verify_journal(self) -> VerifyView:
        """Recompute the whole chain."""
        found = await _read(self.store.verify_journal)
        return {
            "records": await self.newest_seq(),
            "problem": found.problem if found else None,
            "seq": found.seq if found else None,
        }


def service_of(rollout: Rollout) -> str:
    """Return the name of a rollout's service."""
    return rollout.id.rsplit("-r", 1)[0]


async def _read(question: Callable[[], Wanted]) -> Wanted:
    return await asyncio.to_thread(question)
