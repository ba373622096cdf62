"""What a server refuses, in words for a user: which statement, what it said, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from hitless.adapters.postgres.database import Database
from hitless.errors import EnvironmentFault

LONGEST = 300
"""Characters of a statement that a message repeats."""

_PASSING = (errors.LockNotAvailable, errors.DeadlockDetected, errors.QueryCanceled)
"""Told to whoever tries again."""

_FULL = (errors.DiskFull, errors.OutOfMemory)
_ENDED = (errors.OperatorIntervention, errors.InsufficientResources, errors.IdleInTransactionSessionTimeout)

_GONE = ("08", "53", "57P")
"""SQLSTATEs of a session that is gone, or that cannot be served; classes of errors are no ancestors in psycopg."""


class StatementFailed(EnvironmentFault):
    """The server refuses a statement."""

    code = "HL6505"
    temporary = False


class ReadOnly(EnvironmentFault):
    """Nothing can be written here: a standby, or a database that is set to be read only."""

    code = "HL6506"
    temporary = False


class NotPermitted(EnvironmentFault):
    """The role lacks a right."""

    code = "HL6507"
    temporary = False


class ConnectionLost(EnvironmentFault):
    """The server ended a session, or went away."""

    code = "HL6508"


@contextmanager
def in_words(database: Database, statement: str = "") -> Iterator[None]:
    """Tell what the server refuses as an error for a user; what is tried again passes as it is.

    Raises:
        ReadOnly: nothing can be written here.
        NotPermitted: the role lacks a right.
        ConnectionLost: the server went away in the middle.
        StatementFailed: anything else.
    """
    try:
        yield
    except _PASSING:
        raise
    except errors.ReadOnlySqlTransaction as error:
        raise read_only(database) from error
    except errors.InsufficientPrivilege as error:
        raise NotPermitted(
            f"{database.shown}: {said(error)}",
            evidence=_evidence(error, statement),
            hints=("connect as the owner of the tables, who may also create schemas in this database",),
        ) from error
    except _FULL as error:
        raise StatementFailed(
            f"{database.shown}: {said(error)}",
            evidence=(*_evidence(error, statement), "nothing of it was done; what was done before it is recorded"),
            hints=("make room on the server", "then run the same command again: it goes on"),
        ) from error
    except _ENDED as error:
        raise _lost(database, error) from error
    except psycopg.Error as error:
        if error.sqlstate is None or error.sqlstate.startswith(_GONE):  # None: no answer at all
            raise _lost(database, error) from error
        raise StatementFailed(said(error), evidence=_evidence(error, statement)) from error


@contextmanager
def all_in_words(database: Database) -> Iterator[None]:
    """As `in_words`, where nobody tries again.

    Raises:
        StatementFailed: also for a lock that was not had, or a statement that was ended.
    """
    try:
        with in_words(database):
            yield
    except _PASSING as error:
        raise StatementFailed(
            f"{database.shown}: {said(error)}",
            evidence=_evidence(error, ""),
            hints=("run the same command again: it looks at what is there, and goes on",),
        ) from error


def _lost(database: Database, error: psycopg.Error) -> ConnectionLost:
    return ConnectionLost(
        f"{database.shown}: the session ended: {said(error)}",
        evidence=("what was open was rolled back; what was done is recorded beside it",),
        hints=("run the same command again: it looks at what is there, and goes on",),
    )


def read_only(database: Database) -> ReadOnly:
    """Return what is said where nothing can be written."""
    return ReadOnly(
        f"{database.shown} takes no writes: it is a standby, or read only by a setting",
        hints=("use the address of the primary: target_session_attrs=read-write finds it among several",),
    )


def said(error: psycopg.Error) -> str:
    """Return what the server said, without the picture of the place."""
    return error.diag.message_primary or " ".join(str(error).split()) or type(error).__name__


def _evidence(error: psycopg.Error, statement: str) -> tuple[str, ...]:
    detail, hint = error.diag.message_detail, error.diag.message_hint
    short = " ".join(statement.split())[:LONGEST]
    return tuple(one for one in (short, detail, f"PostgreSQL's hint: {hint}" if hint else None) if one)
