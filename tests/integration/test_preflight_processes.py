"""What a preflight finds in real processes, each planted; and what is left of one whose controller dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from processes_support import APPS, fleet_at, processes_in, runs_in, settled, start, until, web_spec
from processes_support import EXAMINED as WEB

from hitless.adapters.clock import SystemClock
from hitless.adapters.processes import beginning, identity
from hitless.adapters.processes.free_ports import usual_ports
from hitless.adapters.processes.preflight import subject
from hitless.adapters.processes.preflight.preflighter import ProcessPreflighter
from hitless.adapters.processes.records import InstanceRecords
from hitless.preflight.rules import judge
from hitless.rollout.spec import DrainSpec, PreflightSpec, RunSpec, ServiceSpec, Version
from hitless.rollout.world import Phase

V2 = Version("v2")
SLOW = replace(WEB, preflight=PreflightSpec(paths=("/", "/slow")), drain=DrainSpec(requests_s=3))
KEPT_LONGER = replace(WEB, traffic=replace(WEB.traffic, keep_alive_s=2))


def with_words(spec: ServiceSpec, *words: str) -> ServiceSpec:
    return replace(spec, run=RunSpec(command=(*WEB.run.command, *words)))


@asynccontextmanager
async def preflighter_at(home: Path) -> AsyncIterator[ProcessPreflighter]:
    preflighter = ProcessPreflighter(home / ".hitless", project=home, clock=SystemClock(), ports=usual_ports())
    await preflighter.start()
    yield preflighter
    await preflighter.close()


@pytest.mark.parametrize(
    ("spec", "words", "rule"),
    [
        (SLOW, ["cut"], "cuts_requests"),
        (WEB, ["alone"], "not_side_by_side"),
        (WEB, ["exit=3"], "exits_uncleanly"),
        (KEPT_LONGER, ["keep-alive=1"], "keep_alive_is_shorter"),
        (WEB, ["catch-all"], "readiness_knows_no_paths"),
        (WEB, ["early=1.5"], "answers_before_application"),
        (WEB, ["orphan"], "leaves_children"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_a_planted_fault_is_found_and_nothing_is_left(
    tmp_path: Path, spec: ServiceSpec, words: list[str], rule: str
) -> None:
    async with preflighter_at(tmp_path) as preflighter:
        report = judge(await preflighter.examine(spec=with_words(spec, *words), version=V2))
    assert rule in [one.rule for one in report.findings], report
    assert [one for one in psutil.process_iter() if runs_in(one, tmp_path)] == []


@pytest.mark.parametrize("words", [["sessions=shared"], ["sessions=fresh"], ["ready-after=0.5"]], ids=lambda w: w[0])
async def test_what_is_no_fault_is_not_found(tmp_path: Path, words: list[str]) -> None:
    async with preflighter_at(tmp_path) as preflighter:
        report = judge(await preflighter.examine(spec=with_words(SLOW, *words), version=V2))
    assert report.findings == ()


async def test_the_next_controller_ends_what_a_killed_one_was_examining(tmp_path: Path) -> None:
    program = f"""\
import asyncio
from pathlib import Path
from test_preflight_processes import *
async def main():
    async with preflighter_at(Path({str(tmp_path)!r})) as preflighter:
        await preflighter.examine(spec=with_words(WEB, "ready-after=60", "ignore-term"), version=V2)
asyncio.run(main())
"""
    path = os.pathsep.join([str(APPS.parent), *sys.path])
    controller = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env={**os.environ, "PYTHONPATH": path}
    )
    await until(lambda: len(processes_in(tmp_path)) >= 2)
    with contextlib.suppress(ProcessLookupError):
        controller.send_signal(signal.SIGKILL)
    await controller.wait()
    assert len(processes_in(tmp_path)) >= 2
    async with preflighter_at(tmp_path):
        assert processes_in(tmp_path) == []
        assert list((tmp_path / ".hitless/preflight/instances").iterdir()) == []


class Faulty:
    """Fails so many times, as when no descriptor is left, and then works."""

    def __init__(self, works: Any, failures: int) -> None:
        self._works, self.failures = works, failures

    def __call__(self, *given: Any, **named: Any) -> Any:
        if self.failures:
            self.failures -= 1
            raise OSError(24, "Too many open files")
        return self._works(*given, **named)


async def test_an_instance_whose_end_fails_is_ended_again_until_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = Faulty(identity.all_processes, failures=2)
    async with preflighter_at(tmp_path) as preflighter:
        examining = asyncio.create_task(preflighter.examine(spec=with_words(WEB, "ready-after=60"), version=V2))
        await until(lambda: len(processes_in(tmp_path)) == 2)
        monkeypatch.setattr(identity, "all_processes", faulty)
        examining.cancel()
        await asyncio.wait([examining])
    assert (faulty.failures, processes_in(tmp_path)) == (0, [])
    assert list((tmp_path / ".hitless/preflight/instances").iterdir()) == []


async def test_a_leftover_whose_end_fails_stops_no_controller_and_is_ended_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = InstanceRecords(tmp_path / ".hitless/preflight")
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec("ignore-term"), "web-1")
        await start(fleet, web_spec("ignore-term"), "web-2")
        await settled(fleet, "web-1", Phase.READY)
        await settled(fleet, "web-2", Phase.READY)
        (tmp_path / ".hitless/preflight").mkdir()
        shutil.copytree(tmp_path / ".hitless/instances", tmp_path / ".hitless/preflight/instances")
        faulty = Faulty(subject.find_process, failures=1)
        monkeypatch.setattr(subject, "find_process", faulty)
        async with preflighter_at(tmp_path):
            assert faulty.failures == 0
            await until(lambda: records.peek() == [])
            assert processes_in(tmp_path) == []


async def test_an_examination_whose_instances_cannot_be_started_for_hanging_says_so_and_can_be_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    monkeypatch.setattr(beginning, "plan_launch", lambda *_, **__: goes_on.wait(60))
    async with preflighter_at(tmp_path) as preflighter:
        slow = replace(WEB, health=replace(WEB.health, start_deadline_s=0.2))
        seen = await preflighter.examine(spec=slow, version=V2)
        says = "it was not started within 0.2 s: looking at its directory and its command takes longer"
        assert [start.problem for start in seen.starts] == [says, says]
        examining = asyncio.create_task(preflighter.examine(spec=WEB, version=V2))
        await until(lambda: len(list((tmp_path / ".hitless/preflight/instances").iterdir())) == 1)
        examining.cancel()
        await asyncio.wait([examining])
        assert list((tmp_path / ".hitless/preflight/instances").iterdir()) == []
        goes_on.set()
