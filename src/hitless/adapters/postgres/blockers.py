"""Who holds locks that a statement of ours would wait for.

Why look first. A request for a strong lock that waits is itself in the way: whoever wants a conflicting lock queues
behind it. So where a transaction is known to hold such a lock and to be older than we would wait, we do not ask at all.

How it is seen. Locks stand in pg_locks, who holds them in pg_stat_activity; those of a prepared transaction have no
process, and are found by its transaction id. A role that may not see the ages of others' transactions (it lacks
pg_monitor) recognises them: who was there at the last look, in the same transaction, is older than the pause.

What to know. An autovacuum worker gives way to a lock that waits, but only once the waiter has looked for deadlocks,
after deadlock_timeout: 1 s unless somebody set it, longer than we ever wait (ProcSleep in proc.c). Where the role may
set it, it is set shorter than the wait. A worker that prevents wraparound does not give way at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import psycopg

from hitless.adapters.postgres.trace import lock_mode
from hitless.schema.effects.locks import LockMode
from hitless.schema.names import Name

Kind = Literal["session", "prepared", "autovacuum", "wraparound"]

LONGEST_QUERY = 200

_HOLDERS = f"""
WITH RECURSIVE named(relation, mode, oid) AS (
    SELECT g.relation, g.mode, to_regclass(g.relation)::oid
    FROM unnest(%(names)s::text[], %(modes)s::int[]) AS g(relation, mode)
), wanted(oid, mode) AS (
    SELECT oid, mode FROM named WHERE oid IS NOT NULL
    UNION SELECT i.indrelid, n.mode FROM named n JOIN pg_index i ON i.indexrelid = n.oid
    UNION SELECT h.inhrelid, w.mode FROM wanted w JOIN pg_inherits h ON h.inhparent = w.oid
)
SELECT DISTINCT ON (l.virtualtransaction, w.oid) w.oid::regclass::text AS relation, w.mode AS wanted, l.mode AS held,
       l.virtualtransaction AS transaction, l.pid, p.gid, a.application_name AS application,
       coalesce(a.usename, p.owner) AS "user", coalesce(host(a.client_addr), 'local') AS client,
       a.state, a.backend_type, left(a.query, {LONGEST_QUERY}) AS query,
       extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, p.prepared))::float8 AS age_s,
       extract(epoch FROM clock_timestamp() - a.query_start)::float8 AS query_age_s
FROM pg_locks l
JOIN (SELECT oid, max(mode) AS mode FROM wanted GROUP BY oid) w ON w.oid = l.relation
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
LEFT JOIN (
    SELECT t.virtualtransaction, x.gid, x.owner, x.prepared
    FROM pg_prepared_xacts x JOIN pg_locks t ON t.locktype = 'transactionid' AND t.transactionid = x.transaction
) p ON l.pid IS NULL AND p.virtualtransaction = l.virtualtransaction
WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid() AND a.leader_pid IS NULL
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.mode, w.mode) IN (SELECT * FROM unnest(%(held)s::text[], %(against)s::int[]))
ORDER BY l.virtualtransaction, w.oid
"""  # noqa: S608 - a number of ours

_ONE = f"""
SELECT pid, application_name AS application, usename AS "user", coalesce(host(client_addr), 'local') AS client, state,
       backend_type, left(query, {LONGEST_QUERY}) AS query,
       extract(epoch FROM clock_timestamp() - coalesce(xact_start, backend_start))::float8 AS age_s,
       extract(epoch FROM clock_timestamp() - query_start)::float8 AS query_age_s
FROM pg_stat_activity WHERE pid = ANY(%s)
"""  # noqa: S608 - as above


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """A transaction that holds a lock in our way.

    Attributes:
        transaction: its virtual transaction id: the same as long as it lives.
        relation: on what; empty = not on a relation.
        held: the mode; what it holds in words, where it is not a relation.
        pid: None = a prepared transaction, called `gid`.
        age_s: seconds since the transaction began; None = this role may not see it.
        query: what it runs, or ran last.
    """

    kind: Kind
    transaction: str
    relation: str
    held: str
    pid: int | None
    gid: str | None
    application: str
    user: str
    client: str
    state: str
    query: str
    age_s: float | None
    query_age_s: float | None

    @property
    def sentence(self) -> str:
        """Name it in one line."""
        if self.kind == "prepared":
            return f"prepared transaction {self.gid!r} of {self.user}{_since(self.age_s)} holds {self._lock}"
        who = f"{self.user or 'somebody'}@{self.client}" + (f" ({self.application})" if self.application else "")
        doing = f", {self.state}{_for(self.query_age_s)}" if self.state else ""
        query = f": {' '.join(self.query.split())}" if self.query else ""
        return f"pid {self.pid}, {who}{_since(self.age_s)} holds {self._lock}{doing}{query}"

    @property
    def _lock(self) -> str:
        return f"{self.held} on {self.relation}" if self.relation else self.held

    @property
    def data(self) -> dict[str, Any]:
        """Return it for programs."""
        names = ("kind", "relation", "held", "pid", "gid", "application", "user", "client", "state", "query", "age_s")
        return {name: getattr(self, name) for name in names}


def holders(connection: psycopg.Connection, wanted: Mapping[Name, LockMode]) -> tuple[Blocker, ...]:
    """Return who holds locks that conflict with what we want, on these relations, their parts and their tables."""
    pairs = [(_pg(held), int(mode)) for held in LockMode for mode in LockMode if held.conflicts_with(mode)]
    given = {
        "names": [str(one) for one in wanted],
        "modes": [int(mode) for mode in wanted.values()],
        "held": [held for held, _ in pairs],
        "against": [mode for _, mode in pairs],
    }
    return tuple(_blocker(row) for row in _rows(connection, _HOLDERS, given))


def sessions(
    connection: psycopg.Connection, pids: Sequence[int], *, holds: str = "an old snapshot"
) -> tuple[Blocker, ...]:
    """Describe sessions that something waits for, by their processes; `holds` says for what, in words."""
    return tuple(replace(_blocker(row), held=holds) for row in _rows(connection, _ONE, (list(pids),)))


def _rows(connection: psycopg.Connection, query: str, given: Any) -> list[dict[str, Any]]:
    cursor = connection.execute(query.encode(), given)
    names = [one.name for one in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _blocker(row: Mapping[str, Any]) -> Blocker:
    return Blocker(
        kind=_kind(row),
        transaction=row.get("transaction") or str(row["pid"]),
        relation=row.get("relation") or "",
        held=lock_mode(row["held"]).sql if row.get("held") else "",
        pid=row["pid"],
        gid=row.get("gid"),
        application=row["application"] or "",
        user=row["user"] or "",
        client=row["client"],
        state=row["state"] or row["backend_type"] or "",
        query=row["query"] or "",
        age_s=row["age_s"],
        query_age_s=row["query_age_s"],
    )


def _kind(row: Mapping[str, Any]) -> Kind:
    if row["pid"] is None:
        return "prepared"
    if row["backend_type"] == "autovacuum worker":
        return "wraparound" if "(to prevent wraparound)" in (row["query"] or "") else "autovacuum"
    return "session"


def _pg(mode: LockMode) -> str:
    """Write a mode as pg_locks does."""
    return f"{mode.name.title().replace('_', '')}Lock"


def _since(age_s: float | None) -> str:
    return "" if age_s is None else f", in a transaction for {age_s:.1f} s,"


def _for(age_s: float | None) -> str:
    return "" if age_s is None else f" for {age_s:.1f} s"
