"""Durations, shares and moments, as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

MINUTE_S = 60
HOUR_S = 3_600
DAY_S = 86_400
UNKNOWN = "?"


def duration(seconds: float) -> str:
    """Render a duration with its two largest units: `7s`, `4m12s`, `2h05m`, `3d04h`."""
    whole = max(int(seconds), 0)
    if whole < MINUTE_S:
        return f"{whole}s"
    if whole < HOUR_S:
        return _two(whole, MINUTE_S, 1, "m", "s")
    if whole < DAY_S:
        return _two(whole, HOUR_S, MINUTE_S, "h", "m")
    return _two(whole, DAY_S, HOUR_S, "d", "h")


def share(weight_bp: int | None) -> str:
    """Render basis points as percent: `5 %`, `0.01 %`; what is not known is `?` and never zero."""
    return UNKNOWN if weight_bp is None else f"{weight_bp / 100:g} %"


def moment(text: str) -> datetime:
    """Read an RFC 3339 moment."""
    return datetime.fromisoformat(text)


def since(text: str, now: datetime) -> str:
    """Render how long ago a moment was."""
    return duration((now - moment(text)).total_seconds())


def stamp(at: datetime) -> str:
    """Render a moment as RFC 3339 UTC to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def count(number: int, noun: str) -> str:
    """Render `1 instance`, `2 instances`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _two(whole: int, large_s: int, small_s: int, large: str, small: str) -> str:
    rest = whole % large_s // small_s
    return f"{whole // large_s}{large}{rest:02d}{small}" if rest else f"{whole // large_s}{large}"
