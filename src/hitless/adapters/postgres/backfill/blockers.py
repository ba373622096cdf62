"""Who holds the lock that a session of ours waits for: seen by a second session while it waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from hitless.adapters.postgres.database import Database
from hitless.errors import EnvironmentFault

_EVERY_S = 0.01
_WHO = """
SELECT pid, coalesce(nullif(application_name, ''), backend_type, '?'), coalesce(usename, '?'), coalesce(state, '?'),
  coalesce(to_char(xact_start, 'HH24:MI:SS'), '?'), left(regexp_replace(query, '\\s+', ' ', 'g'), 200)
FROM pg_stat_activity WHERE pid = ANY(pg_blocking_pids(%(pid)s))
UNION ALL SELECT 0, '', '', '', '', '' WHERE 0 = ANY(pg_blocking_pids(%(pid)s))
"""


class Witness:
    """Looks, while another session waits, who makes it wait."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.seen: tuple[str, ...] = ()
        self._told: tuple[str, ...] = ()

    def news(self) -> tuple[str, ...]:
        """Return who was seen, if that was not returned before."""
        if self.seen == self._told:
            return ()
        self._told = self.seen
        return self.seen

    @contextmanager
    def watching(self, pid: int) -> Iterator[None]:
        """Look for as long as the block runs; what is seen stands in `seen`."""
        over = threading.Event()
        thread = threading.Thread(target=self._look, args=(pid, over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _look(self, pid: int, over: threading.Event) -> None:
        # Whoever cannot look says nothing: then the blockers stay unknown, and are told to be.
        with suppress(psycopg.Error, EnvironmentFault), self._database.connect() as connection:
            while not over.wait(_EVERY_S):
                if found := connection.execute(_WHO, {"pid": pid}).fetchall():
                    self.seen = tuple(_sentence(one) for one in found)
                    return


def _sentence(session: Sequence[Any]) -> str:
    pid, application, user, state, since, query = session
    if pid == 0:
        return "a prepared transaction; SELECT * FROM pg_prepared_xacts names it"
    return f"pid {pid} ({application}, user {user}), {state}, transaction since {since}: {query}"
