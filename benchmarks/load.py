"""The client as a process beside what is measured, and its time line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hitless.rollout.spec import Address

CLIENT = Path(__file__).parent / "client.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a load saw: good answers in the order of their end, and failures by cause. Times are CLOCK_MONOTONIC."""

    started_at: list[float]
    took_s: list[float]
    version: list[int]
    versions: Mapping[str, int]
    failed: Mapping[str, int]
    cpu_s: float

    @property
    def span_s(self) -> float:
        """From the first request to the last answer."""
        ends = (start + took for start, took in zip(self.started_at, self.took_s, strict=True))
        return max(ends) - min(self.started_at)

    def answered_by(self, version: str) -> list[tuple[float, float]]:
        """When the requests that `version` answered were sent and answered, in order of their sending."""
        wanted = self.versions[version]
        found = zip(self.started_at, self.took_s, self.version, strict=True)
        return sorted((start, start + took) for start, took, one in found if one == wanted)


def last_sent_s(answered: list[tuple[float, float]], *, since: float, until: float) -> float:
    """Return how long after `since` the last request was sent that was answered before `until`; 0 when none was.

    One that is under way at `until` does not count: what happens then may decide who answers it.
    """
    first, end = bisect_left(answered, (since, 0.0)), bisect_left(answered, (until, 0.0))
    return max((sent - since for sent, ended in answered[first:end] if ended < until), default=0.0)


class ClosedLoop:
    """A load under way."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def finish(self) -> Seen:
        """End the load; return what it saw."""
        self._process.send_signal(signal.SIGTERM)
        text, _ = self._process.communicate(timeout=60)
        return Seen(**json.loads(text))


@contextmanager
def closed_loop(target: Address, *, connections: int, rate_rps: float = 0.0, path: str = "/") -> Iterator[ClosedLoop]:
    """Load `target` until the block ends."""
    options = ("--connections", str(connections), "--rate", str(rate_rps), "--path", path)
    process = subprocess.Popen(
        [sys.executable, str(CLIENT), "--address", str(target), *options], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError(f"the load on {target} did not start")
        yield ClosedLoop(process)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def load_for(seconds: float, target: Address, *, connections: int) -> Seen:
    """Load `target` as fast as it answers."""
    with closed_loop(target, connections=connections) as load:
        time.sleep(seconds)
        return load.finish()
