"""What those who look after instances share: where things are, threads, and work that must come to its end.

What touches hitless' own files goes through `Ground.offload`: a few threads, apart from the loop's own, where the
store's commits wait. What may hang for hours goes through `apart`: a service's directory may be on a mount that does
not answer, and any number of instances may be started there.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hitless.adapters.processes.free_ports import FreePorts
from hitless.adapters.processes.records import InstanceRecords
from hitless.ports import Clock

logger = logging.getLogger(__name__)

_RETRY_S = 1.0
_FINISH_WITHIN_S = 10.0  # far more than any write takes; what hangs is found by the next controller
_T = TypeVar("_T")


@dataclass(slots=True, kw_only=True)
class Ground:
    """What all who look after instances of one kind share.

    Attributes:
        may_write: says no while another controller may have taken over.
        unfinished: work that goes on although nobody waits for it any more.
    """

    directory: Path
    project: Path
    clock: Clock
    ports: FreePorts
    records: InstanceRecords
    executor: Executor
    may_write: Callable[[], bool] = lambda: True
    unfinished: set[asyncio.Task[None]] = field(default_factory=set)

    async def offload(self, work: Callable[[], _T]) -> _T:
        """Do what blocks in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, work)

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin work that is finished even if nobody waits for it."""
        task = asyncio.create_task(work)
        self.unfinished.add(task)
        task.add_done_callback(self.unfinished.discard)
        return task

    async def finish(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for `work`; it is finished even if the one who waits is cancelled."""
        await asyncio.shield(self.begin(work))

    async def close(self) -> None:
        """Wait until nothing is left to finish, but not for what hangs."""
        deadline_s = asyncio.get_running_loop().time() + _FINISH_WITHIN_S
        while self.unfinished and (left_s := deadline_s - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(self.unfinished, timeout=left_s)
        for task in tuple(self.unfinished):
            logger.warning("not finished, left to the next controller: %s", task.get_name())
            task.cancel()
        await asyncio.gather(*self.unfinished, return_exceptions=True)


async def apart(work: Callable[[], _T]) -> _T:
    """Do what may hang in a thread of its own, which holds up neither other threads nor the end of the process."""
    found: Future[_T] = Future()

    def run() -> None:
        if not found.set_running_or_notify_cancel():
            return
        try:
            found.set_result(work())
        except BaseException as problem:  # noqa: BLE001 - handed to whoever waits, as an executor does
            found.set_exception(problem)

    threading.Thread(target=run, name="hitless-apart", daemon=True).start()
    return await asyncio.wrap_future(found)


async def until_it_works(work: Callable[[], Awaitable[None]], *, what: str) -> None:
    """Do something that must be done, again and again until it has been."""
    while True:
        try:
            await work()
        except Exception:
            logger.exception("%s failed, trying again", what)
        else:
            return
        await asyncio.sleep(_RETRY_S)
