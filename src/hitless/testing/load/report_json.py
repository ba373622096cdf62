"""Reports as JSON and as rows: what other processes read and what terminals draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from hitless.testing.load.histogram import Histogram
from hitless.testing.load.plan import Kind
from hitless.testing.load.report import Failure, KindReport, PostCheck, Report

COLUMNS = ("clients", "sent", "answered", "failed", "why", "p50 ms", "p99 ms", "max ms", "streams kept", "versions")


def to_json(report: Report) -> dict[str, Any]:
    """Return a report as JSON values; `from_json` reads them back."""
    return {
        "verdict": report.verdict.value,
        "sent": report.sent,
        "failed": report.failed,
        "started_at": report.started_at.isoformat(),
        "duration_s": round(report.duration_s, 3),
        "is_capped": report.is_capped,
        "kinds": _kinds_to_json(report.kinds),
        "by_mark": {mark: _kinds_to_json(kinds) for mark, kinds in report.by_mark.items()},
        "posts": asdict(report.posts) if report.posts else None,
        "examples": [{**asdict(one), "at": one.at.isoformat()} for one in report.examples],
    }


def from_json(data: Mapping[str, Any]) -> Report:
    """Read a report that `to_json` wrote, e.g. in another process."""
    return Report(
        started_at=datetime.fromisoformat(data["started_at"]),
        duration_s=data["duration_s"],
        is_capped=data["is_capped"],
        kinds=_kinds_from_json(data["kinds"]),
        by_mark={mark: _kinds_from_json(kinds) for mark, kinds in data["by_mark"].items()},
        posts=PostCheck(**data["posts"]) if data["posts"] else None,
        examples=tuple(_failure_from_json(one) for one in data["examples"]),
    )


def rows(report: Report) -> tuple[tuple[str, ...], ...]:
    """Return one row per kind and one for all together; the columns are `COLUMNS`."""
    return (*(_row(kind.value, one) for kind, one in report.kinds.items()), _row("all", report.total))


def causes(report: KindReport) -> str:
    """Say why requests failed, most frequent first."""
    ordered = sorted(report.failed.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {cause}" for cause, count in ordered)


def _row(name: str, kind: KindReport) -> tuple[str, ...]:
    return (
        name,
        f"{kind.sent:,}",
        f"{kind.answered:,}",
        f"{kind.failures:,}",
        causes(kind),
        _milliseconds(kind.latency.quantile_ms(0.5)),
        _milliseconds(kind.latency.quantile_ms(0.99)),
        _milliseconds(kind.latency.max_ms if kind.latency.buckets else None),
        f"{kind.opened - kind.cut} of {kind.opened}" if kind.opened else "",
        ", ".join(f"{version or 'unknown'}: {count:,}" for version, count in sorted(kind.versions.items())),
    )


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _kinds_to_json(kinds: Mapping[Kind, KindReport]) -> dict[str, Any]:
    return {kind.value: one.to_json() for kind, one in kinds.items()}


def _kinds_from_json(kinds: Mapping[str, Any]) -> dict[Kind, KindReport]:
    return {Kind(kind): _kind_from_json(one) for kind, one in kinds.items()}


def _kind_from_json(data: Mapping[str, Any]) -> KindReport:
    latency = data["latency_ms"]
    buckets = {int(bucket): count for bucket, count in latency["buckets"].items()}
    counts = {one.name: data[one.name] for one in fields(KindReport) if one.name != "latency"}
    return KindReport(**counts, latency=Histogram(buckets=buckets, max_ms=latency["max"] or 0.0))


def _failure_from_json(data: Mapping[str, Any]) -> Failure:
    return Failure(**{**data, "at": datetime.fromisoformat(data["at"]), "kind": Kind(data["kind"])})
