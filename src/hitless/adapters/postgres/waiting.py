"""Whose locks the next step of a change waits for, as anybody can see who looks at the database."""

from __future__ import annotations

import psycopg

from hitless.adapters.postgres.blockers import holders
from hitless.adapters.postgres.patience import locks_of
from hitless.schema.change.state import ChangeState
from hitless.schema.change.steps import Build, Ddl, Step, Validate

OLD_S = 0.1
"""Transactions that are younger are usual traffic."""


def blockers_of(connection: psycopg.Connection, state: ChangeState) -> tuple[str, ...]:
    """Name transactions in the way of the step that is done next, while somebody works on the change."""
    step = _next(state)
    if step is None or not state.held_by:
        return ()
    ours = {one.pid for one in state.held_by}
    wanted = locks_of(_statements(step, goes_back=state.goes_back))
    found = holders(connection, wanted) if wanted else ()
    return tuple(one.sentence for one in found if one.pid not in ours and (one.age_s is None or one.age_s > OLD_S))


def _next(state: ChangeState) -> Step | None:
    if state.goes_back:
        return next((one for one in reversed(state.plan.steps) if one.id in state.touched), None)
    return next((one for one in state.plan.steps if one.id not in state.done), None)


def _statements(step: Step, *, goes_back: bool) -> tuple[str, ...]:
    match step:
        case Ddl() | Validate():
            return step.undo if goes_back else step.do
        case Build():
            return (step.undo if goes_back else step.do,)
    return ()
