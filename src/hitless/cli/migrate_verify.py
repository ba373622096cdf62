"""`hitless migrate verify`: whether old and new columns say the same in every row."""

from __future__ import annotations

from dataclasses import asdict

from hitless.adapters.postgres.backfill.faults import NotAlike
from hitless.adapters.postgres.faults import all_in_words
from hitless.adapters.postgres.hold import Told
from hitless.adapters.postgres.verification.sampling import Sampled, watch_parity
from hitless.cli.migrate_backfill import THROTTLING, Throttling, walk
from hitless.cli.migrate_progress import telling
from hitless.cli.migrate_target import ALLOWED, TARGET, Allowed, Target, database_of, migrator_of, stoppable
from hitless.cli.outcome import DONE
from hitless.cli.session import DEFAULTS, Common
from hitless.schema.change.standing import Verb
from hitless.schema.change.steps import Compare


def verify(
    change: str,
    /,
    *,
    sample: bool = False,
    throttling: Throttling = THROTTLING,
    target: Target = TARGET,
    allowed: Allowed = ALLOWED,
    common: Common = DEFAULTS,
) -> int:
    """Compare old and new columns in every row.

    Args:
        change: A change file, or the name of a change.
        sample: Look at some 300 pages drawn at random, at any time after expand; proves nothing, and changes nothing.
        throttling: How much room others get.
        target: Which database.
        allowed: What may pass.
        common: Options of every command.
    """
    if sample:
        return _sample(change, target, common)
    return walk(change, Verb.VERIFY, throttling=throttling, target=target, allowed=allowed, common=common)


def _sample(change: str, target: Target, common: Common) -> int:
    """Look at a sample of each comparison of a change.

    Raises:
        NotAlike: a row of it is wrong.
    """
    output, database = common.output, database_of(target, common.project)
    with stoppable(output) as stopping, telling(output) as teller:
        plan = migrator_of(target, output, stopping, project=common.project).state(change).plan
        with database.connect() as connection, all_in_words(database):
            for step in plan.steps:
                if not isinstance(step, Compare):
                    continue
                found = watch_parity(connection, step)
                teller.tell(Told(kind="sampled", sentence=f"{step.title}: {_words(found)}", data=asdict(found)))
                if found.wrong:
                    raise NotAlike(table=step.table.shown, wrong=found.wrong, rows=found.rows, shown=(), change=change)
    return DONE


def _words(found: Sampled) -> str:
    """Say what a sample showed."""
    if not found.rows:
        return "no row was seen, and nothing is known"
    seen = f"{found.rows:,} rows of {found.pages:,} pages, {found.wrong:,} wrong"
    if found.ruled_out is None:
        return f"{seen}{', the whole table' if found.is_whole else ''}"
    return f"{seen}: more than {found.ruled_out:.1%} of pages with wrong rows are ruled out ({found.confidence:.0%})"
