"""PostgreSQL's eight modes of locks on tables, and which keep which from being had ("Explicit Locking", table 13.2)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class LockMode(IntEnum):
    """From weak to strong, numbered as PostgreSQL does (lockdefs.h)."""

    ACCESS_SHARE = 1
    ROW_SHARE = 2
    ROW_EXCLUSIVE = 3
    SHARE_UPDATE_EXCLUSIVE = 4
    SHARE = 5
    SHARE_ROW_EXCLUSIVE = 6
    EXCLUSIVE = 7
    ACCESS_EXCLUSIVE = 8

    @property
    def sql(self) -> str:
        """Its name in SQL."""
        return self.name.replace("_", " ")

    def conflicts_with(self, other: LockMode) -> bool:
        """Tell whether two transactions cannot have these two on one table."""
        return other in CONFLICTS[self]

    @property
    def blocks_reads(self) -> bool:
        """Tell whether SELECT waits for it."""
        return self.conflicts_with(LockMode.ACCESS_SHARE)

    @property
    def blocks_writes(self) -> bool:
        """Tell whether INSERT, UPDATE and DELETE wait for it."""
        return self.conflicts_with(LockMode.ROW_EXCLUSIVE)


_AS, _RS, _RX, _SUX, _S, _SRX, _X, _AX = LockMode

CONFLICTS: Mapping[LockMode, frozenset[LockMode]] = {
    _AS: frozenset({_AX}),
    _RS: frozenset({_X, _AX}),
    _RX: frozenset({_S, _SRX, _X, _AX}),
    _SUX: frozenset({_SUX, _S, _SRX, _X, _AX}),
    _S: frozenset({_RX, _SUX, _SRX, _X, _AX}),
    _SRX: frozenset({_RX, _SUX, _S, _SRX, _X, _AX}),
    _X: frozenset({_RS, _RX, _SUX, _S, _SRX, _X, _AX}),
    _AX: frozenset(LockMode),
}
