"""The control plane: one loop per service under one lease, and everything that people ask of it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hitless.analysis.counts import Second
from hitless.engine.archive import Archive, service_of
from hitless.engine.codec import subject_of
from hitless.engine.databases import role_to_examine
from hitless.engine.keeper import Keeper, told_only
from hitless.engine.objectives import Objectives
from hitless.engine.outside import Outside
from hitless.engine.planning import planned
from hitless.engine.service import ServiceLoop
from hitless.engine.taking_up import (
    at_address_of,
    found_problem,
    open_elsewhere,
    refuse_to_move,
    unexplained,
)
from hitless.engine.troubles import log_forever
from hitless.engine.verbs import Verb, command_of
from hitless.errors import (
    HitlessError,
    NotAllowedNow,
    UnknownService,
    UserError,
)
from hitless.journal.record import Entry
from hitless.ports import Standing
from hitless.preflight.rules import judge
from hitless.rollout.inputs import Abort, Deploy
from hitless.rollout.spec import PreflightSpec, ServiceSpec, SloSpec, StrategyName, Version
from hitless.rollout.state import Rollout, RolloutPhase, ServiceState
from hitless.system_faults import in_words
from hitless.view.models import (
    JournalRecordView,
    PlanView,
    PreflightView,
    RolloutRowView,
    RolloutView,
    ServiceView,
    VerifyView,
)
from hitless.view.preflight import preflight_view
from hitless.view.service import rollout_row, rollout_view, service_view

MEND_S = 5.0
CONTROL_PLANE = "control_plane"
"""Subject of what the journal says of the control plane itself."""


@dataclass(slots=True, kw_only=True)
class Controller:
    """Runs all services of one project.

    Attributes:
        settings: reads the services of the project anew; raises `UserError` with its place when they are wrong.
        surroundings: what is wrong around the control plane at the moment, each with its next command.
    """

    settings: Callable[[], Mapping[str, ServiceSpec]]
    keeper: Keeper
    outside: Outside
    surroundings: Callable[[], tuple[str, ...]] = tuple
    loops: dict[str, ServiceLoop] = field(default_factory=dict)
    specs: dict[str, ServiceSpec] = field(default_factory=dict)
    strangers: tuple[str, ...] = ()
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _endless: list[asyncio.Task[None]] = field(default_factory=list)
    _deploying: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _examining: set[asyncio.Task[PreflightView]] = field(default_factory=set)
    _telling: set[asyncio.Task[None]] = field(default_factory=set)
    _lost: asyncio.Future[None] | None = None
    objectives: Objectives = field(init=False)

    def __post_init__(self) -> None:
        """Watch what the services promise."""
        self.objectives = Objectives(
            outside=self.outside, keeper=self.keeper, promised=self._promised, on_change=self.notify
        )

    # Life

    async def open(self) -> None:
        """Take up every service of the store, the project and the data plane.

        What is deployed keeps the settings it came with; of what the store does not know, nothing is touched.
        """
        self.keeper.seq = await self.archive.newest_seq()
        stored = await self.archive.states()
        known = {state.service: state for state in stored}
        wanted = self._wanted(known)
        standing = await self.outside.router.standing()
        specs: dict[str, ServiceSpec] = {}
        for name in dict.fromkeys([*wanted, *known]):
            state = known.get(name, ServiceState(service=name))
            spec = await self._spec_to_open(state, wanted.get(name))
            if spec is not None:
                specs[name] = spec
                await self._add(state).take_up(revision=standing[name].revision if name in standing else 0)
        self.specs = specs
        await self._close_moved(standing)
        for name, loop in self.loops.items():
            await self._open(loop, standing.get(name))
        now = {name: loop.state for name, loop in self.loops.items()}
        self.strangers = tuple(unexplained(standing, before=known, now=now))

    def _wanted(self, known: Mapping[str, ServiceState]) -> Mapping[str, ServiceSpec]:
        """Read the project; a file that is wrong keeps nobody from looking after what is deployed."""
        try:
            return dict(self.settings())
        except UserError:
            if not any(state.rollouts for state in known.values()):
                raise
            return {}

    async def _spec_to_open(self, state: ServiceState, wanted: ServiceSpec | None) -> ServiceSpec | None:
        """Return the settings in force; of a service that nothing runs of, the address is the file's, or nothing is."""
        now = state.settings_in_force
        if now is None or await self.outside.fleet.observe(state.service):
            return now or wanted
        return at_address_of(now, wanted) if wanted is not None else None

    async def _close_moved(self, standing: Mapping[str, Standing]) -> None:
        """Close the old addresses of what moves while nothing runs of it, so that two services may swap theirs."""
        for name, spec in self.specs.items():
            is_moved = name in standing and standing[name].listen not in {None, spec.traffic.listen}
            if is_moved and not await self.outside.fleet.observe(name):
                await self.outside.router.remove(name)

    async def _open(self, loop: ServiceLoop, standing: Standing | None) -> None:
        """Open one service's addresses; one that cannot be opened does not keep the others from being looked after."""
        spec = self.specs[loop.name]
        if loop.state.is_found and standing and standing.listen not in {None, spec.traffic.listen}:
            return  # its users are elsewhere; a deploy that would move it is refused
        try:
            await self._define(loop, spec)
        except HitlessError as error:
            if not any(other.state.rollouts or other.state.is_found for other in self.loops.values()):
                raise
            loop.standing_problem = error.in_words

    async def _define(self, loop: ServiceLoop, spec: ServiceSpec) -> None:
        await self.outside.router.define(spec)
        loop.opened = spec

    def _add(self, state: ServiceState) -> ServiceLoop:
        loop = ServiceLoop(state=state, keeper=self.keeper, outside=self.outside, on_change=self.notify)
        self.loops[state.service] = loop
        return loop

    async def run(self, *, until: asyncio.Event) -> None:
        """Keep all services as they are wanted until told to let go; services live on.

        Whoever took the lease renews it, from before `open` until everything has ended.

        Raises:
            Fenced: another controller has taken over.
        """
        self._lost = asyncio.get_running_loop().create_future()
        logging = log_forever(self._all_problems, self.outside.clock)
        for endless in (self._mend_forever(), logging, self.objectives.run()):
            self._endless.append(self._watched(endless))
        for loop in self.loops.values():
            self._tasks.append(self._watched(loop.run()))
        stop = asyncio.ensure_future(_wait(until))
        try:
            await asyncio.wait({stop, self._lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            await self.stop_loops()
        if self._lost.done():
            self._lost.result()

    def _watched(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._on_end)
        return task

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if self._lost is None or self._lost.done() or task.cancelled():
            return
        fault = task.exception()
        if fault is not None:
            self._lost.set_exception(fault)

    async def stop_loops(self) -> None:
        """Decide nothing more; what is being decided is committed first."""
        tasks, self._tasks = self._tasks, []
        endless, self._endless = self._endless, []
        for examining in self._examining:
            examining.cancel()
        for loop in self.loops.values():
            loop.stop()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in endless:
            task.cancel()
        await asyncio.gather(*endless, return_exceptions=True)

    async def _mend_forever(self) -> None:
        """Try again to open what could not be opened."""
        while True:
            await self.outside.clock.sleep(MEND_S)
            for loop in [one for one in self.loops.values() if one.standing_problem]:
                async with self._deploying[loop.name]:
                    await self._mend(loop)

    async def _mend(self, loop: ServiceLoop) -> None:
        try:
            await self._define(loop, loop.state.settings_in_force or self.specs[loop.name])
            loop.standing_problem = None
        except (HitlessError, OSError) as error:
            loop.standing_problem = in_words(error)
        self.notify()

    def _all_problems(self) -> set[str]:
        return {f"{name}: {one}" for name, loop in self.loops.items() for one in self._problems_of(loop)} | set(
            self.problems()
        )

    def wake(self, service: str | None = None) -> None:
        """Look at a service now; None = at all of them."""
        for name, loop in self.loops.items():
            if service in {None, name}:
                loop.wake()

    async def journal_self(self, kind: str, *, by: str | None = None, **data: object) -> None:
        """Journal something about the control plane itself; `by` whom, if not by its own process."""
        entry = Entry(
            at=self.outside.clock.now(),
            type=f"{CONTROL_PLANE}.{kind}",
            subject=CONTROL_PLANE,
            actor=by or self.keeper.lease.owner,
            data=data,
        )
        await self.keeper.commit(entries=[entry])

    # Commands

    async def deploy(
        self,
        *,
        service: str,
        version: str,
        strategy: str | None,
        supersede: bool,
        skip_preflight: bool = False,
        actor: str,
        reason: str | None,
    ) -> RolloutView:
        """Begin a rollout with the settings that stand in `hitless.yaml` now; nothing has changed if this raises."""
        async with self._deploying[service]:
            spec = self._settings_of(service)
            asked = Deploy(
                actor=actor,
                reason=reason,
                version=Version(version),
                spec=spec,
                strategy=StrategyName(strategy) if strategy else spec.strategy.default,
                supersede=supersede,
                skip_preflight=skip_preflight,
            )
            known = self.loops.get(service)
            if known is not None:
                await self._refuse_other_addresses(known, spec)
                known.check(asked)
            serves = known.state.settings_in_force if known else None
            opened = serves.with_preview_of(spec) if serves else spec
            await self.outside.router.define(opened)
            return await self._begin(known or self._take_up(spec), asked, opened=opened)

    async def _begin(self, loop: ServiceLoop, asked: Deploy, *, opened: ServiceSpec) -> RolloutView:
        """Decide; between the check and now somebody may have come first, or the store may have failed."""
        before, loop.opened = loop.opened, opened
        try:
            rollout = await loop.ask(asked)
        except HitlessError:
            await self._define(loop, before or self.specs[loop.name])
            raise
        self.specs[loop.name] = asked.spec
        loop.standing_problem = None
        return self._rollout_view(loop, rollout)

    async def _refuse_other_addresses(self, loop: ServiceLoop, asked: ServiceSpec) -> None:
        now = self.specs[loop.name]
        if loop.state.is_found:
            standing = (await self.outside.router.standing()).get(loop.name)
            now = open_elsewhere(asked, standing)
        if not loop.state.rollouts and not loop.state.is_found:
            return
        refuse_to_move(loop.name, now=now, asked=asked)

    def _settings_of(self, service: str) -> ServiceSpec:
        settings = self.settings()
        if service not in settings:
            raise _unknown(service, settings)
        return settings[service]

    def _take_up(self, spec: ServiceSpec) -> ServiceLoop:
        loop = self._add(ServiceState(service=spec.name))
        self.specs[spec.name] = spec
        self._tasks.append(self._watched(loop.run()))
        return loop

    async def act(
        self, *, service: str, verb: Verb, actor: str, reason: str | None, stage: int | None = None
    ) -> RolloutView:
        """Carry out a verb on the service's rollout; `stage`: the one, from zero, that is to be promoted."""
        loop = self._loop(service)
        return self._rollout_view(loop, await loop.ask(command_of(verb, actor=actor, reason=reason, stage=stage)))

    async def preflight(self, *, service: str, version: str, actor: str, reason: str | None) -> PreflightView:
        """Examine a version with the settings that stand in `hitless.yaml` now; what serves is left alone."""
        spec = self._settings_of(service)
        task = asyncio.create_task(self._examine(spec, Version(version), actor=actor, reason=reason))
        self._examining.add(task)
        task.add_done_callback(self._examining.discard)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
        if task.cancelled():
            raise NotAllowedNow(
                f"{service}: the control plane ended while {version} was examined",
                hints=("hitless up", f"hitless preflight {service} --version {version}"),
            )
        return task.result()

    async def _examine(self, spec: ServiceSpec, version: Version, *, actor: str, reason: str | None) -> PreflightView:
        spec = replace(spec, preflight=spec.preflight or PreflightSpec())
        loop = self.loops.get(spec.name)
        keeper = loop.roles if loop is not None else None
        async with role_to_examine(spec, version, outside=self.outside, keeper=keeper):
            report = judge(await self.outside.preflighter.examine(spec=spec, version=version))
        view = preflight_view(report, service=spec.name, version=version)
        entry = Entry(
            at=self.outside.clock.now(),
            type="preflight.examined",
            subject=subject_of(spec.name),
            actor=actor,
            data={"version": version, "reason": reason, "findings": view["findings"]},
        )
        await self.keeper.commit(entries=[entry])
        return view

    async def give_up(self, *, actor: str) -> None:
        """Decide nothing more; the next start begins with what served before a rollout that is going on now."""
        await self.stop_loops()
        for loop in self.loops.values():
            with told_only(f"the end of {loop.name} is not journaled"):
                if loop.state.phase not in {RolloutPhase.IDLE, RolloutPhase.ROLLING_BACK}:
                    await loop.ask(Abort(actor=actor, reason="hitless down"))
                await loop.retire_all(why="hitless down")

    # Looking

    async def services(self) -> list[ServiceView]:
        """List all services, in the order of `hitless.yaml`."""
        return [self._service_view(self.loops[name]) for name in self.specs]

    async def service(self, name: str) -> ServiceView:
        """Show one service."""
        return self._service_view(self._loop(name))

    async def seconds(self, *, service: str, minutes: int) -> tuple[Second, ...]:
        """Return what was measured of a service lately."""
        name, metrics = self._loop(service).name, self.outside.metrics
        after = int(self.outside.clock.now().timestamp()) - 60 * minutes
        return () if metrics is None else await metrics.seconds(name, after=after)

    async def rollouts(self, service: str | None, *, limit: int, before: str | None = None) -> list[RolloutRowView]:
        """List rollouts, newest first: at most `limit`, only those begun before `before`."""
        return [self._row(one) for one in await self.archive.rollouts(service, limit=limit, before=before)]

    async def rollout(self, rollout_id: str, /) -> RolloutView:
        """Show one rollout."""
        return self._any_rollout_view(await self.archive.rollout(rollout_id))

    async def journal(self, after: int, subject: str | None, limit: int) -> list[JournalRecordView]:
        """Read the journal."""
        return await self.archive.journal(after, subject, limit)

    async def verify_journal(self) -> VerifyView:
        """Recompute the whole chain."""
        return await self.archive.verify_journal()

    async def plan(self, *, service: str, version: str, strategy: str | None) -> PlanView:
        """Show what a deploy would do now."""
        loop = self.loops.get(service)
        state = loop.state if loop is not None else ServiceState(service=service)
        return await planned(self._settings_of(service), version, strategy, state=state, outside=self.outside)

    async def changed(self, after_seq: int, timeout_s: float) -> int:
        """Wait until anything has changed since `after_seq`, at most `timeout_s`."""
        if self.keeper.seq <= after_seq:
            async with self._changed:
                try:
                    await asyncio.wait_for(self._changed.wait(), timeout_s)
                except TimeoutError:
                    return self.keeper.seq
        return self.keeper.seq

    def notify(self) -> None:
        """Wake those who wait for a change."""
        task = asyncio.create_task(self._notify())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def looked_at_everything(self) -> None:
        """Wait until every service was looked at once."""
        async with self._changed:
            await self._changed.wait_for(lambda: all(loop.observed for loop in self.loops.values()))

    # Helpers of the above

    @property
    def archive(self) -> Archive:
        """What the store remembers."""
        return Archive(store=self.keeper.store)

    def _loop(self, service: str) -> ServiceLoop:
        if service not in self.loops:
            raise _unknown(service, self.loops)
        return self.loops[service]

    def problems(self) -> tuple[str, ...]:
        """Say what is wrong around all services, each with its next command."""
        store = (self.keeper.fault.in_words,) if self.keeper.fault else ()
        return (*store, *self.strangers, *self.surroundings())

    def _promised(self) -> Mapping[str, SloSpec]:
        """Return what is promised of each service."""
        specs = {name: loop.state.settled_settings for name, loop in self.loops.items()}
        return {name: spec.slo for name, spec in specs.items() if spec is not None and spec.slo is not None}

    def _problems_of(self, loop: ServiceLoop) -> Iterator[str]:
        yield from loop.problems
        if loop.standing_problem:
            yield loop.standing_problem
        if loop.state.is_found:
            yield found_problem(loop.state)
        if loop.asking is not None and loop.asking.trouble:
            yield f"{loop.asking.trouble}; it is asked again and again, nothing has changed"
        yield from loop.roles.notes

    def _service_view(self, loop: ServiceLoop) -> ServiceView:
        loop.wake_if_stale()
        return service_view(
            loop.state,
            spec=self.specs[loop.name],
            observed=loop.observed,
            judgement=loop.judgement,
            asked=loop.asking.known if loop.asking is not None else None,
            objectives=self.objectives.of(loop.name),
            problems=dict.fromkeys([*self._problems_of(loop), *self.problems()]),
            seq=self.keeper.seq,
        )

    def _present(self, rollout: Rollout) -> ServiceLoop | None:
        """Return the loop whose present rollout it is."""
        loop = self.loops.get(service_of(rollout))
        present = loop.state.rollout if loop else None
        return loop if present is not None and present.id == rollout.id else None

    def _row(self, rollout: Rollout) -> RolloutRowView:
        loop = self._present(rollout)
        return rollout_row(rollout, service=service_of(rollout), state=loop.state if loop else None)

    def _rollout_view(self, loop: ServiceLoop, rollout: Rollout) -> RolloutView:
        known = loop.asking.known if loop.asking is not None and loop.asking.rollout.id == rollout.id else None
        return rollout_view(rollout, state=loop.state, observed=loop.observed, judgement=loop.judgement, asked=known)

    def _any_rollout_view(self, rollout: Rollout) -> RolloutView:
        loop = self._present(rollout)
        if loop is not None:
            return self._rollout_view(loop, loop.state.running)
        return rollout_view(rollout, service=service_of(rollout), observed=None)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def _unknown(service: str, known: Mapping[str, object]) -> UnknownService:
    names = ", ".join(known) or "none"
    return UnknownService(
        f"there is no service `{service}`", evidence=(f"services: {names}",), hints=("hitless status",)
    )
