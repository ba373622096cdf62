"""Control planes that are to die at exact moments: `hitless.testing.crash`, operated."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hitless.adapters.processes.identity import ProcessIdentity, read_stat, send_signal
from hitless.testing.crash_points import CrashPoint
from soak.operator import POLL_S, Operator


class Fork:
    """One control plane, a grandchild of ours."""

    def __init__(self, pid: int) -> None:
        stat = read_stat(pid)
        self.identity = stat.identity if stat else ProcessIdentity(pid=pid, start_ticks=-1)

    @property
    def pid(self) -> int:
        """Its pid."""
        return self.identity.pid

    def poll(self) -> int | None:
        """Return something once it has ended."""
        stat = read_stat(self.pid)
        return None if stat and not stat.is_gone and stat.identity == self.identity else -1

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            TimeoutError: it lives on.
        """
        deadline = time.monotonic() + (timeout or math.inf)
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} lives on")
            time.sleep(POLL_S)
        return -1

    def send_signal(self, sig: int, /) -> None:
        """Signal it."""
        send_signal(self.identity, signal.Signals(sig))


class Nursery:
    """Starts control planes that kill themselves."""

    def __init__(self, operator: Operator, process: subprocess.Popen[str]) -> None:
        self._operator, self._process = operator, process

    def start(self, points: Iterable[CrashPoint]) -> None:
        """Have the operator run one that dies at the first of these points; do not wait."""
        died_at(self._operator).unlink(missing_ok=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(*points, file=self._process.stdin, flush=True)
        self._operator.process = Fork(int(self._process.stdout.readline()))


def died_at(operator: Operator) -> Path:
    """Return the file that gets the name of the point."""
    return operator.shop.project.directory / "died-at"


@contextmanager
def nursery(operator: Operator) -> Iterator[Nursery]:
    """Run one for this operator's project."""
    project = operator.shop.project
    command = [sys.executable, "-m", "hitless.testing.crash", "--told", str(died_at(operator)), "--"]
    with project.log_path.open("ab") as log:
        process = subprocess.Popen(
            [*command, "up", "--project", str(project.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=project.environ,
            text=True,
        )
    with process:
        yield Nursery(operator, process)
