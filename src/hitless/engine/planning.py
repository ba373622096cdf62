"""What a deploy would do now, shown before anybody asks for it."""

from __future__ import annotations

from collections.abc import Mapping

from hitless.engine.outside import Outside
from hitless.errors import HitlessError
from hitless.rollout.admission import standing_world
from hitless.rollout.connections import peak
from hitless.rollout.spec import ServiceSpec, StrategyName, Version
from hitless.rollout.stage import Plan
from hitless.rollout.state import ServiceState
from hitless.rollout.strategy import compile_rollout
from hitless.view.database import Room
from hitless.view.models import PlanView
from hitless.view.plan import plan_view

ASKS_FOR_S = 8.0
"""So long a plan waits for a database; connecting alone may take five."""


async def planned(
    spec: ServiceSpec, version: str, strategy: str | None, *, state: ServiceState, outside: Outside
) -> PlanView:
    """Plan a rollout from what serves now.

    Args:
        spec: settings of the version that would come in.
        version: its name.
        strategy: instead of the service's own.
        state: of the service.
        outside: whom to ask whether its pools would fit.
    """
    chosen = StrategyName(strategy) if strategy else spec.strategy.default
    baseline, candidate = state.stable, Version(version)
    plan = compile_rollout(
        spec,
        strategy=chosen,
        baseline=baseline,
        candidate=candidate,
        baseline_instances=state.specs[baseline].instances if baseline else None,
        standing=standing_world(state, salt=version),
    )
    room = await _room(spec, plan, state.specs, candidate, outside)
    return plan_view(plan, spec=spec, strategy=chosen, baseline=baseline, candidate=candidate, room=room)


async def _room(
    spec: ServiceSpec, plan: Plan, specs: Mapping[Version, ServiceSpec], candidate: Version, outside: Outside
) -> Room | None:
    """Look whether the pools would fit now; a plan is shown all the same where nobody knows."""
    found = peak(plan, spec=spec, specs=specs, candidate=candidate)
    if found is None or outside.schemas is None:
        return None
    try:
        fits = await outside.within(ASKS_FOR_S, outside.schemas.fits(spec=spec, takers=found.takers))
    except HitlessError as error:
        return Room(takers=found.takers, problem=error.in_words)
    return Room(takers=found.takers, fits=fits)
