"""Databases whose answers the test decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hitless.errors import HitlessError
from hitless.ports import Clock
from hitless.rollout.spec import ChangeSpec, ServiceSpec, Version
from hitless.schema.change.standing import ORDER, Standing, is_at_least
from hitless.schema.headroom import Fit, Limit, Reserve, Taker, fit
from hitless.schema.release import NeededChange

_PARTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """One call of `FakeSchemas.bring`; `ended` is None while it goes on."""

    change: str
    standing: Standing
    ended: str | None = None


class FakeSchemas:
    """`hitless.ports.Schemas`: a database in which every change succeeds and everything fits, unless told otherwise.

    Attributes:
        takes_s: virtual seconds that a part of a change takes.
        standings: where each change stands; what is not named stands at `planned`. Outlives every worker.
        limits: of the database; empty = it has none.
        roles: login roles that are there, by version, with their limits.
        brought: every call of `bring`, oldest first.
    """

    def __init__(self, clock: Clock, *, takes_s: float = 5.0) -> None:
        self._clock = clock
        self._faults: dict[str, HitlessError] = {}
        self._away: HitlessError | None = None
        self.takes_s = takes_s
        self.standings: dict[str, Standing] = {}
        self.limits: tuple[Limit, ...] = ()
        self.roles: dict[Version, int | None] = {}
        self.brought: list[Brought] = []

    def fail(self, change: str, fault: HitlessError) -> None:
        """Let a change fail from now on, half-way."""
        self._faults[change] = fault

    def recover(self, change: str) -> None:
        """Let it succeed again."""
        self._faults.pop(change, None)

    def go_away(self, fault: HitlessError) -> None:
        """Answer nothing any more; who is being brought somewhere is cut off."""
        self._away = fault

    def come_back(self) -> None:
        """Answer again."""
        self._away = None

    async def fits(self, *, spec: ServiceSpec, takers: Sequence[Taker]) -> tuple[Fit, ...]:
        """Hold what is taken against the limits."""
        self._answer()
        wish = spec.database.connections if spec.database is not None else None
        amount = wish.reserve if wish is not None else None
        reserve = Reserve(count=amount.count, share_bp=amount.share_bp) if amount is not None else Reserve()
        return fit(takers, self.limits, reserve=reserve)

    async def make_role(self, *, spec: ServiceSpec, version: Version, connections: int | None) -> str:
        """Make a role."""
        self._answer()
        self.roles[version] = connections
        roles = spec.database.roles if spec.database is not None else None
        return f"{roles.prefix if roles is not None else spec.name}_v{version}"

    async def bring(
        self, *, spec: ServiceSpec, change: ChangeSpec, standing: Standing, tell: Callable[[str], None]
    ) -> NeededChange:
        """Let time pass, part by part; a part that is done stays done."""
        number = len(self.brought)
        self.brought.append(Brought(change=change.name, standing=standing))
        ended = "stopped"
        try:
            await self._carry_out(change.name, standing, tell)
            ended = "done"
        except HitlessError as fault:
            ended = fault.message
            raise
        finally:
            self.brought[number] = Brought(change=change.name, standing=standing, ended=ended)
        return NeededChange(
            change=change.name, wanted=standing, standing=self._standing(change.name), touches=_touches(spec)
        )

    async def _carry_out(self, change: str, standing: Standing, tell: Callable[[str], None]) -> None:
        self._answer()
        while not is_at_least(self._standing(change), standing):
            for part in range(_PARTS):
                tell(f"{ORDER[ORDER.index(self._standing(change)) + 1]} {part * 100 // _PARTS} %")
                await self._clock.sleep(self.takes_s / _PARTS)
                self._answer()
            if change in self._faults:
                raise self._faults[change]
            self.standings[change] = ORDER[ORDER.index(self._standing(change)) + 1]

    async def states(self, spec: ServiceSpec) -> tuple[NeededChange, ...]:
        """Say where each change stands."""
        self._answer()
        changes = spec.database.changes if spec.database is not None else ()
        return tuple(
            NeededChange(change=one.name, wanted=one.standing, standing=self._standing(one.name)) for one in changes
        )

    async def keep_roles(self, *, spec: ServiceSpec, versions: frozenset[Version]) -> tuple[str, ...]:  # noqa: ARG002 - the port's signature
        """Drop the others."""
        self._answer()
        self.roles = {version: limit for version, limit in self.roles.items() if version in versions}
        return ()

    def _standing(self, change: str) -> Standing:
        return self.standings.get(change, Standing.PLANNED)

    def _answer(self) -> None:
        if self._away is not None:
            raise self._away


def _touches(spec: ServiceSpec) -> tuple[str, ...]:
    return (f"{spec.name}.full_name",)
