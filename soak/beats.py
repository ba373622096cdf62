"""What happens in a soak, drawn from a seed before anything has happened: the same seed, the same sequence."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeVar

from hitless.rollout.spec import StrategyName
from hitless.testing.crash_stories import Verb

_Choice = TypeVar("_Choice")


class Fault(StrEnum):
    """What is done to whom."""

    KILL = "kill -9 of the controller"
    KILL_TWICE = "kill -9 of the controller, and again while it starts"
    TERM = "SIGTERM to the controller"
    FREEZE = "SIGSTOP and SIGCONT of the controller"
    ENVOY = "kill -9 of Envoy"
    INSTANCE = "kill -9 of an instance"
    NEWCOMERS = "kill -9 of all new instances"


CONTROLLER: Mapping[Fault, int] = {Fault.KILL: 16, Fault.KILL_TWICE: 2, Fault.TERM: 1, Fault.FREEZE: 1}
"""Faults that no user may notice, and how often each is drawn."""

ALL: Mapping[Fault, int] = {**CONTROLLER, Fault.ENVOY: 1, Fault.INSTANCE: 2, Fault.NEWCOMERS: 1}
"""With those that lose what the killed process was working on."""

Next = Verb | Literal["nothing", "supersede"]

_FIRST = {"good": 12, "crash": 2, "never-ready": 1, "undo": 3}
_NEXT: Mapping[Next, int] = {
    "nothing": 10,
    "promote": 2,
    "promote_full": 2,
    "pause": 2,
    "resume": 2,
    "abort": 2,
    "undo": 1,
    "supersede": 2,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """One step of a soak.

    Attributes:
        first: what to begin if no rollout is going on: a version of this kind, or an undo.
        next: what to do with one that is.
        wait: how long until the fault, as a share of the longest wait.
        which: whom it hits, as a share of those who are there.
    """

    first: str
    next: Next
    strategy: StrategyName
    fault: Fault
    wait: float
    which: float


def beats(seed: int, faults: Mapping[Fault, int]) -> Iterator[Beat]:
    """Draw beats without end."""
    draw = random.Random(seed)
    while True:
        yield Beat(
            first=_one_of(draw, _FIRST),
            next=_one_of(draw, _NEXT),
            strategy=draw.choice(list(StrategyName)),
            fault=_one_of(draw, faults),
            wait=draw.random(),
            which=draw.random(),
        )


def _one_of(draw: random.Random, weights: Mapping[_Choice, int]) -> _Choice:
    return draw.choices(list(weights), list(weights.values()))[0]
