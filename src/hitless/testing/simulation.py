"""The real core in a world of its own, in virtual time: instances, a proxy and users, with faults on demand.

Nothing here decides anything: `Simulation` carries out the effects that the rollout machine asks for, badly if told so
(acknowledgements that come late or never, effects that are lost with the controller, instances that crash), and writes
down every broken promise in `violations`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hitless.analysis.ruling import Ruling
from hitless.preflight.finding import PreflightReport
from hitless.rollout.effects import Effect, Route, Start, Stop
from hitless.rollout.events import ServiceEvent, TrafficRouted
from hitless.rollout.folds import evolve
from hitless.rollout.inputs import Command, Observed
from hitless.rollout.machine import BOOKED, TRANSITIONS, Events, command, observe, take_up
from hitless.rollout.rest import Rest, rest_after
from hitless.rollout.spec import ALL_TRAFFIC_BP, LOCAL, Address, DrainSpec, InstanceId, Version
from hitless.rollout.state import Outcome, RolloutPhase, ServiceState
from hitless.rollout.step import Step
from hitless.rollout.world import (
    EMPTY_TABLE,
    Answers,
    EndpointState,
    Instance,
    Observation,
    OpenRequests,
    Phase,
    RoutingView,
    Table,
)
from hitless.schema.release import DatabaseReport, Verdict

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)

_IN, _OUT, _NOWHERE = ({EndpointState.ACTIVE}, {EndpointState.DRAINING}, {None})


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How instances of a version act.

    Attributes:
        ready_after_s: None = never ready.
        exits_after_s: None = lives on.
        requests_s: how long its open requests last once it gets no new ones.
        streams: long-lived streams that stay open until the drain deadline.
    """

    ready_after_s: float | None = 1.0
    exits_after_s: float | None = None
    requests_s: float = 0.5
    streams: int = 0


_USUAL = Behaviour()


@dataclass(slots=True, kw_only=True)
class SimulatedInstance:
    """One process of the simulated fleet.

    Attributes:
        drained_from: when the proxy confirmed that it gets no new request.
        states: what the tables that may be in force say of it.
        open: what is open at it; None = to be counted anew.
    """

    seen: Instance
    number: int
    was_listed: bool = False
    drained_from: datetime | None = None
    states: frozenset[EndpointState | None] = frozenset({None})
    open: OpenRequests | None = None

    @property
    def serves(self) -> bool:
        """Tell whether it is ready and gets requests whichever table is in force."""
        return self.seen.phase is Phase.READY and self.states == _IN


