"""The recorder: whoever adds goes on at once, a thread of its own writes in the order in which it was asked.

A disk that hangs holds up that thread and nothing else, not even the end of the process; what waits for it is bounded.
What is read is understood in another thread, in portions, those of several recordings by turns: a recording of hours
takes seconds, and holds up neither what is written nor who waits for a short one.
What goes wrong is told once for each recording, and again only after it has gone well in between.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from hitless.adapters.recordings.files import LARGEST_BYTES, RecordingFiles, RecordingFull, in_order, seconds_of
from hitless.analysis.settings import JudgeSettings
from hitless.ports import Recorded
from hitless.system_faults import in_words

logger = logging.getLogger(__name__)

MOST_WAITING = 3_600
"""Seconds of recordings that wait for a slow disk, all rollouts together; some megabytes."""

UNDERSTOOD_AT_ONCE = 200
"""Lines, 0.1 to 1 ms each."""

_T = TypeVar("_T")


class FileRecorder:
    """`hitless.ports.Recorder` on files.

    Args:
        directory: the state directory.
        files: instead of the usual ones.
        may_write: says no while another controller may have taken over, and writes to the same recordings.
        tell: takes a sentence for people; the log unless told otherwise.
    """

    def __init__(
        self,
        directory: Path,
        *,
        files: RecordingFiles | None = None,
        may_write: Callable[[], bool] = lambda: True,
        tell: Callable[[str], None] = logger.warning,
    ) -> None:
        self._files = files or RecordingFiles(directory)
        self._may_write = may_write
        self._tell = tell
        self._settings: dict[str, JudgeSettings] = {}
        self._troubled: set[str] = set()
        self._full: set[str] = set()
        self._waiting = 0
        self._lock = threading.Lock()
        self._work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._understanding = ThreadPoolExecutor(1, thread_name_prefix="hitless-recordings-read")

    async def begin(self, rollout: str, settings: JudgeSettings) -> None:
        """Begin a rollout's recording; one that is there already is left as it is."""
        self._settings[rollout] = settings
        self._later(lambda: self._guarded(rollout, lambda: self._files.begin(rollout, settings)))

    async def add(self, rollout: str, seconds: Sequence[Recorded]) -> None:
        """Append; what cannot be written is told, and nothing waits for it."""
        batch = tuple(seconds)
        if not batch or rollout in self._full:
            return
        with self._lock:
            is_too_much = self._waiting + len(batch) > MOST_WAITING
            self._waiting += 0 if is_too_much else len(batch)
        if is_too_much:
            self._say(rollout, f"the disk does not keep up, {len(batch)} seconds are left out")
            return
        self._later(lambda: self._append(rollout, batch))

    async def read(self, rollout: str) -> tuple[JudgeSettings, tuple[Recorded, ...]] | None:
        """Read a recording, with all that was added before; None = there is none, or none that can be read."""
        found = await self._asked(lambda: self._read(rollout))
        if found is None:
            return None
        settings, lines = found
        self._settings[rollout] = settings  # it goes on by them, also where the file is lost
        portions = [
            await self._understood(partial(seconds_of, lines[begin : begin + UNDERSTOOD_AT_ONCE]))
            for begin in range(0, len(lines), UNDERSTOOD_AT_ONCE)
        ]
        return settings, await self._understood(lambda: in_order(chain.from_iterable(portions)))

    async def begun_by(self, rollout: str) -> str | None:
        """Return which version of hitless has begun a recording; None = it does not say."""
        return await self._asked(lambda: self._files.begun_by(rollout))

    async def settle(self) -> None:
        """Wait until all that was added before is written, or was told."""
        await self._asked(lambda: None)

    def _append(self, rollout: str, batch: tuple[Recorded, ...]) -> None:
        try:
            self._guarded(rollout, lambda: self._add(rollout, batch))
        finally:
            with self._lock:
                self._waiting -= len(batch)

    def _add(self, rollout: str, batch: tuple[Recorded, ...]) -> None:
        try:
            self._files.add(rollout, batch)
        except FileNotFoundError:
            settings = self._settings.get(rollout)
            if settings is None:
                raise
            self._say(rollout, "the file is gone, with what was in it; a new one begins")
            self._files.begin(rollout, settings)
            self._files.add(rollout, batch)

    def _read(self, rollout: str) -> tuple[JudgeSettings, list[bytes]] | None:
        try:
            return self._files.read(rollout)
        except OSError as error:
            self._say(rollout, f"cannot be read: {in_words(error)}")
            return None

    def _guarded(self, rollout: str, work: Callable[[], None]) -> None:
        if not self._may_write():
            self._say(rollout, "is not written: another controller may have taken over")
            return
        try:
            work()
        except RecordingFull:
            self._full.add(rollout)
            self._say(rollout, f"ends here, at {LARGEST_BYTES // 2**20} MiB; the judge goes on")
        except OSError as error:
            self._say(rollout, f"is not written: {in_words(error)}")
        else:
            self._troubled.discard(rollout)

    def _say(self, rollout: str, what: str) -> None:
        if rollout not in self._troubled:
            self._troubled.add(rollout)
            self._tell(f"recording of {rollout} ({self._files.path(rollout)}): {what}")

    async def _understood(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._understanding, work)

    async def _asked(self, work: Callable[[], _T]) -> _T:
        found: Future[_T] = Future()

        def answer() -> None:
            if not found.set_running_or_notify_cancel():  # nobody waits any more
                return
            try:
                found.set_result(work())
            except Exception as problem:  # noqa: BLE001 - handed to whoever waits, as an executor does
                found.set_exception(problem)

        self._later(answer)
        return await asyncio.wrap_future(found)

    def _later(self, work: Callable[[], None]) -> None:
        self._work.put(work)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hitless-recordings", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            work = self._work.get()
            try:
                work()
            except Exception:
                logger.exception("a recording went wrong; the next one is not held up")
