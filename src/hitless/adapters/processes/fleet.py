"""Instances as local processes.

Theory: a record on disk per instance (see `records`), a supervisor task per instance (see `supervisor`), and this:
the table of them. Processes are in sessions of their own and owe the controller nothing: when it goes, they serve on,
and the next controller finds them by their records.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hitless.adapters.processes.file_names import KEPT_PER_SERVICE
from hitless.adapters.processes.free_ports import FreePorts, usual_ports
from hitless.adapters.processes.identity import boot_id
from hitless.adapters.processes.logs import LogWarden
from hitless.adapters.processes.records import InstanceRecord, InstanceRecords, RecordUnreadable
from hitless.adapters.processes.supervisor import Supervisor, Surroundings
from hitless.adapters.processes.usage import read_usage
from hitless.analysis.counts import Usage
from hitless.ports import Clock
from hitless.rollout.spec import Address, InstanceId, Region, RunSpec, ServiceSpec, Version
from hitless.rollout.world import Instance, Phase

logger = logging.getLogger(__name__)

_LOGS_EVERY_S = 1.0  # an instance that writes 1 GB/s outgrows its limit by as much
_THREADS = 4  # writes and searches of `/proc`


class ProcessFleet:
    """All instances of one state directory.

    Attributes:
        faults: records that could not be read when watching began.
    """

    def __init__(
        self,
        directory: Path,
        *,
        project: Path,
        clock: Clock,
        on_change: Callable[[str], None],
        ports: FreePorts | None = None,
        may_write: Callable[[], bool] = lambda: True,
        dress: Callable[[ServiceSpec, Version], RunSpec] = lambda spec, _: spec.run,
    ) -> None:
        """Prepare; nothing is read or started yet.

        Args:
            directory: the state directory.
            project: where `hitless.yaml` is; directories of services are relative to it.
            clock: time.
            on_change: called with the service whenever an instance's phase changes, and when one is gone.
            ports: where instances get theirs from, if others get theirs there too.
            may_write: says no while another controller may have taken over; what is seen is not written down then.
            dress: says how an instance of a version is started, secrets included.
        """
        self._dress = dress
        self.faults: tuple[RecordUnreadable, ...] = ()
        self._directory = directory
        self._project = project
        self._clock = clock
        self._on_change = on_change
        self._may_write = may_write
        self._ports = ports or usual_ports()
        self._supervisors: dict[InstanceId, Supervisor] = {}
        self._endings: dict[str, dict[InstanceId, str]] = {}
        self._all_gone = asyncio.Event()
        self._around: Surroundings | None = None
        self._capping: asyncio.Task[None] | None = None

    async def start_watching(self) -> None:
        """Adopt the instances of earlier controllers; on return each of them has been looked at once."""
        around = self._around = self._open()
        records, faults = await asyncio.get_running_loop().run_in_executor(around.executor, around.records.load)
        self.faults = tuple(faults)
        for fault in faults:
            logger.error("%s: %s", fault.message, "; ".join(fault.evidence))
        self._ports.reserve(record.port for record in records)
        adopted = [self._supervise(record, run=None) for record in records]
        self._capping = asyncio.create_task(self._keep_logs_small(around))
        await asyncio.gather(*(supervisor.seen.wait() for supervisor in adopted))

    async def close(self) -> None:
        """Let go: instances live on and are adopted by the next controller."""
        if self._around is None:
            return
        around, self._around = self._around, None
        if self._capping is not None:
            self._capping.cancel()
            await asyncio.wait({self._capping})
        supervisors = tuple(self._supervisors.values())
        self._supervisors.clear()
        await asyncio.gather(*(supervisor.let_go() for supervisor in supervisors))
        await around.close()
        for supervisor in supervisors:
            supervisor.stop_watching()
        around.executor.shutdown()

    async def observe(self, service: str) -> tuple[Instance, ...]:
        """List the service's instances as last seen; asks nobody."""
        return tuple(one.view() for one in self._supervisors.values() if one.record.service == service)

    async def endings(self, service: str) -> dict[InstanceId, str]:
        """Say how instances that are listed no more have ended, the latest ones, as far as this controller saw it."""
        return dict(self._endings.get(service, {}))

    async def usage(self) -> dict[str, tuple[Usage, ...]]:
        """Read what all instances use now, by service; one whose process has ended, or is not known, is left out."""
        if self._around is None:
            return {}
        known = {one.record.id: (one.record.service, one.subject()) for one in self._supervisors.values()}
        subjects = [subject for _, subject in known.values() if subject is not None]
        found: dict[str, tuple[Usage, ...]] = {}
        for one in await self._around.offload(lambda: read_usage(subjects)):
            service = known[one.instance][0]
            found[service] = (*found.get(service, ()), one)
        return found

    def hear(self, verdicts: Mapping[Address, bool]) -> None:
        """Take in what the proxy's health check finds now; of an address that is missing nothing is known."""
        for one in self._supervisors.values():
            one.witness.hear(passes=verdicts.get(one.address))

    async def start(self, *, spec: ServiceSpec, instance: InstanceId, version: Version, region: Region) -> None:
        """List an instance and begin to start it; one that is known already under this id is left alone."""
        if instance not in self._supervisors:
            self._supervise(self._intent(spec, instance, version, region), run=self._dress(spec, version))

    async def stop(self, instance: InstanceId, *, grace_s: float) -> None:
        """Ask the instance to end, end its whole tree after `grace_s`, forget it once it is gone. Returns at once."""
        known = self._supervisors.get(instance)
        if known is not None:
            known.order_stop(deadline_s=time.monotonic() + grace_s)

    async def end_all(self, grace_s: float) -> None:
        """Stop every instance of every service; on return all are gone."""
        for instance in tuple(self._supervisors):
            await self.stop(instance, grace_s=grace_s)
        while self._supervisors:
            self._all_gone.clear()
            await self._all_gone.wait()

    def _open(self) -> Surroundings:
        return Surroundings(
            directory=self._directory,
            project=self._project,
            clock=self._clock,
            records=InstanceRecords(self._directory),
            ports=self._ports,
            executor=ThreadPoolExecutor(_THREADS, thread_name_prefix="hitless-fleet"),
            on_change=self._on_change,
            may_write=self._may_write,
            on_gone=self._forget,
        )

    def _supervise(self, record: InstanceRecord, *, run: RunSpec | None) -> Supervisor:
        assert self._around is not None, "start_watching() comes first"
        supervisor = Supervisor(record, self._around)
        self._supervisors[record.id] = supervisor
        supervisor.begin(run)
        return supervisor

    def _intent(self, spec: ServiceSpec, instance: InstanceId, version: Version, region: Region) -> InstanceRecord:
        now = self._clock.now()
        return InstanceRecord(
            id=instance,
            service=spec.name,
            version=version,
            region=region,
            port=self._ports.take() or 0,
            incarnation=uuid.uuid4().hex,
            boot_id=boot_id(),
            health=spec.health,
            drain=spec.drain,
            started_at=now,
            started_monotonic_s=time.monotonic(),
            phase=Phase.STARTING,
            since=now,
        )

    def _forget(self, record: InstanceRecord, how: str) -> None:
        self._supervisors.pop(record.id, None)
        endings = self._endings.setdefault(record.service, {})
        endings[record.id] = how
        for oldest in list(endings)[:-KEPT_PER_SERVICE]:
            del endings[oldest]
        self._ports.release(record.port)
        if not self._supervisors:
            self._all_gone.set()
        self._on_change(record.service)

    async def _keep_logs_small(self, around: Surroundings) -> None:
        warden = LogWarden(self._directory)
        while True:
            await asyncio.sleep(_LOGS_EVERY_S)
            await around.offload(lambda: warden.look(tuple(self._supervisors)))
