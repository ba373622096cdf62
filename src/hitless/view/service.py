"""From a service's state and what is seen of it to the views that people get."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal

from hitless.analysis.budget import Standing
from hitless.analysis.ruling import Judgement
from hitless.rollout.course import way_back
from hitless.rollout.spec import Region, ServiceSpec, Version
from hitless.rollout.stage import Finding, Held, Judged, OfDatabase, Passed, Stage, findings
from hitless.rollout.state import Outcome, Rollout, RolloutPhase, ServiceState
from hitless.rollout.world import EMPTY_TABLE, EndpointState, Instance, Observation, Phase, RoutingView
from hitless.view.database import Asked, database_view, schema_detail, schema_words
from hitless.view.judgement import judgement_view
from hitless.view.models import (
    CertificateView,
    ConditionView,
    Health,
    InstanceView,
    PreflightView,
    Role,
    RolloutRowView,
    RolloutState,
    RolloutView,
    ServiceView,
    StageView,
    VersionView,
)
from hitless.view.objectives import objective_view
from hitless.view.plan import checks_words, judged_words, pools_of, weights_of
from hitless.view.preflight import preflight_view

WARN_DAYS = 14


def service_view(
    state: ServiceState,
    *,
    spec: ServiceSpec,
    observed: Observation | None,
    problems: Iterable[str],
    seq: int,
    judgement: Judgement | None = None,
    asked: Asked | None = None,
    objectives: Iterable[Standing] = (),
) -> ServiceView:
    """Render one service now; `observed` is None before the first look, `judgement` where there is no evidence."""
    rollout = state.rollout
    return {
        "name": state.service,
        "listen": str(spec.traffic.listen),
        "health": _health(state, observed),
        "stable": state.stable,
        "versions": list(_versions(state, observed)),
        "instances": [_instance(one, observed) for one in observed.instances] if observed else [],
        "rollout": rollout_view(rollout, state=state, observed=observed, judgement=judgement, asked=asked)
        if rollout
        else None,
        "objectives": [objective_view(one) for one in objectives],
        "problems": list(problems),
        "notices": list(_notices(observed)),
        "certificate": _certificate(observed),
        "seq": seq,
    }


def rollout_view(
    rollout: Rollout,
    *,
    service: str | None = None,
    state: ServiceState | None = None,
    observed: Observation | None,
    judgement: Judgement | None = None,
    asked: Asked | None = None,
) -> RolloutView:
    """Render a rollout; with `state` as the service's present one, without as it ended.

    Args:
        rollout: to be shown.
        service: its name, where there is no `state`.
        state: of the service.
        observed: what was seen last; None = nothing yet.
        judgement: the evidence on it.
        asked: what its stage asks of the database, as far as that has got.
    """
    name = service or (state.service if state else "")
    phase = _rollout_phase(rollout, state)
    return {
        **rollout_row(rollout, service=name, state=state),
        "stage": rollout.stage,
        "stages": _stages(rollout, phase, state, observed, asked),
        "preflight": _preflight(name, rollout),
        "skipped_preflight": rollout.skipped_preflight,
        "database": database_view(rollout, state.phase if state is not None else None, asked),
        "judgement": judgement_view(judgement, rollout.ruling),
        "next": list(_next(name, phase, rollout, state)),
    }


def rollout_row(rollout: Rollout, *, service: str, state: ServiceState | None) -> RolloutRowView:
    """Render a rollout for a list; with `state` as the service's present one, without as it ended."""
    phase = _rollout_phase(rollout, state)
    return {
        "id": rollout.id,
        "service": service,
        "strategy": rollout.strategy,
        "baseline": rollout.baseline,
        "candidate": rollout.candidate,
        "state": _rollout_state(rollout, phase),
        "phase": phase,
        "started_at": _moment(rollout.started_at),
        "finished_at": _moment(rollout.finished_at) if rollout.finished_at else None,
        "actor": rollout.actor,
        "reason": rollout.reason,
        "cause": rollout.cause,
    }


def _preflight(service: str, rollout: Rollout) -> PreflightView | None:
    if rollout.preflight is None:
        return None
    return preflight_view(rollout.preflight, service=service, version=rollout.candidate)


def _rollout_phase(
    rollout: Rollout, state: ServiceState | None
) -> Literal["advancing", "paused", "rolling_back", "finished"]:
    if rollout.outcome is not None or state is None:
        return "finished"
    if state.phase is RolloutPhase.PAUSED:
        return "paused"
    return "rolling_back" if state.phase is RolloutPhase.ROLLING_BACK else "advancing"


