"""What was seen of each version in one second: the only thing that a judgement may rest on.

Rules. A request belongs to the second in which its fate became known: it was answered, it failed, or it has waited so
long that it hangs (told once, `HANGS_AFTER_S` after it began). A second that could not be read whole is a gap and says
so; it is never a second without failures. What a tester asked by header is nobody's traffic and is left out.

Durations are counted in buckets whose bounds grow by 2 % (`GROWTH`), from 1 ms to a minute: fine enough that a
threshold at a bound means what was written, and plain counters are all that the tests need (a sketch's error is an
error of the verdict). A stream counts with the time to its first byte.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from hitless.rollout.spec import InstanceId, Region, Version

GROWTH = 1.02
LEAST_MS, MOST_MS = 1.0, 60_000.0
LAST_BUCKET = math.ceil(math.log(MOST_MS / LEAST_MS) / math.log(GROWTH)) + 1
"""Holds what lasted longer than a minute, and what hangs: slower than every threshold."""

HANGS_AFTER_S = 5.0


def bucket_of(duration_ms: float) -> int:
    """Return the bucket of a duration: the smallest one whose bound is not below it."""
    if duration_ms <= LEAST_MS:
        return 0
    if duration_ms > MOST_MS:
        return LAST_BUCKET
    return math.ceil(round(math.log(duration_ms / LEAST_MS) / math.log(GROWTH), 9))


def bound_ms(bucket: int) -> float:
    """Return the longest duration of a bucket; infinity for the last one."""
    return math.inf if bucket >= LAST_BUCKET else float(LEAST_MS * GROWTH**bucket)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fates:
    """What became of some requests or calls."""

    total: int = 0
    failed: int = 0

    def __add__(self, other: Fates) -> Fates:
        """Return both together."""
        return Fates(total=self.total + other.total, failed=self.failed + other.failed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Bytes of bodies, without headers, of answers and of the requests they are to.

    Attributes:
        answers: that came to their end, however, and tell their bytes; a stream is one.
    """

    answers: int
    received_bytes: int
    sent_bytes: int

    def __add__(self, other: Transfer) -> Transfer:
        """Return both together."""
        return Transfer(
            answers=self.answers + other.answers,
            received_bytes=self.received_bytes + other.received_bytes,
            sent_bytes=self.sent_bytes + other.sent_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one version did in one second, in one region, for one class of routes.

    Attributes:
        requests: final outcomes, as users saw them. Those whose user went away are in neither number.
        retried: of them, answered only by another attempt.
        durations: answers by bucket (`bucket_of`); requests that hang are in `LAST_BUCKET`. Not the same number as
            `requests`: what hangs has no outcome yet, and is not counted here again when it has one.
        instances: `requests` by the instance that answered.
        transfer: of what ended in this second; None = nothing did, or nothing told its bytes.
    """

    region: Region
    route: str
    version: Version
    requests: Fates = Fates()
    retried: int = 0
    durations: Mapping[int, int] = field(default_factory=dict)
    instances: Mapping[InstanceId, Fates] = field(default_factory=dict)
    transfer: Transfer | None = None


RATIO = "ratios:"
"""Begins the name of what is no dependency but a ratio; no dependency's name that can be configured has a colon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What one version's calls to one of its dependencies came to in one second, as its instances count them.

    Or what else they count of good and bad: a ratio, whose name stands in `dependency` behind `RATIO`.
    """

    region: Region
    version: Version
    dependency: str
    fates: Fates


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one instance used, read in this second; None = could not be read.

    Attributes:
        cpu_s: processor time since its start.
        memory_bytes: resident, of the whole process group.
        descriptors: open ones.
        age_s: since its start.
        requests: it has answered since its start, as far as they were seen.
    """

    instance: InstanceId
    region: Region
    version: Version
    age_s: float
    cpu_s: float | None = None
    memory_bytes: int | None = None
    descriptors: int | None = None
    requests: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReading:
    """How much of one of its pools an instance used, as it told at the end of this second."""

    instance: InstanceId
    region: Region
    version: Version
    pool: str
    used: float
    size: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """Everything that was seen in one second; without traffic `cells` is empty, which is not the same as a gap.

    Attributes:
        at: seconds since 1970 at which it began.
        gap: why requests could not be read; `cells` and `calls` are empty then.
    """

    at: int
    cells: tuple[Cell, ...] = ()
    calls: tuple[Call, ...] = ()
    usage: tuple[Usage, ...] = ()
    pools: tuple[PoolReading, ...] = ()
    gap: str | None = None
