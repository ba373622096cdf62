"""When a backfill rests, for how long and why: from what is seen of writers, replicas and the server.

Theory. A backfill has all the time in the world, its neighbours have none. Two kinds of rest:
* *easing*: after each batch, in proportion to it. For what a backfill makes worse little by little: writers' latency,
  a vacuum that has to keep up, a rate of WAL, and `nice`, which somebody asked for.
* *stopping*: no batch until it is better. For what ends in an outage: replicas that fall behind, WAL that a slot keeps
  until the disk is full, a server that is out of connections.

How much to ease for writers is not known beforehand: the ratio of rest to work doubles while they are slow and falls by
a fifth while they are not, as TCP's windows do (RFC 5681), so it swings around what they can bear.

Rules. What was not seen (None) eases and stops nothing, and is never taken for zero. Of several reasons the longest
rest counts, and it is the one that is told. Long transactions are told and stop nothing: waiting makes nothing better.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from hitless.schema.backfill.pace import BUDGET_S, MOST_ROWS

LOOK_AGAIN_S = 0.5
"""How long a stop lasts before it is looked again."""

SLOWER_TIMES = 3.0
SLOWER_BY_MS = 10.0
"""Writers are slow when they need three times what they need without us, and 10 ms more: below that it is noise."""

HELD_UP_MS = 150.0
LEAST_RATIO, MOST_RATIO = 0.25, 19.0
DECAY = 0.8
VACUUM_RATIO = 1.0
"""Half the time: a vacuum keeps up then (2 million rows grew by 256 MB, at full speed by up to 412 MB)."""

NICEST = 90


class Reason(StrEnum):
    """Why a backfill rests."""

    NICE = "nice"
    WAL = "wal"
    WRITERS = "writers"
    VACUUM = "vacuum"
    LAG = "lag"
    SLOTS = "slots"
    CONNECTIONS = "connections"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What somebody wants of a backfill.

    Attributes:
        batch_s: how long a batch should take.
        most_rows: how many rows it has at most.
        nice: percent of the time that it rests, 0 to 90.
        max_wal_mb_s: MB of WAL a second, its own and what others write meanwhile; None = no limit.
        max_lag_s: how far a replica may be behind.
        max_retained_mb: how much WAL a replication slot may keep.
        spare_connections: how many must be free.
        is_heedful: look at what others need; without it only `nice` and `max_wal_mb_s` count.
    """

    batch_s: float = BUDGET_S
    most_rows: int = MOST_ROWS
    nice: int = 0
    max_wal_mb_s: float | None = None
    max_lag_s: float = 10.0
    max_retained_mb: float = 10_240.0
    spare_connections: int = 3
    is_heedful: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is seen of those beside us; None = could not be seen.

    Attributes:
        write_ms: what a small write needs while we work, 90th percentile of the last seconds.
        usual_write_ms: the same while we rest.
        held_up: sessions that wait for a lock of ours.
        longest_wait_ms: how long the first of them has waited.
        lag_s: how far the last replica is behind, and its name; None = there is none, or it is not shown to us.
        retained_mb: how much WAL the slot that keeps most of it keeps, and its name.
        is_vacuumed: somebody vacuums, analyses or indexes the table.
        connections, most_connections: that are open, and that this user may open.
        oldest_s: age of the oldest transaction that keeps dead rows from being cleared.
    """

    write_ms: float | None = None
    usual_write_ms: float | None = None
    held_up: int | None = None
    longest_wait_ms: float | None = None
    lag_s: float | None = None
    replica: str = ""
    retained_mb: float | None = None
    slot: str = ""
    is_vacuumed: bool | None = None
    connections: int | None = None
    most_connections: int | None = None
    oldest_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a batch cost.

    Attributes:
        seconds: from its beginning to its commit.
        wal_mb: WAL that was written since the batch before it committed; None = unknown.
        since_s: how long ago that was.
    """

    seconds: float
    wal_mb: float | None = None
    since_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """A pause.

    Attributes:
        seconds: how long, more than 0.
        sentence: the reason in words, with its figures.
        is_stop: look again after it, before the next batch.
    """

    seconds: float
    reason: Reason
    sentence: str
    is_stop: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """How much is rested for writers: seconds of rest for each second of work."""

    ratio: float = 0.0

    def after(self, sight: Sight) -> Throttle:
        """Return how much is rested after what was seen."""
        if are_slow(sight):
            return Throttle(ratio=min(max(self.ratio * 2, LEAST_RATIO), MOST_RATIO))
        eased = self.ratio * DECAY
        return Throttle(ratio=eased if eased >= LEAST_RATIO / 2 else 0.0)

    def rest(self, batch: Batch, sight: Sight, limits: Limits) -> Rest | None:
        """Return the rest after a batch: the longest of those that there are reasons for."""
        reasons = [*self._easings(batch, sight, limits)]
        longest = max(reasons, key=lambda one: one.seconds, default=None)
        return longest if longest and longest.seconds > 0 else None

    def _easings(self, batch: Batch, sight: Sight, limits: Limits) -> Iterator[Rest]:
        nice_s = batch.seconds * limits.nice / (100 - limits.nice)
        yield Rest(seconds=nice_s, reason=Reason.NICE, sentence=f"nice {limits.nice}: rests that share of the time")
        if limits.max_wal_mb_s and batch.wal_mb is not None:
            over_s = batch.wal_mb / limits.max_wal_mb_s - batch.since_s
            sentence = f"WAL is written at more than {limits.max_wal_mb_s:g} MB/s"
            yield Rest(seconds=over_s, reason=Reason.WAL, sentence=sentence)
        if limits.is_heedful and self.ratio:
            sentence = slow_writers(sight)
            yield Rest(seconds=batch.seconds * self.ratio, reason=Reason.WRITERS, sentence=sentence)
        if limits.is_heedful and sight.is_vacuumed:
            sentence = "the table is vacuumed, analysed or indexed meanwhile"
            yield Rest(seconds=batch.seconds * VACUUM_RATIO, reason=Reason.VACUUM, sentence=sentence)


