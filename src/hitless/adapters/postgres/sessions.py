"""How many of its connections each version has open, as the database itself sees it, once a second in rollouts.

What an application tells of its pools is its own view; a role's sessions over the role's limit are the server's. Both
are rows of the same kind. A database that is silent tells nothing: no reading is no zero.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

import psycopg

from hitless.adapters.postgres.roles import own_roles
from hitless.adapters.postgres.schemas import DatabaseSchemas, in_thread
from hitless.analysis.counts import PoolReading
from hitless.errors import HitlessError
from hitless.rollout.spec import LOCAL, ROLE_POOL, InstanceId, ServiceSpec, Version

EVERY_S = 1.0
FRESH_S = 3.0
"""An older reading tells nothing of now."""

PAUSE_S = 10.0
"""After a database has not answered."""

_SESSIONS = "SELECT usename, count(*)::int FROM pg_stat_activity WHERE usename = ANY (%s) GROUP BY usename"

log = logging.getLogger("hitless")
Readings = tuple[PoolReading, ...]


class RoleSessions:
    """Looks at the sessions of versions' roles.

    Args:
        schemas: reaches the databases.
        watched: services that are looked at now, by name.
    """

    def __init__(self, schemas: DatabaseSchemas, watched: Callable[[], Mapping[str, ServiceSpec]]) -> None:
        self._schemas = schemas
        self._watched = watched
        self._open: dict[str, psycopg.Connection] = {}
        self._read: dict[str, tuple[float, Readings]] = {}
        self._again_at: dict[str, float] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Look until cancelled; sessions of our own are closed then, and where nobody is watched any more."""
        try:
            while True:
                self._look_at_all(self._watched())
                await asyncio.sleep(EVERY_S)
        finally:
            for one in self._looking.values():
                one.cancel()
            for service in set(self._open) - self._busy:
                self._close(service)

    @property
    def _busy(self) -> set[str]:
        return {service for service, one in self._looking.items() if not one.done()}

    def _look_at_all(self, specs: Mapping[str, ServiceSpec]) -> None:
        """Begin a look at each; a database that hangs is left alone, and keeps nobody from the others."""
        busy = self._busy
        for gone in set(self._open) - set(specs) - busy:
            self._close(gone)
        for name, spec in specs.items():
            if name not in busy:
                self._looking[name] = asyncio.create_task(self._look(name, spec))

    def readings(self) -> Mapping[str, Readings]:
        """Return what was read just now, by service."""
        now_s = time.monotonic()
        return {service: found for service, (at_s, found) in self._read.items() if now_s - at_s <= FRESH_S}

    async def _look(self, service: str, spec: ServiceSpec) -> None:
        if time.monotonic() < self._again_at.get(service, 0.0):
            return
        try:
            found = await in_thread(partial(self._sessions, service, spec))
        except (HitlessError, OSError, psycopg.Error) as error:
            log.debug("sessions of %s are not known: %s", service, error)
            self._close(service)
            self._again_at[service] = time.monotonic() + PAUSE_S
        else:
            self._read[service] = time.monotonic(), found

    def _close(self, service: str) -> None:
        connection = self._open.pop(service, None)
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def _sessions(self, service: str, spec: ServiceSpec) -> Readings:
        connection = self._open.get(service)
        if connection is None:
            connection = self._open[service] = self._schemas.connect(spec)
        return read_sessions(connection, service, key=self._schemas.key)


def read_sessions(connection: psycopg.Connection, service: str, *, key: str) -> Readings:
    """Count the sessions of each version's role over its limit; roles without one are left out."""
    limited = {
        name: (known, known.raised_to or known.connections)
        for name, known in own_roles(connection, service, key).items()
        if known.connections
    }
    counts: dict[str, int] = dict(connection.execute(_SESSIONS, (list(limited),)).fetchall())
    return tuple(
        PoolReading(
            instance=InstanceId(name),
            region=LOCAL,
            version=Version(known.version),
            pool=ROLE_POOL,
            used=float(counts.get(name, 0)),
            size=float(limit or 0),
        )
        for name, (known, limit) in limited.items()
    )
