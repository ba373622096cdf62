"""The preflight of processes and the one of `hitless.testing` keep the same contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest
from processes_support import EXAMINED as WEB
from processes_support import processes_in, until

from hitless.adapters.clock import SystemClock
from hitless.adapters.processes.free_ports import usual_ports
from hitless.adapters.processes.preflight.preflighter import ProcessPreflighter
from hitless.ports import Preflighter
from hitless.preflight.rules import judge
from hitless.preflight.seen import Answer, Start
from hitless.rollout.spec import (
    InstanceId,
    RunSpec,
    ServiceSpec,
    Version,
)
from hitless.testing import FakePreflighter

V1 = Version("v1")
SHORT_S = 0.5


class Stage(Protocol):
    preflighter: Preflighter

    def break_it(self) -> ServiceSpec: ...
    async def under_way(self) -> None: ...
    def left(self) -> list[Any]: ...


class RealStage:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.preflighter = ProcessPreflighter(home / ".hitless", project=home, clock=SystemClock(), ports=usual_ports())

    def break_it(self) -> ServiceSpec:
        return replace(WEB, run=RunSpec(command=(*WEB.run.command, "crash")))

    async def under_way(self) -> None:
        await until(lambda: len(processes_in(self.home)) >= 2)

    def left(self) -> list[Any]:
        return [*processes_in(self.home), *(self.home / ".hitless/preflight/instances").iterdir()]


class FakeStage:
    def __init__(self) -> None:
        self.preflighter = FakePreflighter(SystemClock(), takes_s=SHORT_S)

    def break_it(self) -> ServiceSpec:
        start = Start(instance=InstanceId("web-1"), ready=(Answer(at_s=0, status=None),), problem="it exited")
        self.preflighter.show(V1, starts=(start, start), idle=None, ending=None)
        return WEB

    async def under_way(self) -> None:
        await until(lambda: self.preflighter.examined)

    def left(self) -> list[Any]:
        return [one for one in self.preflighter.examined if one.ended_at is None]


@pytest.fixture(params=["real", "fake"])
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    if request.param == "fake":
        yield FakeStage()
        return
    real = RealStage(tmp_path)
    await real.preflighter.start()
    yield real
    await real.preflighter.close()


async def test_nothing_is_found_in_a_version_without_fault_and_nothing_is_left_of_it(stage: Stage) -> None:
    seen = await stage.preflighter.examine(spec=WEB, version=V1)
    assert (seen.spec, seen.version) == (WEB, V1)
    assert judge(seen).findings == ()
    assert len(seen.starts) == 2
    assert seen.ending is not None
    assert seen.idle is not None
    assert stage.left() == []


async def test_what_cannot_start_is_seen_and_not_raised(stage: Stage) -> None:
    seen = await stage.preflighter.examine(spec=stage.break_it(), version=V1)
    assert [one.rule for one in judge(seen).findings] == ["never_ready"]
    assert stage.left() == []


async def test_a_preflight_that_is_cancelled_ends_everything_before_it_returns(stage: Stage) -> None:
    examining = asyncio.create_task(stage.preflighter.examine(spec=WEB, version=V1))
    await stage.under_way()
    examining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await examining
    if isinstance(stage.preflighter, ProcessPreflighter):
        await stage.preflighter.close()
    assert stage.left() == []
