"""What a load found, as values that add up.

Rules: a request belongs to the window (`mark`) in which its fate became known, so in every window and kind
`sent = answered + failed requests`. Gaps of a stream, duplicated and lost POSTs are failures beyond requests. Success
is never reported without evidence: see `Verdict`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from functools import reduce
from operator import add
from typing import Any, TypeVar

from hitless.testing.load.histogram import Histogram
from hitless.testing.load.plan import Kind

MAX_EXAMPLES = 20
_Key = TypeVar("_Key")


class Verdict(StrEnum):
    """What a report proves."""

    CLEAN = "clean"  # every kind was answered, everything asked was sent and checked, nothing failed
    FAILED = "failed"
    INCOMPLETE = "incomplete"  # nothing failed, but not everything was sent or could be checked
    NO_EVIDENCE = "no_evidence"  # a kind got no answer at all because nothing of it was asked


@dataclass(frozen=True, slots=True, kw_only=True)
class KindReport:
    """One kind of client.

    Attributes:
        sent: requests whose fate is known; of streams: messages, events, and streams that did not open or were cut.
        failed: by cause.
        versions: good answers by version; "" = the answer named none.
        failed_versions: failed answers by version, as far as one answered.
        latency: of good answers, from the moment they were due.
        late: sent well after they were due because the generator was too slow.
        queued: sent well after they were due because all connections were busy.
        unsent: were due and never sent.
        moved: HTTP/2 requests that were provably not processed and asked again.
        opened, kept, cut: streams; kept = lived until the client closed them.
        changes: a known user's version changed, by `old->new`.
        new_users: brand-new users that asked twice.
        new_user_changes: those whose second answer came from another version, by `first->second`.
    """

    sent: int = 0
    answered: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    failed_versions: Mapping[str, int] = field(default_factory=dict)
    latency: Histogram = Histogram()
    late: int = 0
    queued: int = 0
    unsent: int = 0
    moved: int = 0
    opened: int = 0
    kept: int = 0
    cut: int = 0
    changes: Mapping[str, int] = field(default_factory=dict)
    new_users: int = 0
    new_user_changes: Mapping[str, int] = field(default_factory=dict)

    @property
    def failures(self) -> int:
        """Count failures of all causes."""
        return sum(self.failed.values())

    def __add__(self, other: KindReport) -> KindReport:
        """Return both together."""
        return KindReport(
            **{one.name: _both(getattr(self, one.name), getattr(other, one.name)) for one in fields(self)}
        )

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, quantiles included."""
        plain = {one.name: _plain(getattr(self, one.name)) for one in fields(self) if one.name != "latency"}
        return {**plain, "latency_ms": latency_to_json(self.latency)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PostCheck:
    """What the application says it executed, against what it acknowledged; `problem` = it could not be asked."""

    acknowledged: int = 0
    executed: int = 0
    duplicates: int = 0
    lost: int = 0
    problem: str | None = None

    def __add__(self, other: PostCheck) -> PostCheck:
        """Return both together."""
        return PostCheck(
            acknowledged=self.acknowledged + other.acknowledged,
            executed=self.executed + other.executed,
            duplicates=self.duplicates + other.duplicates,
            lost=self.lost + other.lost,
            problem=self.problem or other.problem,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failure as an example; `connection_age_s` and `local_port` lead to it in logs and captures."""

    at: datetime
    kind: Kind
    cause: str
    mark: str
    version: str = ""
    detail: str = ""
    connection_age_s: float | None = None
    local_port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a load found, whole and by mark.

    Attributes:
        posts: None = no POSTs were sent, or nobody was to be asked about them.
        is_capped: the bound on requests ended the load.
        examples: the first failures.
    """

    started_at: datetime
    duration_s: float
    kinds: Mapping[Kind, KindReport]
    by_mark: Mapping[str, Mapping[Kind, KindReport]] = field(default_factory=dict)
    posts: PostCheck | None = None
    is_capped: bool = False
    examples: tuple[Failure, ...] = ()

    @property
    def total(self) -> KindReport:
        """All kinds together."""
        return reduce(add, self.kinds.values(), KindReport())

    @property
    def sent(self) -> int:
        """Count requests of all kinds."""
        return sum(kind.sent for kind in self.kinds.values())

    @property
    def failed(self) -> int:
        """Count failures of all kinds and causes, duplicated and lost POSTs included."""
        posts = self.posts or PostCheck()
        return sum(kind.failures for kind in self.kinds.values()) + posts.duplicates + posts.lost

    @property
    def verdict(self) -> Verdict:
        """Say what is proven."""
        if self.failed:
            return Verdict.FAILED
        if not self.kinds or any(kind.answered == 0 for kind in self.kinds.values()):
            return Verdict.NO_EVIDENCE
        is_incomplete = self.total.unsent > 0 or (self.posts is not None and self.posts.problem is not None)
        return Verdict.INCOMPLETE if is_incomplete else Verdict.CLEAN

    def failed_in(self, mark: str) -> int:
        """Count failures in one window; POSTs are checked only at the end, so duplicates are in no window."""
        return sum(kind.failures for kind in self.by_mark[mark].values())

    def __add__(self, other: Report) -> Report:
        """Return both together, as of loads that ran side by side."""
        return Report(
            started_at=min(self.started_at, other.started_at),
            duration_s=max(self.duration_s, other.duration_s),
            kinds=_join(self.kinds, other.kinds),
            by_mark={
                mark: _join(self.by_mark.get(mark, {}), other.by_mark.get(mark, {}))
                for mark in {**self.by_mark, **other.by_mark}
            },
            posts=self.posts + other.posts if self.posts and other.posts else self.posts or other.posts,
            is_capped=self.is_capped or other.is_capped,
            examples=tuple(sorted(self.examples + other.examples, key=lambda one: one.at))[:MAX_EXAMPLES],
        )


def latency_to_json(latency: Histogram) -> dict[str, Any]:
    """Return the quantiles that people read, and the buckets that add up."""
    quantiles = {f"p{share:g}": latency.quantile_ms(share / 100) for share in (50, 95, 99)}
    largest = latency.max_ms if latency.buckets else None
    return {**quantiles, "max": largest, "buckets": {str(bucket): count for bucket, count in latency.buckets.items()}}


def _join(one: Mapping[Kind, KindReport], other: Mapping[Kind, KindReport]) -> dict[Kind, KindReport]:
    return {kind: one.get(kind, KindReport()) + other.get(kind, KindReport()) for kind in {**one, **other}}


def _both(one: Any, other: Any) -> Any:
    return Counter(one) + Counter(other) if isinstance(one, Mapping) else one + other


def _plain(value: Mapping[_Key, int] | int) -> dict[_Key, int] | int:
    return dict(value) if isinstance(value, Mapping) else value
