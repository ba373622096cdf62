"""The composition root: the only place that names concrete adapters."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hitless import __version__
from hitless.adapters.clock import SteadyClock
from hitless.adapters.envoy.lifecycle import RESTART
from hitless.adapters.envoy.router import EnvoyRouter
from hitless.adapters.envoy.standing import newest_fence, read_standing
from hitless.adapters.envoy.traffic import EnvoyTraffic
from hitless.adapters.machine.surroundings import LOOK_S, ProjectFile, Surroundings
from hitless.adapters.metrics.local import LocalMetrics, no_sessions
from hitless.adapters.metrics.prometheus import Asked
from hitless.adapters.metrics.scrape import Target
from hitless.adapters.postgres.schemas import DatabaseSchemas
from hitless.adapters.postgres.sessions import RoleSessions
from hitless.adapters.processes.checker import HttpChecker
from hitless.adapters.processes.fleet import ProcessFleet
from hitless.adapters.processes.free_ports import usual_ports
from hitless.adapters.processes.holder import holder_name, is_alive
from hitless.adapters.processes.logs import read_logs
from hitless.adapters.processes.preflight.preflighter import ProcessPreflighter
from hitless.adapters.recordings.recorder import FileRecorder
from hitless.adapters.store_sql.faults import StoreFault
from hitless.adapters.store_sql.store import FILE_NAME, SqlStore, open_store
from hitless.analysis.counts import PoolReading
from hitless.api.server import serve as serve_api
from hitless.cli.place import STATE_DIRECTORY, socket_path
from hitless.config import load
from hitless.engine.controller import CONTROL_PLANE, Controller
from hitless.engine.databases import compared_by_role
from hitless.engine.keeper import LEASE_S, RENEW_S, Keeper, told_only
from hitless.engine.outside import Outside
from hitless.engine.service import ServiceLoop
from hitless.engine.taking_up import standing_line
from hitless.errors import HitlessError, LeaseHeld
from hitless.ports import Clock, Lease
from hitless.rollout.world import Phase
from hitless.system_faults import in_words
from hitless.view.models import ControlPlaneView, EarlierEnvoyView, EnvoyView

__all__ = ["read_logs", "serve"]

WATCH_ENVOY_S = 0.1
WAIT_FOR_LEASE_S = 0.5
WAITING_TOLD_EVERY_S = 30.0
LOOK_EVERY_S = 1.0
END_GRACE_S = 10.0
ENVOY = "envoy"

Loops = Mapping[str, ServiceLoop]

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
            "problems": list(self.problems()),
            "services": await self.services(),
        }

    async def envoy(self) -> EnvoyView:
        """Show Envoy's process."""
        state = self.router.state
        earlier: list[EarlierEnvoyView] = [
            {"pid": one.pid, "open_connections": one.open_connections, "until": one.until.isoformat()}
            for one in await self.router.earlier()
        ]
        return {
            "status": state.status,
            "pid": state.pid,
            "version": state.version,
            "epoch": state.epoch,
            "problem": state.problem,
            "differences": list(state.differences),
            "earlier": earlier,
            "next": [RESTART] if state.differences else [],
        }

    async def restart_envoy(self, *, cut: bool, actor: str, reason: str | None) -> EnvoyView:
        """Exchange Envoy while it serves."""
        async with self.envoy_lock:
            before = self.router.state
            after = await self.router.restart(cut=cut, streams_s=self._longest_drain_s())
        await self.journal_self(
            "envoy_restarted",
            by=actor,
            reason=reason,
            cut=cut,
            version=after.version,
            pid=after.pid,
            epoch=after.epoch,
            previous_version=before.version,
            previous_pid=before.pid,
        )
        return await self.envoy()

    def _longest_drain_s(self) -> float:
        """Return the longest that any version promises its streams: the Envoy that leaves carries all of them."""
        promises = [spec.drain for loop in self.loops.values() for spec in loop.state.specs.values()]
        return max((max(one.requests_s, one.streams_s) for one in promises), default=0.0)

    async def down(self) -> None:
        """End all instances and Envoy, then the control plane."""
        await self.give_up(actor="hitless down")
        with told_only("the end of the control plane is not journaled"):
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
            except (HitlessError, OSError) as error:
                log.warning("cannot look at Envoy: %s", in_words(error))
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look_after_envoy(self) -> None:
        """A disk that is full is no reason to stop looking."""
        try:
            await self.router.ensure_running()
        except OSError as error:
            log.warning("cannot look after Envoy: %s", in_words(error))
            await asyncio.sleep(1)


