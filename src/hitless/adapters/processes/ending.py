"""How an instance is ended.

1. SIGTERM goes to the main process alone. It is the one that knows how to finish: masters (gunicorn, granian, Node's
   cluster, npm) tell their workers in their own order, and a worker that is told twice, or before its master, drops
   what it was told to finish.
2. What is left of the tree once the main process has gone gets SIGTERM too, once: nobody else will tell it. That is a
   shell script that did not `exec`, or children that survive their parent.
3. When the grace is over, SIGKILL for all that is left, until nothing is.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field

from hitless.adapters.processes.exit_watch import ExitStatus
from hitless.adapters.processes.identity import ProcessIdentity, ProcessTree, send_signal

_LOOK_S = 0.25  # how soon a deadline that was moved forward is noticed
_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5


@dataclass(slots=True, kw_only=True)
class Ending:
    """Ends one instance's processes.

    Attributes:
        tree: returns what belongs to the instance, as known now.
        main_ended: done when the main process has ended; None = it is gone.
        deadline_s: returns when the grace is over, monotonic; it may come nearer.
        executor: where `/proc` is searched.
    """

    tree: Callable[[], ProcessTree]
    main_ended: asyncio.Future[ExitStatus] | None
    deadline_s: Callable[[], float]
    executor: Executor
    _told: set[ProcessIdentity] = field(default_factory=set)
    _killed: bool = False

    async def run(self, *, after_term: Callable[[], Awaitable[None]] | None) -> bool:
        """End everything; return whether force was needed.

        Args:
            after_term: called when the main process has been told; None = it was told before.
        """
        main = self.tree().main
        if after_term is not None and main is not None and send_signal(main, signal.SIGTERM):
            await after_term()
        await self._main_gone_or_deadline()
        pause_s = _PAUSE_S
        while left := await self._running():
            self._signal(left)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return self._killed

    async def _main_gone_or_deadline(self) -> None:
        while self.main_ended is not None and not self.main_ended.done() and not self._is_over():
            await asyncio.wait({self.main_ended}, timeout=min(_LOOK_S, max(0.0, self.deadline_s() - time.monotonic())))

    async def _running(self) -> tuple[ProcessIdentity, ...]:
        return await asyncio.get_running_loop().run_in_executor(self.executor, self.tree().running)

    def _signal(self, left: tuple[ProcessIdentity, ...]) -> None:
        if self._is_over():
            self._killed = True
            for process in left:
                send_signal(process, signal.SIGKILL)
            return
        for process in set(left) - self._told:
            send_signal(process, signal.SIGTERM)
        self._told.update(left)

    def _is_over(self) -> bool:
        return time.monotonic() >= self.deadline_s()
