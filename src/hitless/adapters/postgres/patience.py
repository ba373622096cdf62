"""The one way in which statements are run whose locks others wait for.

Rules.
* A try is a transaction. Its locks are waited for `lock_ms` in all: each statement gets what those before it have left,
  since writers wait behind the first lock while we wait for the last one. There is no try without a limit, at the end
  neither, and taking back is no exception.
* Before each try we look who holds conflicting locks. Is one of them older than we would wait, we do not ask at all:
  nobody queues behind us. We name it and look again. Are they others each time, all of them short, it is usual traffic,
  and we try: each try lets no new ones in for as long as it waits.
* Between tries we sleep longer than we waited, with full jitter, so that at most half of the time anybody queues.
* A try that fails leaves nothing. What is recorded of it is in the same transaction, with the fence.
* Nobody is ever ended. Who is in the way is told to people, who may.

* Locks that are had end soon whatever happens: a worker that is stopped, or out of reach, between two statements loses
  its session; and the commit waits for no standby. It would hold the locks meanwhile, for as long as a query there
  keeps a lock from being replayed. What is written later waits for standbys, and by the order of WAL for this too.

The limits are set with SET LOCAL, so they hold behind a pooler that hands each transaction to another session.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import psycopg
from psycopg.errors import DeadlockDetected, LockNotAvailable, QueryCanceled

from hitless.adapters.postgres.blockers import Blocker, holders
from hitless.adapters.postgres.faults import StatementFailed, in_words, said
from hitless.adapters.postgres.hold import Hold, Told
from hitless.errors import EnvironmentFault, Refused
from hitless.schema.effects.locks import LockMode
from hitless.schema.linting import lint
from hitless.schema.names import Name
from hitless.schema.reading.source import Source

LEAST_MS = 20
"""What a statement may wait in any case, after others of the same try."""

SHORT_MS = 3_000
"""The longest that a statement may run that should change the catalogue alone: milliseconds, and it holds its locks.
The longest, too, that a try waits for its worker's next statement."""

SLOW_TRIES = 3
"""A machine may be slow once; a statement that is slow thrice is not what it should be."""

LONGEST_PAUSE_S = 2.0
FLEETING_S = 5.0
"""Transactions younger than this that are others at each look are usual traffic: there is never a time without."""

Result = TypeVar("Result")
Act = Callable[["Try"], Result]


class LocksNotHad(EnvironmentFault):
    """Somebody held locks in our way for as long as we were told to try."""

    code = "HL4520"
    exit_code = 5


class WraparoundAhead(Refused):
    """Autovacuum prevents a wraparound of transaction ids on the table, and does not give way."""

    code = "HL4521"


@dataclass(slots=True, kw_only=True)
class Try:
    """One try: an open transaction that holds the change's row.

    Attributes:
        spent_s: how long its statements have taken.
        number: of the try, from 1.
    """

    connection: psycopg.Connection
    hold: Hold
    number: int
    waited_s: float
    spent_s: float = 0.0
    longest_ms: int = SHORT_MS

    def run(self, statements: Iterable[str]) -> None:
        """Run statements, each with what is left of the time for waiting.

        Raises:
            StatementFailed, NotPermitted, ReadOnly, ConnectionLost: the server refuses one.
        """
        for one in statements:
            left_ms = max(LEAST_MS, round(self.hold.patience.lock_ms - self.spent_s * 1_000))
            self.connection.execute(_limits(left_ms, self.longest_ms) + b"; SET LOCAL synchronous_commit = local")
            began_s = time.monotonic()
            with in_words(self.hold.database, one):
                self.connection.execute(one.encode())
            self.spent_s += time.monotonic() - began_s


