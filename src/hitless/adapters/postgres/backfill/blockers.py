"""Who holds the lock that a session of ours waits for: seen by a second session while it waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg

from hitless.adapters.postgres.blockers import sessions
from hitless.adapters.postgres.database import Database
from hitless.errors import EnvironmentFault

_EVERY_S = 0.01
_WHO = "SELECT pg_blocking_pids(%s)"
_PREPARED = "a prepared transaction; SELECT * FROM pg_prepared_xacts names it"


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
                row = connection.execute(_WHO, (pid,)).fetchone()
                if row and row[0]:
                    self.seen = tuple(_sentences(connection, row[0]))
                    return


def _sentences(connection: psycopg.Connection, pids: Sequence[int]) -> Iterator[str]:
    """Name them; the server tells 0 for a prepared transaction."""
    yield from (one.sentence for one in sessions(connection, pids, holds="rows, or the table"))
    if 0 in pids:
        yield _PREPARED
