"""What one step of the rollout machine decides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hitless.rollout.effects import Effect
from hitless.rollout.events import ServiceEvent
from hitless.rollout.folds import evolve
from hitless.rollout.state import ServiceState

Decision = Iterable[ServiceEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step decided: `events` must be durable BEFORE any of `effects` starts."""

    state: ServiceState
    events: tuple[ServiceEvent, ...]
    effects: tuple[Effect, ...] = ()


def folded(state: ServiceState, decided: Decision) -> Step:
    """Fold what was decided into the state."""
    events = tuple(decided)
    for event in events:
        state = evolve(state, event)
    return Step(state=state, events=events)
