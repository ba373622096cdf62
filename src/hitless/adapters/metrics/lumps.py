"""From a Prometheus's counters, asked again and again, to counts of good and bad by version. Pure.

Theory. A Prometheus knows a counter as of its last scrape, 15 s ago or less as it usually is, and each target is
scraped at a moment of its own. So counts come in lumps, those of one version at other moments than those of the other.
Held against each other by the second, a lump would meet nothing most of the time, and else what happened at another
time. So all versions' counts of a ratio are told at once, every `WINDOW_S`: then each version's window holds about two
lumps, and what both suffer lies in both windows but for its ends. A window in which a version that is there has no lump
yet lasts longer, up to `LONGEST_S`; whether it does depends on when scrapes come, not on what they say.

Measured: of 1,000 rollouts of half an hour that are alike (scraped every 15 s, a rate of bad that swings by half every
5 minutes, a bound of 1 %) 2 were taken back.

Rules, those of `calls`: an instance is counted from its first reading on that differs from one before: what a
Prometheus that has just come back has of it may be minutes old, and the first scrape then holds all of them. A series
that appears beside others of its instance counts from zero. Where one series of an instance falls, nothing of that
instance is counted in this reading. A ratio is counted between two readings in which both of its parts are there. After
`SILENT_S` without an answer counting begins anew, and what was not told yet is dropped.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hitless.adapters.metrics.calls import Carry
from hitless.adapters.metrics.wanted import ADDS
from hitless.analysis.counts import RATIO, Call, Fates
from hitless.analysis.settings import QUERY_LONGEST_S as LONGEST_S
from hitless.analysis.settings import QUERY_WINDOW_S as WINDOW_S
from hitless.rollout.spec import LOCAL, Version

SILENT_S = 30
KEPT_S = 60
"""A series that is told no more is forgotten after so long."""

MOST_SERIES = 5_000

_INSTANCE = ("job", "instance")
Labels = tuple[tuple[str, str], ...]


class NotAVector(ValueError):
    """An answer is of no use; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """One series, as it stands."""

    version: Version
    labels: Labels
    value: float

    @property
    def instance(self) -> tuple[str, ...]:
        """What is counted in one place: of one version, of one target."""
        found = dict(self.labels)
        return (self.version, *(found.get(name, "") for name in _INSTANCE))


def read_vector(answer: Any, *, version_label: str) -> tuple[Counted, ...]:
    """Read what `/api/v1/query` has answered; series without the label are nobody's.

    Raises:
        NotAVector: it is an error, no vector, empty, has a value that is no number, or no series names a version.
    """
    if not isinstance(answer, Mapping) or "status" not in answer:
        raise NotAVector("the answer is not a Prometheus's")
    if answer["status"] != "success":
        raise NotAVector(f"{answer.get('errorType', 'error')}: {answer.get('error', 'no reason was given')}")
    try:
        return _vector(answer["data"]["resultType"], answer["data"]["result"], version_label)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise NotAVector("the answer is not a Prometheus's") from error


def _vector(kind: str, result: Sequence[Any], version_label: str) -> tuple[Counted, ...]:
    if kind != "vector":
        raise NotAVector(f"the answer is a {kind}, and a vector of counters is needed")
    if not result:
        raise NotAVector("no series matches")
    if len(result) > MOST_SERIES:
        raise NotAVector(f"more than {MOST_SERIES:,} series match")
    found = []
    for one in result:
        value = float(one["value"][1])
        if not math.isfinite(value):
            raise NotAVector(f"a value is {one['value'][1]}, and counters are needed")
        labels = tuple(sorted((str(name), str(text)) for name, text in one["metric"].items()))
        if version := one["metric"].get(version_label):
            found.append(Counted(version=Version(version), labels=labels, value=value))
    if not found:
        raise NotAVector(f"no series has the label `{version_label}` that names a version")
    return tuple(found)


_Key = tuple[str, Labels]


