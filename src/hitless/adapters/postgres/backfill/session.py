"""The session that a walk works through, and what becomes of it when the server goes away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from hitless.adapters.postgres.database import DatabaseUnreachable
from hitless.adapters.postgres.hold import Hold, Told

AWAY_S = 60.0
"""How long a server may be away: a restart or a fail-over takes less. Then a person should look."""

_PAUSE_S = (0.2, 0.5, 1.0, 2.0)


class Session:
    """One connection, opened anew when it was lost. Each transaction is confirmed by the hold."""

    def __init__(self, hold: Hold) -> None:
        self._hold = hold
        self._connection: psycopg.Connection | None = None

    @property
    def connection(self) -> psycopg.Connection:
        """The connection, opened where there is none.

        Raises:
            DatabaseUnreachable: not for as long as a restart takes.
        """
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return self._connection

    @contextmanager
    def transaction(self, settings: str) -> Iterator[psycopg.Connection]:
        """Open a transaction that only the holder of the change commits.

        Args:
            settings: SET LOCAL statements: they reach the right session through a pooler too.
        """
        connection = self.connection
        with connection.transaction():
            connection.execute(settings.encode())
            self._hold.confirm(connection)
            yield connection

    @property
    def is_lost(self) -> bool:
        """Tell whether the server has gone away."""
        return self._connection is not None and self._connection.closed

    @property
    def pid(self) -> int:
        """The server process of the connection."""
        return self.connection.info.backend_pid

    def close(self) -> None:
        """End it."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()

    def _connect(self) -> psycopg.Connection:
        until_s, tries = time.monotonic() + AWAY_S, 0
        while True:
            try:
                return self._hold.database.connect()
            except DatabaseUnreachable as error:
                if time.monotonic() > until_s or self._hold.stopping.is_set():
                    raise
                if tries == 0:
                    self._hold.tell(Told(kind="server_away", sentence=f"{error.message}; tries again"))
            self._hold.stopping.wait(_PAUSE_S[min(tries, len(_PAUSE_S) - 1)])
            tries += 1
