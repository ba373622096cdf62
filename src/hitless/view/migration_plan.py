"""From a plan of a change to the document that `hitless migrate plan --json` prints."""

from __future__ import annotations

from collections.abc import Mapping

from hitless.schema.change.steps import Build, Check, Compare, Ddl, Fill, Plan, Revoke, Step, Validate
from hitless.schema.effects.effect import Effect
from hitless.view.schema_models import MigrationCheckView, MigrationLockView, MigrationPlanView, PlannedStepView


def migration_plan_view(plan: Plan, effects: Mapping[str, Effect]) -> MigrationPlanView:
    """Render a plan."""
    return {
        "change": plan.change,
        "steps": [_step(one, effects.get(one.id, Effect())) for one in plan.steps],
        "removals": [{"table": str(one.table), "columns": list(one.columns)} for one in plan.removals],
        "watches": [{"counter": str(one.counter), "sentence": one.sentence} for one in plan.watches],
        "notes": list(plan.notes),
    }


def _step(step: Step, effect: Effect) -> PlannedStepView:
    do, undo = _statements(step)
    return {
        "id": step.id,
        "part": step.part.value,
        "kind": step.kind,
        "title": step.title,
        "do": list(do),
        "undo": list(undo),
        "checks": [_check(one) for one in step.checks],
        "caveats": list(step.caveats),
        "locks": [_lock(str(one.relation), one.mode.sql, one.work.name.lower()) for one in effect.locks],
    }


def _statements(step: Step) -> tuple[tuple[str, ...], tuple[str, ...]]:
    match step:
        case Ddl() | Validate():
            return step.do, step.undo
        case Build():
            return (step.do,), (step.undo,)
        case Fill():
            values = ", ".join(f"{name} = {text}" for name, text in step.assignments.items())
            return (f"UPDATE {step.table} SET {values} WHERE {step.todo}",), ()  # noqa: S608 - shown, in batches
        case Compare() | Revoke():
            return (), ()


def _check(check: Check) -> MigrationCheckView:
    return {
        "query": check.query,
        "counted": check.counted,
        "trouble": check.trouble,
        "remedy": check.remedy,
        "may_be_allowed": check.may_be_allowed,
    }


def _lock(relation: str, mode: str, work: str) -> MigrationLockView:
    return {"relation": relation, "mode": mode, "work": work}
