"""Whether the pools of all versions that run at once fit into the database (two environments open two sets of pools).

Theory. A connection counts against four limits: the server's `max_connections`, less what it keeps for superusers
(`superuser_reserved_connections`) and, from PostgreSQL 16 on, for roles that `pg_use_reserved_connections` was granted
to (`reserved_connections`); the database's `datconnlimit`; the role's `rolconnlimit`. Against each stands what the
rollout will take at its peak, and what others have open now.

Rules.
* Pools count as full: an instance may open all of its pool at any moment.
* What is not known is no room: whoever cannot ask the database lets nothing pass.
* What the service's own versions have open now is not counted beside what they will take.
* The reserve is kept of the server's connections alone; the other two limits are somebody's intention already.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

ALL_BP = 10_000
UNLIMITED = -1
WORKERS = 4
"""Connections of a migration: one that holds the change, one that works, and two that look at others meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taker:
    """Who takes connections, and why so many; what is not of an instance does not count where a limit is a role's."""

    who: str
    connections: int
    because: str = ""
    is_of_instances: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit of the database.

    Attributes:
        what: `server`, `database shop`, `role shop_app`.
        connections: all that may be open; `UNLIMITED` = no limit of its own.
        kept_back: of them the server keeps so many for others than users.
        others: open now, of others than the service's versions.
        is_of_role: of the role that instances connect as: counts them alone.
        is_server: it is the server's own, of which the reserve is kept.
    """

    what: str
    connections: int
    kept_back: int = 0
    others: int = 0
    is_of_role: bool = False
    is_server: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What is taken of one limit at the peak.

    Attributes:
        room: for users, at most.
        takers: in the order of their names, others and the reserve among them.
    """

    what: str
    room: int
    takers: tuple[Taker, ...]

    @property
    def taken(self) -> int:
        """All of it."""
        return sum(one.connections for one in self.takers)

    @property
    def fits(self) -> bool:
        """Tell whether there is room for it."""
        return self.taken <= self.room

    @property
    def sentence(self) -> str:
        """Say it in one line."""
        verdict = "fits" if self.fits else f"{self.taken - self.room} too many"
        return f"{self.what}: {self.taken} of {self.room} connections at the peak, {verdict}"

    @property
    def rows(self) -> tuple[str, ...]:
        """Say who takes what, a line each."""
        width = max((len(str(one.connections)) for one in self.takers), default=1)
        return tuple(
            f"{one.connections:>{width}}  {one.who}" + (f" ({one.because})" if one.because else "")
            for one in self.takers
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """What stays free: a count, or a share of what the server has for users, rounded up."""

    count: int | None = None
    share_bp: int | None = None

    def of(self, room: int) -> int:
        """Return how many connections that is."""
        return self.count if self.count is not None else math.ceil((self.share_bp or 0) * room / ALL_BP)


def fit(takers: Iterable[Taker], limits: Iterable[Limit], *, reserve: Reserve) -> tuple[Fit, ...]:
    """Hold what is taken against every limit that there is; the one with the least room left comes first."""
    wanted = tuple(takers)
    found = [_fit(wanted, one, reserve) for one in limits if one.connections != UNLIMITED]
    return tuple(sorted(found, key=lambda one: (one.room - one.taken, one.what)))


def _fit(takers: tuple[Taker, ...], limit: Limit, reserve: Reserve) -> Fit:
    room = max(limit.connections - limit.kept_back, 0)
    counted = [one for one in takers if one.is_of_instances or not limit.is_of_role]
    others = [Taker(who="others, open now", connections=limit.others)] if limit.others else []
    return Fit(what=limit.what, room=room, takers=(*counted, *others, *_kept_free(limit, room, reserve)))


def _kept_free(limit: Limit, room: int, reserve: Reserve) -> Iterator[Taker]:
    if limit.is_server and (kept := reserve.of(room)):
        yield Taker(who="reserve", connections=kept, because="kept free")


def too_many(fits: Iterable[Fit]) -> int:
    """Return by how many connections the tightest limit is passed; 0 = by none."""
    return max((one.taken - one.room for one in fits), default=0)


def remedies(excess: int, *, per_instance: int, instances: int, at_peak: int) -> tuple[str, ...]:
    """Say what would make it fit.

    Args:
        excess: so many connections are too many.
        per_instance: at most so many an instance opens.
        instances: of the service, at full strength.
        at_peak: of all versions together, at the peak.
    """
    return tuple(_remedies(excess, per_instance, instances, at_peak))


def _remedies(excess: int, per_instance: int, instances: int, at_peak: int) -> Iterator[str]:
    fewer = math.ceil(excess / per_instance) if per_instance else 0
    if 0 < fewer <= at_peak - instances - 1:
        surge = at_peak - instances - fewer
        yield f"bring it in with {fewer} instances fewer at once: strategy rolling with `max_surge: {surge}`"
    smaller = per_instance - math.ceil(excess / at_peak) if at_peak else 0
    if smaller >= 1:
        yield f"open at most {smaller} connections an instance, and say `database.pool.per_instance: {smaller}`"
    yield "put a pooler (PgBouncer, in transaction mode) between instances and server, and say what it opens"
    yield "raise max_connections (needs a restart of the server), or end connections of others"
