from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from processes_support import (
    APPS,
    HEALTH,
    WEB_1,
    find,
    fleet_at,
    gone,
    passing_fleet_at,
    processes_in,
    processes_of,
    record_of,
    settled,
    spec_of,
    start,
    until,
    web_spec,
)

from hitless.adapters.processes.identity import MARK, ProcessIdentity, ProcessTree, read_stat, send_signal
from hitless.adapters.processes.records import InstanceRecord, InstanceRecords
from hitless.rollout.world import Phase


async def kill_controller_at(home: Path, point: str, *words: str) -> None:
    controller = await asyncio.create_subprocess_exec(
        sys.executable,
        str(APPS / "fleet_controller.py"),
        str(home),
        point,
        *words,
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(APPS.parent)},
    )
    assert await controller.wait() == -signal.SIGKILL


@contextmanager
def stranger(**environment: str) -> Iterator[psutil.Process]:
    """A process that no fleet has started."""
    process = subprocess.Popen(["sleep", "600"], env={**os.environ, **environment}, start_new_session=True)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def rewrite(home: Path, record: InstanceRecord) -> None:
    InstanceRecords(home / ".hitless").write(record)


async def test_a_ready_instance_of_a_killed_controller_is_adopted_ready(tmp_path: Path) -> None:
    await kill_controller_at(tmp_path, "running")
    record = record_of(tmp_path)
    pids = processes_of(record)
    assert len(pids) == 1
    async with fleet_at(tmp_path) as fleet:
        adopted = await find(fleet)  # at once: no second is lost between the controllers
        assert adopted is not None
        assert adopted.phase is Phase.READY
        assert adopted.address.port == record.port
        assert adopted.started_at == record.started_at
        await start(fleet, web_spec())  # the engine may order it again
        assert processes_of(record) == pids


async def test_an_adopted_instance_is_watched_like_any_other(tmp_path: Path) -> None:
    await kill_controller_at(tmp_path, "running")
    async with fleet_at(tmp_path) as fleet:
        (tmp_path / "unready").touch()
        await settled(fleet, WEB_1, Phase.UNREADY)
        (tmp_path / "unready").unlink()
        await settled(fleet, WEB_1, Phase.READY)
        os.kill(processes_of(record_of(tmp_path))[0], signal.SIGKILL)
        failed = await settled(fleet, WEB_1, Phase.FAILED)
        assert failed.cause == "exited (code unknown: an earlier controller started it); its log ends with: starting"


async def test_an_instance_that_was_ready_once_is_not_held_to_its_start_deadline(tmp_path: Path) -> None:
    async with passing_fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec(health=replace(HEALTH, start_deadline_s=20)))
        await settled(fleet, WEB_1, Phase.READY)
        (tmp_path / "unready").touch()
        await settled(fleet, WEB_1, Phase.UNREADY)
    record = record_of(tmp_path)
    rewrite(tmp_path, replace(record, started_monotonic_s=record.started_monotonic_s - 3600))
    async with fleet_at(tmp_path) as fleet:
        adopted = await find(fleet)
        assert adopted is not None
        assert adopted.phase is Phase.UNREADY
        (tmp_path / "unready").unlink()
        await settled(fleet, WEB_1, Phase.READY)


async def test_the_start_deadline_runs_on_while_no_controller_is_there(tmp_path: Path) -> None:
    async with passing_fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec("idle"))
    record = record_of(tmp_path)
    rewrite(tmp_path, replace(record, started_monotonic_s=record.started_monotonic_s - 3600))
    async with fleet_at(tmp_path) as fleet:
        failed = await find(fleet)
        assert failed is not None
        assert failed.cause is not None
        assert failed.cause.startswith("not ready within 30 s: /ready last said: connection refused; nothing listens")


async def test_a_failed_instance_stays_failed_with_its_cause(tmp_path: Path) -> None:
    async with passing_fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec("crash"))
        before = await settled(fleet, WEB_1, Phase.FAILED)
        await until(lambda: record_of(tmp_path).phase is Phase.FAILED)
    async with fleet_at(tmp_path) as fleet:
        assert await find(fleet) == before


