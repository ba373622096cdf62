"""What one worker carries a change out with: its database, its fence, whom it tells, and when it must stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import psycopg

from hitless.adapters.postgres.database import Database
from hitless.errors import Fenced

_CONFIRM = "SELECT 1 FROM hitless.change WHERE id = %s AND fence = %s FOR NO KEY UPDATE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Something that people want to know while a change is carried out.

    Attributes:
        kind: `step_began`, `step_done`, `waits_for_lock`, `blocked_by`, `batch`, `throttled`, `paused` ...
        sentence: in words, for a terminal.
        data: the same for programs; JSON values only.
    """

    kind: str
    sentence: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A worker's hold on a change.

    Attributes:
        fence: number of this hold; a later hold has a greater one.
        actor: who asked for it.
        tell: told at once, from the worker's thread; must not raise.
        stopping: once set, the worker stops at the next moment at which nothing is half done.
    """

    database: Database
    change: str
    fence: int
    actor: str
    tell: Callable[[Told], None]
    stopping: Event = field(default_factory=Event)

    def confirm(self, connection: psycopg.Connection) -> None:
        """Hold the change's row in the open transaction, which then commits only if nobody else has taken over.

        Raises:
            Fenced: somebody has.
        """
        if connection.execute(_CONFIRM, (self.change, self.fence)).fetchone() is None:
            raise Fenced(
                f"another worker has taken over {self.change}",
                hints=(f"hitless migrate status {self.change}",),
            )