@dataclass(slots=True, kw_only=True)
class _Wait(Generic[Result]):
    """All tries of one act."""

    hold: Hold
    wanted: Mapping[Name, LockMode]
    act: Act[Result]
    longest_ms: int
    is_fenced: bool
    began_s: float = field(default_factory=time.monotonic)
    looks: int = 0
    tries: int = 0
    slow: int = 0
    seen: frozenset[str] = frozenset()
    told: frozenset[str] = frozenset()

    def succeed(self, connection: psycopg.Connection) -> Result:
        while True:
            self.hold.stop_if_asked()
            found = self._look(connection)
            if not self._standing(found):
                try:
                    return self._try(connection, found)
                except (LockNotAvailable, DeadlockDetected) as error:
                    self._after(connection, error)
                except QueryCanceled as error:
                    self._after_slow(error)
                except StatementFailed as error:
                    if (race := _race(error)) is None:
                        raise
                    self._after(connection, race)
            self._pause(connection)

    def _look(self, connection: psycopg.Connection) -> tuple[Blocker, ...]:
        found = holders(connection, self.wanted) if self.wanted else ()
        for one in found:
            if one.kind == "wraparound":
                raise _wraparound(one)
        return found

    def _standing(self, found: Sequence[Blocker]) -> tuple[Blocker, ...]:
        """Return those who will not be gone within our wait; tell of them when they change."""
        limit_s = self.hold.patience.lock_ms / 1_000
        old = tuple(one for one in found if (one.age_s or 0) > limit_s or one.transaction in self.seen)
        is_traffic = self.looks > 0 and all(_is_fleeting(one, self.seen) for one in found)
        self.seen = frozenset(one.transaction for one in found)
        self.looks += 1
        if is_traffic:
            return ()
        self._tell(old)
        return tuple(one for one in old if not (one.kind == "autovacuum" and self._may_hurry))

    @property
    def _may_hurry(self) -> bool:
        """The request of the next try makes autovacuum give way, where this role may set deadlock_timeout."""
        return _MAY_HURRY.get(self.hold.database.conninfo, False)

    def _tell(self, old: Sequence[Blocker]) -> None:
        names = frozenset(one.transaction for one in old)
        if names and names != self.told:
            for one in old:
                self.hold.tell(Told(kind="blocked_by", sentence=f"waits for {one.sentence}", data=one.data))
        self.told = names

    def _try(self, connection: psycopg.Connection, found: Sequence[Blocker]) -> Result:
        self.tries += 1
        current = Try(
            connection=connection,
            hold=self.hold,
            number=self.tries,
            waited_s=time.monotonic() - self.began_s,
            longest_ms=self.longest_ms,
        )
        with in_words(self.hold.database), connection.transaction():
            connection.execute(_limits(self.hold.patience.lock_ms, self.longest_ms))
            if any(one.kind == "autovacuum" for one in found) and self._may_hurry:
                connection.execute("SET LOCAL deadlock_timeout = '10ms'")
            if self.is_fenced:
                self.hold.confirm(connection)
            return self.act(current)

    def _after(self, connection: psycopg.Connection, error: psycopg.Error) -> None:
        found = self._look(connection)
        self.seen = frozenset(one.transaction for one in found)
        names = "; ".join(one.sentence for one in found[:3]) or "those who held it have gone"
        data = {"try": self.tries, "error": error.sqlstate, "blockers": [one.data for one in found]}
        self.hold.tell(Told(kind="waits_for_lock", sentence=f"no lock at try {self.tries}: {names}", data=data))

    def _after_slow(self, error: psycopg.Error) -> None:
        self.hold.stop_if_asked()
        self.slow += 1
        if not self.longest_ms:
            raise StatementFailed(f"somebody ended the statement: {said(error)}") from error
        if self.slow >= SLOW_TRIES:
            raise StatementFailed(
                f"a statement that should change the catalogue alone took longer than {self.longest_ms / 1_000:.0f} s",
                evidence=(f"tried {self.slow} times; each time it was ended, and nothing was changed",),
                hints=("hitless migrate trace FILE.sql   # which tables it reads or writes anew",),
            ) from error

    def _pause(self, connection: psycopg.Connection) -> None:
        passed_s = time.monotonic() - self.began_s
        if passed_s > self.hold.patience.deadline_s:
            raise _not_had(self.hold, self._look(connection), self.tries, passed_s)
        lock_s = self.hold.patience.lock_ms / 1_000
        longest_s = min(LONGEST_PAUSE_S, lock_s * 2 ** min(self.tries + 1, 8))
        # Jitter is no secret.
        self.hold.stopping.wait(1.5 * lock_s + random.uniform(0, longest_s))  # noqa: S311


def _race(error: StatementFailed) -> psycopg.Error | None:
    """Return what a server says of a row of its catalogue that somebody changed meanwhile: GRANT takes no lock."""
    cause = error.__cause__
    is_race = isinstance(cause, psycopg.errors.InternalError_) and "concurrently" in said(cause)
    return cause if is_race and isinstance(cause, psycopg.Error) else None


