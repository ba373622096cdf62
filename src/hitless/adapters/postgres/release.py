"""A change of the schema brought as far as a release needs it, with whoever else works on it respected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event

from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.hold import Told
from hitless.adapters.postgres.intents import begin
from hitless.adapters.postgres.migrator import Migrator
from hitless.adapters.postgres.taking import ChangeHeld
from hitless.errors import Fenced
from hitless.rollout.spec import ChangeSpec
from hitless.schema.change.standing import FORWARD, LEADS_TO, Standing, Verb, is_at_least
from hitless.schema.change.state import ChangeState
from hitless.schema.change.steps import Plan
from hitless.schema.release import NeededChange

LOOKS_AGAIN_S = 2.0
"""While somebody else carries the change out."""

_VERBS = (Verb.EXPAND, Verb.BACKFILL, Verb.VERIFY, Verb.SWITCH)
"""What leads as far as a release can need it; contracting is never a release's to ask for."""


def carry_out(
    database: Database,
    change: ChangeSpec,
    standing: Standing,
    *,
    actor: str,
    tell: Callable[[str], None],
    stopping: Event,
) -> NeededChange:
    """Carry a change out until it stands there; where somebody else does that, wait for it.

    Raises:
        Stopped: `stopping` was set.
        HitlessError: a step's own, or the change file's.
    """
    migrator = Migrator(database=database, actor=actor, tell=lambda told: tell(_words(told, at)), stopping=stopping)
    at: list[Verb] = []
    name = begin(migrator, change.file)
    while True:
        state = migrator.state(name)
        if is_at_least(state.standing, standing):
            return _needed(change, state)
        verb = next(one for one in _VERBS if not is_at_least(state.standing, LEADS_TO[FORWARD[one][-1]]))
        at[:] = [verb]
        try:
            migrator.carry_out(name, verb)
        except (ChangeHeld, Fenced) as held:
            tell(f"somebody else carries it out, it stands at {state.standing}: {held.message}")
            stopping.wait(LOOKS_AGAIN_S)
            if stopping.is_set():
                raise


def states_of(database: Database, changes: Sequence[ChangeSpec]) -> tuple[NeededChange, ...]:
    """Say where each change stands; one that is not known there has not begun.

    Raises:
        HitlessError: the database cannot be asked.
    """
    known = {one.change: one for one in Migrator(database=database, actor="").states()}
    return tuple(
        _needed(one, known[one.name])
        if one.name in known
        else NeededChange(change=one.name, wanted=one.standing, standing=Standing.PLANNED)
        for one in changes
    )


def _needed(change: ChangeSpec, state: ChangeState) -> NeededChange:
    return NeededChange(
        change=change.name, wanted=change.standing, standing=state.standing, touches=touched_by(state.plan)
    )


def touched_by(plan: Plan) -> tuple[str, ...]:
    """Name what older versions use, and a plan is about."""
    return tuple(
        f"{one.table.shown}.{column}" if column else one.table.shown
        for one in plan.removals
        for column in one.columns or ("",)
    )


def _words(told: Told, at: Sequence[Verb]) -> str:
    """Say which verb it is of, where the sentence does not."""
    verb = next((one.value for one in at), "")
    return told.sentence if told.sentence.startswith(verb) else f"{verb}: {told.sentence}"