def _rollout_state(rollout: Rollout, phase: str) -> RolloutState:
    match rollout.outcome:
        case Outcome.COMPLETED:
            return "completed"
        case Outcome.ROLLED_BACK:
            return "rolled_back"
        case Outcome.SUPERSEDED:
            return "superseded"
        case Outcome.REFUSED:
            return "refused"
        case Outcome.FAILED:
            return "failed"
        case None:
            return "paused" if phase == "paused" else "running"


def _stages(
    rollout: Rollout, phase: str, state: ServiceState | None, observed: Observation | None, asked: Asked | None
) -> list[StageView]:
    stages = list(rollout.plan.stages)
    if phase == "rolling_back" and state is not None:
        stages.append(way_back(rollout, state.desired))
    views = []
    for number, stage in enumerate(stages):
        progress = _progress(rollout, number, phase)
        is_current = progress == "current"
        found = _judged(stage, rollout, state, observed) if is_current else ()
        conditions = [_condition(one, rollout, asked) for one in found]
        views.append(_stage_view(stage, progress, conditions, rollout.record.entered_at if is_current else None))
    return views


def _progress(rollout: Rollout, number: int, phase: str) -> Literal["done", "current", "ahead", "skipped"]:
    is_way_back = number == len(rollout.plan.stages)
    if number < rollout.stage or (number == rollout.stage and rollout.outcome is Outcome.COMPLETED):
        return "done"
    if is_way_back or (number == rollout.stage and phase in {"advancing", "paused"}):
        return "current"
    return "skipped" if phase in {"finished", "rolling_back"} else "ahead"


def _judged(
    stage: Stage, rollout: Rollout, state: ServiceState | None, observed: Observation | None
) -> tuple[Finding, ...]:
    if observed is None or state is None or state.limits is None:
        return ()
    return findings(stage, rollout.record, observed=observed, limits=state.limits, ruling=rollout.ruling)


def _stage_view(
    stage: Stage,
    state: Literal["done", "current", "ahead", "skipped"],
    until: list[ConditionView],
    entered_at: datetime | None,
) -> StageView:
    return {
        "name": stage.name,
        "state": state,
        "pools": pools_of(stage.desired),
        "weights": weights_of(stage.desired),
        "until": until,
        "entered_at": _moment(entered_at) if entered_at else None,
        "hold_s": stage.hold_s,
    }


def _condition(finding: Finding, rollout: Rollout, asked: Asked | None) -> ConditionView:
    condition, detail = finding.condition, finding.detail
    name: str = condition.kind
    if isinstance(condition, Held):
        name = f"held {condition.seconds:g} s"
    elif isinstance(condition, Passed):
        name = checks_words(condition.checks)
    elif isinstance(condition, Judged):
        name = judged_words(condition)
    elif isinstance(condition, OfDatabase):
        name = schema_words(condition)
        detail = schema_detail(condition, asked, rollout.database) or detail
    return {"name": name, "met": finding.met, "detail": detail}


def _next(name: str, phase: str, rollout: Rollout, state: ServiceState | None) -> Iterator[str]:
    if phase == "advancing":
        yield f"hitless rollout promote {name}"
        yield f"hitless rollout pause {name}"
        yield f"hitless rollout abort {name}"
    elif phase == "paused":
        yield f"hitless rollout resume {name}"
        yield f"hitless rollout promote {name}"
        yield f"hitless rollout abort {name}"
    elif phase == "rolling_back":
        yield f"hitless rollout get {name} --watch"
    elif rollout.outcome is Outcome.COMPLETED and state is not None and (state.settings_before or state.previous):
        yield f"hitless rollout undo {name}"
    elif _is_of_database(rollout):
        assert rollout.database is not None
        yield from rollout.database.remedies
        yield f"hitless deploy {name} --version {rollout.candidate}"
    elif rollout.outcome is Outcome.REFUSED:
        yield f"hitless preflight {name} --version {rollout.candidate}"
        yield f'hitless deploy {name} --version {rollout.candidate} --skip-preflight --reason "..."'
    elif rollout.outcome in {Outcome.ROLLED_BACK, Outcome.FAILED}:
        yield f"hitless logs {name}"
        yield f"hitless journal tail --service {name}"


def _is_of_database(rollout: Rollout) -> bool:
    """Tell whether it ended because of what was not to be had of the database."""
    asked = rollout.database
    return rollout.outcome in {Outcome.REFUSED, Outcome.FAILED} and asked is not None and not asked.passed


