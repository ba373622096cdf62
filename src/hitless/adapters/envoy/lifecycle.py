"""Envoy's life as the router sees it: looked after, described, exchanged for another without an outage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hitless.adapters.envoy.admin import Admin
from hitless.adapters.envoy.earlier import Connections, connections_of, listened_addresses
from hitless.adapters.envoy.identity import Identity
from hitless.adapters.envoy.layout import Layout
from hitless.adapters.envoy.process import EnvoyProcess, Status
from hitless.adapters.envoy.refusals import EnvoyDidNotStart, EnvoySilent
from hitless.adapters.envoy.restart import (
    Binary,
    EarlierEnvoyBusy,
    HotRestartImpossible,
    check_fits,
    check_handover,
    differences,
)
from hitless.errors import EnvironmentFault
from hitless.ports import Clock

RESTART = "hitless envoy restart"
_START_WITHIN_S = 5.0
_HAND_OVER_WITHIN_S = 30.0  # the one before serves meanwhile
_CONNECTIONS_AGE_S = 0.1  # the kernel lists every connection of the machine for each look


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierState:
    """An Envoy that was replaced, for people; `open_connections` to instances, None = not known."""

    pid: int
    open_connections: int | None
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvoyState:
    """Envoy's process, for people.

    Attributes:
        version: of the binary that runs, None before it was asked.
        differences: in what it is not the Envoy that would be started now.
    """

    status: Status
    pid: int | None
    problem: str | None
    epoch: int = 0
    version: str | None = None
    differences: tuple[str, ...] = ()


class Lifecycle:
    """Keeps one Envoy alive."""

    def __init__(self, layout: Layout, admin: Admin, clock: Clock, *, program: Path | None, concurrency: int) -> None:
        self.process = EnvoyProcess(layout, admin, clock, program=program, concurrency=concurrency)
        self._layout = layout
        self._admin = admin
        self._described: Identity | None = None
        self._version: str | None = None
        self._differences: tuple[str, ...] = ()
        self._connections = Connections(read_at=float("-inf"), by_address={})
        self._counted: list[Identity] = []

    def state(self, *, problem: str | None) -> EnvoyState:
        """Say what the process does; asks nobody."""
        process = self.process
        return EnvoyState(
            status=process.status,
            pid=process.pid,
            problem=problem,
            epoch=process.epoch,
            version=self._version,
            differences=self._differences,
        )

    async def look_after(self) -> None:
        """Start Envoy again if it has ended; cheap when it runs.

        Raises:
            EnvoyDidNotStart: with the last lines of its log.
        """
        await self.process.restart_if_dead(within_s=_START_WITHIN_S)
        if self.process.status == "running" and self.process.identity != self._described:
            await asyncio.to_thread(self._describe)

    def _describe(self) -> None:
        running = self.process.identity
        if running is None:
            return
        try:
            launch = self.process.next_launch(parent_lives_s=1)
            self._version = Binary.of(running.executable).release
            self._differences = tuple(differences(running, launch, self._layout))
        except EnvironmentFault as fault:
            self._differences = (fault.message,)
        self._described = running

    def notices(self) -> Iterator[str]:
        """Say what people should know although nothing is wrong."""
        if self._differences:
            yield f"{'; '.join(self._differences)}; exchange it without an outage: {RESTART}"

    async def connections(self) -> Connections:
        """Count what replaced Envoys have open to instances."""
        earlier = [one.identity for one in self.process.earlier]
        if not earlier:
            return Connections(read_at=time.monotonic(), by_address={})
        if earlier != self._counted or time.monotonic() > self._connections.read_at + _CONNECTIONS_AGE_S:
            self._connections = await asyncio.to_thread(self._connections_of, earlier)
            self._counted = earlier
        return self._connections

    async def earlier(self) -> tuple[EarlierState, ...]:
        """Describe replaced Envoys that still live."""
        found = []
        for one in self.process.earlier:
            count = (await asyncio.to_thread(self._connections_of, [one.identity])).count
            found.append(EarlierState(pid=one.identity.pid, open_connections=count, until=one.until))
        return tuple(found)

    def _connections_of(self, processes: list[Identity]) -> Connections:
        return connections_of(processes, listened=listened_addresses(self._layout))

    async def restart(self, *, cut: bool, streams_s: float) -> None:
        """Exchange Envoy for what would be started now.

        Args:
            cut: streams may be cut where there is no other way.
            streams_s: how long the present one may finish its streams.

        Raises:
            EarlierEnvoyBusy: the one before still has streams, and `cut` is not set.
            HotRestartImpossible: there is no way without an outage, and `cut` is not set.
            EnvoyUnfit: the new one would not start.
            EnvoySilent: the present one does not answer, and `cut` is not set.
            EnvoyDidNotStart: the present one serves on.
        """
        await asyncio.to_thread(check_fits, self.process.binary, self._layout)
        try:
            await self._restart(cut=cut, streams_s=streams_s)
        except (HotRestartImpossible, EnvoySilent, EnvoyDidNotStart):
            if not cut:
                raise
            await self.process.cut(within_s=_START_WITHIN_S)
        await self.look_after()

    async def _restart(self, *, cut: bool, streams_s: float) -> None:
        if not await self._admin.is_ready():
            raise EnvoySilent(self._admin.socket, "it must serve before it can hand over")
        launch = self.process.next_launch(parent_lives_s=streams_s)
        try:
            await check_handover(self.process, launch.binary, self._layout)
        except EarlierEnvoyBusy:
            if not cut:
                raise
        await self.process.hand_over(launch, within_s=_HAND_OVER_WITHIN_S)
