"""One service's access log, read second by second.

Theory. Envoy's times are the machine's wall clock, seconds are those of `ports.Clock`, which no step of the wall clock
moves. So a line's second is the time at which it was written plus the offset between the two clocks at this look; where
that lies before the oldest second that is not told yet, or in the future (the wall clock was moved since, or the line
came late), the line belongs to the nearest one that is. A request is counted once whatever clocks do.

A second is whole when the log was read to its end later than `FLUSHED_AFTER_S` after it: Envoy writes what it has every
200 ms.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from hitless.adapters.envoy import entries
from hitless.adapters.envoy.tail import LogTail
from hitless.adapters.envoy.tally import Tally
from hitless.analysis.counts import Second
from hitless.rollout.spec import InstanceId, Region

FLUSHED_AFTER_S = 0.5

MOST_BYTES = 16 * 1024 * 1024
"""Of one service at one look: 40,000 requests, and 0.4 s in a thread."""

GIVES_UP_BEHIND_S = 30.0

LONGEST_ABSENCE_S = 3_600
"""Whoever was away for longer, because the machine slept, begins anew: nobody keeps what was before."""

_LINES_WITHOUT_PAUSE, _PAUSE_S = 200, 0.0001
"""Python gives a thread 5 ms at a time: without pauses an event loop that wants to turn waits for each of its turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A time in which the log may miss something: `[from_s, until_s]` by `ports.Clock`, and why."""

    from_s: float
    until_s: float
    reason: str

    def touches(self, second: int) -> bool:
        """Tell whether a part of the second lies in it."""
        return self.from_s < second + 1 and self.until_s >= second


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The circumstances of one look at all logs.

    Attributes:
        now_s: by `ports.Clock`, before anything was read.
        offset_s: that clock minus the wall clock.
        troubles: of Envoy itself, the latest ones.
    """

    now_s: float
    offset_s: float
    troubles: tuple[Trouble, ...] = ()


class RequestLog:
    """The log of one service; used by one thread at a time.

    Args:
        tail: of this service.
        region: of everything in it.
        look: the one at which it was found.
        name: from an address to the name of the instance there.
        from_s: the first second that can be whole begins then or later.
    """

    def __init__(
        self, tail: LogTail, *, region: Region, look: Look, name: Callable[[str], InstanceId], from_s: float
    ) -> None:
        self._tail = tail
        self._region = region
        self._name = name
        self._tally = Tally(watched_since_s=look.now_s - look.offset_s)
        self._upcoming = math.ceil(from_s)
        self._troubles: list[Trouble] = []
        self._last_at_s = from_s

    def close(self) -> None:
        """Let go of the log."""
        self._tail.close()

    def forget_open(self) -> None:
        """Forget requests that are open: Envoy has been started anew."""
        self._tally.forget_open()

    def read(self, look: Look) -> tuple[Second, ...]:
        """Return the seconds that have become whole since the last look, oldest first."""
        try:
            self._take_lines(look)
        except OSError as error:
            self._note(look, f"its log cannot be read: {error.strerror or error}")
            return self._tell(look, look.now_s - FLUSHED_AFTER_S)
        if not self._tail.is_at_end:
            if look.now_s - self._upcoming < GIVES_UP_BEHIND_S:
                return ()
            self._tail.skip()
            self._note(look, "there was more in its log than could be read in time")
        return self._tell(look, look.now_s - FLUSHED_AFTER_S)

    def _take_lines(self, look: Look) -> None:
        for number, line in enumerate(self._tail.read(most_bytes=MOST_BYTES), start=1):
            if number % _LINES_WITHOUT_PAUSE == 0:
                time.sleep(_PAUSE_S)
            try:
                entry = entries.parse(line)
                at_s = entries.told_s(entry) + look.offset_s
                self._tally.take(entry, at=self._second_of(at_s, look))
            except (ValueError, TypeError, OverflowError):  # as two Envoys may write into each other's line
                self._note(look, "a line of its log cannot be read")
        if self._tail.problem is not None:
            self._note(look, self._tail.problem)

    def _second_of(self, at_s: float, look: Look) -> int:
        return min(max(int(at_s), self._upcoming), max(int(look.now_s), self._upcoming))

    def _note(self, look: Look, reason: str) -> None:
        """Nobody knows when what is missing was: all that is not told yet is a gap."""
        self._troubles.append(Trouble(from_s=self._upcoming, until_s=look.now_s, reason=reason))

    def _tell(self, look: Look, until_s: float) -> tuple[Second, ...]:
        told: list[Second] = []
        if until_s - self._upcoming > LONGEST_ABSENCE_S:
            self._upcoming = int(until_s) - LONGEST_ABSENCE_S
            self._tally.forget_before(self._upcoming)
        while self._upcoming + 1 <= until_s:
            told.append(self._second(self._upcoming, look))
            self._upcoming += 1
        self._troubles = [one for one in self._troubles if one.until_s >= self._upcoming]
        return tuple(told)

    def _second(self, at: int, look: Look) -> Second:
        gap = next((one.reason for one in (*self._troubles, *look.troubles) if one.touches(at)), None)
        cells = self._tally.cells(at, region=self._region, name=self._name, is_gap=gap is not None)
        return Second(at=at, cells=cells, gap=gap)
