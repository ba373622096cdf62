"""What becomes of a batch that fails: tried again, tried smaller, or told to a person."""

from __future__ import annotations

import random
import time
from enum import Enum, auto

import psycopg
from psycopg import errors

from hitless.adapters.postgres.backfill.faults import ServerRefuses

SHORTEST_S, LONGEST_S = 0.1, 2.0
"""Pauses between tries: longer than the lock_timeout, so that writers wait less than half of the time."""


class Failure(Enum):
    """Kinds of failures, by what is done about them."""

    LOCKED = auto()
    TOO_SLOW = auto()
    AWAY = auto()
    ROW = auto()


_LOCKED = (errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure)
_REFUSED = (
    errors.InsufficientPrivilege,
    errors.ReadOnlySqlTransaction,
    errors.DiskFull,
    errors.OutOfMemory,
    errors.UndefinedColumn,
    errors.UndefinedTable,
    errors.UndefinedFunction,
    errors.SyntaxError,
)


def failure_of(error: psycopg.Error, *, is_lost: bool) -> Failure:
    """Say what kind of failure it is.

    Raises:
        ServerRefuses: of a kind that no other batch would escape.
    """
    if isinstance(error, _LOCKED):
        return Failure.LOCKED
    if isinstance(error, errors.QueryCanceled):
        return Failure.TOO_SLOW
    if isinstance(error, _REFUSED):
        raise ServerRefuses(
            f"the server refuses the batch: {message(error)}",
            evidence=(f"SQLSTATE {error.sqlstate}", "what is filled stays filled, and the position is kept"),
            hints=("put that right, then run the same command again",),
        ) from error
    if is_lost or error.sqlstate is None or error.sqlstate.startswith(("08", "57P")):
        return Failure.AWAY
    return Failure.ROW


def message(error: psycopg.Error) -> str:
    """Return what the server says, in one line."""
    return error.diag.message_primary or " ".join(str(error).split())


class Patience:
    """Counts failures in a row; any progress begins anew. Without any until the deadline, a person should look."""

    def __init__(self, *, deadline_s: float) -> None:
        self.tries = 0
        self._deadline_s = deadline_s
        self._since_s = time.monotonic()

    def progress(self) -> None:
        """Forget the failures."""
        self.tries = 0
        self._since_s = time.monotonic()

    def failed(self) -> float:
        """Count one, and return how long to pause, in seconds: drawn at random, so that two never march in step."""
        self.tries += 1
        longest = min(LONGEST_S, SHORTEST_S * 2**self.tries)
        return random.uniform(SHORTEST_S, longest)  # noqa: S311 - spreads tries, guards nothing

    @property
    def waited_s(self) -> float:
        """Return how long there was no progress."""
        return time.monotonic() - self._since_s

    @property
    def is_over(self) -> bool:
        """Tell whether a person should look."""
        return self.waited_s > self._deadline_s
