"""A change as JSON values, and back: what it was that somebody wanted, kept beside its plan.

Rules. A field that is not known is passed over: a later hitless may have written it. An intent that is not known is
refused: half of a change is another change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, get_args

from hitless.errors import EnvironmentFault
from hitless.schema.change.intent import Change, Intent
from hitless.schema.names import Name

INTENTS: Mapping[str, type[Intent]] = {one.__dataclass_fields__["kind"].default: one for one in get_args(Intent)}
"""Every intent, by what it is called in a document."""


class ChangeTooNew(EnvironmentFault):
    """A change was written down by a later hitless."""

    code = "HL4519"
    temporary = False

    def __init__(self, change: str, kind: str) -> None:
        super().__init__(
            f"{change} wants something that this hitless does not know: {kind}",
            hints=("hitless --version, and use the one that began the change, or a later one",),
        )


def spec_of(change: Change) -> dict[str, Any]:
    """Return a change as JSON values."""
    return asdict(change)


def change_of(spec: Mapping[str, Any]) -> Change:
    """Read a change.

    Raises:
        ChangeTooNew: it has an intent of an unknown kind.
    """
    given = _given(Change, spec)
    given["intents"] = tuple(_intent(one, spec["name"]) for one in spec["intents"])
    return Change(**given)


def _intent(spec: Mapping[str, Any], change: str) -> Intent:
    kind = spec["kind"]
    if kind not in INTENTS:
        raise ChangeTooNew(change, kind)
    return INTENTS[kind](**_given(INTENTS[kind], spec))


def _given(of: type[Intent | Change], spec: Mapping[str, Any]) -> dict[str, Any]:
    return {one.name: _value(one.type, spec[one.name]) for one in fields(of) if one.name in spec}


def _value(annotation: Any, value: Any) -> Any:
    """Make of a JSON value what the field holds: names and tuples have no form of their own there."""
    if annotation == "Name":
        return Name(value["name"], value["schema"])
    return tuple(value) if isinstance(value, list | tuple) else value
