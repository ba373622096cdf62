"""From a compiled rollout to the view of a plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from hitless.rollout.spec import CheckSpec, ServiceSpec, StrategyName, Version
from hitless.rollout.stage import (
    Approved,
    Condition,
    Held,
    Judged,
    OfDatabase,
    Passed,
    Plan,
    PoolsFit,
    RoleMade,
    SchemaAt,
    Stage,
)
from hitless.rollout.world import World
from hitless.view.database import Room, planned_database, schema_words
from hitless.view.models import PlannedStageView, PlanView


def plan_view(
    plan: Plan,
    *,
    spec: ServiceSpec,
    strategy: StrategyName,
    baseline: Version | None,
    candidate: Version,
    room: Room | None = None,
) -> PlanView:
    """Render `plan`, which takes `spec` from `baseline` to `candidate`; `room`: whether its pools would fit now."""
    peak = _peak_instances(plan, baseline)
    return {
        "service": spec.name,
        "strategy": strategy.value,
        "baseline": baseline,
        "candidate": candidate,
        "stages": [_stage(stage) for stage in plan.stages],
        "peak_instances": peak,
        "least_s": sum(stage.hold_s for stage in plan.stages),
        "needs": list(_needs(plan, spec, peak)),
        "database": planned_database(plan.stages, room, baseline=baseline, candidate=candidate),
        "next": [f"hitless deploy {spec.name} --version {candidate} --strategy {strategy.value}"],
    }


def pools_of(world: World) -> dict[str, int]:
    """Sum the wanted instances by version over all regions."""
    pools: dict[str, int] = {}
    for region in world.values():
        for version, wanted in region.pools.items():
            pools[version] = pools.get(version, 0) + wanted
    return pools


def weights_of(world: World) -> dict[str, int]:
    """Return the weights by version; every region has the same."""
    return {version: weight for region in world.values() for version, weight in region.weights.items()}


def checks_words(checks: Sequence[CheckSpec]) -> str:
    """Name the condition that synthetic checks passed."""
    return f"{len(checks)} check{'s' if len(checks) > 1 else ''} passed"


def judged_words(judged: Judged) -> str:
    """Name the condition that a judge lets the next share pass."""
    return f"judged fit for {judged.next_share_bp / 100:g} %"


def _stage(stage: Stage) -> PlannedStageView:
    return {
        "name": stage.name,
        "pools": pools_of(stage.desired),
        "weights": weights_of(stage.desired),
        "until": [_words(condition) for condition in stage.until],
        "hold_s": stage.hold_s,
    }


def _words(condition: Condition) -> str:
    match condition:
        case Held(seconds=seconds):
            return f"held {seconds:g} s"
        case Passed(checks=checks):
            return checks_words(checks)
        case Judged():
            return judged_words(condition)
        case PoolsFit() | RoleMade() | SchemaAt():
            return schema_words(condition)
        case _:
            return condition.kind


def _peak_instances(plan: Plan, baseline: Version | None) -> int:
    """Between two stages both worlds may stand at once, but never more than the limits allow."""
    before: dict[str, int] = {baseline: plan.limits.instances} if baseline else {}
    pools = [before, *(pools_of(stage.desired) for stage in plan.stages)]
    both = max(sum(max(a.get(name, 0), b.get(name, 0)) for name in {*a, *b}) for a, b in pairwise(pools))
    return min(both, plan.limits.ceiling)


def _needs_of_database(plan: Plan) -> Iterator[str]:
    for stage in plan.stages:
        if any(isinstance(one, SchemaAt) and not one.may_stay for one in stage.until):
            yield "the schema, as the stage `database` says, before the new version's first instance starts"
        elif any(isinstance(one, OfDatabase) for one in stage.until) and not stage.may_stay:
            yield "a database that answers, before the new version's first instance starts"


def _needs(plan: Plan, spec: ServiceSpec, peak: int) -> Iterator[str]:
    yield from _needs_of_database(plan)
    if any(stage.is_preflight for stage in plan.stages):
        yield "room for two more instances out of rotation, while the new version is examined"
    if peak > spec.instances:
        yield f"room for {peak} instances, {peak - spec.instances} more than usual"
    for number, stage in enumerate(plan.stages, 1):
        if any(isinstance(condition, Approved) for condition in stage.until):
            yield f"a person who lets stage {number} pass: hitless rollout promote {spec.name}"
        yield from (f"{check.path} answers {check.status} in stage {number}" for check in stage.checks)
