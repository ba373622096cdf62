"""From where a change stands to the document that `hitless migrate status --json` prints."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from hitless.schema.change.standing import FORWARD, LEADS_TO, Part, Standing, before, is_at_least
from hitless.schema.change.state import ChangeState, Event, Filled, Leftover
from hitless.schema.change.steps import Step
from hitless.view.schema_models import (
    FillView,
    LaneState,
    LeftoverView,
    MigrationEventView,
    MigrationPartView,
    MigrationStepView,
    MigrationView,
)


def migration_view(state: ChangeState, blocked_by: Sequence[str] = (), differs: Sequence[str] = ()) -> MigrationView:
    """Render a change; whose locks its next step waits for, what was lost since its swap, if somebody has looked."""
    return {
        "change": state.change,
        "standing": state.standing.value,
        "wanted": state.wanted.value,
        "goes_back": state.goes_back,
        "worker": state.worker,
        "held_by": [_holder(one.pid, one.user, one.application, one.client) for one in state.held_by],
        "blocked_by": list(blocked_by),
        "differs": list(differs),
        "begun_at": _moment(state.begun_at),
        "changed_at": _moment(state.changed_at),
        "lanes": [_lane(state, part) for part in Part],
        "fills": [_fill(one) for one in state.fills],
        "events": [_event(one) for one in state.events],
        "notes": list(state.plan.notes),
        "next": next_command(state),
    }


def next_command(state: ChangeState) -> str | None:
    """Return the command that goes on; None = nothing is left to do."""
    if state.goes_back:
        to = "" if state.wanted is Standing.PLANNED else f" --to {state.wanted.value}"
        return f"hitless migrate undo {state.change}{to}"
    for verb, parts in FORWARD.items():
        if any(not is_at_least(state.standing, LEADS_TO[part]) for part in parts):
            return f"hitless migrate {verb.value} {state.change}"
    return None


def _lane(state: ChangeState, part: Part) -> MigrationPartView:
    return {
        "part": part.value,
        "state": _lane_state(state, part),
        "steps": [_step(state, one) for one in state.plan.of(part)],
    }


def _lane_state(state: ChangeState, part: Part) -> LaneState:
    if is_at_least(state.standing, LEADS_TO[part]):
        return "done"
    has_begun = any(one.id in state.touched for one in state.plan.of(part))
    if has_begun:
        return "current"
    return "next" if is_at_least(state.standing, before(part)) else "ahead"


def _step(state: ChangeState, step: Step) -> MigrationStepView:
    done = state.done.get(step.id)
    return {
        "id": step.id,
        "kind": step.kind,
        "title": step.title,
        "state": "done" if done else "begun" if step.id in state.touched else "ahead",
        "done_at": _moment(done.at) if done else None,
        "evidence": dict(done.evidence) if done else {},
        "caveats": list(step.caveats),
    }


def _fill(one: Filled) -> FillView:
    seconds = (one.changed_at - one.begun_at).total_seconds()
    return {
        "step": one.step,
        "rows": one.rows,
        "changed": one.changed,
        "batches": one.batches,
        "position": one.position,
        "upper": one.upper,
        "paused": one.is_paused,
        "begun_at": _moment(one.begun_at),
        "changed_at": _moment(one.changed_at),
        "rows_per_s": round(one.rows / seconds, 1) if seconds > 0 else None,
        "evidence": dict(one.evidence),
    }


def leftover_view(one: Leftover, *, fixed: bool = False) -> LeftoverView:
    """Render something that was left behind."""
    return {
        "kind": one.kind,
        "name": one.name,
        "why": one.why,
        "remedy": one.remedy,
        "can_be_fixed": one.can_be_fixed,
        "fixed": fixed,
    }


def _event(one: Event) -> MigrationEventView:
    return {
        "number": one.number,
        "at": _moment(one.at),
        "actor": one.actor,
        "type": one.type,
        "data": dict(one.data),
    }


def _holder(pid: int | None, user: str, application: str, client: str) -> str:
    return f"pid {pid}, {user}@{client} ({application})"


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
