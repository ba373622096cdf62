"""One service's seconds, in order, each once, without a hole.

What is recent is kept as it is; what is older is packed, ten seconds together: a busy service with 20 classes of routes
and two versions would take 160 MB for 40 minutes as objects, and takes a few as bytes.
"""

from __future__ import annotations

import pickle
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from hitless.analysis.counts import Second

KEPT_S = 45 * 60
RECENT_S = 180

_TOGETHER_S = 10  # 5 ms of a busy service; a minute at once would hold up the event loop
_HOLE = "nothing could be read of it"


@dataclass(frozen=True, slots=True)
class _Packed:
    last: int
    content: bytes

    def unpack(self) -> tuple[Second, ...]:
        found: tuple[Second, ...] = pickle.loads(zlib.decompress(self.content))  # noqa: S301 - never leaves the process
        return found


class History:
    """Seconds of one service.

    Attributes:
        upcoming: the second that comes next; everything before it has been told, or was not there to be seen.
    """

    def __init__(self, *, upcoming: int) -> None:
        self.upcoming = upcoming
        self._recent: deque[Second] = deque()
        self._packed: deque[_Packed] = deque()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was told yet."""
        return not self._recent and not self._packed

    def add(self, second: Second) -> None:
        """Append a second; what lies between the last one and it is a gap. One that was told already is dropped."""
        if second.at < self.upcoming:
            return
        self.fill(until=second.at, reason=_HOLE)
        self._recent.append(second)
        self.upcoming = second.at + 1
        self._pack()

    def fill(self, *, until: int, reason: str) -> None:
        """Make gaps of all seconds before `until` that are not told yet; of a long sleep, no more than are kept."""
        if until - self.upcoming > KEPT_S:
            self._recent.clear()
            self._packed.clear()
            self.upcoming = until - KEPT_S
        while self.upcoming < until:
            self._recent.append(Second(at=self.upcoming, gap=reason))
            self.upcoming += 1
            self._pack()

    def is_recent(self, after: int) -> bool:
        """Tell whether `after` asks for nothing that is packed."""
        return not self._packed or self._packed[-1].last <= after

    def later_than(self, after: int) -> tuple[Second, ...]:
        """Return what began later than `after`; slow where that is packed."""
        return tuple(second for second in self._all(after) if second.at > after)

    def copy(self) -> History:
        """Return the same history as it is now, for another thread."""
        found = History(upcoming=self.upcoming)
        found._recent, found._packed = deque(self._recent), deque(self._packed)
        return found

    def _all(self, after: int) -> Iterator[Second]:
        for block in self._packed:
            if block.last > after:
                yield from block.unpack()
        yield from self._recent

    def _pack(self) -> None:
        if len(self._recent) < RECENT_S + _TOGETHER_S:
            return
        block = tuple(self._recent.popleft() for _ in range(_TOGETHER_S))
        self._packed.append(_Packed(block[-1].at, zlib.compress(pickle.dumps(block, protocol=5), level=1)))
        while self._packed[0].last < self.upcoming - KEPT_S:
            self._packed.popleft()
