"""Statements that change the catalogue alone: all of a step, and its record, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hitless.adapters.postgres import exchanging
from hitless.adapters.postgres.evidence import evidence_of
from hitless.adapters.postgres.hold import Hold
from hitless.adapters.postgres.patience import Try, locks_of, patiently
from hitless.adapters.postgres.records import forget, record, tell
from hitless.schema.change.steps import Ddl


def run(step: Ddl, hold: Hold) -> Mapping[str, Any]:
    """Do a step.

    Raises:
        LocksNotHad, WraparoundAhead, Stopped, Fenced: see `patiently`.
        StatementFailed, NotPermitted, ReadOnly, ConnectionLost: the server refuses.
        LeftBehind: something that hangs on an exchanged column would be lost.
    """
    if step.exchange:
        return exchanging.run(step, step.exchange, hold)

    def act(one: Try) -> Mapping[str, Any]:
        one.run(step.do)
        evidence = evidence_of(one)
        record(one.connection, hold, step.id, evidence)
        tell(one.connection, hold.change, hold.actor, "step.done", step=step.id, **evidence)
        return evidence

    return patiently(hold, act, wanted=locks_of(step.do))


def take_back(step: Ddl, hold: Hold) -> None:
    """Take a step back; same errors, but that nothing is refused for what is lost: it is told."""
    if step.exchange:
        exchanging.take_back(step, step.exchange, hold)
        return

    def act(one: Try) -> None:
        one.run(step.undo)
        forget(one.connection, hold, step.id)
        tell(one.connection, hold.change, hold.actor, "step.undone", step=step.id, **evidence_of(one))

    patiently(hold, act, wanted=locks_of(step.undo))
