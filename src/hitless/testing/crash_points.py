"""Every moment at which a controller must be able to die, generated from the rollout machine's own table.

A *move* is one event that one input may lead to in one phase. A controller may die just before the commit that holds
the event, just after it, and, where an effect follows from the event, in the middle of that effect and behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Self, cast

from hitless.rollout.events import InstanceOrdered, InstanceRetired, ServiceEvent, TrafficRouted
from hitless.rollout.inputs import Command, Observed
from hitless.rollout.machine import BOOKED, TRANSITIONS
from hitless.rollout.state import RolloutPhase
from hitless.rollout.step import Step


class Moment(StrEnum):
    """When the controller dies."""

    BEFORE_COMMIT = "before-commit"
    AFTER_COMMIT = "after-commit"
    IN_EFFECT = "in-effect"
    AFTER_EFFECT = "after-effect"


def kind_of(event: type[ServiceEvent]) -> str:
    """Return an event's name in the journal."""
    return cast("str", event.__dataclass_fields__["kind"].default)


ACTS = frozenset(kind_of(event) for event in (InstanceOrdered, InstanceRetired, TrafficRouted))
"""Events that an effect follows from: start, stop, route."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Move:
    """One event, one input that led to it, and the phase in which that was."""

    phase: RolloutPhase
    asked: str
    event: str

    @property
    def moments(self) -> tuple[Moment, ...]:
        """When a controller can die around it."""
        commits = (Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT)
        return tuple(Moment) if self.event in ACTS else commits


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class CrashPoint:
    """A moment around a move, written `advancing/observed/stage.settled/after-commit`."""

    move: Move
    moment: Moment

    def __str__(self) -> str:
        return f"{self.move.phase}/{self.move.asked}/{self.move.event}/{self.moment}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote.

        Raises:
            ValueError: it is no crash point.
        """
        phase, asked, event, moment = text.split("/")
        return cls(move=Move(phase=RolloutPhase(phase), asked=asked, event=event), moment=Moment(moment))


def all_moves() -> tuple[Move, ...]:
    """List every move that the table allows."""
    return tuple(dict.fromkeys(_allowed()))


def all_crash_points() -> tuple[CrashPoint, ...]:
    """List every moment around every move."""
    return tuple(CrashPoint(move=move, moment=moment) for move in all_moves() for moment in move.moments)


def moves_of(phase: RolloutPhase, asked: type[Command | Observed], step: Step) -> frozenset[Move]:
    """Name the moves of one step that was decided in `phase`."""
    return frozenset(Move(phase=phase, asked=asked.__name__.lower(), event=event.kind) for event in step.events)


def _allowed() -> Iterator[Move]:
    for phase, row in TRANSITIONS.items():
        for asked, transition in row.items():
            events = (*transition.events, *BOOKED) if asked is Observed else transition.events
            for event in events:
                yield Move(phase=phase, asked=asked.__name__.lower(), event=kind_of(event))