@dataclass(slots=True)
class _Ratio:
    """One ratio: its last reading, and what was counted since it was told."""

    before: dict[_Key, tuple[Counted, int]] = field(default_factory=dict)
    read_at: int | None = None
    began_at: int | None = None
    sums: defaultdict[Version, Fates] = field(default_factory=lambda: defaultdict(Fates))
    present: set[Version] = field(default_factory=set)
    settled: set[tuple[str, ...]] = field(default_factory=set)
    carried: defaultdict[Version, Carry] = field(default_factory=lambda: defaultdict(lambda: Carry(for_s=KEPT_S)))

    def read(self, parts: Mapping[str, Iterable[Counted]], *, at: int) -> None:
        if self.read_at is not None and at - self.read_at > SILENT_S:
            self.forget()
        now = {(part, one.labels): one for part, series in parts.items() for one in series}
        if {part for part, _ in self.before} == parts.keys():
            self._count(now, ADDS[frozenset(parts)])
        kept = {key: known for key, known in self.before.items() if at - known[1] <= KEPT_S}
        self.before = kept | {key: (one, at) for key, one in now.items()}
        self.present = {one.version for one in now.values()}
        self.read_at = at
        self.began_at = at if self.began_at is None else self.began_at

    def _count(self, now: Mapping[_Key, Counted], adds: Mapping[str, tuple[int, int]]) -> None:
        known = {one.instance for one, _ in self.before.values()}
        changed = {one.instance for key, one in now.items() if one.value != self._earlier(key)}
        fallen = {one.instance for key, one in now.items() if key in self.before and one.value < self._earlier(key)}
        counts = (self.settled & known) - fallen
        self.settled |= known & changed
        for key, one in now.items():
            if one.instance in counts:
                grown = round(one.value - self._earlier(key))
                total, failed = adds[key[0]]
                self.sums[one.version] += Fates(total=grown * total, failed=grown * failed)

    def _earlier(self, key: _Key) -> float:
        return self.before[key][0].value if key in self.before else 0.0

    def forget(self) -> None:
        """Begin anew: what was counted before is too old to be compared."""
        self.before.clear()
        self.settled.clear()
        self.sums.clear()
        self.began_at = None

    def tell(self, *, at: int) -> dict[Version, Fates]:
        """Return what is to be told in this second: of all versions, or nothing."""
        if self.began_at is None or at - self.began_at < WINDOW_S:
            return {}
        if self.read_at is None or at - self.read_at > SILENT_S:
            self.forget()
            return {}
        if any(not self.sums[version].total for version in self.present) and at - self.began_at < LONGEST_S:
            return {}
        versions = self.present | self.sums.keys()  # also that nothing was counted
        told = {version: self.carried[version].told(self.sums[version], at=at) for version in sorted(versions)}
        self.sums.clear()
        self.began_at = at
        return told


class LumpMeter:
    """Ratios of one service, as a Prometheus tells them."""

    def __init__(self) -> None:
        self._ratios: defaultdict[str, _Ratio] = defaultdict(_Ratio)

    def read(
        self, answers: Mapping[str, Mapping[str, Sequence[Counted]]], *, versions: Collection[Version], at: int
    ) -> None:
        """Take in what was asked at one moment.

        Args:
            answers: by ratio, by part; a ratio of which a part could not be read is missing.
            versions: of the service; others are ignored.
            at: the moment that all of it was asked about.
        """
        for name, parts in answers.items():
            mine = {part: [one for one in series if one.version in versions] for part, series in parts.items()}
            self._ratios[name].read(mine, at=at)

    def tell(self, *, at: int) -> tuple[Call, ...]:
        """Return the counts that are to be told in this second."""
        return tuple(
            Call(region=LOCAL, version=version, dependency=f"{RATIO}{name}", fates=fates)
            for name, ratio in self._ratios.items()
            for version, fates in ratio.tell(at=at).items()
        )