def _is_fleeting(one: Blocker, seen: frozenset[str]) -> bool:
    """Tell whether it is usual traffic: others each time we look, and each soon over."""
    return one.transaction not in seen and (one.age_s or 0) < FLEETING_S


_MAY_HURRY: dict[str, bool] = {}
"""Whether a role may set deadlock_timeout, by address: asked once."""


def patiently(
    hold: Hold,
    act: Act[Result],
    *,
    wanted: Mapping[Name, LockMode] | None = None,
    longest_ms: int = SHORT_MS,
    is_fenced: bool = True,
) -> Result:
    """Run an act in a transaction that holds the change, until its locks were had within the wait.

    Args:
        hold: whose fence is in the transaction.
        act: what runs and records it; called anew at each try.
        wanted: the strongest lock on each relation that it takes.
        longest_ms: the longest that a statement may run; 0 = without end, for locks that hinder nobody.
        is_fenced: the change is held; where it is not there yet, it cannot be.

    Raises:
        LocksNotHad: not within the deadline.
        WraparoundAhead: who is in the way will not give way.
        Stopped: somebody asked to stop.
        Fenced: another worker has taken over.
        StatementFailed, NotPermitted, ReadOnly, ConnectionLost: the server refuses.
    """
    with hold.database.connect() as connection, in_words(hold.database):
        _learn(hold, connection)
        wait = _Wait(hold=hold, wanted=wanted or {}, act=act, longest_ms=longest_ms, is_fenced=is_fenced)
        return wait.succeed(connection)


def _learn(hold: Hold, connection: psycopg.Connection) -> None:
    if hold.database.conninfo not in _MAY_HURRY:
        row = connection.execute("SELECT has_parameter_privilege('deadlock_timeout', 'SET')").fetchone()
        _MAY_HURRY[hold.database.conninfo] = bool(row and row[0])


def locks_of(statements: Iterable[str]) -> dict[Name, LockMode]:
    """Return the strongest lock on each relation that statements take, as the lint says."""
    wanted: dict[Name, LockMode] = {}
    for one in lint([Source("step.sql", ";\n".join(statements))]).statements:
        for lock in one.effect.locks:
            wanted[lock.relation] = max(wanted.get(lock.relation, LockMode.ACCESS_SHARE), lock.mode)
    return wanted


def _limits(lock_ms: int, statement_ms: int) -> bytes:
    return (
        f"SET LOCAL lock_timeout = '{lock_ms}ms'; SET LOCAL statement_timeout = '{statement_ms}ms'; "
        f"SET LOCAL idle_in_transaction_session_timeout = '{SHORT_MS}ms'"
    ).encode()


def _wraparound(one: Blocker) -> WraparoundAhead:
    return WraparoundAhead(
        f"autovacuum prevents a wraparound of transaction ids on {one.relation}, and gives way to nobody",
        evidence=(one.sentence,),
        hints=(
            f"let it end, faster: VACUUM (FREEZE) {one.relation} with vacuum_cost_delay = 0 ends it sooner",
            f"SELECT * FROM pg_stat_progress_vacuum WHERE pid = {one.pid}   # how far it is",  # noqa: S608 - for people
            "then run the same command again",
        ),
    )


def _not_had(hold: Hold, found: Sequence[Blocker], tries: int, passed_s: float) -> LocksNotHad:
    people = [one for one in found if one.kind == "session"]
    hints = tuple(f"SELECT pg_terminate_backend({one.pid})   # ends it; hitless never does" for one in people)
    if any(one.kind == "autovacuum" for one in found):
        hints += ("GRANT SET ON PARAMETER deadlock_timeout TO our role: then autovacuum gives way to us",)
    prepared = tuple(
        f"ROLLBACK PREPARED '{one.gid}'   -- or COMMIT PREPARED" for one in found if one.kind == "prepared"
    )
    return LocksNotHad(
        f"the locks that {hold.change} needs were not had within {passed_s:.0f} s",
        evidence=(
            *(one.sentence for one in found),
            f"{tries} tries of {hold.patience.lock_ms} ms; nobody waited longer behind them, and nothing was changed",
        ),
        hints=(*hints[:3], *prepared[:3], "run the same command again, with --patience 1h to try for longer"),
    )
