"""What a statement does to those who use the database while it runs, and to the release that runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from hitless.schema.effects.locks import LockMode
from hitless.schema.names import Name


class Work(IntEnum):
    """How much of a table is touched while its lock is held."""

    NONE = 0  # the catalogue alone: milliseconds, whatever the size
    SCAN = 1  # every row is read, as for a check or an index
    REWRITE = 2  # every row is written anew


class Phase(StrEnum):
    """Which part of expand, migrate and contract a statement belongs to."""

    ADDITIVE = "additive"
    DATA = "data"
    DESTRUCTIVE = "destructive"
    NEUTRAL = "neutral"


class Compatibility(IntEnum):
    """What it means for the release that runs, which does not know of it."""

    FULL = 0  # every statement of the release still does what it did
    RESTRICTS = 1  # writes that were fine before may fail
    BREAKS = 2  # statements that name what is gone, or changed, fail


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A lock on a relation.

    Attributes:
        work: what is done to the relation while it is held.
    """

    relation: Name
    mode: LockMode
    work: Work = Work.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one action does.

    Attributes:
        locks: one per relation that is there before, strongest first; what it creates itself is locked by nobody else.
        outside_transaction: it cannot run in a transaction block.
    """

    locks: tuple[Lock, ...] = ()
    phase: Phase = Phase.NEUTRAL
    compatibility: Compatibility = Compatibility.FULL
    outside_transaction: bool = False

    @property
    def work(self) -> Work:
        """The most that it does to any relation."""
        return max((one.work for one in self.locks), default=Work.NONE)

    @property
    def strongest(self) -> LockMode | None:
        """The strongest lock that it takes."""
        return max((one.mode for one in self.locks), default=None)

    def lock_on(self, relation: Name) -> Lock | None:
        """Return the lock on a relation."""
        return next((one for one in self.locks if one.relation == relation), None)


_WEIGHT = (Phase.NEUTRAL, Phase.ADDITIVE, Phase.DATA, Phase.DESTRUCTIVE)


def merged(effects: tuple[Effect, ...]) -> Effect:
    """Put the effects of a statement's actions together: the strongest lock per relation, the gravest of all else."""
    locks: dict[Name, Lock] = {}
    for lock in (one for effect in effects for one in effect.locks):
        known = locks.get(lock.relation, lock)
        locks[lock.relation] = Lock(
            relation=lock.relation, mode=max(known.mode, lock.mode), work=max(known.work, lock.work)
        )
    return Effect(
        locks=tuple(sorted(locks.values(), key=lambda one: (-one.mode, str(one.relation)))),
        phase=max((one.phase for one in effects), key=_WEIGHT.index, default=Phase.NEUTRAL),
        compatibility=max((one.compatibility for one in effects), default=Compatibility.FULL),
        outside_transaction=any(one.outside_transaction for one in effects),
    )
