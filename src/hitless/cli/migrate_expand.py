"""`hitless migrate expand` and `hitless migrate switch`: what a change does to the schema, and nothing to the rows."""

from __future__ import annotations

from hitless.adapters.postgres.hold import Stopped
from hitless.adapters.postgres.intents import begin
from hitless.cli.migrate_target import (
    ALLOWED,
    TARGET,
    Allowed,
    Target,
    migrator_of,
    say_where_it_stands,
    show_outcome,
    stoppable,
)
from hitless.cli.outcome import DONE
from hitless.cli.session import DEFAULTS, Common
from hitless.schema.change.standing import Verb


def expand(change: str, /, *, target: Target = TARGET, allowed: Allowed = ALLOWED, common: Common = DEFAULTS) -> int:
    """Add what the next release needs; the one that runs notices nothing.

    Args:
        change: A change file (changes/split.yaml), or the name of a change that has begun.
        target: Which database.
        allowed: What may pass.
        common: Options of every command.
    """
    return carry_out(change, Verb.EXPAND, target, allowed, common)


def switch(change: str, /, *, target: Target = TARGET, allowed: Allowed = ALLOWED, common: Common = DEFAULTS) -> int:
    """Make the new columns those that count; the old ones are still kept right.

    Args:
        change: A change file, or the name of a change.
        target: Which database.
        allowed: What may pass.
        common: Options of every command.
    """
    return carry_out(change, Verb.SWITCH, target, allowed, common)


def carry_out(word: str, verb: Verb, target: Target, allowed: Allowed, common: Common) -> int:
    """Carry out a verb; return the exit code."""
    output = common.output
    with stoppable(output) as stopping:
        migrator = migrator_of(target, output, stopping, allowed, project=common.project)
        try:
            state = migrator.carry_out(begin(migrator, word), verb)
        except Stopped as stopped:
            return say_where_it_stands(output, migrator, stopped)
    show_outcome(output, state)
    return DONE
