"""Follow services until something is reached.

A watch is a long poll in a loop. A control plane that goes away (it may be upgraded in the middle of a rollout) is
waited for; services do not depend on it meanwhile. Ctrl-C detaches: the watch ends, the rollout goes on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from hitless.cli.clock import WallClock
from hitless.cli.faults import Unreachable
from hitless.cli.figures import duration
from hitless.cli.outcome import DETACHED, Wish, exit_code
from hitless.cli.screen import open_screen
from hitless.cli.session import Session
from hitless.cli.sight import Sight, is_finished, sight_of
from hitless.view.envelope import Noun
from hitless.view.models import RolloutView

LONG_POLL_S = 10.0
TICK_S = 1.0
"""A redrawn screen's poll: ages tick even when nothing happens."""

PAUSE_S = 0.25
"""Between two looks, so that a busy service costs at most four redraws a second; also between two tries to connect."""

PATIENCE_S = 120.0
"""How long a control plane may be away."""

Answer = TypeVar("Answer")
Look = Callable[[int | None, float], Sequence[Sight]]
"""Sees the present, once something has changed since a sequence number or a wait in seconds has passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long to look at most, and how long one poll waits."""

    poll_s: float
    clock: WallClock
    deadline: datetime | None = None

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; endless without one."""
        return float("inf") if self.deadline is None else (self.deadline - self.clock.now()).total_seconds()

    @property
    def next_poll_s(self) -> float:
        """How long the next poll waits."""
        return max(min(self.poll_s, self.left_s), 0)


def wait_for_outcome(session: Session, rollout: RolloutView, *, wish: Wish, timeout: timedelta | None) -> int:
    """Show a rollout until it ends, the time-out passes or the user detaches; return the exit code."""
    last = rollout
    try:
        for sights in _follow(session, _look_at_rollout(session, rollout), _rollout_document, timeout):
            last = sights[0].rollout or last
            if is_finished(last):
                break
    except KeyboardInterrupt:
        _say_that_it_goes_on(session, last, "detached")
        return DETACHED
    if not is_finished(last):
        waited = duration(timeout.total_seconds()) if timeout else ""
        _say_that_it_goes_on(session, last, f"timed out after {waited}")
    return exit_code(last["state"], wish)


def watch_services(session: Session, name: str | None) -> int:
    """Show one service, or all, until the user detaches."""
    try:
        for _ in _follow(session, _look_at_services(session, name), _services_document(name), None):
            pass
    except KeyboardInterrupt:
        session.output.narrate("detached; services go on")
    return DETACHED


def _follow(
    session: Session, look: Look, document: Callable[[Sequence[Sight]], tuple[Noun, Any]], timeout: timedelta | None
) -> Iterator[Sequence[Sight]]:
    clock, output = session.clock, session.output
    deadline = clock.now() + timeout if timeout else None
    pace = Pace(poll_s=TICK_S if output.redraws else LONG_POLL_S, clock=clock, deadline=deadline)
    with open_screen(output, clock, document) as screen:
        after: int | None = None
        while True:
            poll = functools.partial(look, after)
            sights = patiently(poll, pace, screen.away)
            if sights:
                screen.show(sights)
                yield sights
            if pace.left_s <= 0:
                return
            after = max((sight.service["seq"] for sight in sights or ()), default=after)
            clock.pause(min(PAUSE_S, pace.left_s))


def patiently(ask: Callable[[float], Answer], pace: Pace, away: Callable[[Unreachable, float], None]) -> Answer | None:
    """Ask, and ask again while the control plane is away; None when the deadline passes meanwhile.

    Args:
        ask: takes how long to wait for a change.
        pace: how long that is, and the deadline.
        away: told at every failed try, with the seconds since the first.

    Raises:
        Unreachable: the control plane was away for longer than `PATIENCE_S`.
    """
    away_since: datetime | None = None
    while True:
        try:
            return ask(pace.next_poll_s)
        except Unreachable as error:
            now = pace.clock.now()
            away_since = away_since or now
            away_s = (now - away_since).total_seconds()
            if away_s > PATIENCE_S:
                raise
            away(error, away_s)
        if pace.left_s <= 0:
            return None
        pace.clock.pause(min(PAUSE_S, pace.left_s))


def _look_at_rollout(session: Session, rollout: RolloutView) -> Look:
    def look(after: int | None, wait_s: float) -> Sequence[Sight]:
        service = session.client.service(rollout["service"], after=after, wait_s=wait_s)
        present = service["rollout"]
        if present and present["id"] == rollout["id"]:
            return (sight_of(service),)
        return (Sight(service=service, rollout=session.client.rollout(rollout["id"])),)

    return look


def _look_at_services(session: Session, name: str | None) -> Look:
    def look(after: int | None, wait_s: float) -> Sequence[Sight]:
        if name is not None:
            return (sight_of(session.client.service(name, after=after, wait_s=wait_s)),)
        return tuple(sight_of(service) for service in session.client.services(after=after, wait_s=wait_s))

    return look


def _rollout_document(sights: Sequence[Sight]) -> tuple[Noun, Any]:
    return "rollout", sights[0].rollout


def _services_document(name: str | None) -> Callable[[Sequence[Sight]], tuple[Noun, Any]]:
    if name is not None:
        return lambda sights: ("service", sights[0].service)
    return lambda sights: ("services", [sight.service for sight in sights])


def _say_that_it_goes_on(session: Session, rollout: RolloutView, what: str) -> None:
    session.output.narrate(f"{what}; rollout {rollout['id']} goes on")
    session.output.narrate(f"  watch it again: hitless rollout get {rollout['id']} --watch")
    session.output.narrate(f"  stop it:        hitless rollout abort {rollout['service']}")
