"""What a soak has seen, and whether every promise was kept."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import psutil

from hitless.testing.load import Report
from hitless.testing.load.ledger import UNMARKED
from soak.beats import Fault

MIB = 1 << 20
HOUR_S = 3600.0
LEAST_LOOKS = 20
"""Fewer say nothing of a leak, and what nothing is known of is not kept."""

GROWTH, NEW = 1.2, 20
"""Descriptors may become so many times as many, and so many more: connections come and go, a leak goes on and on."""

GROWTH_OF = {name: f"descriptors of {name} stay" for name in ("controller", "Envoy")}
"""Promises that a short soak cannot judge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One process's size at a moment."""

    at_s: float
    rss_mib: float
    descriptors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """One fault; `window` is the mark under which the load counts what it may have cost."""

    at_s: float
    fault: Fault
    window: str = UNMARKED


class Verdict(StrEnum):
    """What became of a promise; the value is what the ledger says."""

    KEPT = "yes"
    BROKEN = "**NO**"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What must hold, and what was seen."""

    words: str
    seen: str
    verdict: Verdict


@dataclass(slots=True, kw_only=True)
class Ledger:
    """Everything that a soak has seen.

    Attributes:
        controllers: each new controller, when it first answered.
        controller: the one that lived longest, again and again.
        strays: processes that are in no book, and doubled ones, whenever they were looked for.
        discrepancies: between the books at the very end.
        rollouts: begun, and ended by outcome, from the journal.
    """

    seed: int
    kills_wanted: int
    seconds: float = 0.0
    faults: list[Happened] = field(default_factory=list)
    controllers: list[Size] = field(default_factory=list)
    controller: list[Size] = field(default_factory=list)
    envoy: list[Size] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    discrepancies: list[str] = field(default_factory=list)
    looks: int = 0
    came_back_s: list[float] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    begun: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    records: int = 0
    instances_left: int = 0
    report: Report | None = None

    @property
    def kills(self) -> int:
        """Count SIGKILLs of controllers."""
        by = Counter(one.fault for one in self.faults)
        return by[Fault.KILL] + 2 * by[Fault.KILL_TWICE]

    def promises(self) -> tuple[Promise, ...]:
        """Judge."""
        return tuple(self._promises())

    def is_kept(self, *, but: Container[str] = ()) -> bool:
        """Say whether every promise was kept; one that could not be judged was not, unless it is named in `but`."""
        kept, excused = Verdict.KEPT, Verdict.NOT_JUDGED
        return all(one.verdict is kept or (one.verdict is excused and one.words in but) for one in self.promises())

    def _promises(self) -> Iterator[Promise]:
        yield _at_least("controllers killed", self.kills, self.kills_wanted)
        yield from self._of_users()
        yield _none("processes in no book, or doubled", len(self.strays))
        yield _none("differences between processes, records, Envoy, state and journal", len(self.discrepancies))
        yield _at_least("rollouts begun", self.begun, 1)
        unended = self.begun - self.ended.total()
        yield _none("rollouts that did not end", unended)
        for name, sizes in (("controller", self.controller), ("Envoy", self.envoy)):
            yield _of_descriptors(name, sizes)

    def _of_users(self) -> Iterator[Promise]:
        report = self.report
        if report is None:
            yield Promise(words="the load reported", seen="no", verdict=Verdict.BROKEN)
            return
        total = report.total
        yield _at_least("requests sent", total.sent, 1)
        yield _none("requests without a known fate", total.sent - total.answered - total.failures)
        yield _none("requests failed outside the windows of killed instances and Envoys", report.failed_in(UNMARKED))
        cut = sum(kind.cut for kind in report.by_mark[UNMARKED].values())
        yield _none("streams cut outside them", cut)
        posts = report.posts
        known = posts is not None and posts.problem is None
        yield Promise(words="POSTs could be checked", seen="yes" if known else "no", verdict=_verdict(is_kept=known))
        if posts is not None:
            yield _none("POSTs executed twice", posts.duplicates)
            yield _none("POSTs acknowledged and lost", posts.lost)


def measure(pid: int, at_s: float) -> Size:
    """Measure a process.

    Raises:
        psutil.Error: it has ended.
    """
    process = psutil.Process(pid)
    return Size(at_s=at_s, rss_mib=process.memory_info().rss / MIB, descriptors=process.num_fds())


def slope_per_hour(sizes: Sequence[Size]) -> tuple[float, float]:
    """Return the slopes of memory (MiB) and descriptors, per hour; nothing can be said of fewer than three."""
    if len({one.at_s for one in sizes}) < 3:  # noqa: PLR2004 - two points make any line
        return float("nan"), float("nan")
    times = [one.at_s for one in sizes]
    memory = statistics.linear_regression(times, [one.rss_mib for one in sizes]).slope
    descriptors = statistics.linear_regression(times, [one.descriptors for one in sizes]).slope
    return memory * HOUR_S, descriptors * HOUR_S


def _none(words: str, count: int) -> Promise:
    return Promise(words=words, seen=f"{count:,}", verdict=_verdict(is_kept=count == 0))


def _at_least(words: str, count: int, least: int) -> Promise:
    return Promise(words=words, seen=f"{count:,} of at least {least:,}", verdict=_verdict(is_kept=count >= least))


def _of_descriptors(name: str, sizes: Sequence[Size]) -> Promise:
    """Compare the second quarter, when all clients and streams are there, with the last one."""
    words, quarter = GROWTH_OF[name], len(sizes) // 4
    if len(sizes) < LEAST_LOOKS:
        return Promise(words=words, seen=f"{len(sizes)} looks of at least {LEAST_LOOKS}", verdict=Verdict.NOT_JUDGED)
    early, late = sizes[quarter : 2 * quarter], sizes[-quarter:]
    first, last = (statistics.median(one.descriptors for one in some) for some in (early, late))
    verdict = _verdict(is_kept=last <= GROWTH * first + NEW)
    return Promise(words=words, seen=f"{first:g}, then {last:g}", verdict=verdict)


def _verdict(*, is_kept: bool) -> Verdict:
    return Verdict.KEPT if is_kept else Verdict.BROKEN
