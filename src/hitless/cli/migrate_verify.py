"""`hitless migrate verify`: whether old and new columns say the same in every row."""

from __future__ import annotations

from hitless.cli.migrate_backfill import THROTTLING, Throttling, walk
from hitless.cli.migrate_target import ALLOWED, TARGET, Allowed, Target
from hitless.cli.session import DEFAULTS, Common
from hitless.schema.change.standing import Verb


def verify(
    change: str,
    /,
    *,
    throttling: Throttling = THROTTLING,
    target: Target = TARGET,
    allowed: Allowed = ALLOWED,
    common: Common = DEFAULTS,
) -> int:
    """Compare old and new columns in every row.

    Args:
        change: A change file, or the name of a change.
        throttling: How much room others get.
        target: Which database.
        allowed: What may pass.
        common: Options of every command.
    """
    return walk(change, Verb.VERIFY, throttling=throttling, target=target, allowed=allowed, common=common)
