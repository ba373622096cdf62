"""A preflight whose sights the test decides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from hitless.ports import Clock
from hitless.preflight.seen import Answer, Ending, IdleConnection, Seen, Start
from hitless.rollout.spec import InstanceId, PreflightSpec, ServiceSpec, Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """One call of `FakePreflighter.examine`; `ended_at` is None while it goes on."""

    at: datetime
    service: str
    version: Version
    ended_at: datetime | None = None


class FakePreflighter:
    """`hitless.ports.Preflighter`: every version is without fault, unless told otherwise.

    Attributes:
        takes_s: virtual seconds that an examination takes.
        examined: every examination, oldest first.
    """

    def __init__(self, clock: Clock, *, takes_s: float = 5.0) -> None:
        self._clock = clock
        self._shown: dict[Version, dict[str, Any]] = {}
        self.takes_s = takes_s
        self.examined: list[Examined] = []

    def show(self, version: str, **seen: Any) -> None:
        """Decide what `version` shows from now on, as attributes of `hitless.preflight.seen.Seen`."""
        self._shown[Version(version)] = seen

    async def examine(self, *, spec: ServiceSpec, version: Version) -> Seen:
        """Let time pass, and return what the version shows."""
        self.examined.append(Examined(at=self._clock.now(), service=spec.name, version=version))
        number = len(self.examined) - 1
        try:
            await self._clock.sleep(self.takes_s)
        finally:
            self.examined[number] = replace(self.examined[number], ended_at=self._clock.now())
        return faultless(spec, version, **self._shown.get(version, {}))


def faultless(spec: ServiceSpec, version: Version, **seen: Any) -> Seen:
    """Build what a version without fault shows, but for what is given in `seen`."""
    pages = (spec.preflight or PreflightSpec()).paths
    refused, served = Answer(at_s=0.1, status=None, problem="connection refused"), Answer(at_s=0.6, status=200)
    starts = tuple(
        Start(
            instance=InstanceId(f"{spec.name}-preflight-{number}"),
            ready=(refused, served),
            ready_at_s=0.6,
            pages={path: (Answer(at_s=0.6, status=200),) for path in pages},
            stray_path="/hitless-stray",
            stray=(Answer(at_s=0.6, status=404),),
        )
        for number in (1, 2)
    )
    usual: dict[str, Any] = {
        "starts": starts,
        "idle": IdleConnection(closed_after_s=None, watched_s=spec.traffic.keep_alive_s),
        "ending": Ending(waited_s=spec.drain.requests_s, exited_after_s=0.2, code=0),
    }
    return Seen(spec=spec, version=version, **{**usual, **seen})
