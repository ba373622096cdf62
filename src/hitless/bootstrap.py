"""The composition root: the only place that names concrete adapters."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hitless import __version__
from hitless.adapters.clock import SystemClock
from hitless.adapters.envoy.router import EnvoyRouter
from hitless.adapters.processes.checker import HttpChecker
from hitless.adapters.processes.fleet import ProcessFleet
from hitless.adapters.processes.free_ports import usual_ports
from hitless.adapters.processes.holder import holder_name, is_alive
from hitless.adapters.processes.logs import read_logs
from hitless.adapters.processes.preflight.preflighter import ProcessPreflighter
from hitless.adapters.store_sql.store import SqlStore, open_store
from hitless.api.server import serve as serve_api
from hitless.cli.place import STATE_DIRECTORY, socket_path
from hitless.config import load
from hitless.engine.controller import Controller
from hitless.engine.keeper import LEASE_S, Keeper
from hitless.engine.service import Outside
from hitless.errors import LeaseHeld
from hitless.ports import Lease
from hitless.view.models import ControlPlaneView

__all__ = ["read_logs", "serve"]

WATCH_ENVOY_S = 0.1
LOOK_EVERY_S = 1.0
END_GRACE_S = 10.0

log = logging.getLogger("hitless")


@dataclass(slots=True, kw_only=True)
class LocalControlPlane(Controller):
    """The controller with what only this machine knows: its process, its Envoy, and how to end it all."""

    directory: Path
    router: EnvoyRouter
    fleet: ProcessFleet
    stopping: asyncio.Event
    started_at: str
    envoy_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_ending: bool = False

    async def control_plane(self) -> ControlPlaneView:
        """Show the control plane itself."""
        envoy = self.router.state
        return {
            "version": __version__,
            "pid": os.getpid(),
            "started_at": self.started_at,
            "directory": str(self.directory),
            "envoy": envoy.status,
            "envoy_pid": envoy.pid,
            "services": await self.services(),
        }

    async def down(self) -> None:
        """End all instances and Envoy, then the control plane."""
        await self.give_up(actor="hitless down")
        await self.journal_self("ended", instances=sum(len(loop.state.instances) for loop in self.loops.values()))
        await self.fleet.end_all(END_GRACE_S)
        async with self.envoy_lock:
            self.is_ending = True
            await self.router.stop()
        self.stopping.set()

    async def watch_envoy(self) -> None:
        """Start Envoy again when it has died, unless it is meant to be gone."""
        while True:
            async with self.envoy_lock:
                if not self.is_ending:
                    await self._look_after_envoy()
            await asyncio.sleep(WATCH_ENVOY_S)

    async def watch_routing(self) -> None:
        """Look at Envoy for everybody: services that rest are woken by a change, instances hear its health checks."""
        while True:
            try:
                if await self.router.look():
                    self.wake()
                self.fleet.hear(self.router.verdicts())
            except OSError as error:
                log.warning("cannot look at Envoy: %s", error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look_after_envoy(self) -> None:
        """A disk that is full is no reason to stop looking."""
        try:
            await self.router.ensure_running()
        except OSError as error:
            log.warning("cannot look after Envoy: %s", error)
            await asyncio.sleep(1)


def serve(project_path: Path, *, on_ready: Callable[[ControlPlaneView], None]) -> int:
    """Run the control plane until SIGINT, SIGTERM or `hitless down`; services live on in the first two cases.

    Args:
        project_path: the project's `hitless.yaml`.
        on_ready: told once everything is started or adopted and the API answers.

    Returns:
        The exit code.
    """
    asyncio.run(_serve(project_path.absolute(), on_ready))
    return 0


async def _serve(project_path: Path, on_ready: Callable[[ControlPlaneView], None]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    directory = project_path.parent / STATE_DIRECTORY
    load(project_path)  # a wrong file is told before anything starts
    directory.mkdir(mode=0o700, exist_ok=True)
    with open_store(directory) as store:
        clock = SystemClock()
        lease = await _take_lease(store, clock, stopping)
        if lease is None:
            return
        keeper = Keeper(store=store, clock=clock, lease=lease)
        try:
            await _run(project_path, directory, keeper, stopping, on_ready)
        finally:
            await asyncio.to_thread(store.release_lease, keeper.lease)


async def _run(
    project_path: Path,
    directory: Path,
    keeper: Keeper,
    stopping: asyncio.Event,
    on_ready: Callable[[ControlPlaneView], None],
) -> None:
    router = EnvoyRouter(directory / "envoy", keeper.clock)
    control: LocalControlPlane | None = None
    project, ports = project_path.parent, usual_ports()
    preflighter = ProcessPreflighter(directory, project=project, clock=keeper.clock, ports=ports)
    fleet = ProcessFleet(
        directory,
        project=project,
        clock=keeper.clock,
        ports=ports,
        on_change=lambda service: control.wake(service) if control else None,
    )
    control = LocalControlPlane(
        settings=lambda: load(project_path).services,
        keeper=keeper,
        outside=Outside(fleet=fleet, router=router, checker=HttpChecker(), preflighter=preflighter, clock=keeper.clock),
        directory=project,
        router=router,
        fleet=fleet,
        stopping=stopping,
        started_at=keeper.clock.now().isoformat(),
    )
    await router.start()
    await fleet.start_watching()
    await preflighter.start()
    try:
        await control.open()
        await _run_until_stopped(control, on_ready)
    finally:
        await preflighter.close()
        await fleet.close()
        await router.close()


async def _run_until_stopped(control: LocalControlPlane, on_ready: Callable[[ControlPlaneView], None]) -> None:
    await control.journal_self("started", version=__version__, pid=os.getpid())
    serving = asyncio.Event()
    tasks = [
        asyncio.create_task(control.run(until=control.stopping)),
        asyncio.create_task(control.watch_envoy()),
        asyncio.create_task(
            serve_api(control, socket_path(control.directory), stopping=control.stopping, on_ready=serving.set)
        ),
        asyncio.create_task(control.watch_routing()),
    ]
    announce = asyncio.create_task(_announce(control, serving, on_ready))
    try:
        await _first_end(tasks, control.stopping)
    finally:
        control.stopping.set()
        announce.cancel()
        tasks[1].cancel()
        tasks[3].cancel()
        await asyncio.gather(*tasks, announce, return_exceptions=True)


async def _first_end(tasks: list[asyncio.Task[None]], stopping: asyncio.Event) -> None:
    """Wait until told to stop, or until a part ends by itself; then raise what ended it."""
    stop = asyncio.ensure_future(_wait(stopping))
    done, _ = await asyncio.wait({*tasks, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    for task in done - {stop}:
        task.result()
    if stop in done:
        await asyncio.gather(tasks[0], tasks[2])


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _announce(
    control: LocalControlPlane, serving: asyncio.Event, on_ready: Callable[[ControlPlaneView], None]
) -> None:
    await serving.wait()
    await control.looked_at_everything()
    on_ready(await control.control_plane())


async def _take_lease(store: SqlStore, clock: SystemClock, stopping: asyncio.Event) -> Lease | None:
    """Wait for the right to write; a holder that is dead on this very machine is not waited for."""
    owner, told = holder_name(os.getpid()), False
    while not stopping.is_set():
        try:
            return await asyncio.to_thread(store.acquire_lease, owner=owner, now=clock.now(), ttl_s=LEASE_S)
        except LeaseHeld as held:
            if is_alive(held.owner) is False:
                left = Lease(owner=held.owner, fence=held.fence, until=clock.now())
                await asyncio.to_thread(store.release_lease, left)
                continue
            if not told:
                log.warning("%s; waiting", held.message)
                told = True
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), 0.5)
    return None