async def look_around(surroundings: Surroundings) -> None:
    """Look every few seconds at what could be wrong."""
    while True:
        await asyncio.to_thread(surroundings.look)
        await asyncio.sleep(LOOK_S)


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
    if not (directory / FILE_NAME).exists():
        load(project_path)  # a wrong file is told before anything starts; later it keeps nobody from going on
    directory.mkdir(mode=0o700, exist_ok=True)
    with _open_store(directory) as store:
        clock = SteadyClock(directory)
        lease = await _take_lease(store, clock, stopping, above=newest_fence(directory / ENVOY))
        if lease is None:
            return
        keeper = Keeper(store=store, clock=clock, lease=lease)
        renewing = asyncio.create_task(keeper.renew_forever())
        try:
            await _run(project_path, keeper, renewing, stopping, on_ready)
        finally:
            renewing.cancel()
            await asyncio.wait({renewing})
            with told_only("the lease was not given back and runs out by itself"):
                await asyncio.to_thread(store.release_lease, keeper.lease)


def _open_store(directory: Path) -> SqlStore:
    """Open the store; if it cannot be used, say what serves on without it.

    Raises:
        StoreFault: with the services that go on, and every way on.
    """
    try:
        return open_store(directory)
    except StoreFault as fault:
        standing = read_standing(directory / ENVOY).items()
        serving = tuple(f"serves on: {standing_line(name, one)}" for name, one in standing)
        fault.evidence = (*fault.evidence, *serving)
        raise


async def _run(
    project_path: Path,
    keeper: Keeper,
    renewing: asyncio.Task[None],
    stopping: asyncio.Event,
    on_ready: Callable[[ControlPlaneView], None],
) -> None:
    project, ports = project_path.parent, usual_ports()
    directory = project / STATE_DIRECTORY
    router = EnvoyRouter(directory / ENVOY, keeper.clock)
    file = ProjectFile(path=project_path, read=lambda: load(project_path).services)
    surroundings = _surroundings(directory, file, keeper)
    control: LocalControlPlane | None = None
    schemas = DatabaseSchemas(directory, actor=keeper.lease.owner)
    preflighter = ProcessPreflighter(directory, project=project, clock=keeper.clock, ports=ports, dress=schemas.dress)
    fleet = ProcessFleet(
        directory,
        project=project,
        clock=keeper.clock,
        ports=ports,
        on_change=lambda service: control.wake(service) if control else None,
        may_write=keeper.is_sure,
        dress=schemas.dress,
    )

    def loops() -> Loops:
        return control.loops if control else {}

    sessions = RoleSessions(schemas, lambda: compared_by_role(loops()))
    metrics = local_metrics(directory, keeper.clock, router, fleet, loops=loops, sessions=sessions.readings)
    control = LocalControlPlane(
        settings=file.services,
        surroundings=lambda: surroundings.problems,
        keeper=keeper,
        outside=Outside(
            fleet=fleet,
            router=router,
            checker=HttpChecker(),
            preflighter=preflighter,
            clock=keeper.clock,
            metrics=metrics,
            recorder=FileRecorder(directory, may_write=keeper.is_sure),
            schemas=schemas,
            bench=ThreadPoolExecutor(1, thread_name_prefix="hitless-judges"),
        ),
        directory=project,
        router=router,
        fleet=fleet,
        stopping=stopping,
        started_at=keeper.clock.now().isoformat(),
    )
    await router.start()
    await fleet.start_watching()
    await preflighter.start()
    await metrics.start()
    looking = asyncio.create_task(look_around(surroundings))
    counting = asyncio.create_task(sessions.run())
    try:
        await control.open()
        await _run_until_stopped(control, renewing, on_ready)
    finally:
        await preflighter.close()
        looking.cancel()
        counting.cancel()
        await metrics.close()
        await fleet.close()
        await router.close()


def local_metrics(
    directory: Path,
    clock: Clock,
    router: EnvoyRouter,
    fleet: ProcessFleet,
    *,
    loops: Callable[[], Loops],
    sessions: Callable[[], Mapping[str, Sequence[PoolReading]]] = no_sessions,
) -> LocalMetrics:
    """Make what tells users' requests, instances' usage and applications' figures by second; to be started and closed.

    Args:
        directory: the state directory.
        clock: what seconds are counted by.
        router: whose log tells requests.
        fleet: whose instances are looked at, and asked.
        loops: of all services, as they are at the moment.
        sessions: what databases tell of their sessions, by service.
    """
    traffic = EnvoyTraffic(directory / ENVOY, clock, state=lambda: router.state, names=router.names)
    return LocalMetrics(
        clock,
        traffic,
        usage=fleet.usage,
        targets=lambda: _targets(fleet, loops()),
        asked=lambda: _asked(loops()),
        sessions=sessions,
    )