def _certificate(observed: Observation | None) -> CertificateView | None:
    """Show the one that ends first."""
    found = [one.certificate for one in observed.routing.values() if one.certificate] if observed else []
    if observed is None or not found:
        return None
    first = min(found, key=lambda one: one.ends_at or observed.now)
    return {
        "path": first.path,
        "ends_at": _moment(first.ends_at) if first.ends_at else None,
        "days_left": (first.ends_at - observed.now).days if first.ends_at else None,
        "problem": first.problem,
    }


def _certificate_notices(certificate: CertificateView | None) -> Iterator[str]:
    if certificate is None:
        return
    if certificate["problem"]:
        yield f"certificate {certificate['path']}: {certificate['problem']}; the last good one stays in force"
    days_left = certificate["days_left"]
    if days_left is not None and days_left < WARN_DAYS:
        when = f"ends in {days_left} days" if days_left >= 0 else "has ended"
        yield f"certificate {certificate['path']} {when}, {certificate['ends_at']}: replace the file, nothing else"


def _notices(observed: Observation | None) -> Iterator[str]:
    yield from _certificate_notices(_certificate(observed))
    views = observed.routing.values() if observed else ()
    yield from dict.fromkeys(notice for view in views for notice in view.notices)


def _health(state: ServiceState, observed: Observation | None) -> Health:
    if state.is_found:
        return "degraded" if observed and _reaches_users(observed) else "down"
    if state.rollouts == 0:
        return "idle"
    if observed is None or not _reaches_users(observed):
        return "down" if state.stable else "progressing" if state.phase is not RolloutPhase.IDLE else "idle"
    if state.phase is not RolloutPhase.IDLE:
        return "progressing"
    return "healthy" if _is_as_wanted(state, observed) else "degraded"


def _reaches_users(observed: Observation) -> bool:
    return any(_rotation(one, observed) == "in" and one.phase is Phase.READY for one in observed.instances) and not any(
        view.problem and view.acknowledged is None for view in observed.routing.values()
    )


def _is_as_wanted(state: ServiceState, observed: Observation) -> bool:
    for region, wanted in state.desired.items():
        view = observed.routing.get(region)
        table = view.acknowledged if view and view.acknowledged else EMPTY_TABLE
        if {v: w for v, w in table.weights.items() if w} != {v: w for v, w in wanted.weights.items() if w}:
            return False
        if any(_ready(observed, version, region) < count for version, count in wanted.pools.items()):
            return False
    return True


def _ready(observed: Observation, version: Version, region: Region) -> int:
    return sum(
        one.version == version and one.region == region and one.phase is Phase.READY for one in observed.instances
    )


def _versions(state: ServiceState, observed: Observation | None) -> Iterator[VersionView]:
    wanted, desired = pools_of(state.desired), weights_of(state.desired)
    seen = [one.version for one in observed.instances] if observed else []
    for name in dict.fromkeys([*wanted, *seen]):
        version = Version(name)
        yield {
            "version": version,
            "role": _role(version, state, wanted),
            "wanted_instances": wanted.get(version, 0),
            "ready_instances": sum(
                one.version == version and one.phase is Phase.READY for one in (observed.instances if observed else ())
            ),
            "desired_bp": desired.get(version, 0),
            "routed_bp": _routed_bp(version, observed),
        }


def _role(version: Version, state: ServiceState, wanted: dict[str, int]) -> Role:
    if version == state.stable:
        return "stable"
    is_candidate = state.rollout is not None and version == state.rollout.candidate
    return "candidate" if is_candidate and wanted.get(version, 0) > 0 else "retiring"


def _routed_bp(version: Version, observed: Observation | None) -> int | None:
    views = list(observed.routing.values()) if observed else []
    if not views or any(view.acknowledged is None for view in views):
        return None
    return sum((view.acknowledged or EMPTY_TABLE).weight_bp(version) for view in views) // len(views)


def _instance(one: Instance, observed: Observation) -> InstanceView:
    view = observed.routing.get(one.region)
    still_open = view.open_requests.get(one.id) if view else None
    return {
        "id": one.id,
        "version": one.version,
        "region": one.region,
        "address": str(one.address),
        "phase": one.phase.value,
        "rotation": _rotation(one, observed),
        "since": _moment(one.since),
        "open_requests": still_open.count if still_open else None,
        "cause": one.cause,
    }


def _rotation(one: Instance, observed: Observation) -> Literal["in", "draining", "out", "unknown"]:
    view: RoutingView | None = observed.routing.get(one.region)
    if view is None:
        return "unknown"
    end = (view.acknowledged or EMPTY_TABLE).endpoint(one.version, one.id)
    if end is None:
        return "out"
    return "in" if end.state is EndpointState.ACTIVE else "draining"


def _moment(at: datetime) -> str:
    return at.isoformat()
