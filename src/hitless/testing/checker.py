"""A checker whose answers the test decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hitless.ports import CheckResult, Clock
from hitless.rollout.spec import Address, CheckSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One call of `FakeChecker.run`."""

    at: datetime
    checks: tuple[CheckSpec, ...]
    targets: tuple[Address, ...]


class FakeChecker:
    """`hitless.ports.Checker`: every check passes at once, unless told otherwise.

    Attributes:
        takes_s: virtual seconds that a run takes.
        asked: every run, oldest first.
    """

    def __init__(self, clock: Clock, *, takes_s: float = 0.0) -> None:
        self._clock = clock
        self._problems: dict[str, tuple[str, datetime | None]] = {}
        self.takes_s = takes_s
        self.asked: list[Asked] = []

    def fail(self, path: str, problem: str, *, for_s: float | None = None) -> None:
        """Let checks of `path` fail from now on, or for so many virtual seconds."""
        until = None if for_s is None else self._clock.now() + timedelta(seconds=for_s)
        self._problems[path] = (problem, until)

    def recover(self, path: str) -> None:
        """Let checks of `path` pass again."""
        self._problems.pop(path, None)

    async def run(self, *, checks: Sequence[CheckSpec], targets: Sequence[Address]) -> tuple[CheckResult, ...]:
        """Ask every check of every target; one result per check. Without a target nothing passes."""
        self.asked.append(Asked(at=self._clock.now(), checks=tuple(checks), targets=tuple(targets)))
        await self._clock.sleep(self.takes_s)
        return tuple(CheckResult(check=check, problem=self._problem(check, targets)) for check in checks)

    def _problem(self, check: CheckSpec, targets: Sequence[Address]) -> str | None:
        if not targets:
            return "no instance to ask"
        problem, until = self._problems.get(check.path, (None, None))
        return problem if until is None or self._clock.now() < until else None
