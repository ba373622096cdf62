"""Starts that hang, or that cannot be finished: nothing else waits for them, and nothing is left of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from processes_support import (
    HEALTH,
    WEB_1,
    find,
    fleet_at,
    gone,
    main_process,
    processes_in,
    settled,
    start,
    until,
    web_spec,
)

from hitless.adapters.processes import beginning
from hitless.adapters.processes.records import InstanceRecords
from hitless.rollout.spec import InstanceId
from hitless.rollout.world import Phase


@contextmanager
def hanging(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, *, instance: str) -> Iterator[threading.Event]:
    """Let a step of an instance's start hang, as on a mount that does not answer, until told to go on."""
    step, goes_on = getattr(place, name), threading.Event()

    def hangs(*given: Any, **named: Any) -> Any:
        if instance in repr((given, named)):
            assert goes_on.wait(60)
        return step(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(place, name, hangs)
        try:
            yield goes_on
        finally:
            goes_on.set()


STEPS = pytest.mark.parametrize(
    ("place", "name"),
    [(InstanceRecords, "write"), (beginning, "plan_launch"), (beginning, "spawn")],
    ids=lambda value: value if isinstance(value, str) else "",
)


@STEPS
async def test_starts_that_hang_hold_up_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Any, name: str
) -> None:
    hung = [f"dead-{number}" for number in range(40)]  # more than any pool has threads
    async with fleet_at(tmp_path) as fleet:
        with hanging(monkeypatch, place, name, instance="dead-"):
            for instance in hung:
                await start(fleet, web_spec(), instance)
                found = await find(fleet, instance)
                assert found is not None
                assert found.phase is Phase.STARTING
            assert await asyncio.to_thread(lambda: "a commit") == "a commit"
            await start(fleet, web_spec())
            await settled(fleet, WEB_1, Phase.READY)
            await fleet.stop(WEB_1, grace_s=20)
            await gone(fleet)
            for instance in hung:
                await fleet.stop(InstanceId(instance), grace_s=0)
        await until(lambda: not fleet._supervisors)
    assert processes_in(tmp_path) == []
    assert list((tmp_path / ".hitless/instances").iterdir()) == []


@pytest.mark.parametrize("name", ["plan_launch", "spawn"])
async def test_a_start_that_hangs_can_be_stopped_and_nothing_comes_of_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async with fleet_at(tmp_path) as fleet:
        with hanging(monkeypatch, beginning, name, instance=WEB_1):
            await start(fleet, web_spec())
            await until((tmp_path / ".hitless/instances/web-1/record.json").exists)
            await fleet.stop(WEB_1, grace_s=0)
            await gone(fleet)
            assert await fleet.endings("web") == {WEB_1: "never started"}
        assert fleet._around is not None
        around = fleet._around
        await until(lambda: not around.unfinished)
        await until(lambda: not processes_in(tmp_path))
        assert list((tmp_path / ".hitless/instances").iterdir()) == []


@pytest.mark.fault("directory that does not answer")
async def test_a_start_that_takes_longer_than_its_deadline_is_failed_and_says_in_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet_at(tmp_path) as fleet:
        with hanging(monkeypatch, beginning, "plan_launch", instance=WEB_1):
            await start(fleet, web_spec(health=replace(HEALTH, start_deadline_s=0.2)))
            failed = await settled(fleet, WEB_1, Phase.FAILED)
            assert (failed.cause or "").startswith("not started within 0.2 s: looking at its directory and its command")


async def test_a_process_that_was_started_and_could_not_be_looked_at_is_ended_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_descriptor(_: int) -> None:
        raise OSError(24, "Too many open files")

    async with fleet_at(tmp_path) as fleet:
        with monkeypatch.context() as patch:
            patch.setattr(beginning, "read_stat", no_descriptor)
            await start(fleet, web_spec("ignore-term"))
            await settled(fleet, WEB_1, Phase.FAILED)
        await main_process(tmp_path)
        await fleet.stop(WEB_1, grace_s=0)
        await gone(fleet)
        assert processes_in(tmp_path) == []


async def test_a_controller_that_may_have_been_replaced_starts_nothing(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        assert fleet._around is not None
        fleet._around.may_write = lambda: False
        await start(fleet, web_spec())
        failed = await settled(fleet, WEB_1, Phase.FAILED)
        assert (failed.cause, failed.is_to_blame) == ("never started: another controller may have taken over", False)
        assert not (tmp_path / ".hitless/instances/web-1").exists()
