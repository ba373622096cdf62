"""Transactions of a walk, each tried as often as its failures allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg

from hitless.adapters.postgres.backfill.blockers import Witness
from hitless.adapters.postgres.backfill.faults import HeldUp, ServerRefuses
from hitless.adapters.postgres.backfill.patience import Failure, Patience, failure_of, message
from hitless.adapters.postgres.backfill.session import Session
from hitless.adapters.postgres.hold import Hold, Told
from hitless.schema.backfill.pace import Pace

T = TypeVar("T")

SETTINGS = (
    "SET LOCAL lock_timeout = '50ms'; "  # a batch that waits holds the locks of the rows before: twice this and no more
    # Statistics of a table that was just loaded, or never analysed, say nothing of a range: the end of each was looked
    # up by sorting all rows that were left, fifteen times the time of all updates (400,000 rows). Only the index knows.
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off; "
    "SET LOCAL jit = off; "
    "SET LOCAL idle_in_transaction_session_timeout = '3s'; "  # a worker that is stopped keeps no row locked
    "SET LOCAL row_security = off; "  # rows that a policy hides are an error, not skipped
    "SET LOCAL standard_conforming_strings = on; "  # keys are written as constants
)
LOOKS_WHO_AFTER = 2
"""Tries after which it is worth a connection to see who is in the way."""


class RowFailed(Exception):
    """One row alone does not go through; the message is the server's."""


class Attempts:
    """Does things in transactions of a hold, and meets what becomes of them.

    Args:
        hold: whose.
        session: what they run in.
        settings: SET LOCAL statements beside the usual ones.
        longest_s: a batch that takes longer is given up, and tried smaller.

    Attributes:
        pace: of the next batch; smaller after each failure.
        patience: failures since the last progress.
    """

    def __init__(self, hold: Hold, session: Session, *, settings: str, longest_s: float) -> None:
        self._hold, self._session = hold, session
        self._settings, self._longest_s = SETTINGS + settings, longest_s
        self._witness = Witness(hold.database)
        self.pace = Pace()
        self.patience = Patience(deadline_s=hold.patience.deadline_s)

    def do(self, act: Callable[[psycopg.Connection], T]) -> T:
        """Do something in one transaction that commits.

        Raises:
            RowFailed: a batch of one row does not go through.
            HeldUp: a lock was not had in time.
            ServerRefuses: trying again cannot help.
            DatabaseUnreachable: the server stayed away.
            Fenced: another worker has taken over.
        """
        while True:
            try:
                with self._watching(), self._session.transaction(self._limited()) as connection:
                    return act(connection)
            except psycopg.Error as error:
                self._meet(error)

    def _limited(self) -> str:
        # At one row there is nothing smaller to try, however long it takes.
        longest_ms = int(self._longest_s * 1_000) if self.pace.rows > 1 else 0
        return f"{self._settings}SET LOCAL statement_timeout = {longest_ms}"

    @contextmanager
    def _watching(self) -> Iterator[None]:
        if self.patience.tries < LOOKS_WHO_AFTER:
            yield
            return
        with self._witness.watching(self._session.pid):
            yield

    def _meet(self, error: psycopg.Error) -> None:
        """Do what is to be done about a failure; returns where it is worth trying again."""
        failure = failure_of(error, is_lost=self._session.is_lost)
        if failure is Failure.ROW and self.pace.rows == 1:
            raise RowFailed(message(error)) from error
        if failure is Failure.AWAY:
            self._hold.tell(Told(kind="server_away", sentence=f"the session has ended: {message(error)}"))
        self.pace = self.pace.after_failure()
        if failure in {Failure.LOCKED, Failure.AWAY}:
            self._wait(failure, message(error))

    def _wait(self, failure: Failure, why: str) -> None:
        pause_s, told = self.patience.failed(), self._witness.news()
        if told:
            self._hold.tell(Told(kind="blocked_by", sentence=f"waits for {told[0]}", data={"blockers": list(told)}))
        self._hold.stop_if_asked()
        if self.patience.is_over:
            waited = f"in {self.patience.waited_s:.0f} s; everything before it is done"
            if failure is Failure.AWAY:
                raise ServerRefuses(
                    f"the server ended every session {waited}",
                    evidence=(why,),
                    hints=("look into the server's log", "then run the same command again: it goes on"),
                )
            raise HeldUp(f"a lock was not had {waited}", change=self._hold.change, blockers=self._witness.seen)
        self._hold.stopping.wait(pause_s)
