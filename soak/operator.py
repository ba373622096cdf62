"""Whoever runs the control plane: starts it, asks it, kills it. In this process, so that it is quick."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from benchmarks.shop import NAME, Shop, shop

from hitless.adapters.store_sql.store import open_store
from hitless.cli.client import Client
from hitless.cli.faults import ProblemReported, Unreachable
from hitless.cli.place import STATE_DIRECTORY
from soak.books import TRIAL, Books

ANSWERS_WITHIN_S = 60.0
DIES_WITHIN_S = 30.0
POLL_S = 0.02
_REFUSED = {4, 7}  # exit codes: a rule said no; another rollout is going on


@dataclass(slots=True, kw_only=True)
class Operator:
    """One project's operator.

    Attributes:
        process: the control plane that was started last.
        came_back_s: from each start to the first answer.
        refused: what came too late, or made no sense any more.
    """

    shop: Shop
    books: Books
    process: Process
    came_back_s: list[float] = field(default_factory=list)
    refused: int = 0

    @property
    def client(self) -> Client:
        """The way to ask."""
        return self.shop.client

    def is_alive(self) -> bool:
        """Tell whether the control plane runs."""
        return self.process.poll() is None

    def start(self) -> None:
        """Start a control plane; do not wait."""
        project = self.shop.project
        project.control_plane = self.process = project.begin()

    def await_answer(self) -> bool:
        """Wait until it answers; False if it has ended before.

        Raises:
            TimeoutError: neither; with the end of its log.
        """
        began = time.monotonic()
        while self.is_alive():
            try:
                self.client.control_plane()
            except Unreachable:
                if time.monotonic() > began + ANSWERS_WITHIN_S:
                    raise TimeoutError(f"no answer: {self.last_words()}") from None
                time.sleep(POLL_S)
            else:
                self.came_back_s.append(time.monotonic() - began)
                return True
        return False

    def end(self, number: signal.Signals) -> int:
        """Signal it and wait for its end."""
        self.process.send_signal(number)
        return self.process.wait(DIES_WITHIN_S)

    def last_words(self) -> str:
        """Return the end of its log."""
        return self.shop.project.log_path.read_text()[-2_000:]

    def heard(self, asking: Callable[[str], Any]) -> bool:
        """Ask something under an actor of its own; tell whether it was heard, be it answered, refused or only done.

        Raises:
            ProblemReported: something else than a rule speaks against it.
        """
        actor = f"user:trial-{uuid.uuid4().hex[:8]}"
        known = self.books.store.journal_head().seq
        try:
            asking(actor)
        except Unreachable:
            self.process.wait(DIES_WITHIN_S)
            return any(record.entry.actor == actor for record in self.books.store.journal(after=known))
        except ProblemReported as problem:
            if problem.problem["exit_code"] not in _REFUSED:
                raise
            self.refused += 1
        return True


class Process(Protocol):
    """A control plane's process, as `Popen` and as `Fork` have it."""

    @property
    def pid(self) -> int:
        """Its pid."""
        ...

    def poll(self) -> int | None:
        """Return something once it has ended."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        ...

    def send_signal(self, sig: int, /) -> None:
        """Signal it."""
        ...


@contextmanager
def operated(**settings: Any) -> Iterator[Operator]:
    """Bring the shop up with an operator, and down at the end; every process of it is marked."""
    trial = uuid.uuid4().hex
    with shop(**settings, environment={TRIAL: trial}) as found:
        directory = found.project.directory
        with open_store(directory / STATE_DIRECTORY) as store:
            assert found.project.control_plane is not None
            books = Books(directory=directory, trial=trial, service=NAME, store=store)
            operator = Operator(shop=found, books=books, process=found.project.control_plane)
            try:
                yield operator
            finally:
                operator.end(signal.SIGKILL)  # one that is to die somewhere would die of being told to end
