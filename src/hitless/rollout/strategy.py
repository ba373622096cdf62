"""Strategies: pure functions from (service, old version, new version) to stages.

They differ in the list they return and in nothing else. Every list ends with the same stage, the new version alone;
what a strategy adds are the worlds in which both stand side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from hitless.rollout.spec import (
    ALL_TRAFFIC_BP,
    LOCAL,
    AnalysisSpec,
    DatabaseSpec,
    Region,
    ServiceSpec,
    StrategyName,
    SwitchWhen,
    Version,
)
from hitless.rollout.stage import (
    Approved,
    Condition,
    Drained,
    Examined,
    Held,
    Judged,
    Passed,
    Plan,
    PoolsFit,
    Ready,
    RoleMade,
    Routed,
    SchemaAt,
    Stage,
)
from hitless.rollout.world import Limits, RegionWorld, World
from hitless.schema.change.standing import Standing, is_at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What a strategy compiles: the candidate takes over from the baseline, which has its own number of instances."""

    spec: ServiceSpec
    baseline: Version
    baseline_instances: int
    candidate: Version
    regions: tuple[Region, ...]
    salt: str

    def alone(self) -> World:
        """Return the world in which only the candidate is left."""
        return stable_world(self.spec, self.candidate, regions=self.regions, salt=self.salt)

    def beside(self, *, share_bp: int, instances: int, preview: bool = False) -> World:
        """Return the world with the old version full and the new one beside it."""
        weights = {self.candidate: share_bp, self.baseline: ALL_TRAFFIC_BP - share_bp}
        world = RegionWorld(
            pools={self.candidate: instances, self.baseline: self.baseline_instances},
            weights=weights,
            preview=self.candidate if preview else None,
            salt=self.salt,
        )
        return dict.fromkeys(self.regions, world)

    def stage(self, name: str, desired: World, *until: Condition) -> Stage:
        """Build a stage that settles and then waits for `until`."""
        return Stage(
            name=name, desired=desired, until=(Ready(), Routed(), *until), deadline_s=self.spec.progress_deadline_s
        )

    def last_stage(self) -> Stage:
        """Return the stage in which the old version goes."""
        return self.stage("only the new version", self.alone(), Drained())


def rolling(_: Release) -> Iterable[Stage]:
    """Replace instance by instance: no world but the last is needed, its limits do the rest."""
    return ()


def blue_green(release: Release) -> Iterable[Stage]:
    """Prepare a second full environment, look at it, flip, keep the old one warm."""
    wish, full = release.spec.strategy.blue_green, release.spec.instances
    looks: list[Condition] = []
    if wish.checks:
        looks.append(Passed(checks=wish.checks))
    if wish.approve:
        looks.append(Approved())
    has_preview = wish.preview is not None
    yield release.stage("prepare", release.beside(share_bp=0, instances=full, preview=has_preview), *looks)
    flipped = release.beside(share_bp=ALL_TRAFFIC_BP, instances=full)
    yield release.stage("flip", flipped, Held(seconds=wish.keep_warm_s))


def canary(release: Release) -> Iterable[Stage]:
    """Widen the new version's share, the old one full and warm until the end."""
    steps = release.spec.strategy.canary.steps
    shares_bp = (*(step.weight_bp for step in steps), ALL_TRAFFIC_BP)
    for step, next_share_bp in zip(steps, shares_bp[1:], strict=True):
        instances = max(math.ceil(release.spec.instances * step.weight_bp / ALL_TRAFFIC_BP), 1)
        world = release.beside(share_bp=step.weight_bp, instances=instances)
        waits: list[Condition] = [Held(seconds=step.hold_s)] if step.hold_s else []
        waits += [Approved()] if step.pause else []
        waits += verdict(release.spec.analysis, next_share_bp) if next_share_bp > step.weight_bp else ()
        yield release.stage(f"canary {step.weight_bp / 100:g} %", world, *waits)


def verdict(analysis: AnalysisSpec | None, next_share_bp: int) -> Iterator[Condition]:
    """Ask that the share which comes next is shown to be right, where verdicts are waited for."""
    if analysis is not None:
        yield Judged(next_share_bp=next_share_bp, undecided=analysis.undecided, patience_s=analysis.patience_s)


STRATEGIES: Mapping[StrategyName, Callable[[Release], Iterable[Stage]]] = {
    StrategyName.ROLLING: rolling,
    StrategyName.BLUE_GREEN: blue_green,
    StrategyName.CANARY: canary,
}


