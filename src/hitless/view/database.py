"""What a rollout asks of its database, as people see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hitless.rollout.stage import Condition, PoolsFit, RoleMade, SchemaAt, Stage
from hitless.rollout.state import Rollout, RolloutPhase
from hitless.schema.headroom import Fit, Taker
from hitless.schema.release import (
    DatabaseReport,
    NeededChange,
    what_a_contract_waits_for,
    what_a_return_meets,
)
from hitless.view.models import ChangeStateView, ConnectionsView, DatabaseView, PlannedDatabaseView


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the present stage asks of the database, as far as it is known now.

    Attributes:
        changes: by name.
        fits: how the pools fit; empty = not known yet.
        role: that was made; None = none yet.
        trouble: why the database cannot be asked; None = it answers.
    """

    changes: Mapping[str, NeededChange] = field(default_factory=dict)
    fits: tuple[Fit, ...] = ()
    role: str | None = None
    trouble: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a plan takes of the database's connections; `problem`: why nobody knows whether it fits."""

    takers: tuple[Taker, ...]
    fits: tuple[Fit, ...] = ()
    problem: str | None = None


def schema_words(condition: PoolsFit | RoleMade | SchemaAt) -> str:
    """Name a condition that asks something of the database."""
    if isinstance(condition, SchemaAt):
        return f"{condition.change} {condition.standing}"
    return "pools fit" if isinstance(condition, PoolsFit) else "role made"


def schema_detail(condition: Condition, asked: Asked | None, report: DatabaseReport | None) -> str | None:
    """Say what is known of such a condition beyond the rollout's own books; None = nothing."""
    if isinstance(condition, SchemaAt):
        known = asked.changes.get(condition.change) if asked is not None else None
        known = known or _in_report(report, condition.change)
        return _change_words(known, asked) if known is not None else None
    known_now = report or asked
    if isinstance(condition, PoolsFit) and known_now is not None and known_now.fits:
        return known_now.fits[0].sentence
    if isinstance(condition, RoleMade) and known_now is not None and known_now.role:
        return known_now.role
    return asked.trouble if asked is not None and isinstance(condition, PoolsFit | RoleMade) else None


def _in_report(report: DatabaseReport | None, change: str) -> NeededChange | None:
    return next((one for one in report.changes if one.change == change), None) if report is not None else None


def _change_words(known: NeededChange, asked: Asked | None) -> str:
    trouble = asked.trouble if asked is not None and not known.is_reached else None
    words = trouble or known.detail
    where = f"at {known.standing}" if known.standing is not None else ""
    return ": ".join(one for one in (where, words) if one) or "not begun"


def database_view(rollout: Rollout, phase: RolloutPhase | None, asked: Asked | None) -> DatabaseView | None:
    """Render what a rollout has asked of its database; None where it asks nothing and nothing is known."""
    report = rollout.database
    if report is None and not any(stage.asks_database for stage in rollout.plan.stages):
        return None
    known = {one.change: one for one in report.changes} if report is not None else {}
    live = dict(asked.changes) if asked is not None else {}
    changes = {**{one.change: NeededChange(change=one.change, wanted=one.standing) for one in _asked(rollout)}, **known}
    changes = {**changes, **{name: one for name, one in live.items() if report is None or not known.get(name)}}
    return {
        "changes": [_change(one) for one in changes.values()],
        "connections": [_connections(one) for one in report.fits] if report is not None else [],
        "role": report.role if report is not None else None,
        "verdict": report.verdict.value if report is not None else None,
        "cause": (report.cause or None) if report is not None else asked.trouble if asked is not None else None,
        "evidence": list(report.evidence) if report is not None else [],
        "remedies": list(report.remedies) if report is not None else [],
        "returns": list(_returns(rollout, phase, tuple(changes.values()))),
    }


def _asked(rollout: Rollout) -> Iterator[SchemaAt]:
    return (one for stage in rollout.plan.stages for one in stage.changes if not one.may_stay)


def _returns(rollout: Rollout, phase: RolloutPhase | None, changes: tuple[NeededChange, ...]) -> tuple[str, ...]:
    """Say which schema the version meets that users are brought back to, or could be."""
    target = rollout.candidate if rollout.strategy == "undo" else rollout.baseline
    if target is None or phase is None:
        return ()
    return what_a_return_meets(tuple(one for one in changes if one.standing is not None), target)


def _change(state: NeededChange) -> ChangeStateView:
    return {
        "change": state.change,
        "wanted": state.wanted.value,
        "standing": state.standing.value if state.standing is not None else None,
        "detail": state.detail,
        "touches": list(state.touches),
    }


def _connections(fit: Fit) -> ConnectionsView:
    return {
        "limit": fit.what,
        "room": fit.room,
        "taken": fit.taken,
        "fits": fit.fits,
        "takers": [
            {"who": one.who, "connections": one.connections, "because": one.because or None} for one in fit.takers
        ],
    }


def planned_database(
    stages: tuple[Stage, ...], room: Room | None, *, baseline: str | None, candidate: str
) -> PlannedDatabaseView | None:
    """Render what a plan asks of the database; None where it asks nothing."""
    asked = [one for stage in stages for one in stage.changes]
    if not any(stage.asks_database for stage in stages):
        return None
    versions = tuple(one for one in (baseline, candidate) if one is not None)
    return {
        "changes": [{"change": one.change, "standing": one.standing.value, "may_stay": one.may_stay} for one in asked],
        "connections": [_connections(one) for one in room.fits] if room is not None else [],
        "takers": [
            {"who": one.who, "connections": one.connections, "because": one.because or None}
            for one in (room.takers if room is not None else ())
        ],
        "unknown": room.problem if room is not None else None,
        "notes": [what_a_contract_waits_for(one, versions) for one in dict.fromkeys(it.change for it in asked)],
    }
