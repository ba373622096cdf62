"""Counts fates while the load runs: one tally per window and kind, added up only when somebody looks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from hitless.testing.load.fate import OK, Answer, Wire, cause_of
from hitless.testing.load.histogram import Histogram, bucket_of
from hitless.testing.load.plan import Kind
from hitless.testing.load.report import MAX_EXAMPLES, Failure, KindReport

UNMARKED = ""
MAX_ALIKE = 5  # examples of one kind and cause, so that a flood of one does not hide another


@dataclass(slots=True)
class Tally:
    """One kind's counts in one window; the mutable side of `KindReport`."""

    sent: int = 0
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    failed_versions: Counter[str] = field(default_factory=Counter)
    buckets: Counter[int] = field(default_factory=Counter)
    max_ms: float = 0.0
    late: int = 0
    queued: int = 0
    unsent: int = 0
    moved: int = 0
    opened: int = 0
    kept: int = 0
    cut: int = 0
    changes: Counter[str] = field(default_factory=Counter)
    new_users: int = 0
    new_user_changes: Counter[str] = field(default_factory=Counter)

    def count_answer(self, version: str, latency_s: float | None) -> None:
        """Count a good answer; an event that nobody asked for has no latency."""
        self.sent += 1
        self.answered += 1
        self.versions[version] += 1
        if latency_s is not None:
            latency_ms = latency_s * 1000
            self.buckets[bucket_of(latency_ms)] += 1
            self.max_ms = max(self.max_ms, latency_ms)

    def count_failure(self, cause: str, version: str) -> None:
        """Count a request that failed."""
        self.sent += 1
        self.failed[cause] += 1
        if version:
            self.failed_versions[version] += 1

    def report(self) -> KindReport:
        """Freeze the counts."""
        same = {one.name for one in fields(KindReport)} - {"latency"}
        values: dict[str, Any] = {name: getattr(self, name) for name in same}
        frozen: dict[str, Any] = {
            name: dict(value) if isinstance(value, Counter) else value for name, value in values.items()
        }
        return KindReport(**frozen, latency=Histogram(buckets=dict(self.buckets), max_ms=self.max_ms))


class Ledger:
    """Every request's fate, by window and kind."""

    def __init__(
        self,
        kinds: Iterable[Kind],
        *,
        version_header: str,
        version_field: str | None,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._kinds = tuple(kinds)
        self._version_header = version_header.lower().encode()
        self._version_field = version_field
        self._now = now
        self._monotonic = monotonic
        self._windows: dict[str, dict[Kind, Tally]] = {}
        self.examples: list[Failure] = []
        self.mark(UNMARKED)

    def mark(self, name: str) -> None:
        """Begin the window `name`, or go on with it."""
        self._mark = name
        self._current = self._windows.setdefault(name, {kind: Tally() for kind in self._kinds})

    def tally(self, kind: Kind) -> Tally:
        """Return the present window's counts of a kind."""
        return self._current[kind]

    def settle(
        self, kind: Kind, answer: Answer, *, latency_s: float | None, expected: bytes | None = None
    ) -> str | None:
        """Count one request's fate; return the version that gave a good answer, None when it failed."""
        cause = cause_of(answer, expected=expected)
        version = self.version_of(answer)
        if cause == OK:
            self._current[kind].count_answer(version, latency_s)
            return version
        self._current[kind].count_failure(cause, version)
        self.exemplify(kind, cause, version=version, detail=answer.detail, wire=answer.wire)
        return None

    def count_beyond_requests(self, kind: Kind, cause: str, *, times: int, detail: str, wire: Wire | None) -> None:
        """Count failures that are no request's own fate, such as events missing from a stream."""
        self._current[kind].failed[cause] += times
        self.exemplify(kind, cause, detail=detail, wire=wire)

    def exemplify(
        self, kind: Kind, cause: str, *, version: str = "", detail: str = "", wire: Wire | None = None
    ) -> None:
        """Keep a failure as an example while there is room."""
        alike = sum(one.kind is kind and one.cause == cause for one in self.examples)
        if len(self.examples) < MAX_EXAMPLES and alike < MAX_ALIKE:
            age_s = round(self._monotonic() - wire.opened_at, 3) if wire else None
            port = wire.local_port if wire else None
            example = Failure(
                at=self._now(),
                kind=kind,
                cause=cause,
                mark=self._mark,
                version=version,
                detail=detail,
                connection_age_s=age_s,
                local_port=port,
            )
            self.examples.append(example)

    def version_of(self, answer: Answer) -> str:
        """Read the version that answered: from the header, else from the JSON body; "" when neither names it."""
        named = answer.header(self._version_header)
        if named is not None:
            return named.decode("latin-1")
        return _field_of(answer.body, self._version_field) if self._version_field else ""

    def by_mark(self) -> dict[str, Mapping[Kind, KindReport]]:
        """Freeze all windows in which something happened."""
        frozen = {
            mark: {kind: tally.report() for kind, tally in window.items()} for mark, window in self._windows.items()
        }
        return {mark: kinds for mark, kinds in frozen.items() if any(kind != KindReport() for kind in kinds.values())}

    def kinds(self) -> dict[Kind, KindReport]:
        """Add all windows up."""
        windows = self.by_mark().values()
        return {kind: sum((window[kind] for window in windows), KindReport()) for kind in self._kinds}


def _field_of(body: bytes, name: str) -> str:
    if not body.startswith(b"{"):
        return ""
    try:
        return str(json.loads(body).get(name, ""))
    except ValueError:  # an object that is cut off or no JSON names no version; its fate is judged elsewhere
        return ""
