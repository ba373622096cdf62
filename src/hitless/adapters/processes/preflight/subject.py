"""An instance that is examined: a process like those of the fleet, in none of its books.

It is started by the same code, in a session and on a port of its own, with the same environment, and leaves a record
on disk before: a controller that dies in the middle leaves the next one everything to end it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from hitless.adapters.processes.adoption import find_process
from hitless.adapters.processes.beginning import Beginning
from hitless.adapters.processes.ending import Ending
from hitless.adapters.processes.exit_watch import ExitStatus, ExitWatch
from hitless.adapters.processes.ground import Ground, until_it_works
from hitless.adapters.processes.identity import ProcessIdentity, ProcessTree, boot_id, read_stat, send_signal
from hitless.adapters.processes.launch import LaunchError
from hitless.adapters.processes.logs import last_line, log_path
from hitless.adapters.processes.records import InstanceRecord
from hitless.rollout.spec import LOCAL, Address, InstanceId, ServiceSpec, Version
from hitless.rollout.world import Phase

logger = logging.getLogger(__name__)

_REAP_S = 1.0
_FAMILY_S = 0.5
_LEFTOVERS_S = 5.0  # far more than SIGKILL takes

POLITE_S = 1.0
"""What an instance whose part is over gets for its end; nobody waits for an answer of it."""


@dataclass(slots=True, kw_only=True)
class Subject:
    """One instance.

    Attributes:
        started_s: when its beginning was over, monotonic.
        beginning: what leads to its process; None = a controller before this one has begun it.
        watch: learns of its end; None = it could not be started, and `problem` says why.
        is_told: it was told to end.
        known: every process that was ever seen below it, wherever it has gone since.
    """

    record: InstanceRecord
    ground: Ground
    started_s: float = field(default_factory=time.monotonic)
    beginning: Beginning | None = None
    main: ProcessIdentity | None = None
    watch: ExitWatch | None = None
    problem: str | None = None
    is_told: bool = False
    known: set[ProcessIdentity] = field(default_factory=set)

    @property
    def address(self) -> Address:
        """Where it listens."""
        return Address(host="127.0.0.1", port=self.record.port)

    @property
    def log(self) -> str | None:
        """The last line that it wrote."""
        return last_line(self._log_path)

    @property
    def _log_path(self) -> Path:
        return log_path(self.ground.directory, service=self.record.service, instance=self.record.id)

    def seconds(self) -> float:
        """Return the age of its process."""
        return time.monotonic() - self.started_s

    def exit_status(self) -> ExitStatus | None:
        """Return how it ended; None while it runs."""
        return self.watch.ended.result() if self.watch is not None and self.watch.ended.done() else None

    async def launch(self, spec: ServiceSpec) -> None:
        """Begin it, and wait as long as it may take to be ready; that it cannot be started is its `problem`."""
        within_s = spec.health.start_deadline_s
        self.beginning = Beginning(run=spec.run, record=self.record, ground=self.ground, log=self._log_path)
        launch = self.ground.begin(self._launch(self.beginning))
        if not (await asyncio.wait({launch}, timeout=within_s))[0]:
            self.problem = f"it was not started within {within_s:g} s: {self.beginning.step} takes longer"
        else:
            launch.result()  # raises what it raised

    async def _launch(self, beginning: Beginning) -> None:
        try:
            main = await beginning.begin()
        except (LaunchError, OSError) as fault:
            self.problem = str(fault)
            return
        self.started_s = time.monotonic()
        self._watch_main(main)

    def _watch_main(self, main: ProcessIdentity | None) -> None:
        if main is not None and self.main is None:
            self.watch = ExitWatch.open(main)
            self.main = main

    def terminate(self) -> None:
        """Tell the main process to end, as the fleet does."""
        self.is_told = True
        if self.main is not None:
            send_signal(self.main, signal.SIGTERM)

    async def look_for_children(self) -> None:
        """Write down what runs below it, until cancelled.

        A daemon leaves its family and may leave its environment too, but it is born in both.
        """
        while True:
            self.known |= await self.ground.offload(self._children)
            await asyncio.sleep(_FAMILY_S)

    async def left(self) -> tuple[ProcessIdentity, ...]:
        """List everything of it that runs."""
        return await self.ground.offload(self._left)

    async def end(self, *, polite_s: float) -> None:
        """End everything of it, by force after `polite_s`, and forget it; tried again until that is done."""
        deadline_s = time.monotonic() + polite_s
        await until_it_works(lambda: self._end(deadline_s), what=f"ending instance {self.record.id}")

    async def _end(self, deadline_s: float) -> None:
        await self._find_main()
        ending = Ending(
            tree=self._tree,
            main_ended=self.watch.ended if self.watch is not None else None,
            deadline_s=lambda: deadline_s,
            executor=self.ground.executor,
        )
        await ending.run(after_term=None if self.is_told else _nothing)
        for process in await self.left():
            send_signal(process, signal.SIGKILL)
        if self.watch is not None:
            await asyncio.wait({self.watch.ended}, timeout=_REAP_S)  # or a zombie stays
            self.watch.close()
        await self.ground.offload(lambda: self.ground.records.end(self.record))
        self.ground.ports.release(self.record.port)

    async def _find_main(self) -> None:
        if self.main is None and self.beginning is not None:
            self._watch_main(await self.beginning.give_up())
        elif self.main is None:
            self._watch_main((await find_process(self.ground.records, self.record)).main)

    def _tree(self) -> ProcessTree:
        return ProcessTree(main=self.main, mark=self.record.incarnation, group_until_ticks=self._group_until_ticks())

    def _group_until_ticks(self) -> float:
        if self.watch is None:
            return -math.inf
        return math.inf if self.watch.ended_ticks is None else self.watch.ended_ticks

    def _children(self) -> set[ProcessIdentity]:
        if self.main is None or read_stat(self.main.pid) is None:
            return set()
        with contextlib.suppress(psutil.Error):
            below = psutil.Process(self.main.pid).children(recursive=True)
            return {stat.identity for one in below if (stat := read_stat(one.pid)) is not None}
        return set()

    def _left(self) -> tuple[ProcessIdentity, ...]:
        strays = (stat for one in self.known if (stat := read_stat(one.pid)) and stat.identity == one)
        return tuple({*self._tree().running(), *(stat.identity for stat in strays if not stat.is_gone)})


async def _nothing() -> None:
    """There is nobody to tell that SIGTERM was sent."""


@asynccontextmanager
async def examined(spec: ServiceSpec, version: Version, ground: Ground) -> AsyncIterator[Subject]:
    """Start an instance; whatever happens, on the way out nothing of it is left."""
    subject = Subject(record=_record(spec, version, ground), ground=ground)
    family = asyncio.create_task(subject.look_for_children())
    polite_s = 0.0
    try:
        await subject.launch(spec)
        yield subject
        polite_s = 0.0 if subject.is_told else POLITE_S
    finally:
        family.cancel()
        await ground.finish(subject.end(polite_s=polite_s))


async def end_leftovers(ground: Ground) -> None:
    """End what a controller that died in the middle of a preflight has left; what takes long is ended meanwhile."""
    records, faults = await ground.offload(ground.records.load)
    for fault in faults:
        logger.error("%s: %s", fault.message, "; ".join(fault.evidence))
    left = [Subject(record=record, ground=ground, is_told=True) for record in records]
    if left:
        await asyncio.wait({ground.begin(one.end(polite_s=0.0)) for one in left}, timeout=_LEFTOVERS_S)


def _record(spec: ServiceSpec, version: Version, ground: Ground) -> InstanceRecord:
    now, mark = ground.clock.now(), uuid.uuid4().hex
    return InstanceRecord(
        id=InstanceId(f"{spec.name}-preflight-{mark[:6]}"),
        service=spec.name,
        version=version,
        region=LOCAL,
        port=ground.ports.take() or 0,
        incarnation=mark,
        boot_id=boot_id(),
        health=spec.health,
        drain=spec.drain,
        started_at=now,
        started_monotonic_s=time.monotonic(),
        phase=Phase.STARTING,
        since=now,
    )
