"""What people tell the guard, beside what it sees: which versions live, what was captured, who else reads."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta

from hitless.adapters.postgres.database import Database
from hitless.schema.guard.decision import Override
from hitless.schema.guard.manifests import Consumer, Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A version that runs, or that a rollback could bring back.

    Attributes:
        served: how long it has served users; None = nobody knows.
    """

    service: str
    version: str
    because: str
    served: timedelta | None = None

    @property
    def name(self) -> str:
        """Name it: `shop@41`."""
        return f"{self.service}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the guard is told.

    Attributes:
        known: versions; None = nobody has said which there are, and that blocks.
        window: how long statements must have been seen to show what is not sent.
        quiet: how long no write of an older release may have come.
        retention: how long it stays hidden before it is dropped.
        replicas: standbys, on which statements and sessions are looked at too.
        scratch: where the copy of the schema is made; None = on the database's own server.
        overrides: given now; earlier ones are read from the database.
    """

    known: tuple[Known, ...] | None = None
    window: timedelta = timedelta(hours=24)
    quiet: timedelta = timedelta(hours=1)
    retention: timedelta = timedelta(days=7)
    manifests: tuple[Manifest, ...] = ()
    consumers: tuple[Consumer, ...] = ()
    replicas: tuple[Database, ...] = ()
    scratch: Database | None = None
    overrides: tuple[Override, ...] = ()


NOTHING = Asked()
ASKED: ContextVar[Asked] = ContextVar("hitless_guard_asked", default=NOTHING)
"""Set by whoever carries a contract out; without it nobody has said anything, and that blocks."""
