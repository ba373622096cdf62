"""What one worker carries a change out with: its database, its fence, whom it tells, and when it must stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import psycopg

from hitless.adapters.postgres.database import Database
from hitless.errors import Conflict, Fenced

_CONFIRM = "SELECT 1 FROM hitless.change WHERE id = %s AND fence = %s FOR NO KEY UPDATE"


class Stopped(Conflict):
    """Somebody asked to stop; nothing is half done."""

    code = "HL4529"
    exit_code = 130

    def __init__(self, change: str) -> None:
        super().__init__(
            f"stopped: {change} stands where its last whole step has brought it",
            hints=(f"hitless migrate status {change}", "run the same command again: it goes on from there"),
        )
        self.change = change


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
class Patience:
    """How long a lock is waited for that others wait behind, and for how long it is tried.

    Attributes:
        lock_ms: the longest wait of a try: no writer waits longer behind a statement of ours.
        deadline_s: after this long, people are told who is in the way.
    """

    lock_ms: int = 100
    deadline_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A worker's hold on a change.

    Attributes:
        fence: number of this hold; a later hold has a greater one.
        actor: who asked for it.
        tell: told at once, from the worker's thread; must not raise.
        stopping: once set, the worker stops at the next moment at which nothing is half done.
        patience: with what takes locks.
        allowed: reasons why checks that find rows may be passed over, by step.
    """

    database: Database
    change: str
    fence: int
    actor: str
    tell: Callable[[Told], None]
    stopping: Event = field(default_factory=Event)
    patience: Patience = field(default_factory=Patience)
    allowed: Mapping[str, str] = field(default_factory=dict)

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

    def stop_if_asked(self) -> None:
        """Return, unless somebody has asked to stop.

        Raises:
            Stopped: somebody has.
        """
        if self.stopping.is_set():
            raise Stopped(self.change)
