"""What those beside a backfill feel: seen through a second session, twice a second, without any privilege.

How. A small write of our own tells what a small write costs: `pg_logical_emit_message(true, ...)` writes a few bytes of
WAL and commits, so it waits for the same disk, the same synchronous replicas and the same processors as a writer's
commit; it touches no table, leaves no dead row, and every role may call it. It is timed while a batch runs and while
none does, and the two are compared: so a day that gets busier is not taken for our doing.

What a role may not see (pg_monitor shows it) is None, is told once by name, and throttles nothing.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import psycopg
from psycopg.rows import dict_row

from hitless.adapters.postgres.database import Database
from hitless.errors import EnvironmentFault
from hitless.schema.backfill.throttle import Sight

WRITE_EVERY_S = 0.1
LOOK_EVERY_S = 0.5
STALE_S = 5.0
"""A sight that is older says nothing."""

FEWEST = 8
"""Samples for a percentile that is not one lucky write."""

_RECENT, _USUAL = 30, 60
_PERCENTILE = 0.9
_AGAIN_S = 1.0
_SMALL_GAP_MB = 1.0
"""A replica that is less behind than this is not behind: it is about to be sent what was just written."""

_WRITE = "SELECT pg_logical_emit_message(true, 'hitless', '')"
_LOOK = """
SELECT
  (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8 / 1e6 AS wal_mb,
  (SELECT json_agg(json_build_object('name', application_name, 'lag_s', extract(epoch FROM replay_lag),
     'at_mb', (replay_lsn - '0/0'::pg_lsn)::float8 / 1e6)) FROM pg_stat_replication
   WHERE state IS DISTINCT FROM 'backup') AS replicas,
  (SELECT json_build_object('name', slot_name, 'mb', (pg_current_wal_lsn() - restart_lsn)::float8 / 1e6)
   FROM pg_replication_slots WHERE restart_lsn IS NOT NULL ORDER BY restart_lsn LIMIT 1) AS slot,
  EXISTS (SELECT FROM pg_locks WHERE relation = ANY(%(tables)s) AND mode = 'ShareUpdateExclusiveLock' AND granted
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND pid <> %(pid)s) AS vacuumed,
  (SELECT sum(numbackends) FROM pg_stat_database)::int AS connections,
  current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true), '0')::int AS most_connections,
  (SELECT json_build_object('n', count(*), 'ms', extract(epoch FROM max(clock_timestamp() - waitstart)) * 1000)
   FROM pg_locks WHERE NOT granted AND %(pid)s = ANY(pg_blocking_pids(pid))) AS waiting,
  (SELECT json_build_object('s', extract(epoch FROM max(clock_timestamp() - xact_start)),
     'hidden', count(*) FILTER (WHERE state IS NULL AND backend_type IS NULL))
   FROM pg_stat_activity WHERE pid <> ALL(ARRAY[%(pid)s, pg_backend_pid()])
     AND (backend_xmin IS NOT NULL OR backend_type IS NULL)) AS oldest
"""


@dataclass(slots=True)
class _Samples:
    """How long small writes took lately, in ms: while a batch ran, and while none did."""

    working: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    resting: deque[float] = field(default_factory=lambda: deque(maxlen=_USUAL))

    def percentile(self, samples: deque[float]) -> float | None:
        """Return the percentile that is compared; None where there are too few."""
        known = sorted(samples)
        return known[int(len(known) * _PERCENTILE)] if len(known) >= FEWEST else None


class Probe:
    """The second session; runs in a thread of its own.

    Args:
        database: where.
        tables: oids of the parts that are filled.
        pid: of the first session.

    Attributes:
        is_working: a batch runs.
        unseen: names of what cannot be seen.
    """

    def __init__(self, database: Database, *, tables: list[int], pid: int) -> None:
        self._database = database
        self._asked = {"tables": tables, "pid": pid}
        self.unseen: set[str] = set()
        self._over = threading.Event()
        self._samples = _Samples()
        self._history: deque[tuple[float, float]] = deque(maxlen=1_200)
        self._seen: tuple[float, Sight] | None = None
        self.is_working = False
        self._thread = threading.Thread(target=self._run, name="hitless-probe", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def follow(self, pid: int) -> None:
        """Name the first session anew, once it was opened again."""
        self._asked["pid"] = pid

    @property
    def sight(self) -> Sight:
        """What was seen last; nothing, where that is too long ago."""
        seen = self._seen
        return seen[1] if seen and time.monotonic() - seen[0] < STALE_S else Sight()

    @property
    def knows_the_usual(self) -> bool:
        """Tell whether enough is known of how it is without us."""
        return len(self._samples.resting) >= FEWEST

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                with self._database.connect() as connection:
                    self._look_on(connection)
            except (psycopg.Error, EnvironmentFault) as error:
                self.unseen.add(f"what others need: {' '.join(str(error).split())}")
                self._over.wait(_AGAIN_S)

    def _look_on(self, connection: psycopg.Connection) -> None:
        looked_s = 0.0
        while not self._over.wait(WRITE_EVERY_S):
            self._write(connection)
            if time.monotonic() - looked_s >= LOOK_EVERY_S:
                self._seen = (time.monotonic(), self._look(connection))
                looked_s = time.monotonic()

    def _write(self, connection: psycopg.Connection) -> None:
        was_working, began_s = self.is_working, time.perf_counter()
        connection.execute(_WRITE)
        took_ms = (time.perf_counter() - began_s) * 1_000
        (self._samples.working if was_working or self.is_working else self._samples.resting).append(took_ms)

    def _look(self, connection: psycopg.Connection) -> Sight:
        cursor = connection.cursor(row_factory=dict_row)
        found = cursor.execute(_LOOK, self._asked).fetchone()
        assert found is not None
        self._history.append((time.monotonic(), found["wal_mb"]))
        replica, lag_s = self._lag(found["wal_mb"], found["replicas"] or [])
        if found["oldest"]["hidden"]:
            self.unseen.add("transactions of other users (GRANT pg_monitor shows them)")
        return Sight(
            write_ms=self._samples.percentile(self._samples.working),
            usual_write_ms=self._samples.percentile(self._samples.resting),
            held_up=found["waiting"]["n"],
            longest_wait_ms=found["waiting"]["ms"],
            lag_s=lag_s,
            replica=replica,
            retained_mb=found["slot"]["mb"] if found["slot"] else None,
            slot=found["slot"]["name"] if found["slot"] else "",
            is_vacuumed=found["vacuumed"],
            connections=found["connections"],
            most_connections=found["most_connections"],
            oldest_s=found["oldest"]["s"],
        )

    def _lag(self, wal_mb: float, replicas: list[dict[str, Any]]) -> tuple[str, float | None]:
        """Return the replica that is furthest behind, and by how many seconds."""
        if any(one["at_mb"] is None for one in replicas):
            self.unseen.add("lag of replicas (GRANT pg_monitor shows it)")
        known = [(one["name"], self._behind_s(one, wal_mb)) for one in replicas if one["at_mb"] is not None]
        return max(known, key=lambda one: one[1], default=("", None))

    def _behind_s(self, replica: dict[str, Any], wal_mb: float) -> float:
        """Return how long ago was written what a replica has replayed last.

        `replay_lag` stays as it was while a replica says nothing, so our own memory of the WAL's end counts as well.
        """
        if wal_mb - replica["at_mb"] < _SMALL_GAP_MB:
            return 0.0
        since = next((at_s for (at_s, _), (_, end) in pairwise(self._history) if end > replica["at_mb"]), None)
        ours = time.monotonic() - since if since is not None else 0.0
        return max(ours, replica["lag_s"] or 0.0)
