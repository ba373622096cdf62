"""Envoy's process: started in its own session, adopted, replaced without an outage, started again when it crashed.

Theory: the admin socket is the truth. Who listens on it (SO_PEERCRED) is Envoy, whatever a record says; the record
serves for the moments in which no socket is there, and knows those that were replaced and still live for their streams.
Every generation has an admin socket of its own; `admin.sock` is a link to that of the newest.

Every Envoy of a directory has the same base id, drawn once and kept in the directory: a second Envoy cannot take that
id's domain socket and ends at once, so two controllers can never start two proxies on one port. A fixed id rather than
`--use-dynamic-base-id`, which leaves a piece of shared memory behind at every crash; drawn rather than computed from
the path, because containers that share a network may have the same paths. A new one is drawn when Envoy crashed while
one that it had replaced still lives: that one holds names that the next generations would need.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Literal

from hitless.adapters.envoy.admin import Admin
from hitless.adapters.envoy.binary import envoy_binary
from hitless.adapters.envoy.bootstrap import LONGEST_STREAM_S, Launch, bootstrap, option
from hitless.adapters.envoy.earlier import Earlier, Record, has_connections, is_accepting, read_record, record_document
from hitless.adapters.envoy.files import exclusive, kept_copy, read_document, read_resources, write_kept, write_whole
from hitless.adapters.envoy.handover import (
    GENERATIONS,
    forget_failed_newcomer,
    free_name,
    remove_shared_memory,
    stand_in,
)
from hitless.adapters.envoy.identity import Identity, is_refused, listener_of, spawn_orphan
from hitless.adapters.envoy.layout import Layout
from hitless.adapters.envoy.refusals import EnvoyDidNotStart
from hitless.adapters.envoy.watches import check_budget
from hitless.ports import Clock

_READY_POLL_S = 0.01
_BASE_ID_MAX = 200_000_000  # Envoy multiplies it by ten within 31 bits
_LOG_LINES_SHOWN = 5
_CALM_S = 10.0  # lived so long: a crash is a new one, restarted without delay
_LONGEST_DELAY_S = 5.0
_TERM_GRACE_S = 3.0
_ENDS_PARENT_S = 60.0  # its clock for that begins once it is ready
_REACHED_EVERY_S = 1.0
_ADMIN_OPENS_WITHIN_S = 10.0  # the first thing it does; an Envoy without any service accepts nothing

Status = Literal["running", "starting", "down"]


class EnvoyProcess:
    """The Envoy of a directory, and those that it has replaced."""

    def __init__(self, layout: Layout, admin: Admin, clock: Clock, *, program: Path | None, concurrency: int) -> None:
        self._layout = layout
        self._admin = admin
        self._clock = clock
        self.program = program
        self._concurrency = concurrency
        self._identity: Identity | None = None
        self._earlier: tuple[Earlier, ...] = ()
        self._is_ready = False
        self._spawned_at = float("-inf")
        self._delay_s = 0.0
        self._reached_at = float("-inf")

    @property
    def identity(self) -> Identity | None:
        """Who it is, None while it is down; asked twice, it may have died in between."""
        return self._identity if self._identity and self._identity.is_alive() else None

    @property
    def binary(self) -> Path:
        """What would be started now.

        Raises:
            EnvoyMissing: there is none.
        """
        return self.program or envoy_binary()

    @property
    def pid(self) -> int | None:
        """Its pid, None while it is down."""
        identity = self.identity
        return identity.pid if identity else None

    @property
    def status(self) -> Status:
        """What it does."""
        if self.pid is None:
            return "down"
        return "running" if self._is_ready else "starting"

    @property
    def epoch(self) -> int:
        """Its generation: how many handovers lie between it and the last cold start."""
        identity = self.identity
        return self._epoch_of(identity) if identity else 0

    @property
    def earlier(self) -> tuple[Earlier, ...]:
        """Those that it has replaced and that still live, oldest first."""
        return tuple(one for one in self._earlier if one.identity != self._identity and one.identity.is_alive())

    @property
    def parent(self) -> Earlier | None:
        """The one whose sockets it took over, while that lives; the next handover would end it."""
        return next((one for one in self.earlier if self._is_parent(one.identity)), None)

    def find(self) -> bool:
        """Look for a running Envoy of this directory and take it over."""
        self._layout.ensure_short_way()
        record, listening = read_record(self._layout.process), self._listening()
        self._identity = _youngest(listening, record.current) or self._left_in_charge(record)
        self._earlier = record.earlier
        if self._identity is not None and self._identity != listening:
            self._layout.lead_to_admin(self._layout.admin_socket_of(self._epoch_of(self._identity)))
        return self._identity is not None

    def next_launch(self, *, parent_lives_s: float) -> Launch:
        """Describe the start of the next generation."""
        identity = self._identity
        assert identity is not None
        return Launch(
            binary=self.binary,
            epoch=self._epoch_of(identity) + 1,
            base_id=self._base_id_of(identity) or self._base_id(),
            concurrency=self._concurrency,
            parent_lives_s=max(int(parent_lives_s), 1),
        )

    async def start(self, *, within_s: float) -> None:
        """Start it unless it runs, and wait until it serves.

        Raises:
            EnvoyDidNotStart: with the last lines of its log.
            WatchBudgetSpent: it would abort at once.
        """
        self._is_ready = False
        if self.pid is None and not await asyncio.to_thread(self.find):
            await asyncio.to_thread(self._spawn)
        try:
            await self._until_it_serves(within_s)
        except EnvoyDidNotStart:
            if not await self._take_back():
                raise
            await self._until_it_serves(within_s)

    async def _until_it_serves(self, within_s: float) -> None:
        if await asyncio.to_thread(self._is_mute):
            await self._hand_over_to_itself(within_s=within_s)
        assert self._identity is not None
        await self._until_ready(self._admin, self._identity, time.monotonic() + within_s)
        self._is_ready = True
        if read_record(self._layout.process).current != self._identity:
            await asyncio.to_thread(self._record)

    async def restart_if_dead(self, *, within_s: float) -> None:
        """Start it again if it has ended; one that ends again and again is given growing pauses.

        Raises:
            EnvoyDidNotStart: with the last lines of its log.
        """
        if await self._is_cut_off():
            await asyncio.to_thread(self.find)
            await self._admin.close()
            await self.start(within_s=within_s)
        if self.pid is not None and not self._is_ready:
            self._is_ready = await self._admin.is_ready()
        if self.pid is None or (not self._is_ready and await asyncio.to_thread(self._is_mute)):
            await self._start_again(within_s)
        await self._end_orphans()
        if self._has_lost_its_parent():
            await asyncio.to_thread(self._stand_in_for_parent)

    async def _is_cut_off(self) -> bool:
        """Tell, once a second, whether somebody else is to be asked, or the way there is lost.

        An open connection tells nothing: an Envoy that was replaced still answers over it.
        """
        if not self._is_ready or self.pid is None or time.monotonic() < self._reached_at + _REACHED_EVERY_S:
            return False
        self._reached_at = time.monotonic()
        return await asyncio.to_thread(is_refused, self._layout.admin_socket)

    async def _take_back(self) -> bool:
        """End a newcomer that hangs, if the one whose place it was to take still accepts connections."""
        hung, before = self._identity, await asyncio.to_thread(self._left_in_charge, read_record(self._layout.process))
        if hung is None or before is None or before == hung:
            return False
        await self._end(hung, signal.SIGKILL)
        self._identity = before
        await asyncio.to_thread(self._record)
        return True

    async def _start_again(self, within_s: float) -> None:
        if time.monotonic() >= self._spawned_at + self._delay_s:
            calm = time.monotonic() - self._spawned_at > _CALM_S
            self._delay_s = 0.0 if calm else min(max(2 * self._delay_s, 0.25), _LONGEST_DELAY_S)
            try:
                await self.start(within_s=within_s)
            except EnvoyDidNotStart:
                self._spawned_at = time.monotonic()  # the pause begins when it is known to have failed
                raise

    async def hand_over(self, launch: Launch, *, within_s: float) -> None:
        """Start the next generation beside this one; once it serves, this one only finishes what it has.

        Args:
            launch: from `next_launch`.
            within_s: how long the newcomer may take.

        Raises:
            EnvoyDidNotStart: this one serves on.
            WatchBudgetSpent: the newcomer would abort.
        """
        newcomer = await asyncio.to_thread(self._spawn_next, launch)
        socket = self._layout.admin_socket_of(launch.epoch)
        admin = Admin(socket)
        try:
            await self._until_ready(admin, newcomer, time.monotonic() + within_s)
        except EnvoyDidNotStart:
            await self._end(newcomer, signal.SIGKILL)
            await asyncio.to_thread(self._record)
            # It may have closed the admin interface of this one before it failed; only open connections still work.
            await self._admin.close()
            self._is_ready = False
            raise
        finally:
            await admin.close()
        await asyncio.to_thread(self._put_in_charge, newcomer, socket)
        await self._admin.close()  # connections to the one before stay open as long as it lives

    async def _hand_over_to_itself(self, *, within_s: float) -> None:
        """Give an Envoy its admin interface back, by a next generation of the very binary that runs."""
        assert self._identity is not None
        launch = self.next_launch(parent_lives_s=LONGEST_STREAM_S)
        self._spawned_at = time.monotonic()
        await self.hand_over(replace(launch, binary=self._identity.executable), within_s=within_s)

    async def _end_orphans(self) -> None:
        """End replaced ones that no newcomer will end, since it crashed: when nothing is open or their time is up."""
        for one in self.earlier:
            if not self._is_parent(one.identity):
                has_open = await asyncio.to_thread(has_connections, one.identity)
                if has_open is False or self._clock.now() >= one.until:
                    await self._end(one.identity, signal.SIGTERM)

    async def stop(self) -> None:
        """End it and those it has replaced: politely, then by force; forget sockets and record."""
        known = self.identity
        await asyncio.to_thread(self.find)
        self._identity = self._identity or known
        base_ids = {found for one in self._all() if (found := self._base_id_of(one)) is not None}
        for how in (signal.SIGTERM, signal.SIGKILL):
            await asyncio.gather(*(self._end(one, how) for one in self._all()))
        await asyncio.to_thread(self._forget, base_ids)

    def _forget(self, base_ids: set[int]) -> None:
        for base_id in base_ids:
            remove_shared_memory(base_id)
            for epoch in range(GENERATIONS):
                free_name(base_id=base_id, epoch=epoch)
        record = self._layout.process
        for path in [*self._layout.admin_sockets(), kept_copy(self._layout.root, record), record]:
            path.unlink(missing_ok=True)
        self._layout.remove_short_way()
        self._identity, self._earlier = None, ()

    async def cut(self, *, within_s: float) -> None:
        """End it and those it has replaced, and start afresh: an outage.

        Raises:
            EnvoyDidNotStart: with the last lines of its log.
        """
        await self.stop()
        await self.start(within_s=within_s)

    # Who is who

    def _all(self) -> list[Identity]:
        current = self.identity
        return [*(one.identity for one in self.earlier), *([current] if current else [])]

    def _listening(self) -> Identity | None:
        for path in self._layout.admin_sockets():
            found = listener_of(path)
            if found is not None:
                if path.name.startswith("admin-"):  # the link does not lead there: a controller died on the way
                    self._layout.lead_to_admin(path)
                return found
        return None

    def _is_mute(self) -> bool:
        """Tell whether it serves without an admin interface: a newcomer closed that, and died before it took over."""
        current = self.identity
        if current is None or not all(is_refused(path) for path in self._layout.admin_sockets()):
            return False
        return is_accepting(current) or current.age_s > _ADMIN_OPENS_WITHIN_S

    def _left_in_charge(self, record: Record) -> Identity | None:
        """Find one whose successor died before it took over: it still accepts connections."""
        alive = (one.identity for one in record.earlier if one.identity.is_alive())
        return next((one for one in alive if is_accepting(one)), None)

    def _is_parent(self, one: Identity) -> bool:
        current = self.identity
        return (
            current is not None
            and self._base_id_of(one) == self._base_id_of(current)
            and self._epoch_of(one) == self.epoch - 1
        )

    def _epoch_of(self, one: Identity) -> int:
        return int(option(one.arguments(), "--restart-epoch") or 0)

    def _base_id_of(self, one: Identity) -> int | None:
        found = option(one.arguments(), "--base-id")
        return int(found) if found else None

    def _has_lost_its_parent(self) -> bool:
        return (
            self.pid is not None and self.epoch > 0 and not any(self._is_parent(one.identity) for one in self.earlier)
        )

    def _stand_in_for_parent(self) -> None:
        """Have a parent's place taken that has died; without it Envoy aborts when it wants to end the dead one."""
        current = self.identity
        if current is None:
            return
        left_s = int(option(current.arguments(), "--parent-shutdown-time-s") or 0) + _ENDS_PARENT_S - current.age_s
        if left_s > 0:
            base_id = self._base_id_of(current) or 0
            stand_in(base_id=base_id, epoch=self.epoch - 1, for_s=int(left_s) + 1, log=self._layout.log)

    # Starting and ending

    def _spawn(self) -> None:
        with exclusive(self._layout.root):  # another controller may be at it in this moment
            if self.find():
                return
            self._until_the_last_one_is_gone()
            launch = Launch(binary=self.binary, epoch=0, base_id=self._base_id(), concurrency=self._concurrency)
            for path in self._layout.admin_sockets():
                path.unlink(missing_ok=True)
            self._prepare(launch)
            free_name(base_id=launch.base_id, epoch=launch.epoch)
            self._spawned_at = time.monotonic()
            self._identity = Identity.of(spawn_orphan(launch.command_line(self._layout), self._layout.log))
            self._layout.lead_to_admin(self._layout.admin_socket_of(0))
            self._record()

    def _until_the_last_one_is_gone(self) -> None:
        """Wait for the threads of one that has just died: they hold the name that the next one needs to start."""
        last, deadline = read_record(self._layout.process).current, time.monotonic() + _TERM_GRACE_S
        while last is not None and not last.is_gone() and time.monotonic() < deadline:
            time.sleep(_READY_POLL_S)

    def _spawn_next(self, launch: Launch) -> Identity:
        with exclusive(self._layout.root):
            assert self._identity is not None
            self._prepare(launch)
            free_name(base_id=launch.base_id, epoch=launch.epoch)
            forget_failed_newcomer(launch.base_id)
            until = self._clock.now() + timedelta(seconds=launch.parent_lives_s)
            leaving = Earlier(identity=self._identity, until=until)
            known = (*self.earlier, leaving)
            self._record(earlier=known)  # should we die now, the next controller knows who was there
            newcomer = Identity.of(spawn_orphan(launch.command_line(self._layout), self._layout.log))
            if newcomer is None:
                self._is_ready = False
                raise EnvoyDidNotStart("it ended at once", self._layout.log, evidence=self._last_words())
            self._earlier = known
            self._record(current=newcomer, earlier=known)  # and who is coming
            return newcomer

    def _put_in_charge(self, newcomer: Identity, socket: Path) -> None:
        self._identity = newcomer
        self._layout.lead_to_admin(socket)
        self._record()
        kept = {self._layout.bootstrap_of(self.epoch).name, socket.name}
        for pattern in ("bootstrap*.json", "admin-*.sock"):
            for path in self._layout.root.glob(pattern):
                if path.name not in kept:
                    path.unlink()

    def _prepare(self, launch: Launch) -> None:
        for path in (self._layout.listeners, self._layout.clusters):
            if not path.exists():
                write_whole(path, b'{"version_info": "0", "resources": []}')
        _, clusters = read_resources(self._layout.clusters)
        _, listeners = read_resources(self._layout.listeners)
        secrets_watched = len(list(self._layout.secret_files()))
        check_budget(len(clusters) + len(listeners) + secrets_watched + 2)
        document = bootstrap(self._layout, epoch=launch.epoch)
        write_whole(self._layout.bootstrap_of(launch.epoch), json.dumps(document, indent=1).encode())

    def _record(self, *, current: Identity | None = None, earlier: tuple[Earlier, ...] | None = None) -> None:
        chosen = current or self._identity
        if chosen is not None:
            record = Record(current=chosen, earlier=self.earlier if earlier is None else earlier)
            write_kept(self._layout.root, self._layout.process, record_document(record))

    def _base_id(self) -> int:
        path = self._layout.base_id
        if not path.exists() or self.earlier:
            write_kept(self._layout.root, path, secrets.randbelow(_BASE_ID_MAX) + 1)
        return int(read_document(path))

    async def _until_ready(self, admin: Admin, identity: Identity, deadline: float) -> None:
        while not await admin.is_ready():
            if not identity.is_alive():
                raise EnvoyDidNotStart("it ended at once", self._layout.log, evidence=self._last_words())
            if time.monotonic() > deadline:
                raise EnvoyDidNotStart("it was not ready in time", self._layout.log, evidence=self._last_words())
            await asyncio.sleep(_READY_POLL_S)

    async def _end(self, one: Identity, how: signal.Signals) -> None:
        deadline = time.monotonic() + _TERM_GRACE_S
        one.send(how)
        while not one.is_gone() and time.monotonic() < deadline:  # noqa: ASYNC110 - no event: it may not be our child
            await asyncio.sleep(_READY_POLL_S)

    def _last_words(self) -> tuple[str, ...]:
        lines = self._layout.log.read_text(errors="replace").splitlines()
        return tuple(lines[-_LOG_LINES_SHOWN:])


def _youngest(*found: Identity | None) -> Identity | None:
    """Choose who serves, or is on its way to: whoever came last and lives."""
    alive = [one for one in found if one is not None and one.is_alive()]
    return max(alive, key=lambda one: one.started_ticks, default=None)
