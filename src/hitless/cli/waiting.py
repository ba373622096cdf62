"""Options of commands that begin something and wait for its end."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from datetime import timedelta

from cyclopts import Parameter

from hitless.cli.outcome import DONE, Wish
from hitless.cli.session import Session
from hitless.cli.tables import rollouts_table
from hitless.cli.watch import wait_for_outcome
from hitless.view.models import RolloutView


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class WaitOptions:
    """Whether and how long to wait.

    Attributes:
        detach: Return as soon as it is decided, and let it go on.
        timeout: Stop waiting after this time (30m, 2h) with exit code 5; it goes on. Without it, wait until the end.
    """

    detach: bool = False
    timeout: timedelta | None = None


WAIT = WaitOptions()


def actor() -> str:
    """Return who acts, for the journal: `HITLESS_ACTOR`, else the user."""
    return os.environ.get("HITLESS_ACTOR") or f"user:{getpass.getuser()}"


def conclude(session: Session, rollout: RolloutView, *, wish: Wish, options: WaitOptions) -> int:
    """Wait for the outcome and return the exit code, or show what has begun and return at once."""
    if not options.detach:
        return wait_for_outcome(session, rollout, wish=wish, timeout=options.timeout)
    return show_begun(session, rollout)


def show_begun(session: Session, rollout: RolloutView) -> int:
    """Show a rollout as it was decided on."""
    if session.output.json:
        session.output.document("rollout", rollout)
    else:
        session.output.show(rollouts_table([rollout], session.output.canvas(session.clock)))
        session.output.narrate(f"watch it: hitless rollout get {rollout['id']} --watch")
    return DONE
