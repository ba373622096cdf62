"""What statements do: one value per action, whatever the parser's tree looks like.

An ALTER TABLE with three subcommands is three actions. Names stand as they are written; the catalogue resolves them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Anything that a statement does.

    Attributes:
        at: offset in the statement's text where it is written.
    """

    at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Other(Action):
    """What nothing here depends on: `kind` names the statement as SQL does, in lower case."""

    kind: str
