"""What launcher and workers share: the phase of the drain, and a row of counters per worker process.

The board is a file in memory (memfd) that the launcher makes; workers find it by the path in their environment, however
the server starts them. Row 0 holds the phase, which the launcher alone writes, and whether a probe was told yes. Each
worker process claims a row and alone writes it, under a POSIX lock on the row's bytes: the kernel frees it when the
process dies, so what a killed worker had open counts no longer.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Self

from hitless.lifecycle.drain import Phase

ENVIRONMENT = "HITLESS_LIFECYCLE"
_CELLS, _CELL_BYTES = 8, 8
_ROW_BYTES = _CELLS * _CELL_BYTES
_ROWS = 1024  # far more than one machine runs workers of one server


class Cell(IntEnum):
    """Columns of a worker's row."""

    WARMTH = 0
    REQUESTS = 1
    EVENT_STREAMS = 2
    WEBSOCKETS = 3
    ARRIVALS = 4  # only ever grows: whoever sees it stand still knows that nothing new comes
    REFUSED_PROBES = 5


class Warmth(IntEnum):
    """How far a worker's warm-up is."""

    UNCLAIMED = 0
    WARMING = 1
    WARM = 2
    FAILED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """What is open."""

    requests: int
    event_streams: int
    websockets: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.requests + self.event_streams + self.websockets


class Board:
    """The shared memory; None as descriptor keeps it within this process, for an application without a launcher."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        size = _ROWS * _ROW_BYTES
        self._cells = memoryview(mmap.mmap(-1 if descriptor is None else descriptor, size)).cast("q")

    @classmethod
    def create(cls) -> tuple[Self, str]:
        """Make one; return it and the path by which other processes of this user find it."""
        descriptor = os.memfd_create("hitless-lifecycle")
        os.truncate(descriptor, _ROWS * _ROW_BYTES)
        return cls(descriptor), f"/proc/{os.getpid()}/fd/{descriptor}"

    @classmethod
    def find(cls) -> Self:
        """Open the launcher's board, or make one for this process alone where no launcher is.

        Raises:
            RuntimeError: there is a launcher, and its board cannot be opened.
        """
        path = os.environ.get(ENVIRONMENT)
        if path is None:
            return cls(None)
        try:
            return cls(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        except OSError as problem:
            raise RuntimeError(
                f"the board of `python -m hitless.lifecycle` cannot be opened: {problem}; the launcher must be alive "
                f"and run as the same user as the workers. Without a launcher, unset {ENVIRONMENT}."
            ) from problem

    @property
    def phase(self) -> int:
        """The `Phase`, as a number: it is read for each request."""
        return self._cells[0]

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._cells[0] = phase

    @property
    def has_been_ready(self) -> bool:
        """Whether a probe was told yes already."""
        return bool(self._cells[1])

    def note_ready(self) -> None:
        """Say that a probe is told yes."""
        self._cells[1] = 1

    def claim(self) -> int:
        """Claim a row for this process.

        Raises:
            RuntimeError: all are taken.
        """
        for row in range(1, _ROWS):
            if self._descriptor is None or self._lock(row, fcntl.LOCK_EX):
                for cell in (Cell.REQUESTS, Cell.EVENT_STREAMS, Cell.WEBSOCKETS):  # the dead worker's; the rest adds up
                    self.write(row, cell, 0)
                self.write(row, Cell.WARMTH, Warmth.WARMING)
                return row
        raise RuntimeError(f"more than {_ROWS - 1} worker processes")

    def read(self, row: int, cell: Cell) -> int:
        """Return a counter."""
        return self._cells[row * _CELLS + cell]

    def write(self, row: int, cell: Cell, value: int) -> None:
        """Set a counter of a row that this process has claimed."""
        self._cells[row * _CELLS + cell] = value

    def workers(self, *, own: int | None = None) -> list[int]:
        """Return the rows of living workers; `own` is this process's, which needs no test."""
        return [row for row in self._claimed() if row == own or self._descriptor is None or not self._is_free(row)]

    def in_flight(self, rows: list[int]) -> InFlight:
        """Add up what some workers have open."""
        requests, event_streams, websockets = (
            sum(self.read(row, cell) for row in rows) for cell in (Cell.REQUESTS, Cell.EVENT_STREAMS, Cell.WEBSOCKETS)
        )
        return InFlight(requests=requests, event_streams=event_streams, websockets=websockets)

    def total(self, cell: Cell) -> int:
        """Add up a counter of all workers there ever were."""
        return sum(self.read(row, cell) for row in self._claimed())

    def _claimed(self) -> Iterator[int]:
        """Yield rows from the first to the last ever claimed: they are claimed in order."""
        for row in range(1, _ROWS):
            if self.read(row, Cell.WARMTH) == Warmth.UNCLAIMED:
                return
            yield row

    def _is_free(self, row: int) -> bool:
        """Whether nobody holds a row. A shared lock tests it, so that two who test do not see each other."""
        if not self._lock(row, fcntl.LOCK_SH):
            return False
        assert self._descriptor is not None
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, _ROW_BYTES, row * _ROW_BYTES)
        return True

    def _lock(self, row: int, kind: int) -> bool:
        assert self._descriptor is not None
        try:
            fcntl.lockf(self._descriptor, kind | fcntl.LOCK_NB, _ROW_BYTES, row * _ROW_BYTES)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: POSIX leaves it open which
            return False
        return True


class Ledger:
    """This process's row: claimed at the first use, and anew by a process that was forked."""

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._guard = threading.Lock()
        self._row: int | None = None
        self._found: Board | None = None

    @property
    def board(self) -> Board:
        """The board, opened at the first use."""
        if self._found is None:
            self._found = Board.find()
        return self._found

    @property
    def row(self) -> int:
        """This process's row."""
        with self._guard:
            return self._claimed()

    @property
    def phase(self) -> int:
        """How far the drain is."""
        return self.board.phase

    def begin(self, cell: Cell) -> None:
        """Count something that has come in and is open now."""
        self.add(cell, 1)
        self.add(Cell.ARRIVALS, 1)

    def add(self, cell: Cell, change: int) -> None:
        """Change a counter; threads of this process may do so at once."""
        with self._guard:
            row = self._claimed()
            self.board.write(row, cell, self.board.read(row, cell) + change)

    def note_warmth(self, warmth: Warmth) -> None:
        """Say how far this process's warm-up is."""
        self.board.write(self.row, Cell.WARMTH, warmth)

    @property
    def warmth(self) -> int:
        """How far this process's warm-up is."""
        return self.board.read(self.row, Cell.WARMTH)

    def warmths(self) -> set[int]:
        """Return how far the warm-ups of all living workers are."""
        return {self.board.read(row, Cell.WARMTH) for row in self.board.workers(own=self.row)}

    def in_flight(self) -> InFlight:
        """Add up what all living workers have open."""
        return self.board.in_flight(self.board.workers(own=self.row))

    def _claimed(self) -> int:
        if self._row is None:
            self._row = self.board.claim()
        return self._row


@cache
def ledger() -> Ledger:
    """Return this process's ledger: one, however many applications it serves."""
    return Ledger()
