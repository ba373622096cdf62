"""How an instance is begun.

1. Its record is written: the intent.
2. Its directory and its command are looked at.
3. Its process is spawned; it claims the instance before it becomes the command.

Each step may hang, on a mount that does not answer or a disk that does not write, so nobody has to wait: a beginning
can be given up at any moment. Before the third step nothing has come of it and nothing will. From then on the claim
decides (see `records`): either the process has made it, or it never will.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path

from hitless.adapters.processes.adoption import find_process
from hitless.adapters.processes.free_ports import VARIABLE
from hitless.adapters.processes.ground import Ground, apart
from hitless.adapters.processes.identity import ProcessIdentity, read_stat
from hitless.adapters.processes.launch import LaunchError, plan_launch, spawn
from hitless.adapters.processes.records import InstanceRecord
from hitless.rollout.spec import RunSpec


@dataclass(slots=True, kw_only=True)
class Beginning:
    """Begins one instance.

    Attributes:
        writing: held while the record is written, by whoever writes it.
        step: what is being done, in words.
        is_given_up: nothing more is to be done; what is under way may go on.
    """

    run: RunSpec
    record: InstanceRecord
    ground: Ground
    log: Path
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    step: str = "writing its record"
    is_given_up: bool = False
    _is_spawning: bool = False

    async def begin(self) -> ProcessIdentity | None:
        """Go through the steps; return the process, or None if it was given up or another controller may be at work.

        Raises:
            LaunchError: it cannot be started.
            OSError: neither can it.
        """
        records = self.ground.records
        async with self.writing:
            if not self._goes_on:
                return None
            await apart(lambda: records.write(self.record))
        self._require_port()
        self.step = "looking at its directory and its command"
        launch = await apart(
            lambda: plan_launch(self.run, record=self.record, project=self.ground.project, inherited=os.environ)
        )
        if not self._goes_on:
            return None
        self.step, self._is_spawning = "starting its process", True
        try:
            pid = await apart(lambda: spawn(launch, claim=records.claim_path(self.record.id), log=self.log))
        except OSError:
            self._is_spawning = False
            raise
        stat = read_stat(pid)
        assert stat is not None  # it is our child: even if it has ended, it stays until the watch takes it away
        return stat.identity

    async def give_up(self) -> ProcessIdentity | None:
        """Take care that nothing comes of it any more but the process that is returned, if there is one."""
        self.is_given_up = True
        async with self.writing:
            pass
        return (await find_process(self.ground.records, self.record)).main if self._is_spawning else None

    @property
    def _goes_on(self) -> bool:
        return not self.is_given_up and self.ground.may_write()

    def _require_port(self) -> None:
        if self.record.port == 0:
            raise LaunchError(
                f"no free port on 127.0.0.1 in {self.ground.ports.words}; see who has them: ss -ltn, "
                f"or start the control plane with others: {VARIABLE}=FIRST-LAST hitless up"
            )
