"""Error budgets of all services, watched whether or not a rollout is on; an alert that begins or ends is journaled.

Rules. Each controller begins anew with what its metrics still have, and says since when it knows; alerts of an earlier
one are told again if they go on. What could not be read for `UNHEARD_S` is unknown: it ends no alert and fills no
budget. Nothing here holds up a rollout, and none waits for it: what a rollout does is decided by its judge.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, cast

from hitless.analysis.budget import WINDOWS, BudgetState, Promise, Standing, Window, burning, promises
from hitless.analysis.counts import Second
from hitless.engine.codec import subject_of
from hitless.engine.keeper import Keeper
from hitless.engine.outside import Outside
from hitless.errors import EnvironmentFault, Fenced, HitlessError
from hitless.journal.record import Entry
from hitless.rollout.events import ENGINE
from hitless.rollout.spec import SloSpec

FEED_S = 10.0
"""So often: a twentieth of the shortest window, and 50 services at rest take less than half a percent of a core."""

UNHEARD_S = 60
AT_ONCE = 50
"""Seconds taken in one go before others have their turn."""

BURN = "hitless.analysis.burn"
"""Loaded by the first service that promises something: numpy would cost every start of hitless half a second."""

log = logging.getLogger("hitless")

SloOf = Callable[[], Mapping[str, SloSpec]]
"""What each service promises by the settings in force."""


class Budget(Protocol):
    """What is needed of `hitless.analysis.burn.Budget`."""

    def take(self, second: Second) -> None:
        """Take a second; one that is not later than the last one is left out."""
        ...

    def state(self) -> BudgetState:
        """Return what is left of the budget, and how fast it burns."""
        ...


@dataclass(slots=True, kw_only=True)
class Objective:
    """One objective of a service.

    Attributes:
        state: as of the last look; None = not looked yet.
        alerts: since when each window's alert is on, by its name.
        told: windows whose alerts are journaled as begun and not as ended.
    """

    promise: Promise
    budget: Budget
    state: BudgetState | None = None
    alerts: dict[str, datetime] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)

    def look(self, now: datetime) -> None:
        """Compute the state, and which alerts are on."""
        self.state = self.budget.state()
        on = burning(self.state, before=frozenset(self.alerts))
        self.alerts = {window: self.alerts.get(window, now) for window in on}


@dataclass(slots=True, kw_only=True)
class Objectives:
    """Watches the objectives of all services.

    Attributes:
        promised: by service, by the settings in force.
        on_change: told when an alert has begun or ended.
    """

    outside: Outside
    keeper: Keeper
    promised: SloOf
    on_change: Callable[[], None]
    _watched: dict[str, dict[str, Objective]] = field(default_factory=dict)
    _taken_to: dict[str, int] = field(default_factory=dict)

    def of(self, service: str) -> tuple[Standing, ...]:
        """Return how a service's objectives stand; those that were not looked at yet are among them."""
        slo, watched = self.promised().get(service), self._watched.get(service, {})
        wanted = promises(slo) if slo is not None else {}
        return tuple(_standing(name, promise, watched.get(name)) for name, promise in wanted.items())

    async def run(self) -> None:
        """Watch until cancelled.

        Raises:
            Fenced: another controller has taken over.
        """
        while True:
            await self.outside.clock.sleep(FEED_S)
            await self.look()

    async def look(self) -> None:
        """Take what was measured since the last look, of every service that promises something."""
        promised = {service: promises(slo) for service, slo in self.promised().items()}
        for service in {*self._watched, *promised}:
            try:
                await self._look_at(service, promised.get(service, {}))
            except Fenced:
                raise
            except Exception:
                # a fault in here must end neither rollouts nor what is watched of the other services
                log.exception("the error budgets of %s could not be brought up to date", service)
            await asyncio.sleep(0)

    async def _look_at(self, service: str, wanted: Mapping[str, Promise]) -> None:
        await self._follow(service, wanted)
        if self._watched.get(service):
            await self._feed(service)
            await self._tell(service)

    async def _follow(self, service: str, wanted: Mapping[str, Promise]) -> None:
        """Keep the budgets whose objective is as it was, end those that are promised no more, begin new ones."""
        before = self._watched.get(service, {})
        kept = {name: one for name, one in before.items() if wanted.get(name) == one.promise}
        gone = {name: one for name, one in before.items() if name not in kept}
        why = "it is not promised any more"
        entries = [entry for name, one in gone.items() for entry in self._ended(service, name, one, one.told, why=why)]
        if entries and not await self._journaled(entries):
            return  # asked again with the next look
        begun = [name for name in wanted if name not in kept]
        if begun:
            burn = await asyncio.to_thread(importlib.import_module, BURN)
            kept |= {
                name: Objective(promise=wanted[name], budget=cast("Budget", burn.budget_of(wanted[name])))
                for name in begun
            }
            self._taken_to[service] = 0
        self._watched[service] = {name: kept[name] for name in wanted}

    async def _feed(self, service: str) -> None:
        objectives = self._watched[service].values()
        for number, second in enumerate(await self._seconds(service), 1):
            self._taken_to[service] = max(self._taken_to[service], second.at)
            for objective in objectives:
                objective.budget.take(second)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        now = self.outside.clock.now()
        for objective in objectives:
            objective.look(now)

    async def _seconds(self, service: str) -> tuple[Second, ...]:
        """Read what is new; where nothing can be read for long, time passes all the same."""
        if self.outside.metrics is None:
            return ()
        try:
            return await self.outside.within(
                UNHEARD_S, self.outside.metrics.seconds(service, after=self._taken_to[service])
            )
        except (HitlessError, OSError) as error:
            at = int(self.outside.clock.now().timestamp()) - UNHEARD_S
            return (Second(at=at, gap=str(error) or type(error).__name__),)

    # What is journaled

    async def _tell(self, service: str) -> None:
        """Journal alerts that began or ended; what could not be journaled is tried again with the next look."""
        for name, one in self._watched[service].items():
            on = set(one.alerts)
            if on == one.told:
                continue
            begun = self._begun(service, name, one, on - one.told)
            ended = self._ended(service, name, one, one.told - on, why="it burns slower")
            if await self._journaled([*begun, *ended]):
                one.told = on
            self.on_change()

    async def _journaled(self, entries: list[Entry]) -> bool:
        try:
            await self.keeper.commit(entries=entries)
        except EnvironmentFault:
            return False  # the keeper shows its fault itself
        return True

    def _begun(self, service: str, name: str, one: Objective, windows: set[str]) -> Iterator[Entry]:
        now, subject = self.outside.clock.now(), subject_of(service)
        for window in _of(windows):
            data = _evidence(name, one, window) | {"urgency": window.urgency.value}
            yield Entry(at=now, type="objective.burning", subject=subject, actor=ENGINE, data=data)

    def _ended(self, service: str, name: str, one: Objective, windows: set[str], *, why: str) -> Iterator[Entry]:
        now, subject = self.outside.clock.now(), subject_of(service)
        for window in _of(windows):
            data = _evidence(name, one, window) | {"why": why}
            yield Entry(at=now, type="objective.recovered", subject=subject, actor=ENGINE, data=data)


def _evidence(name: str, one: Objective, window: Window) -> dict[str, object]:
    assert one.state is not None
    burn = one.state.burn[window.name]
    return {
        "objective": name,
        "promised": one.promise.share,
        "at_most_ms": one.promise.at_most_ms,
        "window": window.name,
        "factor": window.factor,
        "burn": burn.long,
        "burn_short": burn.short,
        "budget_left": one.state.budget_left,
        "known": burn.known,
    }


def _standing(name: str, promise: Promise, one: Objective | None) -> Standing:
    if one is None or one.promise != promise:
        return Standing(name=name, promise=promise, state=None, alerts={})
    return Standing(name=name, promise=promise, state=one.state, alerts=one.alerts)


def _of(names: set[str]) -> Iterator[Window]:
    return (window for window in WINDOWS if window.name in names)
