"""What time it is: the machine's clock, and the one that hitless counts by, which no step of the former moves.

Theory: holds, deadlines, drains and the lease are differences of moments, some of them written by an earlier one.
An administrator or a time server may move the wall clock by an hour between the two. The kernel's CLOCK_BOOTTIME is
moved by nobody and runs on while the machine sleeps, but counts from the boot. So `SteadyClock` is CLOCK_BOOTTIME plus
an offset; the offset follows the wall clock at 1 % at most, as a time server slews a clock (adjtime(3)).

Rules: it never runs backwards; a duration is at most 1 % wrong; an hour's step is absorbed within 100 hours. The offset
lies in the state directory with the boot it belongs to, so that the next controller goes on where this one was; after
a restart of the machine the wall clock counts anew.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

log = logging.getLogger(__name__)

FILE_NAME = "clock.json"
SLEW = 0.01
TOLD_FROM_S = 5.0
"""A difference from the wall clock that people are told of: more than slewing leaves of a time server's corrections."""

_KEPT_TO_S = 0.005
_MINUTES_FROM_S = 120.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class SystemClock:
    """The machine's clock: the one place where hitless asks what time it is."""

    def now(self) -> datetime:
        """Return the present moment, aware, UTC."""
        return datetime.now(UTC)  # noqa: TID251 - everyone else takes the time from here, as an argument

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class SteadyClock(SystemClock):
    """The clock of a control plane.

    Args:
        directory: the state directory, where the offset is kept.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
        self._at_s, self._offset_s = self._read() or (_boot_s(), self._wanted_s())
        self._kept_offset_s: float | None = None
        self._one_at_a_time = threading.Lock()  # commits ask from their own thread

    def now(self) -> datetime:
        """Return the present moment, aware, UTC; never earlier than the one before."""
        with self._one_at_a_time:
            boot_s = _boot_s()
            most_s = SLEW * (boot_s - self._at_s)
            missing_s = self._wanted_s() - self._offset_s
            self._offset_s += min(max(missing_s, -most_s), most_s)
            self._at_s = boot_s
            return _EPOCH + timedelta(seconds=boot_s + self._offset_s)

    @property
    def ahead_s(self) -> float:
        """By how much the machine's clock is ahead of this one; below zero when it is behind."""
        self.now()
        return self._wanted_s() - self._offset_s

    @property
    def problem(self) -> str | None:
        """Say for people that the machine's clock was moved."""
        ahead_s = self.ahead_s
        if abs(ahead_s) < TOLD_FROM_S:
            return None
        way = "ahead of" if ahead_s > 0 else "behind"
        return (
            f"the machine's clock is about {_roughly(abs(ahead_s))} {way} hitless', which follows at 1 % so that no "
            "hold, deadline or drain ends early or late; see who moved it: timedatectl status"
        )

    def keep(self) -> None:
        """Write the offset down for the next controller, if it has changed.

        Raises:
            OSError: it cannot be written.
        """
        self.now()
        if self._kept_offset_s is not None and abs(self._offset_s - self._kept_offset_s) < _KEPT_TO_S:
            return
        kept = {"boot_id": self._boot_id, "at_s": self._at_s, "offset_s": self._offset_s}
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps(kept), encoding="ascii")
        draft.replace(self._path)
        self._kept_offset_s = self._offset_s

    def _read(self) -> tuple[float, float] | None:
        """Return when the offset was written and what it was; None = not in this boot."""
        try:
            found = json.loads(self._path.read_bytes())
            if found["boot_id"] != self._boot_id:
                return None
            return float(found["at_s"]), float(found["offset_s"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as fault:
            log.warning("%s cannot be read, the machine's clock counts: %s", self._path, fault)
            return None

    def _wanted_s(self) -> float:
        return (super().now() - _EPOCH).total_seconds() - _boot_s()


def _roughly(seconds: float) -> str:
    """Say a duration so that it does not change at every look."""
    return f"{seconds / 60:.0f} min" if seconds >= _MINUTES_FROM_S else f"{seconds:.0f} s"


def _boot_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
