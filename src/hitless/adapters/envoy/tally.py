"""From lines of the access log to what each version did in each second, for one service.

Theory: a line is about a request that has ended, or about one that is open still 5 s after it began. The latter is
counted then, for what it is: answered (a stream, a long download) or hanging. `_Mark` remembers it until its end, so
that nothing is counted twice: one that was answered counts again only if it fails later; one that hung has its outcome
at the end, but no duration any more. Otherwise a version whose streams last an hour would for an hour be known by those
that failed.

Who waited a second and then went away has no outcome, but that second is known: it counts as a duration of at least so
long. Else a version so slow that nobody waits for it would look fast.

Bytes of bodies are those of answers, at their end, a stream's too; a line about what is open still has only a part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from hitless.adapters.envoy import entries
from hitless.adapters.envoy.entries import Entry, Fate
from hitless.adapters.envoy.layout import version_of
from hitless.adapters.envoy.route_classes import RouteClasses
from hitless.analysis.counts import HANGS_AFTER_S, LAST_BUCKET, Cell, Fates, Transfer, bucket_of
from hitless.rollout.spec import InstanceId, Region, Version

GAVE_UP_AFTER_S = 1.0

_MOST_MARKS = 200_000
_TOLD_WITHIN_S = 1.0  # the line of an open request is written so soon after 5 s


class _Mark(Enum):
    """What was counted of a request that is open still."""

    ANSWERED = "answered"
    HANGS = "hangs"


@dataclass(slots=True)
class _Count:
    """A `Cell` that grows."""

    total: int = 0
    failed: int = 0
    retried: int = 0
    durations: dict[int, int] = field(default_factory=dict)
    instances: dict[str, list[int]] = field(default_factory=dict)
    answers: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0

    def outcome(self, host: str | None, *, is_failed: bool, is_retried: bool) -> None:
        self.total += 1
        self.failed += is_failed
        self.retried += is_retried
        if host is not None:
            of_instance = self.instances.setdefault(host, [0, 0])
            of_instance[0] += 1
            of_instance[1] += is_failed

    def duration(self, bucket: int) -> None:
        self.durations[bucket] = self.durations.get(bucket, 0) + 1

    def transfer(self, received_bytes: int, sent_bytes: int) -> None:
        self.answers += 1
        self.received_bytes += received_bytes
        self.sent_bytes += sent_bytes


Counts = dict[tuple[str, str], _Count]
"""By route class and cluster."""


class Tally:
    """Counts of one service's seconds that are not whole yet.

    Args:
        watched_since_s: when the log began to be read, by Envoy's clock; what an earlier reader counted is not
            counted again.
    """

    def __init__(self, *, watched_since_s: float) -> None:
        self._since_s = watched_since_s
        self._classes = RouteClasses()
        self._marks: dict[str, _Mark] = {}
        self._seconds: dict[int, Counts] = {}

    def take(self, entry: Entry, *, at: int) -> None:
        """Count a line into the second `at`."""
        cluster = entry.get("cluster")
        if cluster is None or entries.is_testers(entry):  # answered by Envoy itself: no version's; or nobody's traffic
            return
        route = self._classes.of(
            str(entry.get("method", "")), str(entry.get("path", "/")), status=entry.get("status") or 0
        )
        counts = self._seconds.setdefault(at, {})
        count = counts.get((route, cluster))
        if count is None:
            count = counts[route, cluster] = _Count()
        if entries.is_open(entry):
            self._take_open(entry, count)
        else:
            self._take_end(entry, count)

    def forget_open(self) -> None:
        """Forget who was open: the Envoy that had them is gone, and will not tell their end."""
        self._marks.clear()

    def forget_before(self, at: int) -> None:
        """Let go of what was counted in seconds before `at`."""
        self._seconds = {second: counts for second, counts in self._seconds.items() if second >= at}

    def cells(
        self, at: int, *, region: Region, name: Callable[[str], InstanceId], is_gap: bool = False
    ) -> tuple[Cell, ...]:
        """Return what was counted in a second, and let go of it.

        Args:
            at: the second.
            region: of all of it.
            name: from an address to the instance's name.
            is_gap: it is thrown away.
        """
        found = self._seconds.pop(at, {})
        if is_gap:
            return ()
        return tuple(
            _cell(count, route=route, version=version_of(cluster), region=region, name=name)
            for (route, cluster), count in sorted(found.items())
            if count.total or count.durations or count.answers
        )

    def _take_open(self, entry: Entry, count: _Count) -> None:
        mark = self._mark_of(entry)
        request = str(entry.get("request_id"))
        if mark is None or request in self._marks:
            return
        self._marks[request] = mark
        if len(self._marks) > _MOST_MARKS:
            del self._marks[next(iter(self._marks))]
        if mark is _Mark.HANGS:
            count.duration(LAST_BUCKET)
            return
        _count_outcome(entry, count)
        if entries.is_stream(entry):
            _count_duration(entry, count)

    @staticmethod
    def _mark_of(entry: Entry) -> _Mark | None:
        if entries.is_answered(entry):
            return _Mark.ANSWERED
        return _Mark.HANGS if entries.is_whole(entry) else None  # a slow upload is its user's

    def _take_end(self, entry: Entry, count: _Count) -> None:
        mark = self._marks.pop(str(entry.get("request_id")), None) or self._mark_of_earlier_reader(entry)
        if mark is not _Mark.ANSWERED or _fails_after_its_answer(entry):
            _count_outcome(entry, count)
        if mark is None or (mark is _Mark.ANSWERED and not entries.is_stream(entry)):
            _count_duration(entry, count)
        if entries.is_answered(entry) and (found := entries.body_bytes(entry)) is not None:
            count.transfer(*found)

    def _mark_of_earlier_reader(self, entry: Entry) -> _Mark | None:
        began_s = entries.began_s(entry)
        told_by_s = began_s + HANGS_AFTER_S + _TOLD_WITHIN_S
        if began_s + HANGS_AFTER_S >= self._since_s or entries.told_s(entry) < told_by_s:
            return None
        first_byte_s = entries.first_byte_s(entry)
        return _Mark.ANSWERED if first_byte_s is not None and first_byte_s < HANGS_AFTER_S else _Mark.HANGS


def _fails_after_its_answer(entry: Entry) -> bool:
    """Tell whether it failed later than with its status, which was counted when it was open."""
    return entries.fate_of(entry) is Fate.FAILED and entries.fate_of({"status": entry.get("status")}) is Fate.ANSWERED


def _count_outcome(entry: Entry, count: _Count) -> None:
    fate = entries.fate_of(entry)
    if fate is not Fate.GONE:
        is_retried = fate is Fate.ANSWERED and (entry.get("attempts") or 1) > 1
        count.outcome(entry.get("host"), is_failed=fate is Fate.FAILED, is_retried=is_retried)


def _count_duration(entry: Entry, count: _Count) -> None:
    fate = entries.fate_of(entry)
    if fate is Fate.ANSWERED:
        if (duration_ms := entries.answer_ms(entry)) is not None:
            count.duration(bucket_of(duration_ms))
    elif fate is Fate.GONE and entries.is_whole(entry):
        waited_s = entries.told_s(entry) - entries.began_s(entry)
        if waited_s >= GAVE_UP_AFTER_S:
            count.duration(bucket_of(waited_s * 1_000))


def _cell(count: _Count, *, route: str, version: Version, region: Region, name: Callable[[str], InstanceId]) -> Cell:
    instances: dict[InstanceId, Fates] = {}
    for host, (total, failed) in count.instances.items():
        instance = name(host)
        instances[instance] = instances.get(instance, Fates()) + Fates(total=total, failed=failed)
    durations: Mapping[int, int] = dict(sorted(count.durations.items()))
    transfer = Transfer(answers=count.answers, received_bytes=count.received_bytes, sent_bytes=count.sent_bytes)
    return Cell(
        region=region,
        route=route,
        version=version,
        requests=Fates(total=count.total, failed=count.failed),
        retried=count.retried,
        durations=durations,
        instances=instances,
        transfer=transfer if count.answers else None,
    )
