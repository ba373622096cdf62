"""The control plane: one loop per service under one lease, and everything that people ask of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar, cast

from hitless.engine.codec import load_rollout, load_state, subject_of
from hitless.engine.keeper import Keeper
from hitless.engine.service import ROLLOUT, SERVICE, Outside, ServiceLoop
from hitless.errors import AddressInUse, HitlessError, NotAllowedNow, UnknownRollout, UnknownService
from hitless.journal.record import Entry, document
from hitless.preflight.rules import judge
from hitless.rollout.inputs import Abort, Command, Deploy, Pause, Promote, Resume, Undo
from hitless.rollout.spec import PreflightSpec, ServiceSpec, StrategyName, Version
from hitless.rollout.state import Rollout, RolloutPhase, ServiceState
from hitless.rollout.strategy import compile_rollout, stable_world
from hitless.view.models import JournalRecordView, PlanView, PreflightView, RolloutView, ServiceView, VerifyView
from hitless.view.plan import plan_view
from hitless.view.preflight import preflight_view
from hitless.view.service import rollout_view, service_view

Verb = Literal["promote", "promote_full", "pause", "resume", "abort", "undo"]
Wanted = TypeVar("Wanted")
LEASE = "the lease"  # no service can be called so


@dataclass(slots=True, kw_only=True)
class Controller:
    """Runs all services of one project.

    Attributes:
        settings: reads the services of the project anew; raises `UserError` with its place when they are wrong.
    """

    settings: Callable[[], Mapping[str, ServiceSpec]]
    keeper: Keeper
    outside: Outside
    loops: dict[str, ServiceLoop] = field(default_factory=dict)
    specs: dict[str, ServiceSpec] = field(default_factory=dict)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _examining: set[asyncio.Task[PreflightView]] = field(default_factory=set)
    _telling: set[asyncio.Task[None]] = field(default_factory=set)
    _lost: asyncio.Future[None] | None = None

    # Life

    async def open(self) -> None:
        """Take up every service of the store and the project; what is deployed keeps the settings it came with."""
        wanted = dict(self.settings())
        newest = await self._read(self.keeper.store.last_record)
        self.keeper.seq = newest.seq if newest else 0
        stored = [load_state(run.state) for run in await self._read(lambda: self.keeper.store.runs(SERVICE))]
        known = {state.service: state for state in stored}
        for name in dict.fromkeys([*wanted, *known]):
            state = known.get(name, ServiceState(service=name))
            await self._open(state, await self._spec_to_open(state, wanted.get(name)))

    async def _spec_to_open(self, state: ServiceState, wanted: ServiceSpec | None) -> ServiceSpec | None:
        """Return the settings in force; of a service that nothing runs of, the address is the file's, or nothing is."""
        now = _spec_in_force(state)
        if now is None or await self.outside.fleet.observe(state.service):
            return now or wanted
        return _at_address_of(now, wanted) if wanted is not None else None

    async def _open(self, state: ServiceState, spec: ServiceSpec | None) -> None:
        """Open one service's addresses; one that cannot be opened does not keep the others from being looked after."""
        if spec is None:
            return
        loop = self._add(state)
        self.specs[state.service] = spec
        try:
            await self.outside.router.define(spec)
        except HitlessError as error:
            if not any(other.state.rollouts for other in self.loops.values()):
                raise
            loop.standing_problem = error.message

    def _add(self, state: ServiceState) -> ServiceLoop:
        loop = ServiceLoop(state=state, keeper=self.keeper, outside=self.outside, on_change=self.notify)
        self.loops[state.service] = loop
        return loop

    async def run(self, *, until: asyncio.Event) -> None:
        """Keep all services as they are wanted until told to let go; services live on.

        Raises:
            Fenced: another controller has taken over.
        """
        self._lost = asyncio.get_running_loop().create_future()
        self._watch(asyncio.create_task(self.keeper.renew_forever()), LEASE)
        for loop in self.loops.values():
            self._watch(asyncio.create_task(loop.run()), loop.name)
        stop = asyncio.ensure_future(_wait(until))
        try:
            await asyncio.wait({stop, self._lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            await self.stop_loops()
        if self._lost.done():
            self._lost.result()

    def _watch(self, task: asyncio.Task[None], name: str) -> None:
        self._tasks[name] = task
        task.add_done_callback(self._on_end)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if self._lost is None or self._lost.done() or task.cancelled():
            return
        fault = task.exception()
        if fault is not None:
            self._lost.set_exception(fault)

    async def stop_loops(self) -> None:
        """Decide nothing more; what is being decided is committed first."""
        tasks, self._tasks = self._tasks, {}
        for examining in self._examining:
            examining.cancel()
        for loop in self.loops.values():
            loop.stop()
        lease = tasks.pop(LEASE, None)
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        if lease is not None:
            lease.cancel()
            await asyncio.gather(lease, return_exceptions=True)

    def wake(self, service: str | None = None) -> None:
        """Look at a service now; None = at all of them."""
        for name, loop in self.loops.items():
            if service in {None, name}:
                loop.wake()

    async def journal_self(self, kind: str, **data: object) -> None:
        """Journal something about the control plane itself."""
        entry = Entry(
            at=self.outside.clock.now(),
            type=f"control_plane.{kind}",
            subject="control_plane",
            actor=self.keeper.lease.owner,
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
            if known.state.rollouts:
                _refuse_other_addresses(service, self.specs[service], spec)
            known.check(asked)
        await self.outside.router.define(spec)
        self.specs[service] = spec
        loop = known or self._take_up(service)
        loop.standing_problem = None
        return self._rollout_view(loop, await loop.ask(asked))

    def _settings_of(self, service: str) -> ServiceSpec:
        settings = self.settings()
        if service not in settings:
            raise _unknown(service, settings)
        return settings[service]

    def _take_up(self, service: str) -> ServiceLoop:
        loop = self._add(ServiceState(service=service))
        self._watch(asyncio.create_task(loop.run()), service)
        return loop

    async def act(self, *, service: str, verb: Verb, actor: str, reason: str | None) -> RolloutView:
        """Carry out a verb on the service's rollout."""
        loop = self._loop(service)
        return self._rollout_view(loop, await loop.ask(_command(verb, actor=actor, reason=reason)))

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

    async def rollouts(self, service: str | None) -> list[RolloutView]:
        """List rollouts, newest first."""
        found = await self._read(lambda: self.keeper.store.runs(ROLLOUT))
        rollouts = sorted((load_rollout(run.state) for run in found), key=lambda one: one.started_at, reverse=True)
        return [self._any_rollout_view(one) for one in rollouts if service in {None, _service_of(one)}]

    async def rollout(self, rollout_id: str, /) -> RolloutView:
        """Show one rollout."""
        run = await self._read(lambda: self.keeper.store.run(rollout_id))
        if run is None or run.kind != ROLLOUT:
            raise UnknownRollout(rollout_id)
        return self._any_rollout_view(load_rollout(run.state))

    async def journal(self, after: int, subject: str | None, limit: int) -> list[JournalRecordView]:
        """Read the journal."""
        records = await self._read(lambda: self.keeper.store.journal(after=after, subject=subject, limit=limit))
        return [cast("JournalRecordView", document(record)) for record in records]

    async def verify_journal(self) -> VerifyView:
        """Recompute the whole chain."""
        found = await self._read(self.keeper.store.verify_journal)
        newest = await self._read(self.keeper.store.last_record)
        records = newest.seq if newest else 0
        return {
            "records": records,
            "problem": found.problem if found else None,
            "seq": found.seq if found else None,
        }

    async def plan(self, *, service: str, version: str, strategy: str | None) -> PlanView:
        """Show what a deploy would do now."""
        spec = self._settings_of(service)
        chosen = StrategyName(strategy) if strategy else spec.strategy.default
        loop = self.loops.get(service)
        baseline, candidate = loop.state.stable if loop else None, Version(version)
        plan = compile_rollout(
            spec,
            strategy=chosen,
            baseline=baseline,
            candidate=candidate,
            standing=stable_world(spec, baseline),
        )
        return plan_view(plan, spec=spec, strategy=chosen, baseline=baseline, candidate=candidate)

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

    async def _read(self, question: Callable[[], Wanted]) -> Wanted:
        return await asyncio.to_thread(question)

    def _loop(self, service: str) -> ServiceLoop:
        if service not in self.loops:
            raise _unknown(service, self.loops)
        return self.loops[service]

    def _service_view(self, loop: ServiceLoop) -> ServiceView:
        standing = [loop.standing_problem, self.keeper.fault.message if self.keeper.fault else None]
        problems = [*loop.problems, *(one for one in standing if one)]
        spec = self.specs[loop.name]
        return service_view(
            loop.state, spec=spec, observed=loop.observed, problems=dict.fromkeys(problems), seq=self.keeper.seq
        )

    def _rollout_view(self, loop: ServiceLoop, rollout: Rollout) -> RolloutView:
        return rollout_view(rollout, state=loop.state, observed=loop.observed)

    def _any_rollout_view(self, rollout: Rollout) -> RolloutView:
        service = _service_of(rollout)
        loop = self.loops.get(service)
        if loop is not None and loop.state.rollout is not None and loop.state.rollout.id == rollout.id:
            return self._rollout_view(loop, loop.state.rollout)
        return rollout_view(rollout, service=service, observed=None)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


_COMMANDS: Mapping[Verb, type[Promote | Pause | Resume | Abort | Undo]] = {
    "promote": Promote,
    "pause": Pause,
    "resume": Resume,
    "abort": Abort,
    "undo": Undo,
}


def _command(verb: Verb, *, actor: str, reason: str | None) -> Command:
    if verb == "promote_full":
        return Promote(actor=actor, reason=reason, to_the_end=True)
    return _COMMANDS[verb](actor=actor, reason=reason)


def _service_of(rollout: Rollout) -> str:
    return rollout.id.rsplit("-r", 1)[0]


def _spec_in_force(state: ServiceState) -> ServiceSpec | None:
    rollout = state.rollout
    candidates = [rollout.candidate] if rollout is not None and rollout.outcome is None else []
    names = [*candidates, state.stable]
    return next((state.specs[name] for name in names if name is not None and name in state.specs), None)


def _refuse_other_addresses(service: str, now: ServiceSpec, asked: ServiceSpec) -> None:
    """Refuse to move a service: whoever knows the old address would be cut off, and no rollback brings it back.

    Raises:
        AddressInUse: it is open elsewhere.
    """
    if (now.traffic.listen, now.traffic.tls) == (asked.traffic.listen, asked.traffic.tls):
        return
    raise AddressInUse(
        f"{service} is open on {now.traffic.listen}; a rollout cannot move it to another address or certificate",
        evidence=(f"hitless.yaml says {asked.traffic.listen}",),
        hints=(
            "to move it, open the new address as a service of another name, send users there, then remove this one",
            "or, with an outage: hitless down, then hitless up",
        ),
    )


def _at_address_of(spec: ServiceSpec, other: ServiceSpec | None) -> ServiceSpec:
    if other is None:
        return spec
    return replace(spec, traffic=replace(spec.traffic, listen=other.traffic.listen, tls=other.traffic.tls))


def _unknown(service: str, known: Mapping[str, object]) -> UnknownService:
    names = ", ".join(known) or "none"
    return UnknownService(
        f"there is no service `{service}`", evidence=(f"services: {names}",), hints=("hitless status",)
    )
