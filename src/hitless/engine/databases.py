"""What a rollout asks of its service's database: asked here, off the loop's turns, until it is there or cannot be had.

Order: pools, role, changes. So nothing is changed for a version whose connections would not fit, and the role is there
when a change that takes days is done.

A database that cannot be asked lets nothing pass: it is asked again and again, and after `progress_deadline` without an
answer a person is needed. What a rule refuses is not asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol, TypeVar

from hitless.engine.outside import Outside
from hitless.errors import EnvironmentFault, HitlessError, Refused
from hitless.ports import Schemas
from hitless.rollout.connections import EXAMINED, Peak, peak
from hitless.rollout.spec import ChangeSpec, DatabaseSpec, ServiceSpec, Version
from hitless.rollout.stage import OfDatabase, PoolsFit, RoleMade, SchemaAt
from hitless.rollout.state import Rollout, ServiceState
from hitless.schema.headroom import Fit, remedies, too_many
from hitless.schema.release import DatabaseReport, NeededChange, Verdict
from hitless.view.database import Asked

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 15.0
"""Between two attempts at a database that cannot be asked: each is twice as long as the one before."""

ANSWERS_WITHIN_S = 30.0
"""What takes no time of its own: connecting alone may take five seconds, then a server that hangs is away."""

SILENT_S = 30.0
"""A change of which nothing was heard for longer is shown as such: few statements take that long and tell nothing."""

TIDY_AGAIN_S = 60.0
"""After an attempt to drop roles that some of them have outlived: sessions end, objects are given away."""

TOLD_EVERY_S = 0.5
"""So often at most people are told how a backfill gets on: its batches take a tenth of that."""


Answer = TypeVar("Answer")


class PoolsDoNotFit(Refused):
    """The pools of all versions together would open more connections than the database has."""

    code = "HL4550"

    def __init__(self, *, service: str, fit: Fit, remedies: tuple[str, ...]) -> None:
        super().__init__(
            f"{service}: the pools of all versions do not fit into the database; {fit.sentence}",
            evidence=fit.rows,
            hints=remedies,
        )


class NoWayToDatabase(Refused):
    """This control plane has nothing to reach databases with."""

    code = "HL4551"


class HasState(Protocol):
    """A service's loop, as far as it is looked at here."""

    state: ServiceState


