"""What people may ask of a rollout, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from hitless.rollout.inputs import Abort, Command, Pause, Promote, Resume, Undo

Verb = Literal["promote", "promote_full", "pause", "resume", "abort", "undo"]

_COMMANDS: Mapping[Verb, type[Pause | Resume | Abort | Undo]] = {
    "pause": Pause,
    "resume": Resume,
    "abort": Abort,
    "undo": Undo,
}


def command_of(verb: Verb, *, actor: str, reason: str | None, stage: int | None) -> Command:
    """Name the command; `stage`: the one, from zero, that is to be promoted."""
    if verb in {"promote", "promote_full"}:
        return Promote(actor=actor, reason=reason, to_the_end=verb == "promote_full", stage=stage)
    return _COMMANDS[verb](actor=actor, reason=reason)
