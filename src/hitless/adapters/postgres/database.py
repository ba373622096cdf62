"""One database of the user's, and how sessions with it are opened."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from hitless.errors import EnvironmentFault

APPLICATION = "hitless migrate"
CONNECT_S = 5
SECRET = frozenset({"password", "sslpassword"})
"""What of an address nobody is shown."""

OLDEST = 15
"""The oldest major version that is supported."""

_SESSION = (
    "SET lock_timeout = '100ms'; "  # nothing of ours is ever without one: each statement says how long it may wait
    "SET client_connection_check_interval = '1s'; "  # what a killed client began ends with it
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; "  # so do its locks
    "SET idle_in_transaction_session_timeout = '30s'; "
    "SET statement_timeout = 0"
)


class DatabaseUnreachable(EnvironmentFault):
    """The database does not answer, or refuses this user."""

    code = "HL6501"


class DatabaseTooOld(EnvironmentFault):
    """The server is older than what is supported."""

    code = "HL6502"
    temporary = False


@dataclass(frozen=True)
class Database:
    """A database, by what libpq takes: a URL or `key=value` pairs."""

    conninfo: str

    @cached_property
    def shown(self) -> str:
        """Name it without its password."""
        parts = {key: value for key, value in conninfo_to_dict(self.conninfo).items() if key not in SECRET}
        return make_conninfo("", **parts) or "the default database"

    def connect(self) -> psycopg.Connection:
        """Open a session in autocommit, with a lock_timeout, whose work ends when its client does.

        Raises:
            DatabaseUnreachable: no answer, or not allowed.
            DatabaseTooOld: older than PostgreSQL 15.
        """
        try:
            # No prepared statements: sessions may go through a pooler, and DDL changes what a statement returns.
            connection = psycopg.connect(
                self.conninfo,
                autocommit=True,
                prepare_threshold=None,
                connect_timeout=CONNECT_S,
                keepalives_idle=10,  # a server whose machine is gone is found out in 25 s, not in two hours
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=25_000,  # keepalives do not run while something sent is not acknowledged
                application_name=APPLICATION,
            )
        except psycopg.OperationalError as error:
            raise self._unreachable(error) from error
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED  # whatever a role or a database prefers
        if connection.info.server_version < OLDEST * 10_000:
            version = connection.info.server_version // 10_000
            connection.close()
            raise DatabaseTooOld(f"{self.shown} is PostgreSQL {version}; {OLDEST} is the oldest that is supported")
        try:
            set_in_session(connection, _SESSION)
        except psycopg.OperationalError as error:
            raise self._unreachable(error) from error
        return connection

    def _unreachable(self, error: psycopg.OperationalError) -> DatabaseUnreachable:
        return DatabaseUnreachable(
            f"{self.shown} cannot be reached: {' '.join(str(error).split())}",
            hints=("psql the same address, to see whether it is the network, the password or the server",),
        )


def is_pooled(connection: psycopg.Connection) -> bool:
    """Tell whether a pooler stands between us and the server.

    A pooler invents the process number that a client is told for cancelling (BackendKeyData in the protocol); a server
    tells its own.
    """
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return row is None or row[0] != connection.info.backend_pid


def set_in_session(connection: psycopg.Connection, statements: str) -> bool:
    """Set something for the session, but not behind a pooler: it would stay with a session that applications get next.

    Whatever holds up others is set with SET LOCAL in its transaction as well, so it holds there too.
    """
    if is_pooled(connection):
        return False
    connection.execute(statements.encode())
    return True
