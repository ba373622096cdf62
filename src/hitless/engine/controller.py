"""The control plane: one loop per service under one lease, and everything that people ask of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar, cast

from hitless.engine.codec import load_rollout, load_state
from hitless.engine.keeper import Keeper
from hitless.engine.service import ROLLOUT, SERVICE, Outside, ServiceLoop
from hitless.errors import UnknownRollout, UnknownService
from hitless.journal.record import Entry, document
from hitless.rollout.machine import Abort, Command, Deploy, Pause, Promote, Resume, Undo
from hitless.rollout.spec import ServiceSpec, StrategyName, Version
from hitless.rollout.state import Rollout, RolloutPhase, ServiceState
from hitless.rollout.strategy import compile_rollout
from hitless.view.models import JournalRecordView, PlanView, RolloutView, ServiceView, VerifyView
from hitless.view.plan import plan_view
from hitless.view.service import rollout_view, service_view

Verb = Literal["promote", "promote_full", "pause", "resume", "abort", "undo"]
Wanted = TypeVar("Wanted")


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
    _telling: set[asyncio.Task[None]] = field(default_factory=set)
    _lost: asyncio.Future[None] | None = None

    # Life

    async def open(self) -> None:
        """Take up every service of the store and the project; what is deployed keeps the settings it came with."""
        wanted = dict(self.settings())
        newest = await self._read(self.keeper.store.last_record)
        self.keeper.seq = newest.seq if newest else 0
        for run in await self._read(lambda: self.keeper.store.runs(SERVICE)):
            self._add(load_state(run.state))
        for name in wanted:
            if name not in self.loops:
                self._add(ServiceState(service=name))
        self.specs = {name: _spec_in_force(loop.state) or wanted[name] for name, loop in self._in_order(wanted)}
        for spec in self.specs.values():
            await self.outside.router.define(spec)

    def _in_order(self, wanted: Mapping[str, ServiceSpec]) -> list[tuple[str, ServiceLoop]]:
        names = [*wanted, *(name for name in self.loops if name not in wanted)]
        return [(name, self.loops[name]) for name in names if name in wanted or _spec_in_force(self.loops[name].state)]

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
        self._watch(asyncio.create_task(self.keeper.renew_forever()), "lease")
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
        if self._lost is not None and not self._lost.done() and not task.cancelled():
            self._lost.set_exception(task.exception() or RuntimeError("a service loop ended by itself"))

    async def stop_loops(self) -> None:
        """Decide nothing more."""
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self) -> None:
        """Look at everything now."""
        for loop in self.loops.values():
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
        self, *, service: str, version: str, strategy: str | None, supersede: bool, actor: str, reason: str | None
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
        )
        loop = self.loops.get(service) or self._take_up(service)
        loop.check(asked)
        await self.outside.router.define(spec)
        rollout = await loop.ask(asked)
        self.specs[service] = spec
        return self._rollout_view(loop, rollout)

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
        plan = compile_rollout(spec, strategy=chosen, baseline=baseline, candidate=candidate)
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
        problems = [*loop.problems, *([self.keeper.fault.message] if self.keeper.fault else [])]
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


def _unknown(service: str, known: Mapping[str, object]) -> UnknownService:
    names = ", ".join(known) or "none"
    return UnknownService(
        f"there is no service `{service}`", evidence=(f"services: {names}",), hints=("hitless status",)
    )