@dataclass(slots=True, kw_only=True)
class Simulation:
    """One service, its fleet and its proxy.

    Attributes:
        acknowledges: whether the proxy confirms what is written.
        start_deadline_s: the fleet gives up on an instance after so long.
        answers: what the proxy counts, by version.
        doubts: decide even where nothing can have changed; a decision then is a violation.
        violations: broken promises, in words; empty when all is well.
        preflight: what every preflight finds, at once; None = it goes on and on.
        database: what becomes of what is asked of the database, at once; None = that goes on and on.
        ruling: what the judge of every rollout says once both versions have traffic; None = there is none.
    """

    service: str = "shop"
    behaviours: dict[Version, Behaviour] = field(default_factory=dict)
    acknowledges: bool = True
    start_deadline_s: float = 20.0
    doubts: bool = False
    now: datetime = BEGINNING
    state: ServiceState = field(init=False)
    journal: list[ServiceEvent] = field(default_factory=list)
    fleet: dict[InstanceId, SimulatedInstance] = field(default_factory=dict)
    acknowledged: Table | None = None
    pending: Table | None = None
    answers: dict[Version, Answers] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    preflight: PreflightReport | None = PreflightReport()
    database: DatabaseReport | None = DatabaseReport(verdict=Verdict.READY)
    checks: tuple[str, ...] | None = None
    ruling: Ruling | None = None
    _rest: Rest | None = None

    def __post_init__(self) -> None:
        """Begin with a service that nothing was ever deployed of."""
        self.state = ServiceState(service=self.service)

    # What a test does

    def ask(self, asked: Command) -> None:
        """Give a command; `Refused` passes through, and nothing has changed then."""
        step = command(self.state, asked, now=self.now)
        self._commit(step, type(asked), may_decide=TRANSITIONS[self.state.phase][type(asked)].events)

    def forget(self, *, back_to: ServiceState | None = None) -> None:
        """Lose the store, or have a backup in its place; the next controller takes up what it finds."""
        found = [one.seen for one in self.fleet.values()]
        remembered = back_to or ServiceState(service=self.service)
        step = take_up(remembered, found, revision=self.state.revision, now=self.now)
        self.journal.clear()
        self.journal += step.events
        self.state = step.state

    def tick(self, seconds: float = 0.1, *, losing: Iterable[int] = ()) -> None:
        """Let time pass, then look, decide, and act; effects whose index is in `losing` are lost."""
        self.now += timedelta(seconds=seconds)
        self._age()
        if self.acknowledges:
            self._acknowledge()
        step = self._decide(self._look())
        if step is None:
            return
        self._commit(step, Observed, may_decide=(*TRANSITIONS[self.state.phase][Observed].events, *BOOKED))
        lost = set(losing)
        for index, effect in enumerate(step.effects):
            if index not in lost:
                self._act(effect)
        self._check_tables()

    def _decide(self, seen: Observed) -> Step | None:
        """Take a step as the engine does: none while the last one's rest covers what is seen."""
        is_covered = self._rest is not None and self._rest.covers(self.state, seen)
        if is_covered and not self.doubts:
            return None
        step = observe(self.state, seen)
        if is_covered and (step.events or step.effects):
            self._violation(f"decided although nothing had changed: {step}")
        self._rest = rest_after(step, seen)
        return step

    def run(self, seconds: float, *, tick_s: float = 0.1) -> None:
        """Let time pass in ticks."""
        for _ in range(int(seconds / tick_s)):
            self.tick(tick_s)

    def run_until_idle(self, *, limit_s: float = 36_000.0, growth: float = 1.08) -> Outcome | None:
        """Let time pass until the rollout has ended, each tick longer than the last; tell how it ended, None if not."""
        spent, tick_s = 0.0, 0.1
        while self.state.phase is not RolloutPhase.IDLE and spent < limit_s:
            self.tick(tick_s)
            spent += tick_s
            tick_s = min(tick_s * growth, 30.0)
        return self.state.rollout.outcome if self.state.rollout and self.state.phase is RolloutPhase.IDLE else None

    def crash(self, name: InstanceId) -> None:
        """Kill an instance."""
        one = self.fleet[name]
        if one.seen.phase not in {Phase.FAILED, Phase.STOPPING}:
            self._enter(one, Phase.FAILED, cause="killed by signal 9")

    def restart_machine(self) -> None:
        """End every process at once; the proxy comes back with the table that was written last."""
        for one in self.fleet.values():
            if one.seen.phase not in {Phase.FAILED, Phase.STOPPING}:
                one.seen = replace(one.seen, is_to_blame=False)
                self._enter(one, Phase.FAILED, cause="ended when the machine was restarted")
        self._acknowledge()
        self.restart_controller()

    def make_unready(self, name: InstanceId) -> None:
        """Let a ready instance say no."""
        if self.fleet[name].seen.phase is Phase.READY:
            self._enter(self.fleet[name], Phase.UNREADY)

    def make_ready(self, name: InstanceId) -> None:
        """Let it say yes again."""
        if self.fleet[name].seen.phase is Phase.UNREADY:
            self._enter(self.fleet[name], Phase.READY)

    def restart_controller(self) -> None:
        """Forget everything in memory and rebuild it from the journal."""
        rebuilt = ServiceState(service=self.service)
        for event in self.journal:
            rebuilt = evolve(rebuilt, event)
            if evolve(rebuilt, event) != rebuilt:
                self._violation(f"folding {event.kind} twice is not folding it once")
        if rebuilt != self.state:
            self._violation("state rebuilt from the journal differs")
        self.state, self._rest = rebuilt, None

    def observation(self) -> Observation:
        """Look at the world as the controller does."""
        view = RoutingView(
            acknowledged=self.acknowledged,
            pending=self.pending,
            open_requests=self._open_requests(),
            answers=dict(self.answers),
        )
        return Observation(
            now=self.now, instances=tuple(one.seen for one in self.fleet.values()), routing={LOCAL: view}
        )

    def tables(self) -> tuple[Table, ...]:
        """Every table that may be in force."""
        return tuple([table for table in (self.acknowledged, self.pending) if table is not None])

    def in_rotation(self) -> int:
        """Count instances that are ready and get requests whichever table is in force."""
        return sum(one.serves for one in self.fleet.values())

    # How the world goes on

    def _behaviour(self, version: Version) -> Behaviour:
        return self.behaviours.get(version, _USUAL)

    def _age(self) -> None:
        for name, one in list(self.fleet.items()):
            phase, acts = one.seen.phase, self._behaviour(one.seen.version)
            if phase is Phase.STOPPING:
                del self.fleet[name]
            elif phase is Phase.FAILED or (phase is not Phase.STARTING and acts.exits_after_s is None):
                continue
            else:
                self._grow_older(one, acts)

    def _grow_older(self, one: SimulatedInstance, acts: Behaviour) -> None:
        age_s = (self.now - one.seen.started_at).total_seconds()
        if acts.exits_after_s is not None and age_s >= acts.exits_after_s:
            self._enter(one, Phase.FAILED, cause="exited with code 1")
        elif one.seen.phase is Phase.STARTING:
            self._warm_up(one, acts, age_s)

    def _warm_up(self, one: SimulatedInstance, acts: Behaviour, age_s: float) -> None:
        if acts.ready_after_s is not None and age_s >= acts.ready_after_s:
            self._enter(one, Phase.READY)
        elif age_s >= self.start_deadline_s:
            self._enter(one, Phase.FAILED, cause="not ready in time")

    def _enter(self, one: SimulatedInstance, phase: Phase, *, cause: str | None = None) -> None:
        one.seen = replace(one.seen, phase=phase, since=self.now, cause=cause)
        one.open = None

    def _acknowledge(self) -> None:
        if self.pending is None:
            return
        self.acknowledged, self.pending = self.pending, None
        self._note_states()
        for one in self.fleet.values():
            if one.states == _OUT:
                one.drained_from = one.drained_from or self.now
            elif EndpointState.ACTIVE in one.states:
                one.drained_from = None
            one.open = None

    def _note_states(self) -> None:
        """Look up once per table, not once per question, what the tables in force say of each instance."""
        tables = self.tables()
        for one in self.fleet.values():
            ends = [table.endpoint(one.seen.version, one.seen.id) for table in tables]
            one.states = frozenset([end.state if end else None for end in ends] or [None])

    def _open_requests(self) -> Mapping[InstanceId, OpenRequests]:
        return {name: self._open(one) for name, one in self.fleet.items()}

    def _open(self, one: SimulatedInstance) -> OpenRequests:
        if one.open is None or (one.drained_from is not None and not one.open.is_quiet):
            one.open = self._count_open(one)
        return one.open

    def _count_open(self, one: SimulatedInstance) -> OpenRequests:
        acts = self._behaviour(one.seen.version)
        if one.seen.phase is Phase.FAILED:
            return OpenRequests(count=0, is_quiet=True, draining_since=one.drained_from)
        if one.drained_from is None:
            return OpenRequests(count=1 + acts.streams)
        requests_left = (self.now - one.drained_from).total_seconds() < acts.requests_s
        count = acts.streams + int(requests_left)
        return OpenRequests(count=count, is_quiet=count == 0, draining_since=one.drained_from)

    def _look(self) -> Observed:
        """Look, and bring what the stage has asked for, as far as it is there."""
        rollout, seen = self.state.rollout, Observed(observation=self.observation(), ruling=self._ruling())
        if rollout is None or rollout.record.settled_at is None:
            return seen
        if rollout.current_stage.is_preflight:
            return replace(seen, preflight=self.preflight)
        if rollout.current_stage.asks_database:
            return replace(seen, database=self.database)
        return replace(seen, checks=self.checks) if rollout.current_stage.checks else seen

    def _ruling(self) -> Ruling | None:
        rollout = self.state.rollout
        if rollout is None or not rollout.compares or self.state.phase is RolloutPhase.IDLE:
            return None
        has_traffic = any(table.weight_bp(rollout.candidate) for table in self.tables())
        return self.ruling if has_traffic else None

    # What the effects do, and what they may not

    def _act(self, effect: Effect) -> None:
        if isinstance(effect, Start):
            self._start(effect)
        elif isinstance(effect, Stop):
            self._stop(effect)
        else:
            self._route(effect)

    def _start(self, effect: Start) -> None:
        if effect.instance in self.fleet:
            return
        self._check_database(effect)
        number = int(effect.instance.rsplit("-", 1)[1])
        address = Address(host="127.0.0.1", port=20_000 + number % 10_000)
        seen = Instance(
            id=effect.instance,
            version=effect.version,
            region=effect.region,
            address=address,
            phase=Phase.STARTING,
            since=self.now,
            started_at=self.now,
        )
        self.fleet[effect.instance] = SimulatedInstance(seen=seen, number=number)
        self._note_states()
        self._check_ceiling()

    def _stop(self, effect: Stop) -> None:
        one = self.fleet.get(effect.instance)
        if one is None:
            return
        if one.states != _NOWHERE and self.tables():
            self._violation(f"{effect.instance} stopped while a table in force lists it")
        left = self._open(one).count
        if one.was_listed and left and not self._was_cut(effect.instance):
            self._violation(f"{effect.instance} stopped with {left} open, and nothing says so")
        self._enter(one, Phase.STOPPING)

    def _was_cut(self, name: InstanceId) -> bool:
        return any(isinstance(event, TrafficRouted) and name in event.cut for event in self.journal)

    def _route(self, effect: Route) -> None:
        before = self.in_rotation()
        admitted = [one.seen for one in self.fleet.values() if self._is_admitted(one, effect.table)]
        self.violations += [f"{one.id} admitted while {one.phase}" for one in admitted if one.phase is not Phase.READY]
        self._check_cut(effect)
        if self.pending is not None and self.acknowledges:
            self._acknowledge()
        self.pending = effect.table
        self._note_states()
        for one in self.fleet.values():
            one.was_listed |= effect.table.endpoint(one.seen.version, one.seen.id) is not None
        limits = self.state.limits
        after = self.in_rotation()
        floor = limits.ready_floor if limits and any(wish.pools for wish in self.state.desired.values()) else 0
        if after < min(before, floor):
            self._violation(f"ready in rotation went from {before} to {after}, promised {floor}")

    def _is_admitted(self, one: SimulatedInstance, table: Table) -> bool:
        end = table.endpoint(one.seen.version, one.seen.id)
        newly = EndpointState.ACTIVE not in one.states
        return newly and end is not None and end.state is EndpointState.ACTIVE

    def _check_cut(self, effect: Route) -> None:
        for name in effect.cut:
            one = self.fleet[name]
            promised = self._promised(one)
            patience_s = max(promised.requests_s, promised.streams_s)
            waited_s = (self.now - (one.drained_from or self.now)).total_seconds()
            if one.seen.phase is not Phase.FAILED and waited_s < patience_s:
                self._violation(f"{name} cut after {waited_s} s, deadline {patience_s} s")

    def _check_tables(self) -> None:
        for table in self.tables():
            total = sum(table.weights.values())
            if table.weights and total != ALL_TRAFFIC_BP:
                self._violation(f"weights sum to {total}: {dict(table.weights)}")
            for version, weight in table.weights.items():
                if weight and not all(any(True for _ in one.active(version)) for one in self.tables()):
                    self._violation(f"{version} has {weight} bp and no active endpoint")

    def _check_ceiling(self) -> None:
        limits = self.state.limits
        assert limits is not None
        counted = [one for one in self.fleet.values() if self._counts(one, self._promised(one).requests_s)]
        if len(counted) > limits.ceiling:
            before = len(counted) - 1
            if before >= limits.ceiling:
                self._violation(f"{len(counted)} instances, ceiling {limits.ceiling}")

    def _check_database(self, effect: Start) -> None:
        """Nothing of a version starts before its database is as it needs it."""
        rollout = self.state.rollout
        if rollout is None or self.state.phase is RolloutPhase.IDLE or not rollout.compares:
            return
        is_ahead = any(stage.asks_database and not stage.may_stay for stage in rollout.plan.stages[rollout.stage :])
        if effect.version == rollout.candidate and is_ahead and not self._runs(rollout.candidate):
            self._violation(f"{effect.instance} started before the database is as {effect.version} needs it")

    def _runs(self, version: Version) -> bool:
        """Tell whether instances of it ran before: of a version that comes in again while its last ones leave."""
        return any(one.seen.version == version for one in self.fleet.values())

    def _promised(self, one: SimulatedInstance) -> DrainSpec:
        return self.state.specs[one.seen.version].drain

    def _counts(self, one: SimulatedInstance, requests_s: float) -> bool:
        held = (
            one.drained_from is not None
            and one.states == _OUT
            and (self.now - one.drained_from).total_seconds() >= requests_s
        )
        return one.seen.phase is not Phase.FAILED and not held

    def _commit(self, step: Step, asked: type[Command | Observed], *, may_decide: Events) -> None:
        self.violations += [
            f"`{asked.__name__}` while {self.state.phase} led to {event.kind}: TRANSITIONS does not name it"
            for event in step.events
            if not isinstance(event, may_decide)
        ]
        self.journal += step.events
        self.state = step.state

    def _violation(self, words: str) -> None:
        self.violations.append(f"{self.now:%H:%M:%S.%f} {words}")


def weights_now(simulation: Simulation) -> Mapping[Version, int]:
    """Return the acknowledged weights."""
    return (simulation.acknowledged or EMPTY_TABLE).weights
