"""State rows and events as JSON and back. The one place of the engine that knows pydantic."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from hitless.journal.record import Entry, Record
from hitless.rollout.events import ServiceEvent
from hitless.rollout.folds import evolve
from hitless.rollout.spec import ServiceSpec
from hitless.rollout.state import Rollout, ServiceState

_STATE = TypeAdapter(ServiceState)
_ROLLOUT = TypeAdapter(Rollout)
_SPEC = TypeAdapter(ServiceSpec)
_EVENT: TypeAdapter[ServiceEvent] = TypeAdapter(Annotated[ServiceEvent, Field(discriminator="kind")])
_IN_THE_ENTRY = {"kind", "at", "actor"}


def subject_of(service: str) -> str:
    """Name a service in the journal."""
    return f"service/{service}"


def dump_state(state: ServiceState) -> str:
    """Write a state row."""
    return _STATE.dump_json(state).decode()


def load_state(text: str) -> ServiceState:
    """Read a state row."""
    return _STATE.validate_json(text)


def dump_rollout(rollout: Rollout) -> str:
    """Write a rollout's row."""
    return _ROLLOUT.dump_json(rollout).decode()


def load_rollout(text: str) -> Rollout:
    """Read a rollout's row."""
    return _ROLLOUT.validate_json(text)


def entry_of(event: ServiceEvent, *, service: str) -> Entry:
    """Turn an event into a journal entry that holds all of it."""
    data: dict[str, Any] = _EVENT.dump_python(event, mode="json", exclude=_IN_THE_ENTRY)
    return Entry(at=event.at, type=event.kind, subject=subject_of(service), actor=event.actor, data=data)


def event_of(record: Record) -> ServiceEvent | None:
    """Read the event back; None for records that are told, not folded (faults, control plane)."""
    entry = record.entry
    if entry.type not in FOLDED:
        return None
    return _EVENT.validate_python({**entry.data, "kind": entry.type, "at": entry.at, "actor": entry.actor})


def rebuild(records: tuple[Record, ...], *, service: str) -> ServiceState:
    """Fold a service's records to its state."""
    state = ServiceState(service=service)
    for record in records:
        event = event_of(record) if record.entry.subject == subject_of(service) else None
        state = evolve(state, event) if event else state
    return state


FOLDED = frozenset(str(kind.__dataclass_fields__["kind"].default) for kind in ServiceEvent.__args__)
"""Types of journal records that change a service's state."""
