"""`hitless migrate guard`: who still needs what a contract takes away, with the evidence; changes nothing."""

from __future__ import annotations

from pathlib import Path
from threading import Event

from hitless.adapters.postgres.guard.gate import ContractBlocked, consider
from hitless.adapters.postgres.intents import SUFFIXES, plan_in
from hitless.adapters.postgres.migrator import Migrator
from hitless.cli.guarding import EVIDENCES, Evidences, asked_of, show
from hitless.cli.migrate_target import TARGET, Target, migrator_of
from hitless.cli.outcome import DONE, REFUSED
from hitless.cli.session import DEFAULTS, Common
from hitless.config.change_file import read_change
from hitless.schema.change.standing import FORWARD, LEADS_TO, Part, Verb, is_at_least
from hitless.schema.change.state import ChangeState
from hitless.schema.change.steps import Plan
from hitless.view.guard import guard_view


def guard(
    change: str, /, *, evidences: Evidences = EVIDENCES, target: Target = TARGET, common: Common = DEFAULTS
) -> int:
    """Tell whether anybody still needs what a contract takes away.

    Args:
        change: A change file, or the name of a change.
        evidences: What the guard is told.
        target: Which database.
        common: Options of every command.
    """
    output = common.output
    migrator = migrator_of(target, output, Event(), project=common.project)
    name, plan, part = _looked_up(migrator, change)
    decision, counters = consider(migrator.database, name, plan, part, asked_of(evidences, common))
    view = guard_view(name, part, decision, counters)
    if output.json:
        output.document("guard", view)
        return DONE if decision.is_clear else REFUSED
    show(view, output)
    if not decision.is_clear:
        raise ContractBlocked(name, part, decision)
    return DONE


def _looked_up(migrator: Migrator, word: str) -> tuple[str, Plan, Part]:
    """Return a change, its plan and the stop of its contract that is next; one that has not begun is planned."""
    if Path(word).suffix not in SUFFIXES:
        state = migrator.state(word)
        return word, state.plan, next_stop(state)
    change = read_change(Path(word))
    known = migrator.find(change.name)
    if known is not None and known.touched:
        return change.name, known.plan, next_stop(known)
    return change.name, plan_in(migrator, change), Part.BROWNOUT


def next_stop(state: ChangeState) -> Part:
    """Return the stop of a contract that comes next; the last one where nothing is left to do."""
    ahead = [part for part in FORWARD[Verb.CONTRACT] if not is_at_least(state.standing, LEADS_TO[part])]
    return ahead[0] if ahead else Part.DROP
