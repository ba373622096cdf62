"""Who carries out which kind of step: a table from the kind to a module with two functions.

`run(step, hold)` does a step and returns evidence, which is kept beside its record; `take_back(step, hold)` takes it
back, as often as it is asked, and forgets the record. What commits together with its record writes it itself
(`records.record`); the migrator records the rest. Both raise `Refused` or `EnvironmentFault`. Modules are loaded when a
step needs them.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol, cast

from hitless.adapters.postgres.hold import Hold
from hitless.schema.change.standing import Part
from hitless.schema.change.steps import Plan, Step

_HERE = "hitless.adapters.postgres"

MODULES: Mapping[str, str] = {
    "ddl": f"{_HERE}.ddl",
    "validate": f"{_HERE}.validate",
    "build": f"{_HERE}.build",
    "fill": f"{_HERE}.backfill.run",
    "compare": f"{_HERE}.verification.run",
    "revoke": f"{_HERE}.guard.brownout",
}
"""By the kind of a step."""

GUARD = f"{_HERE}.guard.gate"
"""Asked before a part that takes something away."""

GUARDED = frozenset({Part.BROWNOUT, Part.HIDE, Part.DROP})


class Runner(Protocol):
    """Carries out steps of one kind."""

    def run(self, step: Step, hold: Hold) -> Mapping[str, Any]:
        """Do a step; return evidence."""
        ...

    def take_back(self, step: Step, hold: Hold) -> None:
        """Take a step back."""
        ...


class Guard(Protocol):
    """Says whether a contract may go on."""

    def permit(self, plan: Plan, part: Part, hold: Hold) -> Mapping[str, Any]:
        """Return the evidence on which a part may begin; raises Refused."""
        ...


def runner_of(step: Step) -> Runner:
    """Load who carries out a step."""
    return cast("Runner", importlib.import_module(MODULES[step.kind]))


def guard() -> Guard:
    """Load who permits what takes something away."""
    return cast("Guard", importlib.import_module(GUARD))
