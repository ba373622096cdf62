"""How many connections a database has, and who has them now."""

from __future__ import annotations

import psycopg

from hitless.adapters.postgres.database import APPLICATION
from hitless.adapters.postgres.roles import own_roles
from hitless.errors import EnvironmentFault
from hitless.schema.headroom import WORKERS, Fit, Limit, Reserve, Taker, fit

_LIMITS = """
SELECT current_setting('max_connections')::int,
       current_setting('superuser_reserved_connections')::int
           + coalesce(current_setting('reserved_connections', true)::int, 0),
       datname, datconnlimit
FROM pg_database WHERE datname = current_database()
"""
_SESSIONS = """
SELECT coalesce(usename, ''), datname = current_database(), count(*)::int
FROM pg_stat_activity
WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
  AND application_name IS DISTINCT FROM %s AND pid <> pg_backend_pid()
GROUP BY 1, 2
"""
# Whose sessions nobody shows us have no backend_type, user excepted: they count as others.
_ROLE_LIMIT = "SELECT rolconnlimit FROM pg_roles WHERE rolname = %s"


def limits_of(
    connection: psycopg.Connection,
    *,
    service: str,
    key: str = "",
    role: str | None = None,
    allowed: int = 0,
    is_shared: bool = False,
) -> tuple[Limit, ...]:
    """Measure every limit of a database.

    Args:
        connection: to it.
        service: whose versions' roles are its own.
        key: fingerprint of what their passwords were derived from; those of another key are others.
        role: whose sessions are the service's own too, up to `allowed`; more of them are others.
        allowed: what is counted elsewhere as taken by who connects as `role`.
        is_shared: all versions connect as `role`, so its limit is theirs.
    """
    most, kept_back, database, of_database = _one(connection, _LIMITS)
    own = set(own_roles(connection, service, key))
    sessions = connection.execute(_SESSIONS, (APPLICATION,)).fetchall()

    def others(*, here: bool) -> int:
        counts = [(name, count) for name, is_here, count in sessions if is_here or not here]
        shared: int = sum(count for name, count in counts if name == role)
        strangers: int = sum(count for name, count in counts if name != role and name not in own)
        return strangers + max(shared - allowed, 0)

    limits = [
        Limit(what="server", connections=most, kept_back=kept_back, others=others(here=False), is_server=True),
        Limit(what=f"database {database}", connections=of_database, others=others(here=True)),
    ]
    if is_shared and (row := connection.execute(_ROLE_LIMIT, (role,)).fetchone()) is not None:
        limits.append(Limit(what=f"role {role}", connections=row[0], is_of_role=True))
    return tuple(limits)


def _one(connection: psycopg.Connection, query: str) -> tuple[int, int, str, int]:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0], row[1], row[2], row[3]


class NoRoom(EnvironmentFault):
    """The server has no connections to spare for a worker."""

    code = "HL4537"
    exit_code = 5

    def __init__(self, found: Fit) -> None:
        super().__init__(
            f"{found.what}: a worker needs {WORKERS} connections, and would take the last ones of others",
            evidence=(found.sentence, *found.rows),
            hints=(
                "run the same command again when fewer are open: nothing has begun",
                "SELECT usename, application_name, count(*) FROM pg_stat_activity GROUP BY 1, 2   # whose they are",
            ),
        )


def require_room(connection: psycopg.Connection) -> None:
    """Return where a worker fits beside everybody else.

    Raises:
        NoRoom: it does not.
    """
    found = room_for_migration(connection)
    if not found.fits:
        raise NoRoom(found)


def room_for_migration(connection: psycopg.Connection, *, workers: int = WORKERS) -> Fit:
    """Hold the workers of a migration against the server's connections: it must not take the last ones."""
    takers = (Taker(who="the migration", connections=workers),)
    return fit(takers, limits_of(connection, service=""), reserve=Reserve())[0]
