"""What a check says: a verdict, what was measured against what limit, and the next commands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """From good to bad. `UNKNOWN` is never good: what could not be measured may be anything."""

    OK = "ok"
    WARNING = "warning"
    UNKNOWN = "unknown"
    FAILED = "failed"


_ORDER = tuple(Verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of an examination.

    Attributes:
        measured: what was found, and the limit it was held against.
        next: commands ready to paste; there is one for everything but ok.
    """

    verdict: Verdict
    measured: str
    next: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.verdict is not Verdict.OK and not self.next:
            raise ValueError(f"{self.measured!r} leaves the reader without a next command")


class NotMeasured(Exception):
    """A measurement was not possible, for a reason that can be told; it becomes a finding, never an error."""

    def __init__(self, reason: str, *commands: str) -> None:
        super().__init__(reason)
        self.commands = commands


Findings = tuple[Finding, ...]


def ok(measured: str) -> Finding:
    """All is well."""
    return Finding(verdict=Verdict.OK, measured=measured)


def warning(measured: str, *commands: str) -> Finding:
    """It works now and is likely to hurt."""
    return Finding(verdict=Verdict.WARNING, measured=measured, next=commands)


def unknown(measured: str, *commands: str) -> Finding:
    """It could not be measured."""
    return Finding(verdict=Verdict.UNKNOWN, measured=measured, next=commands)


def failed(measured: str, *commands: str) -> Finding:
    """It does not work, or will not at the next rollout."""
    return Finding(verdict=Verdict.FAILED, measured=measured, next=commands)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst one; ok where there is none."""
    return max(verdicts, key=_ORDER.index, default=Verdict.OK)


def size(count_bytes: int) -> str:
    """Render an amount of memory or disk: `512 MiB`, `11.4 GiB`."""
    mib = count_bytes / 2**20
    return f"{mib:.0f} MiB" if mib < 1024 else f"{mib / 1024:.1f} GiB"  # noqa: PLR2004 - MiB in a GiB


def sysctl(name: str, value: int | str) -> tuple[str, str]:
    """Return the commands that set a kernel setting now, and for every boot."""
    return (
        f"sudo sysctl -w {name}={value}",
        f"echo {name}={value} | sudo tee /etc/sysctl.d/60-hitless-{name.rpartition('.')[2]}.conf",
    )
