"""A controller that is killed (SIGKILL) at a chosen point of an instance's life."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from processes_support import settled, web_spec

from hitless.adapters.clock import SystemClock
from hitless.adapters.processes import beginning, ending, records
from hitless.adapters.processes.fleet import ProcessFleet
from hitless.rollout.spec import LOCAL, InstanceId, Version
from hitless.rollout.world import Phase


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying_after(function: Any) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)
        die()

    return wrapper


def arm(point: str) -> None:
    """Put the bomb at `point`; `running` has none, the controller then dies when the instance is ready."""
    if point == "before the intent is whole":
        Path.replace = die  # type: ignore[method-assign, assignment]
    elif point == "before the spawn":
        beginning.spawn = die
    elif point == "after the spawn":
        beginning.spawn = dying_after(beginning.spawn)
    elif point == "stop ordered":
        ending.send_signal = die
    elif point == "term sent":
        ending.send_signal = dying_after(ending.send_signal)
    elif point == "before it is forgotten":
        records.InstanceRecords.end = die  # type: ignore[method-assign]


async def main(home: Path, point: str, words: list[str]) -> None:
    fleet = ProcessFleet(home / ".hitless", project=home, clock=SystemClock(), on_change=lambda _service: None)
    await fleet.start_watching()
    arm(point)
    name = InstanceId("web-1")
    await fleet.start(spec=web_spec(*words), instance=name, version=Version("v1"), region=LOCAL)
    await settled(fleet, name, Phase.READY)
    if point != "running":
        await fleet.stop(name, grace_s=1.0)
        await asyncio.sleep(30)
    die()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
