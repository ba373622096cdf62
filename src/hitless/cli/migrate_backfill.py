"""`hitless migrate backfill`: what a change does to the rows that are there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

from cyclopts import Group, Parameter

from hitless.adapters.postgres.backfill import steering
from hitless.adapters.postgres.hold import Stopped
from hitless.adapters.postgres.intents import begin
from hitless.adapters.postgres.migrator import Migrator
from hitless.cli.faults import Usage
from hitless.cli.migrate_progress import telling
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
from hitless.cli.output import Output
from hitless.cli.session import DEFAULTS, Common
from hitless.schema.backfill.throttle import NICEST
from hitless.schema.change.standing import FORWARD, Part, Verb, before, is_at_least
from hitless.schema.change.state import ChangeState

THROTTLE_GROUP = Group("Throttle options", sort_key=80)
SHORTEST_MS, LONGEST_MS = 5, 1_000
KINDS = {"fill", "compare"}


@Parameter(name="*", group=THROTTLE_GROUP)
@dataclass(frozen=True, slots=True, kw_only=True)
class Throttling:
    """How much room others get; a worker that is running follows at its next batch.

    Attributes:
        nice: Percent of the time that it rests, 0 to 90.
        batch_ms: How long a batch takes, 75 unless said otherwise: nobody waits longer for its rows.
        max_wal: MB of WAL a second, its own and what others write meanwhile.
        max_lag: Seconds that a replica may be behind; it waits until all are nearer. 10 unless said otherwise.
        heedless: Look at nobody else, and rest only for --nice and --max-wal.
        heedful: Look at others again.
        pause: Stand still from the next batch on, whoever works on it.
        resume: Go on.
    """

    nice: int | None = None
    batch_ms: int | None = None
    max_wal: Annotated[float | None, Parameter(name="--max-wal")] = None
    max_lag: Annotated[float | None, Parameter(name="--max-lag")] = None
    heedless: bool = False
    heedful: bool = False
    pause: bool = False
    resume: bool = False

    def limits(self) -> dict[str, Any]:
        """Return the limits that are named.

        Raises:
            Usage: one is out of its bounds, or two contradict each other.
        """
        self._check()
        named = {
            "nice": self.nice,
            "batch_s": None if self.batch_ms is None else self.batch_ms / 1_000,
            "max_wal_mb_s": self.max_wal,
            "max_lag_s": self.max_lag,
            "is_heedful": False if self.heedless else True if self.heedful else None,
        }
        return {name: value for name, value in named.items() if value is not None}

    def _check(self) -> None:
        wrong = {
            f"--nice is 0 to {NICEST}": self.nice is not None and not 0 <= self.nice <= NICEST,
            f"--batch-ms is {SHORTEST_MS} to {LONGEST_MS}": self.batch_ms is not None
            and not SHORTEST_MS <= self.batch_ms <= LONGEST_MS,
            "--max-wal is more than 0": self.max_wal is not None and self.max_wal <= 0,
            "--max-lag is more than 0": self.max_lag is not None and self.max_lag <= 0,
            "either --pause or --resume": self.pause and self.resume,
            "either --heedless or --heedful": self.heedless and self.heedful,
        }
        if told := next((sentence for sentence, is_so in wrong.items() if is_so), None):
            raise Usage(told, hints=("hitless migrate backfill --help",))


THROTTLING = Throttling()


def backfill(
    change: str,
    /,
    *,
    throttling: Throttling = THROTTLING,
    target: Target = TARGET,
    allowed: Allowed = ALLOWED,
    common: Common = DEFAULTS,
) -> int:
    """Fill the new columns of the rows that are there, in small batches.

    Args:
        change: A change file (changes/split.yaml), or the name of a change that has begun.
        throttling: How much room others get.
        target: Which database.
        allowed: What may pass.
        common: Options of every command.
    """
    return walk(change, Verb.BACKFILL, throttling=throttling, target=target, allowed=allowed, common=common)


def walk(word: str, verb: Verb, *, throttling: Throttling, target: Target, allowed: Allowed, common: Common) -> int:
    """Carry out a verb that walks through tables; return the exit code."""
    output, limits = common.output, throttling.limits()
    with stoppable(output) as stopping:
        quiet = migrator_of(target, output, stopping, allowed, project=common.project)
        name = begin(quiet, word)
        state = quiet.state(name)
        (part,) = FORWARD[verb]
        if _is_steered(quiet, output, state, part=part, throttling=throttling, limits=limits):
            return DONE
        try:
            with telling(output) as teller:
                state = replace(quiet, tell=teller.tell).carry_out(name, verb)
        except Stopped as stopped:
            return say_where_it_stands(output, quiet, stopped)
    show_outcome(output, state)
    return DONE


def _is_steered(
    migrator: Migrator,
    output: Output,
    state: ChangeState,
    *,
    part: Part,
    throttling: Throttling,
    limits: dict[str, Any],
) -> bool:
    """Tell a worker that is running, or the one to come, what is wanted; tell whether that was all."""
    change = state.change
    steps = [one.id for one in state.plan.of(part) if one.kind in KINDS]
    # A row of a walk that may not begin yet would look like something to be taken back.
    if limits and steps and is_at_least(state.standing, before(part)):
        steering.limit(migrator.database, change=change, steps=steps, actor=migrator.actor, limits=limits)
    if throttling.pause or throttling.resume:
        steering.pause(migrator.database, change=change, steps=steps, actor=migrator.actor, is_paused=throttling.pause)
        how = f"{change} is paused from its next batch on" if throttling.pause else f"{change} goes on"
        output.narrate(f"{how}; hitless migrate status {change}")
        return True
    if limits and state.held_by:
        output.narrate(f"the worker of {change} follows at its next batch")
        return True
    return False
