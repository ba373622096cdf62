"""Looks after one instance, from its start or adoption to its end.

One task per instance, the only one that changes its record: launch or adopt -> probe until something happens (the
process ends, the health rules say FAILED, a stop is ordered) -> wait for the order to stop -> end -> forget. What is
seen is told first and written after; what is intended (start, stop) is written first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hitless.adapters.processes.adoption import find_process
from hitless.adapters.processes.beginning import Beginning
from hitless.adapters.processes.ending import Ending
from hitless.adapters.processes.exit_watch import ExitStatus, ExitWatch
from hitless.adapters.processes.ground import Ground, until_it_works
from hitless.adapters.processes.health import Health
from hitless.adapters.processes.identity import ProcessIdentity, ProcessTree
from hitless.adapters.processes.launch import LaunchError
from hitless.adapters.processes.logs import last_line, log_path
from hitless.adapters.processes.probing import PROBED, Probing
from hitless.adapters.processes.records import InstanceRecord
from hitless.adapters.processes.symptoms import stranger_on, survivors, symptoms
from hitless.adapters.processes.usage import Subject
from hitless.adapters.processes.witness import Witness
from hitless.rollout.spec import Address, RunSpec
from hitless.rollout.world import Instance, Phase

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Surroundings(Ground):
    """What all supervisors of a fleet share."""

    on_change: Callable[[str], None]
    on_gone: Callable[[InstanceRecord, str], None]


class Supervisor:
    """One instance's keeper.

    Attributes:
        record: what is known; replaced on every change.
        address: where the instance listens.
        seen: set when the instance has been looked at once since its start or adoption.
        witness: what the proxy's health check says of it.
    """

    def __init__(self, record: InstanceRecord, around: Surroundings) -> None:
        self.record = record
        self.address = Address(host="127.0.0.1", port=record.port)
        self.seen = asyncio.Event()
        self.witness = Witness()
        self._around = around
        self._main: ProcessIdentity | None = None
        self._watch: ExitWatch | None = None
        self._stop: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._beginning: Beginning | None = None
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def begin(self, run: RunSpec | None) -> None:
        """Start the instance with `run`; None: adopt the process of an earlier controller."""
        self._task = asyncio.create_task(self._keep(run), name=f"instance {self.record.id}")

    def order_stop(self, *, deadline_s: float) -> None:
        """Have it ended; a second order may only bring the deadline (monotonic) nearer."""
        if self._beginning is not None:
            self._beginning.is_given_up = True
        self.record = replace(self.record, stop_deadline_s=min(self._stop_deadline_s(), deadline_s))
        if not self._stop.done():
            self._stop.set_result(None)
            self._enter(Phase.STOPPING, self.record.cause)

    async def let_go(self) -> None:
        """Look after it no longer; its processes live on, writes that have begun are finished by the fleet."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def stop_watching(self) -> None:
        """Give the exit watch back."""
        if self._watch is not None:
            self._watch.close()

    def view(self) -> Instance:
        """Return what the fleet shows."""
        return Instance(
            id=self.record.id,
            version=self.record.version,
            region=self.record.region,
            address=self.address,
            phase=self.record.phase,
            since=self.record.since,
            started_at=self.record.started_at,
            cause=self.record.cause,
            is_to_blame=not (self.record.lost_its_port or self.record.is_lost),
        )

    def subject(self) -> Subject | None:
        """Return what usage is read by; None while its process is not known."""
        if self._main is None:
            return None
        return Subject(
            instance=self.record.id,
            region=self.record.region,
            version=self.record.version,
            main=self._main,
            mark=self.record.incarnation,
        )

    async def _keep(self, run: RunSpec | None) -> None:
        try:
            await self._live(run)
        except Exception as fault:
            logger.exception("instance %s is no longer watched", self.record.id)
            self._fail(f"hitless could not look after it: {fault!r}")
        finally:
            self.seen.set()
        await self._stop
        await until_it_works(self._end, what=f"ending instance {self.record.id}")

    async def _live(self, run: RunSpec | None) -> None:
        if run is not None:
            await self._begin(run)
        else:
            await self._adopt()
        if self._watch is not None and self.record.phase in PROBED:
            await self._look_after(self._watch)

    async def _begin(self, run: RunSpec) -> None:
        """Begin it, and wait as long as it may take to be ready."""
        around, within_s = self._around, self.record.health.start_deadline_s
        beginning = self._beginning = Beginning(
            run=run,
            record=self.record,
            ground=around,
            log=self._log,
            writing=self._writing,
            is_given_up=self._stop.done(),
        )
        launch = around.begin(self._launch(beginning))
        await asyncio.wait({launch, self._stop}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        if launch.done():
            launch.result()  # raises what it raised
        elif not self._stop.done():
            beginning.is_given_up = True
            self._fail(f"not started within {within_s:g} s: {beginning.step} takes longer; does its disk answer?")
            await self._save()

    async def _launch(self, beginning: Beginning) -> None:
        try:
            main = await beginning.begin()
        except (LaunchError, OSError) as fault:
            if not beginning.is_given_up:
                self._fail(str(fault))
                await self._write()
            return
        if main is not None and self._main is None:
            self._watch_main(main)
        elif not beginning.is_given_up:
            self.record = replace(self.record, is_lost=True)
            self._fail("never started: another controller may have taken over")

    async def _adopt(self) -> None:
        found = await find_process(self._around.records, self.record)
        if found.main is not None:
            self._watch_main(found.main)
        if self.record.phase is Phase.STOPPING:
            self._stop.set_result(None)
        elif self._watch is None and self.record.phase is not Phase.FAILED:
            self.record = replace(self.record, is_lost=found.is_lost)
            self._fail(self._with_log(found.why_gone))
            await self._save()

    def _watch_main(self, identity: ProcessIdentity) -> None:
        self._watch = ExitWatch.open(identity)
        self._main = identity

    async def _look_after(self, watch: ExitWatch) -> None:
        if not watch.ended.done():
            await self._probe_until_something_happens(watch)
        if watch.ended.done():
            await self._explain_end(watch.ended.result())
            await self._save()

    async def _probe_until_something_happens(self, watch: ExitWatch) -> None:
        probing = asyncio.create_task(self._probe())
        events: set[asyncio.Future[Any]] = {probing, watch.ended, self._stop}
        try:
            await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
        finally:
            probing.cancel()
            await asyncio.wait({probing})
        if not probing.cancelled() and not watch.ended.done():
            probing.result()  # raises what it raised

    async def _probe(self) -> None:
        probing = Probing(
            target=self.address,
            spec=self.record.health,
            start_deadline_s=self.record.started_monotonic_s + self.record.health.start_deadline_s,
            witness=self.witness,
        )
        async with contextlib.aclosing(probing.rounds(self.record.phase)) as rounds:
            async for health in rounds:
                if health.phase is not self.record.phase:
                    await self._take_in(health)
                    await self._save()
                self.seen.set()
                if self.record.phase not in PROBED:
                    return

    async def _take_in(self, health: Health) -> None:
        """Believe what the probes found, unless somebody else answered them."""
        was_starting = self.record.phase is Phase.STARTING
        if was_starting and await self._lost_port():
            return
        cause = health.cause
        if cause is not None and (seen := await self._around.offload(lambda: symptoms(self.record.port, self._tree()))):
            cause = f"{cause}; {seen}"
        if self._stop.done():  # ordered while the kernel was asked: STOPPING it stays
            return
        self._enter(health.phase, self._with_log(cause) if was_starting and cause is not None else cause)

    async def _explain_end(self, status: ExitStatus) -> None:
        was_starting = self.record.phase is Phase.STARTING
        # who exits with 0 may have left a daemon behind, which is no stranger
        if was_starting and await self._lost_port(after=f"{status}: ", is_certain=status.code != 0):
            return
        left = await self._around.offload(lambda: survivors(self._tree())) if status.code == 0 else ""
        if left:
            hint = "; it must stay in the foreground" if was_starting else ""
            self._fail(self._with_log(f"{status} and left running: {left}{hint}"))
        else:
            self._fail(self._with_log(str(status)))

    async def _lost_port(self, *, after: str = "", is_certain: bool = False) -> bool:
        """Fail, without blame, an instance on whose port somebody else listens."""
        port, tree = self.record.port, self._tree()
        stranger = await self._around.offload(lambda: stranger_on(port, tree, is_certain=is_certain))
        if stranger is None:
            return False
        self.record = replace(self.record, lost_its_port=True)
        self._fail(f"{after}{stranger}; another instance gets another port")
        return True

    async def _end(self) -> None:
        await self._save()
        await self._find_main()
        ending = Ending(
            tree=self._tree,
            main_ended=self._watch.ended if self._watch is not None else None,
            deadline_s=self._stop_deadline_s,
            executor=self._around.executor,
        )
        was_killed = await ending.run(after_term=None if self.record.term_sent else self._note_term)
        how = "killed: it did not end within its grace" if was_killed else self._exit_status()
        await self._around.finish(self._forget(how))

    async def _find_main(self) -> None:
        """Find the process of an instance whose beginning was given up, or that could not be found before."""
        if self._main is not None:
            return
        if self._beginning is not None:
            found = await self._beginning.give_up()
        else:
            found = (await find_process(self._around.records, self.record)).main
        if found is not None and self._main is None:
            self._watch_main(found)

    async def _note_term(self) -> None:
        self.record = replace(self.record, term_sent=True)
        await self._save()

    async def _forget(self, how: str) -> None:
        final = replace(self.record, since=self._around.clock.now(), cause=self.record.cause or how)
        await self._around.offload(lambda: self._around.records.end(final))
        self._around.on_gone(final, how)

    def _exit_status(self) -> str:
        if self._main is None and self._beginning is not None:
            return "never started"
        ended = self._watch.ended if self._watch is not None else None
        return str(ended.result() if ended is not None and ended.done() else ExitStatus())

    def _tree(self) -> ProcessTree:
        return ProcessTree(main=self._main, mark=self.record.incarnation, group_until_ticks=self._group_until_ticks())

    def _group_until_ticks(self) -> float:
        if self._watch is None:
            return -math.inf
        return math.inf if self._watch.ended_ticks is None else self._watch.ended_ticks

    def _stop_deadline_s(self) -> float:
        return math.inf if self.record.stop_deadline_s is None else self.record.stop_deadline_s

    def _fail(self, cause: str) -> None:
        if not self._stop.done():
            self._enter(Phase.FAILED, cause)

    def _enter(self, phase: Phase, cause: str | None) -> None:
        self.record = replace(self.record, phase=phase, cause=cause, since=self._around.clock.now())
        self._around.on_change(self.record.service)

    def _with_log(self, cause: str) -> str:
        last = last_line(self._log)
        return cause if last is None else f"{cause}; its log ends with: {last}"

    async def _save(self) -> None:
        await self._around.finish(self._write())

    async def _write(self) -> None:
        if not self._around.may_write():
            return  # the record may be another controller's by now
        async with self._writing:  # one after the other, and always the newest: an older one cannot come last
            try:
                await self._around.offload(lambda: self._around.records.write(self.record))
            except OSError:
                # The view in memory stays right. A later controller that finds the older record looks for itself, and
                # the engine orders a stop again that is not on disk.
                logger.exception("record of instance %s was not written", self.record.id)

    @property
    def _log(self) -> Path:
        return log_path(self._around.directory, service=self.record.service, instance=self.record.id)
