from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from hitless.adapters.processes.identity import ProcessIdentity, boot_id
from hitless.adapters.processes.records import InstanceRecord, InstanceRecords

_CLAIM_WAIT_S = 1.0  # the claim is one write of one line
_CLAIM_LOOK_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What an earlier controller's record leads to.

    Attributes:
        main: the process that was started; whether it still runs is not said.
        why_gone: what to tell if it does not run.
        is_lost: the version had no part in that.
    """

    main: ProcessIdentity | None
    why_gone: str
    is_lost: bool


async def find_process(records: InstanceRecords, record: InstanceRecord) -> Found:
    """Find the process that an earlier controller's record led to, or take care that it leads to none from now on."""
    if record.boot_id != boot_id():
        return Found(main=None, why_gone="ended when the machine was restarted", is_lost=True)
    main = await _claimed(records, record)
    if main is None:
        why = "never started: the controller ended between the decision and the process"
        return Found(main=None, why_gone=why, is_lost=True)
    return Found(main=main, why_gone="ended while no controller was watching", is_lost=False)


async def _claimed(records: InstanceRecords, record: InstanceRecord) -> ProcessIdentity | None:
    deadline_s = time.monotonic() + _CLAIM_WAIT_S
    while True:
        try:
            return records.claim_or_void(record.id)
        except BlockingIOError:
            if time.monotonic() > deadline_s:  # ended between creating and writing its claim
                return None
            await asyncio.sleep(_CLAIM_LOOK_S)