async def test_an_instance_that_ended_between_the_controllers_is_failed(tmp_path: Path) -> None:
    await kill_controller_at(tmp_path, "running")
    os.kill(processes_of(record_of(tmp_path))[0], signal.SIGKILL)
    await until(lambda: not processes_of(record_of(tmp_path)))
    async with fleet_at(tmp_path) as fleet:
        failed = await find(fleet)
        assert failed is not None
        assert failed.phase is Phase.FAILED
        assert failed.cause in {
            "ended while no controller was watching; its log ends with: starting",
            # its new parent has not taken it away yet
            "exited (code unknown: an earlier controller started it); its log ends with: starting",
        }


async def test_a_controller_killed_before_the_intent_is_whole_leaves_nothing(tmp_path: Path) -> None:
    await kill_controller_at(tmp_path, "before the intent is whole")
    assert processes_in(tmp_path) == []
    async with fleet_at(tmp_path) as fleet:
        assert await fleet.observe("web") == ()
        assert fleet.faults == ()
        await start(fleet, web_spec())
        await settled(fleet, WEB_1, Phase.READY)


async def test_a_controller_killed_before_the_spawn_leaves_an_instance_that_never_started(tmp_path: Path) -> None:
    await kill_controller_at(tmp_path, "before the spawn")
    async with fleet_at(tmp_path) as fleet:
        failed = await find(fleet)
        assert failed is not None
        assert failed.phase is Phase.FAILED
        assert failed.cause == "never started: the controller ended between the decision and the process"
        assert not failed.is_to_blame
        assert processes_in(tmp_path) == []


async def test_a_controller_killed_after_the_spawn_leaves_one_process_that_is_adopted(tmp_path: Path) -> None:
    await kill_controller_at(tmp_path, "after the spawn")
    async with fleet_at(tmp_path) as fleet:
        # The shell may lose the race for the claim to this fleet; then it has ended, and the instance never started.
        settled_as = await settled(fleet, WEB_1, Phase.READY, Phase.FAILED)
        expected = 1 if settled_as.phase is Phase.READY else 0
        await until(lambda: len(processes_in(tmp_path)) == expected)


async def test_a_process_whose_intent_was_given_up_ends_before_it_becomes_the_command(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        spawn_given_up = tmp_path / ".hitless/instances/web-1/process"
        spawn_given_up.parent.mkdir(parents=True)
        spawn_given_up.write_text("void\n")
        await start(fleet, web_spec())
        failed = await settled(fleet, WEB_1, Phase.FAILED)
        assert failed.cause is not None
        assert failed.cause.startswith("exited with code ")
        assert (tmp_path / ".hitless/logs/web/web-1.log").read_text().count("starting") == 0


@pytest.mark.parametrize("point", ["stop ordered", "term sent", "before it is forgotten"])
async def test_a_stop_goes_on_whenever_its_controller_is_killed(tmp_path: Path, point: str) -> None:
    await kill_controller_at(tmp_path, point)
    async with fleet_at(tmp_path) as fleet:
        await gone(fleet)
        assert processes_in(tmp_path) == []
        assert not (tmp_path / ".hitless/instances/web-1").exists()


async def test_the_grace_of_a_stop_is_not_begun_anew(tmp_path: Path) -> None:
    async with passing_fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec("ignore-term"))
        await settled(fleet, WEB_1, Phase.READY)
        begun_s = time.monotonic()
        await fleet.stop(WEB_1, grace_s=3)
        await until(lambda: record_of(tmp_path).term_sent)
    async with fleet_at(tmp_path) as fleet:
        stopping = await find(fleet)
        assert stopping is not None
        assert stopping.phase is Phase.STOPPING
        await gone(fleet)
        assert 3 <= time.monotonic() - begun_s < 10


