"""Walks through a table in ranges of its key, each in a transaction with its checkpoint.

The order of a batch is the argument for "exactly once": confirm the hold (another worker's batch cannot be open then),
look up where the range ends, do the work, move the position from where it was, commit. Whatever dies in between,
nothing of it was; and a commit of which no answer came is found out by the position.

Rules.
* Where each part ends is fixed when it is begun: rows beyond are new, and the triggers' business.
* A batch that fails counts for nothing: it is tried again, smaller, and told when that does not help.
* Whatever waits, waits for `hold.stopping` too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import psycopg

from hitless.adapters.postgres.backfill import checkpoint
from hitless.adapters.postgres.backfill.attempts import Attempts, RowFailed
from hitless.adapters.postgres.backfill.checkpoint import Advance, Checkpoint, Moved, Position, Word
from hitless.adapters.postgres.backfill.faults import RowRefuses
from hitless.adapters.postgres.backfill.governor import Governor
from hitless.adapters.postgres.backfill.key import Part
from hitless.adapters.postgres.backfill.ranges import Range, greatest_key, next_range
from hitless.adapters.postgres.backfill.reporter import Reporter
from hitless.adapters.postgres.backfill.session import Session
from hitless.adapters.postgres.hold import Hold, Told
from hitless.schema.backfill.throttle import Batch, Limits

LOOKS_WHILE_PAUSED_S = 0.5
SHORT_ROWS = 20_000
"""Less than a second of work."""


class Work(Protocol):
    """What is done with each range.

    Attributes:
        verb: of the command line.
        settings: SET LOCAL statements beside the usual ones.
        longest_s: a batch that takes longer is given up and tried smaller.
        budget_times: how long a batch may take, in times of what `Limits.batch_s` says.
    """

    verb: str
    settings: str
    longest_s: float
    budget_times: float

    def do(self, connection: psycopg.Connection, found: Range, *, tries: int, known: Mapping[str, Any]) -> Advance:
        """Do it in the open transaction.

        Args:
            connection: of the transaction.
            found: the range.
            tries: how many met locks before this one.
            known: the evidence so far.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """What a batch came to; no range = the part has ended."""

    found: Range | None
    gain: Advance
    to: Position
    word: Word


