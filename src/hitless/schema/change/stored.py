"""A plan as JSON, and back: what is kept in the database, so that another worker carries out the same plan.

Rules. What a later hitless has added is passed over where it is a field; a kind of step that is not known is refused,
because leaving a step out is no way to carry out a plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any

from hitless.errors import EnvironmentFault
from hitless.schema.change.standing import Part
from hitless.schema.change.steps import (
    Build,
    Check,
    Compare,
    Ddl,
    Exchange,
    Fill,
    Plan,
    Removal,
    Revoke,
    Step,
    Validate,
    Watch,
)
from hitless.schema.names import Name

KINDS: Mapping[str, type[Step]] = {
    "ddl": Ddl,
    "validate": Validate,
    "build": Build,
    "fill": Fill,
    "compare": Compare,
    "revoke": Revoke,
}
"""Every kind of step."""


class PlanUnreadable(EnvironmentFault):
    """A plan in the database was written by a later hitless."""

    code = "HL6509"
    temporary = False

    def __init__(self, change: str, kind: str) -> None:
        super().__init__(
            f"the plan of {change} has a step of a kind that this hitless does not know: {kind}",
            hints=("hitless --version, and use the one that began the change, or a later one",),
        )


def document_of(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON values."""
    return asdict(plan)


def plan_of(document: Mapping[str, Any]) -> Plan:
    """Read a plan.

    Raises:
        PlanUnreadable: it has a step of an unknown kind.
    """
    change = document["change"]
    return Plan(
        change=change,
        steps=tuple(_step(one, change) for one in document["steps"]),
        removals=tuple(Removal(**_given(Removal, one)) for one in document.get("removals", ())),
        watches=tuple(Watch(**_given(Watch, one)) for one in document.get("watches", ())),
        notes=tuple(document.get("notes", ())),
    )


def _step(document: Mapping[str, Any], change: str) -> Step:
    kind = document["kind"]
    if kind not in KINDS:
        raise PlanUnreadable(change, kind)
    return KINDS[kind](**_given(KINDS[kind], document))


def _given(of: Any, document: Mapping[str, Any]) -> dict[str, Any]:
    known = {one.name for one in fields(of)} & document.keys()
    return {name: _READERS.get(name, _plain)(document[name]) for name in known}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value


def _name(document: Mapping[str, Any]) -> Name:
    return Name(document["name"], document["schema"])


def _name_or_none(document: Mapping[str, Any] | None) -> Name | None:
    return _name(document) if document else None


def _exchange(document: Mapping[str, Any] | None) -> Exchange | None:
    return Exchange(**_given(Exchange, document)) if document else None


def _checks(documents: list[Mapping[str, Any]]) -> tuple[Check, ...]:
    return tuple(Check(**_given(Check, one)) for one in documents)


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "part": Part,
    "table": _name,
    "index": _name,
    "rows_of": _name_or_none,
    "counter": _name,
    "checks": _checks,
    "exchange": _exchange,
}