async def test_a_stop_that_goes_on_does_not_tell_the_main_process_twice(tmp_path: Path) -> None:
    deaf = "trap 'echo told' TERM; echo ready; while :; do sleep 0.05; done"
    log = tmp_path / ".hitless/logs/web/web-1.log"
    async with passing_fleet_at(tmp_path) as fleet:
        await start(fleet, spec_of("sh", "-c", deaf))
        await until(lambda: log.exists() and "ready" in log.read_text())
        await fleet.stop(WEB_1, grace_s=2)
        await until(lambda: record_of(tmp_path).term_sent)
    async with fleet_at(tmp_path) as fleet:
        await gone(fleet)
    assert log.read_text().count("told") == 1


async def test_a_pid_that_is_somebody_elses_now_is_neither_adopted_nor_signalled(tmp_path: Path) -> None:
    await kill_controller_at(tmp_path, "running")
    record = record_of(tmp_path)
    os.kill(processes_of(record)[0], signal.SIGKILL)
    await until(lambda: not processes_of(record))
    with stranger() as innocent:
        claim = tmp_path / ".hitless/instances/web-1/process"
        fields = claim.read_text().split(" ")
        claim.write_text(" ".join([str(innocent.pid), *fields[1:]]))
        async with fleet_at(tmp_path) as fleet:
            failed = await find(fleet)
            assert failed is not None
            assert failed.phase is Phase.FAILED
            await fleet.stop(WEB_1, grace_s=0)
            await gone(fleet)
            assert innocent.is_running()
            assert innocent.status() != psutil.STATUS_ZOMBIE


def test_a_signal_reaches_only_the_process_with_the_right_start_time() -> None:
    with stranger() as innocent:
        stat = read_stat(innocent.pid)
        assert stat is not None
        earlier = ProcessIdentity(pid=innocent.pid, start_ticks=stat.identity.start_ticks - 1)
        assert not send_signal(earlier, signal.SIGKILL)
        assert innocent.status() != psutil.STATUS_ZOMBIE
        assert send_signal(stat.identity, signal.SIGKILL)


def test_a_group_that_took_over_the_number_is_not_part_of_the_tree() -> None:
    with stranger(**{MARK: "another"}) as innocent:
        own = read_stat(innocent.pid)  # it leads its group, whose number is its own
        assert own is not None
        long_ago = ProcessIdentity(pid=innocent.pid, start_ticks=0)
        tree = ProcessTree(main=long_ago, mark="mine", group_until_ticks=own.identity.start_ticks - 1)
        assert own.identity not in tree.running()


async def test_instances_of_another_boot_of_the_machine_are_failed_without_a_search(tmp_path: Path) -> None:
    await kill_controller_at(tmp_path, "running")
    record = record_of(tmp_path)
    pid = processes_of(record)[0]
    try:
        rewrite(tmp_path, replace(record, boot_id="another", incarnation="another"))
        async with fleet_at(tmp_path) as fleet:
            failed = await find(fleet)
            assert failed is not None
            assert failed.cause == "ended when the machine was restarted; its log ends with: starting"
            assert not failed.is_to_blame
            await fleet.stop(WEB_1, grace_s=0)
            await gone(fleet)
        assert psutil.pid_exists(pid)  # the number means nothing across boots, so nobody was signalled
    finally:
        os.kill(pid, signal.SIGKILL)


async def test_a_broken_record_does_not_hide_the_others(tmp_path: Path) -> None:
    async with passing_fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec(), "web-1")
        await settled(fleet, "web-1", Phase.READY)
    broken = tmp_path / ".hitless/instances/web-2/record.json"
    broken.parent.mkdir()
    broken.write_text("{")
    async with fleet_at(tmp_path) as fleet:
        assert [one.id for one in await fleet.observe("web")] == ["web-1"]
        assert [fault.code for fault in fleet.faults] == ["HL6201"]
        assert str(broken) in fleet.faults[0].message


async def test_no_port_is_given_twice_after_adoption(tmp_path: Path) -> None:
    async with passing_fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec("idle"), "web-1")
    record = record_of(tmp_path, "web-1")
    async with fleet_at(tmp_path) as fleet:
        fleet._ports._candidates = (record.port, record.port + 1)
        fleet._ports._next = 0
        await start(fleet, web_spec("idle"), "web-2")
        second = await find(fleet, "web-2")
        assert second is not None
        assert second.address.port != record.port
