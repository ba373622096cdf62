"""A recorder in memory, under the same contract as the one on files."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hitless import __version__
from hitless.analysis.settings import JudgeSettings
from hitless.ports import Recorded


class FakeRecorder:
    """`hitless.ports.Recorder` without a disk; whoever holds it may outlive a controller.

    Attributes:
        is_full: nothing more is kept, as on a full disk; nobody is held up.
        lost: seconds that were not kept for it.
        fault: raised instead of any answer.
        hangs: nothing is answered any more.
        version: of the hitless that has begun all of them.
    """

    def __init__(self) -> None:
        self._settings: dict[str, JudgeSettings] = {}
        self._seconds: dict[str, dict[int, Recorded]] = {}
        self.is_full = False
        self.lost = 0
        self.fault: Exception | None = None
        self.hangs = False
        self.version: str | None = __version__

    def recorded(self, rollout: str) -> tuple[Recorded, ...]:
        """Return what was added to a rollout's recording, oldest second first."""
        seconds = self._seconds.get(rollout, {})
        return tuple(seconds[at] for at in sorted(seconds))

    def lose(self) -> None:
        """Forget every recording, as a disk that was exchanged."""
        self._settings.clear()
        self._seconds.clear()

    async def begin(self, rollout: str, settings: JudgeSettings) -> None:
        """Begin a rollout's recording; one that is there already is left as it is."""
        await self._suffer()
        if not self.is_full:
            self._settings.setdefault(rollout, settings)
            self._seconds.setdefault(rollout, {})

    async def add(self, rollout: str, seconds: Sequence[Recorded]) -> None:
        """Append; of a second that comes twice the first counts."""
        await self._suffer()
        kept = self._seconds.get(rollout)
        if self.is_full or kept is None:
            self.lost += len(seconds)
            return
        for recorded in seconds:
            kept.setdefault(recorded.second.at, recorded)

    async def read(self, rollout: str) -> tuple[JudgeSettings, tuple[Recorded, ...]] | None:
        """Read a recording, oldest second first, each once; None = there is none."""
        await self._suffer()
        if rollout not in self._settings:
            return None
        return self._settings[rollout], self.recorded(rollout)

    async def begun_by(self, rollout: str) -> str | None:  # noqa: ARG002 - one for all of them
        """Return which version of hitless has begun a recording."""
        await self._suffer()
        return self.version

    async def _suffer(self) -> None:
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        if self.fault is not None:
            raise self.fault
