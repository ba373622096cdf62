"""What a deploy must get past before anything moves, and the world that stays meanwhile."""

from __future__ import annotations

from hitless.errors import SessionsWouldEnd
from hitless.rollout.inputs import Deploy
from hitless.rollout.spec import LOCAL, Sessions
from hitless.rollout.state import Outcome, ServiceState
from hitless.rollout.strategy import stable_world
from hitless.rollout.world import World


def refuse_to_end_sessions(state: ServiceState, asked: Deploy) -> None:
    """Refuse to end instances that users' sessions live in, where the settings say that they do.

    Raises:
        SessionsWouldEnd: there are such instances.
    """
    if state.stable is not None and asked.spec.sessions is Sessions.IN_PROCESS:
        raise SessionsWouldEnd(service=state.service, baseline=state.stable, candidate=asked.version)


def standing_world(state: ServiceState, *, salt: str) -> World:
    """Return the world that stays while a version is examined; a version that is superseded is given up at once."""
    superseded = state.rollout is not None and state.rollout.outcome is Outcome.SUPERSEDED
    if state.desired and not superseded:
        return state.desired
    home = state.specs[state.stable] if state.stable else None
    return stable_world(home, state.stable, regions=tuple(state.desired) or (LOCAL,), salt=salt)
