"""What each step of a plan locks and reads, told by what the lint knows of statements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from hitless.schema.actions.data import Block
from hitless.schema.catalog.catalog import Catalog
from hitless.schema.catalog.changes import apply
from hitless.schema.change.steps import Build, Compare, Ddl, Fill, Plan, Revoke, Step, Validate
from hitless.schema.change.triggers import HOUSE
from hitless.schema.effects.classify import effect_of
from hitless.schema.effects.effect import Effect, Lock, merged
from hitless.schema.effects.ground import Ground
from hitless.schema.effects.locks import LockMode
from hitless.schema.names import Name
from hitless.schema.parser import SyntaxProblemError
from hitless.schema.translation.statements import actions_of


def statements_of(step: Step) -> tuple[str, ...]:
    """Return the statements of a step that are written whole in its plan."""
    match step:
        case Ddl() | Validate():
            return step.do
        case Build():
            return (step.do,)
        case Fill() | Compare() | Revoke():
            return ()


def footprints(plan: Plan, catalog: Catalog, postgres: int) -> Mapping[str, Effect]:
    """Return the effect of each step, by its id; each is judged by what those before it have made."""
    found: dict[str, Effect] = {}
    for step in plan.steps:
        effects: list[Effect] = []
        for statement in statements_of(step):
            for effect, known in _effects(statement, catalog, postgres):
                effects.append(effect)
                catalog = known
        catalog = replace(catalog, local_path=None)  # each step is a transaction
        found[step.id] = _of_users(merged((*effects, *_of_rows(step, catalog))))
    return found


def _of_users(effect: Effect) -> Effect:
    """Leave out what is ours: nobody else waits for it."""
    return replace(effect, locks=tuple(one for one in effect.locks if one.relation.schema != HOUSE))


def _effects(statement: str, catalog: Catalog, postgres: int) -> Iterator[tuple[Effect, Catalog]]:
    try:
        actions = actions_of(statement)
    except SyntaxProblemError:  # a view of the user's, say, that a later PostgreSQL wrote
        return
    for action in actions:
        inner = action.actions if isinstance(action, Block) else (action,)
        for one in inner:
            effect = effect_of(one, Ground(catalog=catalog, postgres=postgres))
            catalog = apply(catalog, one)
            yield effect, catalog


def _of_rows(step: Step, catalog: Catalog) -> Iterator[Effect]:
    match step:
        case Fill():
            yield _locking(step.table, LockMode.ROW_EXCLUSIVE, catalog)
        case Compare():
            yield _locking(step.table, LockMode.ACCESS_SHARE, catalog)


def _locking(table: Name, mode: LockMode, catalog: Catalog) -> Effect:
    return Effect(locks=(Lock(relation=catalog.resolve(table), mode=mode),))