async def _targets(fleet: ProcessFleet, loops: Loops) -> list[Target]:
    """List instances that are ready and whose version tells figures of its own."""
    found: list[Target] = []
    for service, loop in tuple(loops.items()):  # a deploy may add one meanwhile
        specs = {version: spec.metrics for version, spec in loop.state.specs.items() if spec.metrics is not None}
        wanted = loop.state.figures_wanted
        found += [
            Target(
                service=service,
                instance=one.id,
                region=one.region,
                version=one.version,
                address=one.address,
                path=specs[one.version].path,
                wanted=wanted or specs[one.version],
            )
            for one in (await fleet.observe(service) if specs else ())
            if one.phase is Phase.READY and one.version in specs
        ]
    return found


async def _asked(loops: Loops) -> list[Asked]:
    """List services whose ratios a Prometheus tells."""
    found: list[Asked] = []
    for service, loop in tuple(loops.items()):
        wanted = loop.state.figures_wanted
        ratios = tuple(one for one in wanted.ratios if one.is_query) if wanted is not None else ()
        if wanted is not None and wanted.prometheus is not None and ratios:
            versions = frozenset(loop.state.specs)
            found.append(Asked(service=service, prometheus=wanted.prometheus, ratios=ratios, versions=versions))
    return found


def _surroundings(directory: Path, file: ProjectFile, keeper: Keeper) -> Surroundings:
    clock = keeper.clock
    assert isinstance(clock, SteadyClock)
    return Surroundings(
        file=file,
        directories=(directory, directory / ENVOY, directory / "instances", directory / "logs"),
        clock_problem=lambda: clock.problem,
        keep_clock=clock.keep,
    )


async def _run_until_stopped(
    control: LocalControlPlane, renewing: asyncio.Task[None], on_ready: Callable[[ControlPlaneView], None]
) -> None:
    await control.journal_self("started", version=__version__, pid=os.getpid())
    serving = asyncio.Event()
    tasks = [
        asyncio.create_task(control.run(until=control.stopping)),
        asyncio.create_task(control.watch_envoy()),
        asyncio.create_task(
            serve_api(
                control,
                socket_path(control.directory),
                stopping=control.stopping,
                on_ready=serving.set,
                takes_over=True,
            )
        ),
        asyncio.create_task(control.watch_routing()),
    ]
    announce = asyncio.create_task(_announce(control, serving, on_ready))
    try:
        await _first_end([*tasks, renewing], control.stopping)
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


async def _take_lease(store: SqlStore, clock: SteadyClock, stopping: asyncio.Event, *, above: int) -> Lease | None:
    """Wait for the right to write; a holder that is dead on this very machine is not waited for."""
    owner, patience = holder_name(os.getpid()), Patience()
    began_at = await asyncio.to_thread(store.last_record)
    while not stopping.is_set():
        try:
            lease = await asyncio.to_thread(
                store.acquire_lease, owner=owner, now=clock.now(), ttl_s=LEASE_S, above=above
            )
            if not await asyncio.to_thread(_was_ended, store, began_at.seq if began_at else 0):
                return lease
            log.warning("hitless down has ended everything while this one stood by, so it ends too; begin: hitless up")
            await asyncio.to_thread(store.release_lease, lease)
            break
        except LeaseHeld as held:
            if is_alive(held.owner) is False or patience.is_over(held):
                left = Lease(owner=held.owner, fence=held.fence, until=clock.now())
                await asyncio.to_thread(store.release_lease, left)
                continue
            patience.tell(held)
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), WAIT_FOR_LEASE_S)
    return None


def _was_ended(store: SqlStore, after: int) -> bool:
    """Tell whether somebody wanted everything to end: whoever stood by must not start it again."""
    told = store.journal(after=after, subject=CONTROL_PLANE)
    return any(one.entry.type == "control_plane.ended" for one in told)


@dataclass(slots=True)
class Patience:
    """How long another controller's lease is waited for, judged by this process's own time.

    A lease that nobody renews for as long as it lasts has run out, whatever the two clocks say.
    """

    began_s: float = field(default_factory=time.monotonic)
    told_s: float | None = None
    seen: str = ""
    seen_s: float = 0.0

    def is_over(self, held: LeaseHeld) -> bool:
        """Tell whether it was not renewed for longer than it lasts."""
        now_s = time.monotonic()
        if held.message != self.seen:
            self.seen, self.seen_s = held.message, now_s
        return now_s - self.seen_s > LEASE_S + RENEW_S

    def tell(self, held: LeaseHeld) -> None:
        """Say who is waited for, at first and then now and again."""
        now_s = time.monotonic()
        if self.told_s is None:
            log.warning(
                "%s; this one stands by and takes over when that one ends or does not renew its lease for %g s. "
                "To use the one that runs: hitless status; to give up waiting: Ctrl-C",
                held.message,
                LEASE_S,
            )
        elif now_s - self.told_s >= WAITING_TOLD_EVERY_S:
            log.warning("still standing by, for %.0f s now: %s", now_s - self.began_s, held.owner)
        else:
            return
        self.told_s = now_s
