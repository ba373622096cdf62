"""A fleet of instances that exist only on the clock: their phases follow from behaviour and time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from hitless.ports import Clock
from hitless.rollout.spec import Address, InstanceId, Region, ServiceSpec, Version
from hitless.rollout.world import Instance, Phase

_FIRST_PORT = 20_001


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What the instances of a version do, in virtual seconds after their start; None = never.

    Attributes:
        ready_after_s: says that it is ready; never = missing the start deadline.
        unready_at_s: was ready, says no.
        ready_again_at_s: ready again after that.
        exits_after_s: ends by itself, with code 1.
        start_problem: cannot even be started, for this reason.
        ends_after_s: how long it takes to end once told to; the grace period cuts it short.
    """

    ready_after_s: float | None = 1.0
    unready_at_s: float | None = None
    ready_again_at_s: float | None = None
    exits_after_s: float | None = None
    start_problem: str | None = None
    ends_after_s: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetEvent:
    """Something that the fleet was told to do."""

    at: datetime
    action: Literal["start", "stop"]
    instance: InstanceId
    version: Version


@dataclass(frozen=True, slots=True, order=True)
class _Turn:
    """A moment from which on an instance is in a phase."""

    at: datetime
    phase: Phase = field(compare=False)
    cause: str | None = field(compare=False, default=None)


_LEADS_TO: dict[Phase, frozenset[Phase]] = {
    Phase.STARTING: frozenset({Phase.READY, Phase.FAILED, Phase.STOPPING}),
    Phase.READY: frozenset({Phase.UNREADY, Phase.FAILED, Phase.STOPPING}),
    Phase.UNREADY: frozenset({Phase.READY, Phase.FAILED, Phase.STOPPING}),
    Phase.FAILED: frozenset({Phase.STOPPING}),
    Phase.STOPPING: frozenset(),
}


@dataclass(slots=True, kw_only=True)
class _Life:
    id: InstanceId
    service: str
    version: Version
    region: Region
    address: Address
    turns: list[_Turn]
    ends_after_s: float
    gone_at: datetime | None = None
    was_killed: bool = False

    def seen_at(self, now: datetime) -> Instance:
        reached = self.turns[0]
        for turn in sorted(self.turns[1:]):
            if turn.at <= now and turn.phase in _LEADS_TO[reached.phase]:
                reached = turn
        return Instance(
            id=self.id,
            version=self.version,
            region=self.region,
            address=self.address,
            phase=reached.phase,
            since=reached.at,
            started_at=self.turns[0].at,
            cause=reached.cause,
        )


class FakeFleet:
    """`hitless.ports.Fleet` on virtual time.

    Attributes:
        usual: behaviour of versions that `behave` says nothing of.
        history: every start and stop that was carried out, oldest first.
    """

    def __init__(self, clock: Clock, *, usual: Behaviour | None = None) -> None:
        self._clock = clock
        self._lives: dict[InstanceId, _Life] = {}
        self._behaviours: dict[Version, Behaviour] = {}
        self._ports = itertools.count(_FIRST_PORT)
        self._watchers: list[Callable[[str, Instance], None]] = []
        self.usual = usual or Behaviour()
        self.history: list[FleetEvent] = []

    def behave(self, version: str, behaviour: Behaviour) -> None:
        """Decide what instances of `version` do that start from now on."""
        self._behaviours[Version(version)] = behaviour

    def kill(self, instance: str) -> None:
        """Let an instance die now."""
        self._turn(instance, Phase.FAILED, "killed by signal 9")

    def make_unready(self, instance: str) -> None:
        """Let a ready instance say no from now on."""
        self._turn(instance, Phase.UNREADY, "readiness answered 503")

    def make_ready(self, instance: str) -> None:
        """Let an instance say that it is ready from now on."""
        self._turn(instance, Phase.READY, None)

    def on_stop(self, watcher: Callable[[str, Instance], None]) -> None:
        """Call `watcher(service, instance)` before an instance is told to end."""
        self._watchers.append(watcher)

    def instance(self, name: str) -> Instance | None:
        """Look at one instance now."""
        life = self._lives.get(InstanceId(name))
        return life.seen_at(self._clock.now()) if life and self._exists(life) else None

    def instances(self, service: str) -> tuple[Instance, ...]:
        """List the service's instances now, in the order of their start."""
        now = self._clock.now()
        return tuple(
            life.seen_at(now) for life in self._lives.values() if life.service == service and self._exists(life)
        )

    async def observe(self, service: str) -> tuple[Instance, ...]:
        """List the service's instances."""
        return self.instances(service)

    async def endings(self, service: str) -> dict[InstanceId, str]:
        """Say how instances that are listed no more have ended."""
        gone = (life for life in self._lives.values() if life.service == service and not self._exists(life))
        return {life.id: "killed: it did not end within its grace" if life.was_killed else "ended" for life in gone}

    async def start(self, *, spec: ServiceSpec, instance: InstanceId, version: Version, region: Region) -> None:
        """Start an instance; one that is known already under this id is left alone."""
        known = self._lives.get(instance)
        if known and self._exists(known):
            return
        behaviour = self._behaviours.get(version, self.usual)
        now = self._clock.now()
        self._lives[instance] = _Life(
            id=instance,
            service=spec.name,
            version=version,
            region=region,
            address=Address(host="127.0.0.1", port=next(self._ports)),
            turns=list(_turns(behaviour, now, deadline_s=spec.health.start_deadline_s)),
            ends_after_s=behaviour.ends_after_s,
        )
        self.history.append(FleetEvent(at=now, action="start", instance=instance, version=version))

    async def stop(self, instance: InstanceId, *, grace_s: float) -> None:
        """Let the instance end, after `grace_s` at the latest; forget it then. Once is enough."""
        life, now = self._lives.get(instance), self._clock.now()
        if life is None or life.gone_at is not None:
            return
        seen = life.seen_at(now)
        for watcher in self._watchers:
            watcher(life.service, seen)
        takes_s = 0 if seen.phase is Phase.FAILED else min(life.ends_after_s, grace_s)
        life.was_killed = seen.phase is not Phase.FAILED and life.ends_after_s > grace_s
        life.gone_at = now + timedelta(seconds=takes_s)
        life.turns.append(_Turn(now, Phase.STOPPING))
        self.history.append(FleetEvent(at=now, action="stop", instance=instance, version=life.version))

    def _turn(self, instance: str, phase: Phase, cause: str | None) -> None:
        self._lives[InstanceId(instance)].turns.append(_Turn(self._clock.now(), phase, cause))

    def _exists(self, life: _Life) -> bool:
        return life.gone_at is None or self._clock.now() < life.gone_at


def _turns(behaviour: Behaviour, start: datetime, *, deadline_s: float) -> Iterator[_Turn]:
    yield _Turn(start, Phase.STARTING)
    if behaviour.start_problem is not None:
        yield _Turn(start, Phase.FAILED, behaviour.start_problem)
    if behaviour.ready_after_s is None or behaviour.ready_after_s > deadline_s:
        yield _Turn(start + timedelta(seconds=deadline_s), Phase.FAILED, f"not ready within {deadline_s:g} s")
    planned = (
        (behaviour.ready_after_s, Phase.READY, None),
        (behaviour.unready_at_s, Phase.UNREADY, "readiness answered 503"),
        (behaviour.ready_again_at_s, Phase.READY, None),
        (behaviour.exits_after_s, Phase.FAILED, "exited with code 1"),
    )
    for seconds, phase, cause in planned:
        if seconds is not None:
            yield _Turn(start + timedelta(seconds=seconds), phase, cause)
