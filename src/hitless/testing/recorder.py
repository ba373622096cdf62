"""A recorder in memory, under the same contract as the one on files."""

from __future__ import annotations

from collections.abc import Sequence

from hitless.analysis.settings import JudgeSettings
from hitless.ports import Recorded


class FakeRecorder:
    """`hitless.ports.Recorder` without a disk.

    Attributes:
        is_full: nothing more is kept, as on a full disk; nobody is held up.
        lost: seconds that were not kept for it.
    """

    def __init__(self) -> None:
        self._settings: dict[str, JudgeSettings] = {}
        self._seconds: dict[str, dict[int, Recorded]] = {}
        self.is_full = False
        self.lost = 0

    async def begin(self, rollout: str, settings: JudgeSettings) -> None:
        """Begin a rollout's recording; one that is there already is left as it is."""
        if not self.is_full:
            self._settings.setdefault(rollout, settings)
            self._seconds.setdefault(rollout, {})

    async def add(self, rollout: str, seconds: Sequence[Recorded]) -> None:
        """Append; of a second that comes twice the first counts."""
        kept = self._seconds.get(rollout)
        if self.is_full or kept is None:
            self.lost += len(seconds)
            return
        for recorded in seconds:
            kept.setdefault(recorded.second.at, recorded)

    async def read(self, rollout: str) -> tuple[JudgeSettings, tuple[Recorded, ...]] | None:
        """Read a recording, oldest second first, each once; None = there is none."""
        if rollout not in self._settings:
            return None
        seconds = self._seconds[rollout]
        return self._settings[rollout], tuple(seconds[at] for at in sorted(seconds))
