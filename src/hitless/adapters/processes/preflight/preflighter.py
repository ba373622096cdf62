from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from hitless.adapters.processes.free_ports import FreePorts
from hitless.adapters.processes.ground import Ground
from hitless.adapters.processes.preflight.looks import (
    check_alive,
    look_for_sessions,
    watch_idle,
    watch_start,
    watch_stray,
)
from hitless.adapters.processes.preflight.subject import Subject, end_leftovers, examined
from hitless.adapters.processes.preflight.term import watch_ending
from hitless.adapters.processes.records import InstanceRecords
from hitless.ports import Clock
from hitless.preflight.seen import Seen, Start
from hitless.rollout.spec import RunSpec, ServiceSpec, Version

_THREADS = 2


class ProcessPreflighter:
    """Examines versions by two instances side by side: one is loaded and ended, the other one is left running."""

    def __init__(
        self,
        directory: Path,
        *,
        project: Path,
        clock: Clock,
        ports: FreePorts,
        dress: Callable[[ServiceSpec, Version], RunSpec] = lambda spec, _: spec.run,
    ) -> None:
        """Prepare; nothing is read or started yet.

        Args:
            directory: the state directory; records are in a folder of their own there, logs where all others are.
            project: where `hitless.yaml` is.
            clock: time.
            ports: where the fleet takes its ports from: an instance that has not bound its port yet holds it already.
            dress: says how an instance of a version is started, secrets included.
        """
        self._dress = dress
        executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="hitless-preflight")
        records = InstanceRecords(directory / "preflight")
        self._ground = Ground(
            directory=directory, project=project, clock=clock, ports=ports, records=records, executor=executor
        )

    async def start(self) -> None:
        """End what a controller that died in the middle has left."""
        await end_leftovers(self._ground)

    async def close(self) -> None:
        """Wait until what was examined has ended; whoever examines is cancelled before."""
        await self._ground.close()
        self._ground.executor.shutdown()

    async def examine(self, *, spec: ServiceSpec, version: Version) -> Seen:
        """Start instances of the version out of rotation, look at what they do, end them; at once when cancelled."""
        dressed = replace(spec, run=self._dress(spec, version))
        async with examined(dressed, version, self._ground) as one, examined(dressed, version, self._ground) as other:
            starts = await asyncio.gather(watch_start(one, spec), watch_start(other, spec))
            if any(start.problem is not None for start in starts):
                return Seen(spec=spec, version=version, starts=starts)
            return await _look(one, other, starts, spec, version)


async def _look(one: Subject, other: Subject, starts: tuple[Start, Start], spec: ServiceSpec, version: Version) -> Seen:
    idle = asyncio.create_task(watch_idle(other, spec))
    stray = asyncio.create_task(watch_stray(other, starts[1], spec))
    try:
        seen = Seen(spec=spec, version=version, starts=starts)
        seen = replace(seen, lost_sessions=await look_for_sessions(one, other, spec))
        if (still := check_alive(one, starts[0])).problem is None:
            seen = replace(seen, ending=await watch_ending(one, spec))
        return replace(seen, idle=await idle, starts=(still, check_alive(other, await stray)))
    finally:
        idle.cancel()
        stray.cancel()
        await asyncio.gather(idle, stray, return_exceptions=True)
