"""What a rollout takes of its database's connections at its peak, by version.

Rule. Between two stages both worlds may stand at once, but never more instances than the limits allow; which version's
are missing then is not known, so those that open fewer connections are left out. While a version is examined, two of
its instances run beside the world as it is; while changes are carried out, each instance may open what is set for that.
Instances that only streams keep are not in any world: they have given their pools back, or, without roles by version,
are among the others that have connections open now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from hitless.rollout.spec import ConnectionsSpec, ServiceSpec, Version
from hitless.rollout.stage import Plan, Stage
from hitless.rollout.world import World
from hitless.schema.headroom import WORKERS, Taker

EXAMINED = 2
"""Instances of a version that are examined out of rotation."""

Counts = Mapping[Version, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The moment of a rollout that takes the most connections.

    Attributes:
        instances: by version, at that moment.
        takers: who takes what, jobs and the migration among them.
        most_of_candidate: most instances that the new version ever has at once, those that are examined among them.
    """

    instances: Counts
    takers: tuple[Taker, ...]
    most_of_candidate: int


def peak(plan: Plan, *, spec: ServiceSpec, specs: Mapping[Version, ServiceSpec], candidate: Version) -> Peak | None:
    """Find the peak of a plan; None where nobody has said how many connections an instance opens.

    Args:
        plan: of the rollout.
        spec: settings of the version that comes in.
        specs: settings of versions that run; one that does not say what it opens is taken to open as many.
        candidate: the version that comes in.
    """
    database = spec.database
    if database is None or database.connections is None:
        return None
    wish = database.connections
    opens = {version: _opens(one, wish.per_instance) for version, one in specs.items()}
    opens[candidate] = wish.per_instance
    opens |= {one: wish.per_instance for stage in plan.stages for one in _count(stage.desired) if one not in opens}
    usual = list(_moments(plan, candidate, opens))
    wider = [(_count(stage.desired), _while_migrating(opens, wish)) for stage in plan.stages if stage.changes]
    moments = [*((one, opens) for one in usual), *wider]
    found, each = max(moments, key=lambda one: sum(count * one[1].get(it, 0) for it, count in one[0].items()))
    beside = [Taker(who="jobs", connections=wish.jobs, because="as set")] if wish.jobs else []
    if database.changes:
        beside.append(Taker(who="the migration", connections=WORKERS))
    return Peak(
        instances=found,
        takers=(*_takers(found, each), *beside),
        most_of_candidate=max(one.get(candidate, 0) for one in usual) + EXAMINED,
    )


def _opens(spec: ServiceSpec, usual: int) -> int:
    wish = spec.database.connections if spec.database is not None else None
    return wish.per_instance if wish is not None else usual


def _while_migrating(opens: Mapping[Version, int], wish: ConnectionsSpec) -> Mapping[Version, int]:
    """Return what an instance may open while changes are carried out; limits are raised by the same factor for all."""
    wide = max(wish.during_migration or 0, wish.per_instance)
    return {version: -(-each * wide // wish.per_instance) for version, each in opens.items()}


def _takers(instances: Counts, opens: Mapping[Version, int]) -> Iterator[Taker]:
    for version, count in instances.items():
        each = opens[version]
        because = f"{count} instance{'s' if count != 1 else ''} x {each}"
        yield Taker(who=version, connections=count * each, because=because, is_of_instances=True)


def _moments(plan: Plan, candidate: Version, opens: Mapping[Version, int]) -> Iterator[dict[Version, int]]:
    """List what runs at each moment that may be the peak."""
    worlds = [_count(stage.desired) for stage in plan.stages]
    for stage, counts in zip(plan.stages, worlds, strict=True):
        yield _examined(stage, counts, candidate)
    for before, after in pairwise(worlds):
        both = {one: max(before.get(one, 0), after.get(one, 0)) for one in {**before, **after}}
        yield _cut(both, plan.limits.ceiling, opens)


def _examined(stage: Stage, counts: dict[Version, int], candidate: Version) -> dict[Version, int]:
    if not stage.is_preflight:
        return counts
    return {**counts, candidate: counts.get(candidate, 0) + EXAMINED}


def _count(world: World) -> dict[Version, int]:
    counts: dict[Version, int] = {}
    for region in world.values():
        for version, wanted in region.pools.items():
            counts[version] = counts.get(version, 0) + wanted
    return counts


def _cut(counts: dict[Version, int], ceiling: int, opens: Mapping[Version, int]) -> dict[Version, int]:
    excess = sum(counts.values()) - ceiling
    for version in sorted(counts, key=lambda one: opens.get(one, 0)):
        left_out = min(max(excess, 0), counts[version])
        counts[version] -= left_out
        excess -= left_out
    return counts
