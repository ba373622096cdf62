"""Watching after a brownout or a hiding: what a server itself shows of applications that miss something.

What it shows, and no more. PostgreSQL counts no errors by code, so `42501` is not seen as such. Seen are writes that
only an older release makes, by our counters, which are exact; and transactions that are rolled back, of all causes and
of the whole database, which is coarse: a few failing requests drown in what rolls back anyway. The application's own
figures see more: a rollout's judge, or an alert, gives back with the same command that a person would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event

import psycopg

from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.faults import in_words
from hitless.adapters.postgres.guard.gate import counted
from hitless.schema.change.steps import Plan
from hitless.schema.guard.watching import Look, trouble_of

PAUSE_S = 1.0
_LOOK = """
SELECT xact_commit, xact_rollback, EXTRACT(epoch FROM clock_timestamp())::float8
FROM pg_stat_database WHERE datname = current_database()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Looks at one database while a change is tried on its users."""

    database: Database
    plan: Plan
    stopping: Event

    def usual(self, seconds: float) -> tuple[Look, Look]:
        """Look what is usual, before anything is taken away."""
        first = self._look()
        self.stopping.wait(seconds)
        return first, self._look()

    def watch(self, usual: tuple[Look, Look], seconds: float, tell: Callable[[str], None]) -> str | None:
        """Look until the time is over or something is wrong; return what.

        Args:
            usual: two looks from before.
            seconds: how long.
            tell: told once a minute how it goes.
        """
        looks = [self._look()]
        until_s, told_s = looks[0].at_s + seconds, looks[0].at_s
        while looks[-1].at_s < until_s and not self.stopping.wait(PAUSE_S):
            looks.append(self._look())
            if (trouble := trouble_of(usual, looks)) is not None:
                return trouble
            if looks[-1].at_s - told_s >= 60:  # noqa: PLR2004 - a minute
                told_s = looks[-1].at_s
                tell(f"watched for {told_s - looks[0].at_s:.0f} s of {seconds:.0f} s: nothing unusual")
        return "the watch was stopped before its end" if self.stopping.is_set() else None

    def _look(self) -> Look:
        with self.database.connect() as connection, in_words(self.database):
            commits, rollbacks, at_s = _counts(connection)
        counters: Mapping[str, int | None] = counted(self.database, self.plan)
        return Look(at_s=at_s, commits=commits, rollbacks=rollbacks, counters=counters)


def _counts(connection: psycopg.Connection) -> tuple[int, int, float]:
    row = connection.execute(_LOOK).fetchone()
    assert row is not None, "a session is in a database"
    return int(row[0]), int(row[1]), float(row[2])