def compile_rollout(
    spec: ServiceSpec,
    *,
    strategy: StrategyName,
    baseline: Version | None,
    candidate: Version,
    baseline_instances: int | None = None,
    regions: tuple[Region, ...] = (LOCAL,),
    salt: str = "",
    standing: World | None = None,
    examines: bool = True,
) -> Plan:
    """Compile a rollout to stages and limits; the baseline has as many instances as the candidate unless told.

    Without a baseline (first release), or with the candidate as its own baseline (other settings), there is nothing
    to stand beside: whatever the strategy, one stage remains. With `standing`, the world as it is, the database is made
    ready first and then the candidate is examined, as far as its settings say so, while that world stays. Without
    `examines` it is not, whatever they say.
    """
    beside = baseline_instances or spec.instances
    release = Release(
        spec=spec,
        baseline=baseline or candidate,
        baseline_instances=beside,
        candidate=candidate,
        regions=regions,
        salt=salt or candidate,
    )
    before = () if baseline in {None, candidate} else tuple(STRATEGIES[strategy](release))
    first = preflight(spec, standing) if baseline != candidate and examines else ()
    stages = (*database(spec, standing), *first, *before, release.last_stage(), *switch(release, standing))
    return Plan(stages=stages, limits=limits_of(spec, strategy, beside=beside))


def database(spec: ServiceSpec, standing: World | None) -> tuple[Stage, ...]:
    """Return the stage in which the database is made ready for the candidate: before its first instance starts."""
    if standing is None or spec.database is None:
        return ()
    asked = tuple(_asked_of_database(spec.database))
    if not asked:
        return ()
    return (Stage(name="database", desired=standing, until=asked, deadline_s=spec.progress_deadline_s),)


def _asked_of_database(wish: DatabaseSpec) -> Iterator[Condition]:
    if wish.connections is not None:
        yield PoolsFit()
    if wish.roles is not None:
        yield RoleMade()
    for change in wish.changes:
        yield SchemaAt(change=change.name, standing=change.standing)


def switch(release: Release, standing: World | None) -> tuple[Stage, ...]:
    """Return the stage in which changes are switched, the candidate having all traffic, if that is to go by itself."""
    wish = release.spec.database
    if standing is None or wish is None or wish.switch is SwitchWhen.MANUAL:
        return ()
    left = [one for one in wish.changes if not is_at_least(one.standing, Standing.SWITCHED)]
    asked = [SchemaAt(change=one.name, standing=Standing.SWITCHED, may_stay=True) for one in left]
    return (release.stage("switch", release.alone(), Drained(), *asked),) if asked else ()


def preflight(spec: ServiceSpec, standing: World | None) -> tuple[Stage, ...]:
    """Return the stage in which the candidate is examined, if there is one: it asks nothing of the world."""
    if standing is None or spec.preflight is None:
        return ()
    return (Stage(name="preflight", desired=standing, until=(Examined(),), deadline_s=spec.progress_deadline_s),)


def compile_return(
    spec: ServiceSpec, *, candidate: Version, beside: int, regions: tuple[Region, ...] = (LOCAL,), salt: str = ""
) -> Plan:
    """Compile the fastest safe way to an earlier version, away from `beside` instances of another one.

    One world, with room for a second full environment: traffic moves as fast as the earlier version's instances get
    ready, and nothing is asked of the version that is left, which may be the very trouble.
    """
    alone = compile_rollout(spec, strategy=StrategyName.BLUE_GREEN, baseline=None, candidate=candidate, salt=salt)
    stages = tuple(replace(stage, desired=dict.fromkeys(regions, stage.desired[LOCAL])) for stage in alone.stages)
    return Plan(stages=stages, limits=limits_of(spec, StrategyName.BLUE_GREEN, beside=beside))


def stable_world(
    spec: ServiceSpec | None, version: Version | None, *, regions: tuple[Region, ...] = (LOCAL,), salt: str = ""
) -> World:
    """Return the world in which one version serves everything; without one, nothing runs."""
    if spec is None or version is None:
        return dict.fromkeys(regions, RegionWorld())
    world = RegionWorld(pools={version: spec.instances}, weights={version: ALL_TRAFFIC_BP}, salt=salt)
    return dict.fromkeys(regions, world)


def limits_of(spec: ServiceSpec, strategy: StrategyName, *, beside: int | None = None) -> Limits:
    """Return what the strategy may risk, `beside` instances of the version before standing there already.

    Rolling as configured; the others a second full environment and nothing missing.
    """
    before = beside or spec.instances
    surge, unavailable = before, 0
    if strategy is StrategyName.ROLLING:
        wish = spec.strategy.rolling
        unavailable = min(wish.max_unavailable.rounded_down(spec.instances), spec.instances - 1)
        surge = wish.max_surge.rounded_up(spec.instances)
        surge = max(surge, 1) if unavailable == 0 else surge  # with neither, nothing could ever move
        surge += max(before - spec.instances, 0)
    return Limits(
        instances=spec.instances,
        max_surge=surge,
        max_unavailable=unavailable,
        drain=spec.drain,
        max_failures=spec.health.max_failures,
    )