@dataclass(slots=True, kw_only=True)
class Asking:
    """One stage's questions to the database.

    Attributes:
        state: of the service as it was when the stage began.
        on_news: told when there is something to be shown.
        settled: returns when nobody drops roles.
        changes: the changes of this rollout as they are known now, by name.
        trouble: why the database cannot be asked at the moment; None = it answers.
    """

    rollout: Rollout
    state: ServiceState
    outside: Outside
    on_news: Callable[[], None]
    settled: Callable[[], Awaitable[None]]
    changes: dict[str, NeededChange] = field(default_factory=dict)
    trouble: str | None = None
    _fits: tuple[Fit, ...] = ()
    _role: str | None = None
    _told_at: datetime | None = None
    _heard_at: datetime | None = None

    def __post_init__(self) -> None:
        """Begin with what is asked: nothing is known of it."""
        asked = self.rollout.current_stage.changes
        self.changes = {one.change: NeededChange(change=one.change, wanted=one.standing) for one in asked}

    @property
    def known(self) -> Asked:
        """What people are shown of it now."""
        changes = {name: replace(one, detail=self._in_time(one.detail)) for name, one in self.changes.items()}
        return Asked(changes=changes, fits=self._fits, role=self._role, trouble=self.trouble)

    def _in_time(self, detail: str) -> str:
        """Say how old the last words are: a server that hangs says nothing, and so does one that is busy."""
        if not detail or self._heard_at is None:
            return detail
        silent_s = (self.outside.clock.now() - self._heard_at).total_seconds()
        return f"{detail}; nothing was heard of it since, for {silent_s:.0f} s" if silent_s > SILENT_S else detail

    @property
    def spec(self) -> ServiceSpec:
        """The settings of the version that comes in."""
        return self.state.specs[self.rollout.candidate]

    @property
    def database(self) -> DatabaseSpec:
        """What they say of the database."""
        assert self.spec.database is not None
        return self.spec.database

    async def run(self) -> DatabaseReport:
        """Ask for everything in its order; return what became of it."""
        try:
            for asked in self.rollout.current_stage.until:
                if isinstance(asked, OfDatabase):
                    await self._until_answered(asked)
        except Refused as refusal:
            return self._report(Verdict.REFUSED, refusal)
        except HitlessError as fault:
            return self._report(Verdict.FAILED, fault)
        return self._report(Verdict.READY)

    def _report(self, verdict: Verdict, fault: HitlessError | None = None) -> DatabaseReport:
        return DatabaseReport(
            verdict=verdict,
            changes=tuple(replace(one, detail="") for one in self.changes.values()),
            fits=self._fits,
            role=self._role,
            cause=fault.message if fault is not None else "",
            evidence=fault.evidence if fault is not None else (),
            remedies=fault.hints if fault is not None else (),
        )

    async def _until_answered(self, asked: OfDatabase) -> None:
        """Ask until there is an answer.

        Raises:
            Refused: a rule says no.
            EnvironmentFault: a person is needed, or the database has been away for too long.
        """
        pause_s, away_since = FIRST_PAUSE_S, None
        while (fault := await self._fault_of(asked)) is not None:
            now = self.outside.clock.now()
            if self._heard_at is not None:
                pause_s, away_since = FIRST_PAUSE_S, self._heard_at
            away_since = away_since or now
            if not fault.temporary or (now - away_since).total_seconds() >= self.spec.progress_deadline_s:
                raise fault
            self._note_trouble(fault.in_words)
            await self.outside.clock.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self._note_trouble(None)

    async def _fault_of(self, asked: OfDatabase) -> EnvironmentFault | None:
        """Ask once; return what kept the database from being asked."""
        self._heard_at = None
        try:
            await self._ask(asked)
        except EnvironmentFault as fault:
            return fault
        return None

    async def _ask(self, asked: OfDatabase) -> None:
        schemas = self.outside.schemas
        if schemas is None:
            raise NoWayToDatabase(f"{self.state.service} names a database, and this control plane reaches none")
        if isinstance(asked, PoolsFit):
            await self._hold_pools(schemas)
        elif isinstance(asked, RoleMade):
            self._role = await answer_of(self.spec, self.outside, self._make_role(schemas))
        else:
            await self._bring(schemas, asked)

    async def _make_role(self, schemas: Schemas) -> str:
        await self.settled()
        return await schemas.make_role(spec=self.spec, version=self.rollout.candidate, connections=self._role_limit())

    async def _hold_pools(self, schemas: Schemas) -> None:
        found = self._peak()
        assert found is not None
        self._fits = await answer_of(self.spec, self.outside, schemas.fits(spec=self.spec, takers=found.takers))
        refuse_too_many(self._fits, spec=self.spec, found=found)

    def _peak(self) -> Peak | None:
        rollout = self.rollout
        return peak(rollout.plan, spec=self.spec, specs=self.state.specs, candidate=rollout.candidate)

    def _role_limit(self) -> int | None:
        found, wish = self._peak(), self.database.connections
        return found.most_of_candidate * wish.per_instance if found is not None and wish is not None else None

    async def _bring(self, schemas: Schemas, asked: SchemaAt) -> None:
        def hear(words: str) -> None:
            self._heard_at = self.outside.clock.now()
            self._tell(asked.change, words)

        found = await schemas.bring(
            spec=self.spec, change=self._change(asked.change), standing=asked.standing, tell=hear
        )
        self.changes[asked.change] = replace(found, wanted=asked.standing)
        self.on_news()

    def _change(self, name: str) -> ChangeSpec:
        return next(one for one in self.database.changes if one.name == name)

    def _tell(self, change: str, words: str) -> None:
        self.trouble = None
        self.changes[change] = replace(self.changes[change], detail=words)
        now = self.outside.clock.now()
        if self._told_at is None or (now - self._told_at).total_seconds() >= TOLD_EVERY_S:
            self._told_at = now
            self.on_news()

    def _note_trouble(self, trouble: str | None) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            self.on_news()


async def answer_of(spec: ServiceSpec, outside: Outside, asked: Awaitable[Answer]) -> Answer:
    """Wait for what takes a database no time of its own.

    Raises:
        EnvironmentFault: no answer; the question itself may live on in its thread, and is harmless there.
    """
    return await outside.within(ANSWERS_WITHIN_S, asked, of=f"the database of {spec.name}")


@asynccontextmanager
async def role_to_examine(
    spec: ServiceSpec, version: Version, *, outside: Outside, keeper: RoleKeeper | None
) -> AsyncIterator[None]:
    """Have a login role for a version while its instances are examined; afterwards it goes if nobody else needs it."""
    wish = spec.database
    if wish is None or wish.roles is None or outside.schemas is None:
        yield
        return
    opened = wish.connections.per_instance * EXAMINED if wish.connections is not None else None
    with keeper.borrowed(version) if keeper is not None else nullcontext():
        if keeper is not None:
            await answer_of(spec, outside, keeper.settled())
        await answer_of(spec, outside, outside.schemas.make_role(spec=spec, version=version, connections=opened))
        yield


