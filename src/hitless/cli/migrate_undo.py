"""`hitless migrate undo`: a change taken back, step by step, with the patience with which it was carried out."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from hitless.adapters.postgres.hold import Stopped
from hitless.adapters.postgres.intents import SUFFIXES, begin
from hitless.cli.confirm import confirm
from hitless.cli.figures import count
from hitless.cli.migrate_target import TARGET, Target, migrator_of, say_where_it_stands, show_outcome, stoppable
from hitless.cli.outcome import DONE
from hitless.cli.session import DEFAULTS, Common
from hitless.schema.change.standing import LEADS_TO, ORDER, Standing
from hitless.schema.change.state import ChangeState

To = Literal["planned", "expanded", "backfilled", "verified", "switched", "browned_out"]


def undo(
    change: str,
    /,
    *,
    to: To = "planned",
    forget: bool = False,
    yes: bool = False,
    target: Target = TARGET,
    common: Common = DEFAULTS,
) -> int:
    """Take a change back: all of it, or to where it stood.

    Args:
        change: A change file, or the name of a change.
        to: How far back.
        forget: Touch nothing but the records: for what is contracted, and for files that were run.
        yes: Do not ask.
        target: Which database.
        common: Options of every command.
    """
    output = common.output
    with stoppable(output) as stopping:
        migrator = migrator_of(target, output, stopping, project=common.project)
        name = begin(migrator, change) if Path(change).suffix in SUFFIXES else change
        state = migrator.state(name)
        wanted = Standing(to)
        if not yes:
            confirm(output, _consequence(state, wanted, forget=forget), command=_command(change, to, forget=forget))
        try:
            left = None
            if forget:
                migrator.forget(name)
            else:
                left = migrator.undo(name, wanted)
        except Stopped as stopped:
            return say_where_it_stands(output, migrator, stopped)
    if left is not None:
        show_outcome(output, left)
    elif output.json:
        output.document("migration", None)
    else:
        output.raw(f"{name}: nothing of it is left" if not forget else f"{name} is forgotten")
    return DONE


def _consequence(state: ChangeState, to: Standing, *, forget: bool) -> str:
    if forget:
        return f"forgets {state.change}, and touches nothing of what it has done"
    beyond = [one for one in state.plan.steps if ORDER.index(LEADS_TO[one.part]) > ORDER.index(to)]
    steps = count(sum(one.id in state.touched for one in beyond), "step")
    loses = "; what only its new columns hold is lost" if to is Standing.PLANNED else ""
    return f"takes back {steps} of {state.change}{loses}"


def _command(change: str, to: str, *, forget: bool) -> str:
    options = " --forget" if forget else "" if to == "planned" else f" --to {to}"
    return f"hitless migrate undo {change}{options}"
