"""`hitless migrate contract`: one stop at a time, each with the guard's word taken anew, and watched if asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hitless.adapters.postgres.guard.asked import ASKED
from hitless.adapters.postgres.guard.watching import Watcher
from hitless.adapters.postgres.hold import Stopped
from hitless.adapters.postgres.intents import begin
from hitless.adapters.postgres.migrator import Migrator
from hitless.cli.clock import WallClock
from hitless.cli.confirm import confirm
from hitless.cli.faults import Usage
from hitless.cli.guarding import EVIDENCES, Evidences, asked_of
from hitless.cli.migrate_guard import next_stop
from hitless.cli.migrate_target import TARGET, Target, migrator_of, say_where_it_stands, show_outcome, stoppable
from hitless.cli.outcome import DONE
from hitless.cli.output import Output
from hitless.cli.session import DEFAULTS, Common
from hitless.cli.waiting import actor
from hitless.errors import EnvironmentFault, Refused
from hitless.schema.change.standing import Part, Standing, Verb
from hitless.schema.change.state import ChangeState
from hitless.schema.guard.decision import Override

CONSEQUENCES = {
    Part.BROWNOUT: "takes privileges on what is removed from every role but the owner; `undo --to switched` gives back",
    Part.HIDE: "hides what is removed under another name; `undo --to switched` brings it back, with its data",
    Part.DROP: "drops what is hidden: its data are gone, and nothing but a backup brings them back",
}
USUAL_S = 10.0
"""How long it is looked at what is usual, before something is watched."""


class GivenBack(Refused):
    """Something went wrong while a stop of a contract was watched, and it was given back."""

    code = "HL4542"
    exit_code = 3


def contract(
    change: str,
    /,
    *,
    watch: timedelta | None = None,
    override: tuple[str, ...] = (),
    reason: str | None = None,
    expires: timedelta | None = None,
    yes: bool = False,
    evidences: Evidences = EVIDENCES,
    target: Target = TARGET,
    common: Common = DEFAULTS,
) -> int:
    """Take away what no version needs any more, one stop at a time: brownout, hide, drop.

    Args:
        change: A change file, or the name of a change.
        watch: Look at the server for so long afterwards, and give back by itself when something is unusual.
        override: What blocks and shall not, by its subject, such as shop@41; needs --reason and --expires.
        reason: Why it is overridden; recorded with who said so.
        expires: For how long the override counts, such as 1h or 2d.
        yes: Do not ask.
        evidences: What the guard is told.
        target: Which database.
        common: Options of every command.
    """
    output = common.output
    asked = replace(asked_of(evidences, common), overrides=_overrides(override, reason, expires))
    with stoppable(output) as stopping:
        migrator = migrator_of(target, output, stopping, project=common.project)
        name = begin(migrator, change)
        part = next_stop(migrator.state(name))
        if not yes:
            confirm(output, CONSEQUENCES[part], command=f"hitless migrate contract {change}")
        told = ASKED.set(asked)
        try:
            state = _carry_out(migrator, name, part, watch, output)
        except Stopped as stopped:
            return say_where_it_stands(output, migrator, stopped)
        finally:
            ASKED.reset(told)
    show_outcome(output, state)
    return DONE


def _overrides(subjects: tuple[str, ...], reason: str | None, expires: timedelta | None) -> tuple[Override, ...]:
    if not subjects:
        return ()
    if not (reason or "").strip() or expires is None or expires <= timedelta():
        raise Usage(
            "--override needs --reason and --expires",
            hints=(f'--override {subjects[0]} --reason "..." --expires 1d',),
        )
    until = WallClock().now() + expires
    return tuple(Override(subject=one, actor=actor(), reason=reason or "", expires_at=until) for one in subjects)


def _carry_out(migrator: Migrator, name: str, part: Part, watch: timedelta | None, output: Output) -> ChangeState:
    """Carry one stop out, and watch it.

    Raises:
        GivenBack: something went wrong, and it was given back.
    """
    if watch is None or part is Part.DROP:
        return migrator.carry_out(name, Verb.CONTRACT)
    plan = migrator.state(name).plan
    watcher = Watcher(database=migrator.database, plan=plan, stopping=migrator.stopping)
    usual = watcher.usual(min(USUAL_S, watch.total_seconds()))
    state = migrator.carry_out(name, Verb.CONTRACT)
    output.narrate(f"watches for {watch}: writes of older releases, and transactions that are rolled back")
    try:
        trouble = watcher.watch(usual, watch.total_seconds(), output.narrate)
    except EnvironmentFault as fault:
        trouble = f"it cannot be watched any more: {fault}"
    if trouble is None:
        return state
    migrator.stopping.clear()  # giving back is not stopped by what stopped the watch
    try:
        migrator.undo(name, Standing.SWITCHED)
    except EnvironmentFault as fault:
        raise GivenBack(
            f"{part.value} of {name} was to be given back, and could not be: {trouble}",
            evidence=(str(fault), f"{part.value} is in force as far as it was not given back"),
            hints=(f"as soon as the database answers: hitless migrate undo {name} --to switched",),
        ) from fault
    raise GivenBack(
        f"{part.value} of {name} was given back: {trouble}",
        evidence=(f"it is switched again: everything that {part.value} had taken is there",),
        hints=(f"hitless migrate guard {name}",),
    )