class Walk:
    """One walk through all parts of a table."""

    def __init__(self, step: str, work: Work, hold: Hold, *, parts: Sequence[Part], session: Session) -> None:
        self._step, self._work, self._hold, self._parts, self._session = step, work, hold, parts, session
        self.attempts = Attempts(hold, session, settings=work.settings, longest_s=work.longest_s)
        self._governor = Governor(hold, parts=parts, pid=session.pid)
        self._wal: tuple[float, float] | None = None
        self._take_up(self.row())

    @property
    def rested_s(self) -> Mapping[str, float]:
        """How long was rested, by reason."""
        return {reason: round(seconds, 3) for reason, seconds in self._governor.rested_s.items()}

    @property
    def known(self) -> Mapping[str, Any]:
        """The evidence so far."""
        return self._word.evidence

    def run(self) -> None:
        """Walk to the end, from where an earlier walk has come to.

        Raises:
            Fenced: another worker has taken over.
            Stopped: `hold.stopping` is set.
            RowRefuses, HeldUp, ServerRefuses: it cannot go on.
            DatabaseUnreachable: the server stayed away.
        """
        try:
            self._reporter = Reporter(self._hold, begun=self.row(), parts=self._parts)
            self._governor.start(self._word.limits, is_short=self._is_short)
            self._reporter.begin()
            for part in self._parts:
                if self._at is None or part.label >= self._at.part:
                    self._walk_through(part)
        finally:
            self._governor.close()

    @property
    def _is_short(self) -> bool:
        return sum(SHORT_ROWS if one.estimate is None else one.estimate for one in self._parts) < SHORT_ROWS

    def row(self) -> Checkpoint:
        """Return the row of the walk, new where there is none."""
        return self.attempts.do(lambda connection: checkpoint.begin(connection, self._hold, self._step))

    def advance(self, act: Callable[[psycopg.Connection], Advance]) -> None:
        """Do something in a transaction that leaves the position where it is; a row that it takes is a whole batch.

        Raises:
            RowFailed: it does not go through.
        """
        assert self._at is not None
        at = self._at
        self.attempts.pace = replace(self.attempts.pace, rows=1)
        self._word = self.attempts.do(
            lambda connection: checkpoint.advance(connection, self._hold, self._step, act(connection), before=at, to=at)
        )
        self.attempts.patience.progress()

    def _take_up(self, row: Checkpoint) -> None:
        self._at = row.position
        self._word = Word(is_paused=row.is_paused, limits=row.limits, evidence=row.evidence, wal_mb=0.0)
        self._pace_by(row.limits)

    def _walk_through(self, part: Part) -> None:
        if self._at is None or self._at.part != part.label:
            self._in_step(lambda: self._begin(part))
        while self._at is not None and self._at.upper is not None and self._at.key != self._at.upper:
            self._wait_until_allowed()
            self._in_step(lambda: self._next(part))

    def _in_step(self, act: Callable[[], None]) -> None:
        """Do something that moves the position; where it has moved already, take up what is there."""
        try:
            act()
        except Moved:
            self._take_up(self.row())

    def _begin(self, part: Part) -> None:
        before = self._at

        def begin(connection: psycopg.Connection) -> tuple[Position, Word]:
            to = Position(part=part.label, upper=greatest_key(connection, part))
            return to, checkpoint.advance(connection, self._hold, self._step, Advance(), before=before, to=to)

        self._at, self._word = self.attempts.do(begin)

    def _next(self, part: Part) -> None:
        """Do the next batch; what is tried again is tried at the pace of then.

        Raises:
            RowRefuses: the row at its beginning does not go through.
        """
        assert self._at is not None
        at, began_s = self._at, time.monotonic()
        try:
            with self._governor.working(self._session.pid):
                batch = self.attempts.do(lambda connection: self._do(connection, part, at))
        except RowFailed as failed:
            found = self.attempts.do(lambda connection: _range(connection, part, at, rows=1))
            key = part.key.shown(found.to) if found else "?"
            raise RowRefuses(table=part.name.shown, key=key, why=str(failed), change=self._hold.change) from failed
        self._at = batch.to
        self._after(batch, time.monotonic() - began_s)

    def _do(self, connection: psycopg.Connection, part: Part, at: Position) -> _Batch:
        began_s, attempts = time.monotonic(), self.attempts
        found = _range(connection, part, at, rows=attempts.pace.rows)
        tries, known = attempts.patience.tries, self._word.evidence
        gain = self._work.do(connection, found, tries=tries, known=known) if found else Advance()
        to = replace(at, key=found.to if found else at.upper)
        word = checkpoint.advance(connection, self._hold, self._step, gain, before=at, to=to)
        if found:
            attempts.pace = attempts.pace.after(rows=found.rows, seconds=time.monotonic() - began_s)
        return _Batch(found=found, gain=gain, to=to, word=word)

    def _after(self, batch: _Batch, seconds: float) -> None:
        self.attempts.patience.progress()
        now_s, wal_mb = time.monotonic(), batch.word.wal_mb
        since_s, earlier_mb = self._wal or (now_s, wal_mb)
        self._wal, self._word = (now_s, wal_mb), batch.word
        self._pace_by(batch.word.limits)
        self._reporter.tell(batch.gain, self._governor.sight, self._governor.present)
        cost = Batch(seconds=seconds, wal_mb=wal_mb - earlier_mb, since_s=now_s - since_s)
        self._governor.rest_after(cost, batch.word.limits)

    def _pace_by(self, limits: Limits) -> None:
        budget_s = limits.batch_s * self._work.budget_times
        self.attempts.pace = self.attempts.pace.within(budget_s=budget_s, most_rows=limits.most_rows)

    def _wait_until_allowed(self) -> None:
        self._hold.stop_if_asked()
        if self._word.is_paused:
            self._wait_while_paused()
        self._governor.wait_until_allowed(self._word.limits)
        self._hold.stop_if_asked()

    def _wait_while_paused(self) -> None:
        how = f"hitless migrate {self._work.verb} {self._hold.change} --resume"
        self._hold.tell(Told(kind="paused", sentence=f"paused; {how}"))
        while self._word.is_paused:
            self._hold.stopping.wait(LOOKS_WHILE_PAUSED_S)
            self._hold.stop_if_asked()
            self._take_up(self.row())
        self._wal = None  # what others wrote meanwhile is not ours
        self._hold.tell(Told(kind="resumed", sentence="goes on"))


def _range(connection: psycopg.Connection, part: Part, at: Position, *, rows: int) -> Range | None:
    assert at.upper is not None
    return next_range(connection, part, after=at.key, upper=at.upper, rows=rows)