def are_slow(sight: Sight) -> bool:
    """Tell whether writers are known to be slower with us than without."""
    if sight.held_up and sight.longest_wait_ms is not None and sight.longest_wait_ms > HELD_UP_MS:
        return True
    if sight.write_ms is None or sight.usual_write_ms is None:
        return False
    return sight.write_ms > max(SLOWER_TIMES * sight.usual_write_ms, sight.usual_write_ms + SLOWER_BY_MS)


def slow_writers(sight: Sight) -> str:
    """Say how slow writers are."""
    if sight.write_ms is None or sight.usual_write_ms is None:
        return "writers waited for locks of ours"
    return f"a write takes {sight.write_ms:.0f} ms, and {sight.usual_write_ms:.0f} ms while we rest"


def stop(sight: Sight, limits: Limits) -> Rest | None:
    """Return why no batch may begin now, if anything."""
    return next(_stops(sight, limits), None) if limits.is_heedful else None


def _stops(sight: Sight, limits: Limits) -> Iterator[Rest]:
    if sight.lag_s is not None and sight.lag_s > limits.max_lag_s:
        yield _stop(Reason.LAG, f"replica {sight.replica} is {sight.lag_s:.1f} s behind, {limits.max_lag_s:g} s may be")
    if sight.retained_mb is not None and sight.retained_mb > limits.max_retained_mb:
        kept, most = f"{sight.retained_mb:,.0f}", f"{limits.max_retained_mb:,.0f}"
        yield _stop(Reason.SLOTS, f"replication slot {sight.slot} keeps {kept} MB of WAL, {most} MB may be")
    if sight.connections is not None and sight.most_connections is not None:
        free = sight.most_connections - sight.connections
        if free < limits.spare_connections:
            sentence = f"{max(free, 0)} of {sight.most_connections} connections are free"
            yield _stop(Reason.CONNECTIONS, f"{sentence}, {limits.spare_connections} must be")


def _stop(reason: Reason, sentence: str) -> Rest:
    return Rest(seconds=LOOK_AGAIN_S, reason=reason, sentence=sentence, is_stop=True)