def role_limited(state: ServiceState) -> ServiceSpec | None:
    """Return the settings of a rollout that compares versions which have roles with a limit; None = there is none."""
    rollout = state.rollout
    if rollout is None or rollout.outcome is not None or not rollout.compares:
        return None
    wish = state.specs[rollout.candidate].database
    is_limited = wish is not None and wish.roles is not None and wish.connections is not None
    return state.specs[rollout.candidate] if is_limited else None


def compared_by_role(loops: Mapping[str, HasState]) -> Mapping[str, ServiceSpec]:
    """List services of which two versions with limited roles are compared now."""
    found = {service: role_limited(loop.state) for service, loop in tuple(loops.items())}
    return {service: spec for service, spec in found.items() if spec is not None}


def refuse_too_many(fits: tuple[Fit, ...], *, spec: ServiceSpec, found: Peak) -> None:
    """Refuse a rollout whose pools do not fit.

    Raises:
        PoolsDoNotFit: with who takes what, and what would make it fit.
    """
    excess = too_many(fits)
    if excess <= 0 or spec.database is None or spec.database.connections is None:
        return
    at_peak = sum(found.instances.values())
    ways = remedies(
        excess, per_instance=spec.database.connections.per_instance, instances=spec.instances, at_peak=at_peak
    )
    raise PoolsDoNotFit(service=spec.name, fit=fits[0], remedies=ways)


@dataclass(slots=True)
class RoleKeeper:
    """Drops the login roles of versions that neither run nor can come back.

    Attributes:
        notes: which roles had to be kept, and why; or why nothing is known.
    """

    outside: Outside
    notes: tuple[str, ...] = ()
    _borrowed: set[Version] = field(default_factory=set)
    _dropping: asyncio.Lock = field(default_factory=asyncio.Lock)
    _kept: tuple[DatabaseSpec, frozenset[Version]] | None = None
    _tried_at: datetime | None = None

    def is_due(self, state: ServiceState) -> bool:
        """Tell whether somebody else is needed than when roles were dropped last."""
        wish = _wish(state)
        if self.outside.schemas is None or wish is None or wish.roles is None:
            return False
        if self._kept == (wish, self._needed(state)):
            return False
        now = self.outside.clock.now()
        return self._tried_at is None or (now - self._tried_at).total_seconds() >= TIDY_AGAIN_S

    def forget(self) -> None:
        """Look again who is needed."""
        self._kept = self._tried_at = None

    @contextmanager
    def borrowed(self, version: Version) -> Iterator[None]:
        """Keep a version's role for somebody else meanwhile."""
        self._borrowed.add(version)
        self.forget()
        try:
            yield
        finally:
            self._borrowed.discard(version)
            self.forget()

    def _needed(self, state: ServiceState) -> frozenset[Version]:
        return versions_needed(state) | self._borrowed

    async def settled(self) -> None:
        """Wait until nobody drops roles: one that is made meanwhile would be among those that nobody needed."""
        async with self._dropping:
            return

    async def tidy(self, state: ServiceState) -> None:
        """Drop what nobody needs; what fails is told, and tried again later."""
        async with self._dropping:
            await self._tidy(state)

    async def _tidy(self, state: ServiceState) -> None:
        spec, needed, self._tried_at = state.settled_settings, self._needed(state), self.outside.clock.now()
        assert spec is not None
        assert spec.database is not None
        assert self.outside.schemas is not None
        try:
            self.notes = await self.outside.schemas.keep_roles(spec=spec, versions=needed)
            if not self.notes:
                self._kept, self._tried_at = (spec.database, needed), None
        except HitlessError as error:
            self.notes = (f"login roles of versions that are gone stay for now: {error.in_words}",)


def _wish(state: ServiceState) -> DatabaseSpec | None:
    spec = state.settled_settings
    return spec.database if spec is not None else None


def versions_needed(state: ServiceState) -> frozenset[Version]:
    """Return versions that run, or that somebody may return to or bring in now."""
    rollout = state.rollout
    going_on = {rollout.candidate, rollout.baseline} if rollout is not None and rollout.outcome is None else set()
    known = {state.stable, state.previous, *going_on, *(one.version for one in state.instances.values())}
    return frozenset(one for one in known if one is not None)
