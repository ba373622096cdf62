"""What a release needs of its database before its first instance starts, and what became of it.

Rules. A change that nothing is known of is at no standing, so nothing passes for lack of an answer. What a rule refused
and what needs a person are told apart: the first ends with a command that can be repeated, the second with something to
be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from hitless.schema.change.standing import ORDER, Standing, is_at_least
from hitless.schema.headroom import Fit


class Verdict(StrEnum):
    """What became of what a release needs of its database."""

    READY = "ready"
    REFUSED = "refused"  # by a rule
    FAILED = "failed"  # a person is needed


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededChange:
    """One change and where it stands.

    Attributes:
        change: its name.
        wanted: how far a release needs it.
        standing: None = not known.
        detail: what is going on, or was seen last.
        touches: what of the schema it is about, as `users.full_name`.
    """

    change: str
    wanted: Standing
    standing: Standing | None = None
    detail: str = ""
    touches: tuple[str, ...] = ()

    @property
    def is_reached(self) -> bool:
        """Tell whether it has come as far as the release needs it."""
        return self.standing is not None and is_at_least(self.standing, self.wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseReport:
    """What became of what a release needs of its database.

    Attributes:
        changes: all that the release names.
        fits: how the pools of all versions fit; empty = nobody said what they take.
        role: made for the version; None = none was asked for.
        cause: why it is not ready, in one sentence.
        evidence: what was seen, one fact a line.
        remedies: how to go on, ready to paste where it can be.
    """

    verdict: Verdict
    changes: tuple[NeededChange, ...] = ()
    fits: tuple[Fit, ...] = ()
    role: str | None = None
    cause: str = ""
    evidence: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Tell whether everything is there that the release needs."""
        return self.verdict is Verdict.READY


def stands_at(states: tuple[NeededChange, ...], found: NeededChange) -> tuple[NeededChange, ...]:
    """Put what was found of one change into the place of what was known of it."""
    if all(one.change != found.change for one in states):
        return (*states, found)
    return tuple(found if one.change == found.change else one for one in states)


def found_at(state: NeededChange, standing: Standing | None) -> NeededChange:
    """Return a change as it was found."""
    return replace(state, standing=standing, detail="")


def what_a_return_meets(states: tuple[NeededChange, ...], version: str) -> tuple[str, ...]:
    """Say which schema an earlier version meets when it comes back; a rollback takes nothing of a schema back."""
    return tuple(_return(one, version) for one in states)


def _return(state: NeededChange, version: str) -> str:
    columns = " and ".join(state.touches) or "what it did before"
    if state.standing is None:
        return f"where {state.change} stands is not known: hitless migrate status {state.change}"
    if state.standing is Standing.PLANNED:
        return f"{state.change} has changed nothing: {version} meets the schema that it knows"
    if ORDER.index(state.standing) <= ORDER.index(Standing.SWITCHED):
        return (
            f"the schema stays where {state.change} has brought it, at {state.standing}: "
            f"{version} reads and writes {columns}, and triggers keep both sides"
        )
    return (
        f"{state.change} stands at {state.standing}: it was allowed because {version} was shown not to need {columns}"
    )


def what_a_contract_waits_for(change: str, versions: tuple[str, ...]) -> str:
    """Say why no version can be returned to that a contract has taken something from."""
    names = " or ".join(versions) or "any version that needs it"
    return f"the contract of {change} is refused as long as {names} runs or can be returned to, and needs what it takes"
