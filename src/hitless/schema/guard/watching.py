"""What is unusual after something was taken away: one judgement from looks at a server's counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WINDOW_S = 10.0
TIMES = 3.0
"""Rollbacks come in bursts; three times the usual rate, and ten more, is none of them on an ordinary day."""

MORE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Counts of one moment, all of them only growing; a counter is None where it cannot be read."""

    at_s: float
    commits: int
    rollbacks: int
    counters: Mapping[str, int | None]


def trouble_of(usual: tuple[Look, Look], looks: Sequence[Look]) -> str | None:
    """Say what is wrong, or None."""
    first, last = looks[0], looks[-1]
    for name, value in last.counters.items():
        before = usual[1].counters.get(name)
        if value is None or before is None:
            return f"the counter {name} cannot be read any more"
        if value > before:
            return f"{value - before:,} writes came that only an older release makes ({name})"
    begin = next((one for one in looks if last.at_s - one.at_s <= WINDOW_S), first)
    if last.rollbacks < begin.rollbacks:
        return "the server's counts began anew: it was restarted, or somebody has reset them"
    expected = TIMES * _rate(usual) * (last.at_s - begin.at_s) + MORE
    if last.rollbacks - begin.rollbacks > expected:
        return (
            f"{last.rollbacks - begin.rollbacks:,} transactions were rolled back within"
            f" {last.at_s - begin.at_s:.0f} s; {_rate(usual):.1f} a second were usual before"
        )
    return None


def _rate(usual: tuple[Look, Look]) -> float:
    seconds = usual[1].at_s - usual[0].at_s
    return (usual[1].rollbacks - usual[0].rollbacks) / seconds if seconds > 0 else 0.0
