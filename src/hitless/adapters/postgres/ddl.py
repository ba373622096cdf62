"""Statements that change the catalogue alone: all of a step, and its record, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hitless.adapters.postgres.hold import Hold
from hitless.adapters.postgres.patience import Try, locks_of, patiently
from hitless.adapters.postgres.records import forget, record, tell
from hitless.schema.change.steps import Ddl


def run(step: Ddl, hold: Hold) -> Mapping[str, Any]:
    """Do a step.

    Raises:
        LocksNotHad, WraparoundAhead, Stopped, Fenced: see `patiently`.
        StatementFailed, NotPermitted, ReadOnly, ConnectionLost: the server refuses.
    """

    def act(one: Try) -> Mapping[str, Any]:
        one.run(step.do)
        evidence = evidence_of(one)
        record(one.connection, hold, step.id, evidence)
        tell(one.connection, hold.change, hold.actor, "step.done", step=step.id, **evidence)
        return evidence

    return patiently(hold, act, wanted=locks_of(step.do))


def take_back(step: Ddl, hold: Hold) -> None:
    """Take a step back; same errors."""

    def act(one: Try) -> None:
        one.run(step.undo)
        forget(one.connection, hold, step.id)
        tell(one.connection, hold.change, hold.actor, "step.undone", step=step.id, **evidence_of(one))

    patiently(hold, act, wanted=locks_of(step.undo))


def evidence_of(one: Try) -> dict[str, Any]:
    """Say what a try took: `held_ms` is how long its statements ran, so at most how long it kept others waiting."""
    return {"tries": one.number, "waited_s": round(one.waited_s, 3), "held_ms": round(one.spent_s * 1_000, 1)}
