"""One service's loop: observe, decide, commit, act.

A decision is durable BEFORE any of its effects starts. If the commit fails, nothing was decided: the state in memory is
the one on disk, and the next turn looks at the world afresh. Effects that fail are told and issued again next time.

Only deciding is done one at a time. Effects are carried out by the loop alone, and a command does not wait for them: it
is decided at once, and cuts short what an effect waits for, so that an abort never stands behind a proxy that is slow
to confirm what the abort takes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import reduce

from hitless.analysis.ruling import Call, Judgement
from hitless.engine.codec import dump_rollout, dump_state, entry_of, subject_of
from hitless.engine.databases import Asking, RoleKeeper
from hitless.engine.judging import Judging
from hitless.engine.keeper import Keeper
from hitless.engine.outside import Outside
from hitless.engine.taking_up import at_address_of
from hitless.errors import Fenced, HitlessError
from hitless.journal.record import Entry
from hitless.ports import Run
from hitless.preflight.finding import PreflightReport
from hitless.preflight.rules import judge, not_examined
from hitless.rollout import machine
from hitless.rollout.effects import Effect, Route, Start, Stop
from hitless.rollout.events import ENGINE, InstanceRetired
from hitless.rollout.folds import evolve
from hitless.rollout.inputs import Command, Observed
from hitless.rollout.rest import Rest, rest_after
from hitless.rollout.spec import Address, ServiceSpec
from hitless.rollout.state import Rollout, RolloutPhase, ServiceState
from hitless.rollout.step import Step
from hitless.rollout.world import Observation, Phase
from hitless.schema.release import DatabaseReport, Verdict
from hitless.system_faults import in_words

BUSY_S, WATCHFUL_S, IDLE_S, RESTING_S = 0.02, 0.2, 1.0, 20.0
"""Between turns: while something moves, while a rollout or a drain waits, while something is wrong or asked for again,
and otherwise. Fleet and router wake the loop, so the last one only guards against what nobody told."""

SERVICE, ROLLOUT = "service", "rollout"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """What came back of what a stage asks; None = no answer yet, or not asked."""

    checks: tuple[str, ...] | None = None
    preflight: PreflightReport | None = None
    database: DatabaseReport | None = None


NO_ANSWERS = _Answers()


@dataclass(slots=True, kw_only=True)
class ServiceLoop:
    """Keeps one service as it is wanted.

    Attributes:
        observed: what the last turn saw.
        problems: what is wrong right now, for people.
        standing_problem: what was wrong when its addresses were opened, until the next deploy.
        opened: the settings that the router was last told of; None while its addresses are not open.
        judging: compares the versions of its rollouts.
        asking: what the present stage asks of the database, as far as it has got; None = no stage does.
        roles: drops login roles of versions that are gone.
    """

    state: ServiceState
    keeper: Keeper
    outside: Outside
    on_change: Callable[[], None]
    observed: Observation | None = None
    problems: tuple[str, ...] = ()
    standing_problem: str | None = None
    opened: ServiceSpec | None = None
    judging: Judging = field(init=False)
    asking: Asking | None = None
    roles: RoleKeeper = field(init=False)
    _deciding: asyncio.Lock = field(default_factory=asyncio.Lock)
    _asked: asyncio.Event = field(default_factory=asyncio.Event)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: bool = False
    _asking: asyncio.Task[_Answers] | None = None
    _asked_stage: tuple[str, int] | None = None
    _rest: Rest | None = None
    _tidying: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        """Judge from the first rollout on."""
        self.judging = Judging(outside=self.outside, on_ruling=self._hear)
        self.roles = RoleKeeper(self.outside)

    @property
    def name(self) -> str:
        """The service's name."""
        return self.state.service

    @property
    def judgement(self) -> Judgement | None:
        """The evidence on its present or last rollout, where there is any."""
        return self.judging.judgement(self.state.rollout) if self.state.rollout is not None else None

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    def _hear(self, call: Call) -> None:
        """Look at what a judge says now; the way back does not stand behind a proxy that is slow to confirm."""
        if call is Call.ROLLBACK:
            self._asked.set()
        self.wake()

    def wake_if_stale(self) -> None:
        """Look now if the last look is older than what people expect to be shown."""
        now = self.outside.clock.now()
        if self.observed is not None and (now - self.observed.now).total_seconds() > IDLE_S:
            self.wake()

    async def ask(self, asked: Command) -> Rollout:
        """Decide on a command and commit; its effects follow with the next turn, which begins at once.

        Whoever asks may go away meanwhile: what is being committed is known here too.

        Raises:
            Refused: it does not fit.
        """
        return await asyncio.shield(asyncio.create_task(self._decide_on(asked)))

    async def _decide_on(self, asked: Command) -> Rollout:
        async with self._deciding:
            await self._commit(machine.command(self.state, asked, now=self.outside.clock.now()))
            rollout = self.state.rollout
        self._asked.set()
        self.wake()
        self.on_change()
        assert rollout is not None
        return rollout

    def check(self, asked: Command) -> None:
        """Tell whether a command would fit now, without deciding on it.

        Raises:
            Refused: it does not.
        """
        machine.command(self.state, asked, now=self.outside.clock.now())

    async def take_up(self, *, revision: int) -> None:
        """Compare what a new controller finds with what its store remembers, and commit what follows.

        Args:
            revision: of the newest routing decision that the data plane was told of.
        """
        instances = await self.outside.fleet.observe(self.name)
        await self._commit(machine.take_up(self.state, instances, revision=revision, now=self.outside.clock.now()))

    async def retire_all(self, *, why: str) -> None:
        """Journal that every instance is about to end, so that the next start does not take it for a crash."""
        now = self.outside.clock.now()
        events = tuple(InstanceRetired(at=now, instance=name, why=why) for name in self.state.instances)
        state = reduce(evolve, events, self.state)
        await self._commit(Step(state=state, events=events))

    async def run(self) -> None:
        """Turn until `stop`.

        Raises:
            Fenced: another controller has taken over.
        """
        try:
            while not self._stopping:
                is_moving = await self.turn()
                if not self._stopping:
                    await self._pause(is_moving=is_moving)
        finally:
            await self._drop_question()
            await self._drop_tidying()
            await self.judging.close()

    def stop(self) -> None:
        """End `run` after the present turn: a decision that is being committed is never left half known."""
        self._stopping = True
        self.wake()

    async def turn(self) -> bool:
        """Observe, decide, commit, act; tell whether something is in motion."""
        before = self._sight()
        try:
            is_moving = await self._turn()
        except Fenced:
            raise
        except (HitlessError, OSError) as error:
            is_moving = False
            self.problems = (in_words(error),)
        if before != self._sight():
            self.on_change()
        return is_moving

    def _sight(self) -> tuple[object, ...]:
        """Return what people would see change; time alone is no change."""
        seen = self.observed
        return (self.state, self.problems, seen and seen.instances, seen and seen.routing)

    async def _turn(self) -> bool:
        self._asked.clear()
        begun = self.outside.clock.now()
        self.observed = await self._observe()
        self.judging.follow(self.state, self.observed, begun=begun)
        async with self._deciding:
            seen = self._seen(self.observed)
            step = self._decide(seen)
            await self._commit(step)
        troubles = await self._act(step)
        await self._tell(troubles)
        routing = [view.problem for view in self.observed.routing.values() if view.problem]
        self.problems = tuple(dict.fromkeys([*troubles, *routing, *self.judging.problems]))
        self._ask_what_the_stage_asks()
        self._tidy_roles()
        return not troubles and (bool(step.events or step.effects) or self._is_about_to_move())

    def _seen(self, observed: Observation) -> Observed:
        answers, ruling = self._answers(), self.judging.ruling(self.state, observed)
        return Observed(
            observation=observed,
            checks=answers.checks,
            preflight=answers.preflight,
            database=answers.database,
            ruling=ruling,
        )

    def _decide(self, seen: Observed) -> Step:
        if self._rest is not None and self._rest.covers(self.state, seen):
            return Step(state=self.state, events=())
        step = machine.observe(self.state, seen)
        self._rest = rest_after(step, seen)
        return step

    async def _observe(self) -> Observation:
        outside = self.outside
        instances = await outside.fleet.observe(self.name)
        routing = await outside.router.observe(self.name)
        endings = await outside.fleet.endings(self.name)
        return Observation(now=outside.clock.now(), instances=instances, routing=routing, endings=endings)

    def _is_about_to_move(self) -> bool:
        """Tell whether a drain is nearly over: nothing is open any more, it is only not certain yet."""
        assert self.observed is not None
        return any(
            left.count == 0 and left.draining_since is not None and not left.is_quiet
            for view in self.observed.routing.values()
            for left in view.open_requests.values()
        )

    def _is_unsettled(self) -> bool:
        if self.state.phase is not RolloutPhase.IDLE or self.observed is None:
            return True
        return any(
            left.draining_since for view in self.observed.routing.values() for left in view.open_requests.values()
        )

    async def _pause(self, *, is_moving: bool) -> None:
        sleep = asyncio.ensure_future(self.outside.clock.sleep(self._pace_s(is_moving=is_moving)))
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({sleep, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            woken.cancel()
        self._wake.clear()

    def _pace_s(self, *, is_moving: bool) -> float:
        if is_moving or self._is_unsettled():
            return BUSY_S if is_moving else WATCHFUL_S
        if self._rest is None or self.problems:
            return IDLE_S
        if self._rest.until is None:
            return RESTING_S
        left_s = (self._rest.until - self.outside.clock.now()).total_seconds()
        return min(max(left_s, BUSY_S), RESTING_S)

    # Commit

    async def _commit(self, step: Step) -> None:
        if step.events:
            entries = [entry_of(event, service=self.name) for event in step.events]
            await self.keeper.commit(runs=self._rows(step), entries=entries)
        self.state = step.state

    def _rows(self, step: Step) -> list[Run]:
        rows = [self._row(subject_of(self.name), SERVICE, dump_state(step.state))]
        rollouts, state = {}, self.state
        for event in step.events:
            state = evolve(state, event)
            if state.rollout is not None:
                rollouts[state.rollout.id] = state.rollout
        changed = (one for one in rollouts.values() if one != self.state.rollout)
        return rows + [self._row(one.id, ROLLOUT, dump_rollout(one)) for one in changed]

    def _row(self, run_id: str, kind: str, state: str) -> Run:
        now = self.outside.clock.now()
        return Run(id=run_id, kind=kind, state=state, fence=self.keeper.lease.fence, updated_at=now)

    async def _tell(self, troubles: tuple[str, ...]) -> None:
        """Journal what went wrong, once per kind of trouble and not once per turn."""
        fresh = [one for one in troubles if one not in self.problems]
        if fresh:
            now = self.outside.clock.now()
            entries = [
                Entry(at=now, type="effect.failed", subject=subject_of(self.name), actor=ENGINE, data={"problem": one})
                for one in fresh
            ]
            await self.keeper.commit(entries=entries)

    # Act

    async def _act(self, step: Step) -> tuple[str, ...]:
        is_urgent = step.state.phase is RolloutPhase.ROLLING_BACK
        troubles = [] if is_urgent else await self._follow_settings()
        for effect in sorted(step.effects, key=_urgency):
            try:
                await self._carry_out(effect, step.state)
            except Fenced:
                raise
            except (HitlessError, OSError) as error:
                troubles.append(in_words(error))
        return (*troubles, *(await self._follow_settings() if is_urgent else ()))

    async def _follow_settings(self) -> list[str]:
        """Have the router route by the settings in force: before the new version gets users, after it has lost them."""
        wanted = self.state.settings_in_force
        if wanted is None or self.opened is None:
            return []
        wanted = at_address_of(wanted, self.opened)
        if wanted != self.opened:
            try:
                await self.outside.router.define(wanted, hurry=self._asked)
            except (HitlessError, OSError) as error:
                return [in_words(error)]
            self.opened = wanted
        return []

    async def _carry_out(self, effect: Effect, decided: ServiceState) -> None:
        if isinstance(effect, Route):
            await self.outside.router.apply(
                self.name,
                region=effect.region,
                table=effect.table,
                specs=decided.routing_specs(),
                fence=self.keeper.lease.fence,
                revision=decided.revision,
                hurry=self._asked,
            )
        elif isinstance(effect, Stop):
            await self.outside.fleet.stop(effect.instance, grace_s=_grace_s(effect, decided))
        else:
            spec = decided.specs[effect.version]
            await self.outside.fleet.start(
                spec=spec, instance=effect.instance, version=effect.version, region=effect.region
            )

    # What a stage asks of the new version: synthetic checks, the preflight

    def _answers(self) -> _Answers:
        """Return the answer for the present stage, as soon as it is there."""
        asking, rollout = self._asking, self.state.rollout
        if asking is None or rollout is None or not asking.done() or asking.cancelled():
            return NO_ANSWERS
        if self._asked_stage != self._stage():
            return NO_ANSWERS
        fault = asking.exception()
        if fault is None:
            return asking.result()
        if rollout.current_stage.is_preflight:
            return _Answers(preflight=not_examined(self.name, in_words(fault)))
        if rollout.current_stage.asks_database:
            return _Answers(database=DatabaseReport(verdict=Verdict.FAILED, cause=in_words(fault)))
        return _Answers(checks=(f"could not be asked: {in_words(fault)}",))

    def _stage(self) -> tuple[str, int] | None:
        rollout = self.state.rollout
        if rollout is None or self.state.phase in {RolloutPhase.IDLE, RolloutPhase.ROLLING_BACK}:
            return None
        return rollout.id, rollout.stage

    def _ask_what_the_stage_asks(self) -> None:
        stage, rollout = self._stage(), self.state.rollout
        if self._asking is not None and self._asked_stage != stage:
            self.asking = None
            if not self._asking.cancelling():  # once: a second time would cut short how it ends what it has begun
                self._asking.cancel()  # nobody waits for the answer any more, and nobody waits for its end
        if stage is None or rollout is None or not rollout.current_stage.has_questions or self._asked_stage == stage:
            return
        if rollout.record.waiting_since() is not None or rollout.record.checks_passed is not None:
            return
        self._asked_stage = stage
        self._asking = asyncio.create_task(self._way_to_ask(rollout)(rollout))
        self._asking.add_done_callback(lambda _: self.wake())

    def _way_to_ask(self, rollout: Rollout) -> Callable[[Rollout], Coroutine[None, None, _Answers]]:
        if rollout.current_stage.asks_database:
            return self._ask_database
        return self._examine if rollout.current_stage.is_preflight else self._check

    async def _ask_database(self, rollout: Rollout) -> _Answers:
        self.asking = Asking(
            rollout=rollout,
            state=self.state,
            outside=self.outside,
            on_news=self.on_change,
            settled=self.roles.settled,
        )
        return _Answers(database=await self.asking.run())

    async def _drop_question(self) -> None:
        if self._asking is not None:
            if not self._asking.cancelling():
                self._asking.cancel()
            await asyncio.wait({self._asking})

    def _tidy_roles(self) -> None:
        """Drop login roles that nobody needs any more; beside everything else, and never twice at once."""
        if self.state.phase is RolloutPhase.IDLE and self.roles.is_due(self.state) and self._tidying is None:
            self._tidying = asyncio.create_task(self.roles.tidy(self.state))
            self._tidying.add_done_callback(self._has_tidied)

    def _has_tidied(self, _: asyncio.Task[None]) -> None:
        self._tidying = None
        self.on_change()

    async def _drop_tidying(self) -> None:
        if self._tidying is not None:
            self._tidying.cancel()
            await asyncio.wait({self._tidying})

    async def _examine(self, rollout: Rollout) -> _Answers:
        spec = self.state.specs[rollout.candidate]
        return _Answers(preflight=judge(await self.outside.preflighter.examine(spec=spec, version=rollout.candidate)))

    async def _check(self, rollout: Rollout) -> _Answers:
        checks = rollout.current_stage.checks
        results = await self.outside.checker.run(checks=checks, targets=self._targets(rollout))
        return _Answers(checks=tuple(f"{one.check.path}: {one.problem}" for one in results if one.problem))

    def _targets(self, rollout: Rollout) -> tuple[Address, ...]:
        """Ask every instance of the candidate, not one that a balancer happens to pick."""
        assert self.observed is not None
        return tuple(
            one.address
            for one in self.observed.instances
            if one.version == rollout.candidate and one.phase is Phase.READY
        )


def _urgency(effect: Effect) -> int:
    """Users first: routing, then what ends, then what is new."""
    return (Route, Stop, Start).index(type(effect))


def _grace_s(effect: Stop, decided: ServiceState) -> float:
    known = decided.instances.get(effect.instance)
    spec = decided.specs.get(known.version) if known else None
    return spec.drain.requests_s if spec else 30.0
