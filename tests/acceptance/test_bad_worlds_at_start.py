"""The world goes bad while no control plane runs, or for one that starts: services live on, and there is a way on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from disks import fill, small_disk
from worlds_stage import World, render, world_at

from hitless.testing.live import LiveProject, free_ports

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

HOLD_S = 10
LIBFAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_at(tmp_path_factory.mktemp("bad-worlds-at-start")) as world:
        yield world


@pytest.fixture
def world(running: World) -> Iterator[World]:
    with running.fresh():
        yield running


# The project's file and addresses


@pytest.mark.fault("hitless.yaml wrong or missing at hitless up")
def test_a_control_plane_starts_for_what_is_deployed_and_heals_it_without_a_file_that_can_be_read(world: World) -> None:
    with world.nobody_notices("no file at start"):
        before = world.instances()
        world.project.stop()
        (world.project.directory / "hitless.yaml").unlink()
        world.project.up()
        world.told("there is no hitless.yaml")
        world.project.write(world.text().replace("instances: 2", "instances: many"))
        world.told("hitless.yaml:4:12")
        world.refused("deploy", "shop", "--version", "x", code="HL2002", exit_code=2)
        world.project.write(world.text())
        world.over("hitless.yaml")
        assert world.instances() == before
    victim = min(before)
    os.kill(int((world.state / "instances" / victim / "process").read_text().split()[0]), signal.SIGKILL)
    world.when(lambda: victim not in world.instances() and len(world.instances()) == 2)


# The store


@pytest.mark.fault("store damaged")
def test_on_a_damaged_store_hitless_up_says_what_serves_and_a_new_store_adopts_it(world: World) -> None:
    with world.nobody_notices("store damaged"):
        before, stable = world.instances(), world.status()["stable"]
        world.project.stop()
        damage(world.store)
        said = world.up_fails(code="HL6304", exit_code=6)
        assert f"serves on: shop on 127.0.0.1:{world.port}: {stable} 100 %" in said
        aside = said.partition("or begin a new one; what runs is kept: ")[2].partition("; hitless up")[0]
        subprocess.run(["sh", "-c", aside], check=True)
        world.project.up()
        assert f"hitless deploy shop --version {stable}" in world.told("the store does not know")
        world.project.check("deploy", "shop", "--version", stable)
        assert {one["id"] for one in world.healthy()["instances"]} == before
        world.deploy()


def damage(store: Path) -> None:
    with store.open("r+b") as file:
        file.write(os.urandom(4096))


@pytest.mark.fault("store replaced by an older one")
def test_an_older_store_ends_nothing_that_it_does_not_know(world: World) -> None:
    with world.nobody_notices("older store"):
        world.project.stop()
        shutil.copy(world.store, world.state / "backup.db")
        world.project.up()
        newer = world.deploy()
        before = world.instances()
        world.project.stop()
        shutil.copy(world.state / "backup.db", world.store)
        world.project.up()
        assert f"hitless deploy shop --version {newer}" in world.told("the store does not know")
        world.project.check("deploy", "shop", "--version", newer)
        assert {one["id"] for one in world.healthy()["instances"]} == before
        assert world.project.json("journal", "verify")["problem"] is None


@pytest.mark.fault("store read-only")
def test_a_store_that_cannot_be_written_is_told_and_hitless_up_goes_on_once_it_can(world: World) -> None:
    with world.nobody_notices("store read-only"):
        world.project.stop()
        world.store.chmod(0o400)
        if os.geteuid() == 0:  # whom permissions stop only without this capability
            world.project.wrapper = ("setpriv", "--bounding-set=-dac_override")
        said = world.up_fails(code="HL6302", exit_code=6)
        assert "sudo chown" in said
        world.store.chmod(0o600)
        world.project.wrapper = ()
        world.project.up()
        world.healthy()


@pytest.mark.fault("disk full: everything hitless writes to")
def test_on_a_full_disk_everything_serves_on_and_a_rollout_goes_on_once_there_is_space(tmp_path: Path) -> None:
    with small_disk(tmp_path / "project" / ".hitless") as disk, world_at(tmp_path) as world:
        world.project.write(world.text(hold="1s"))
        with world.nobody_notices("disk full"):
            world.deploy("--strategy", "canary", "--detach")
            ballast = fill(disk)
            assert "df -h" in world.told("no space left for")
            world.refused("rollout", "pause", "shop", code="HL6303", exit_code=6)
            ballast.unlink()
            world.over("no space left")
            assert ((ended := world.ended())["state"], ended["cause"]) == ("completed", None)
            world.deploy()


# Resources


@pytest.mark.fault("no free port for an instance")
def test_without_a_free_port_the_rollout_turns_back_and_says_how_to_get_ports(world: World) -> None:
    with world.nobody_notices("no free port"):
        ports = sorted(int(one["address"].rpartition(":")[2]) for one in world.status()["instances"])
        world.project.stop()
        world.project.control_environment = {"HITLESS_PORTS": f"{ports[0]}-{ports[0]}"}
        world.project.up()
        world.deploy(expect=3)
        cause = world.status()["rollout"]["cause"]
        assert "no free port on 127.0.0.1" in cause
        assert "HITLESS_PORTS" in cause
        world.project.stop()
        world.project.control_environment = {}
        world.project.up()
        world.deploy()


# Clock


@pytest.mark.fault("the wall clock jumps by an hour, forwards and back")
@pytest.mark.skipif(LIBFAKETIME is None and not os.environ.get("CI"), reason="needs the package faketime")
def test_no_hold_ends_early_or_late_when_the_clock_jumps_by_an_hour(world: World) -> None:
    assert LIBFAKETIME is not None, "needs the package faketime"
    offset = world.data / "offset"
    offset.write_text("+0\n")
    world.project.stop()
    world.project.control_environment = {
        "LD_PRELOAD": str(LIBFAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
    }
    world.project.up()
    world.project.write(world.text(hold=f"{HOLD_S}s"))
    with world.nobody_notices("clock jumps"):
        began_s = time.monotonic()
        world.deploy("--strategy", "canary", "--detach")
        offset.write_text("+3600\n")
        assert "timedatectl" in world.told("the machine's clock is about 60 min ahead of hitless'")
        offset.write_text("-3600\n")
        assert "timedatectl" in world.told("the machine's clock is about 60 min behind hitless'")
        rollout = world.ended()
    assert rollout["state"] == "completed"
    assert time.monotonic() - began_s >= HOLD_S * 0.98
    begun, done = (datetime.fromisoformat(str(rollout[key])) for key in ("started_at", "finished_at"))
    assert timedelta(seconds=HOLD_S) <= done - begun <= timedelta(minutes=2)
    assert world.controller.is_running()
    world.project.stop()
    world.project.control_environment = {}
    world.project.up()
    world.healthy()


# Controllers


def stand_by(world: World) -> subprocess.Popen[bytes]:
    """Start one more control plane; return it once it has said that it waits."""
    before = len(world.log())
    second = world.project.begin()
    world.when(lambda: "this one stands by" in world.log()[before:])
    return second


@pytest.mark.fault("two control planes on one state directory")
def test_the_second_stands_by_says_so_and_takes_over_when_the_first_ends(world: World) -> None:
    with world.nobody_notices("second control plane"):
        second = stand_by(world)
        world.project.check("plan", "shop", "--version", "x")
        assert world.project.stop() == 0
        world.project.control_plane = second
        world.when(lambda: world.project.run("status", "--json").returncode == 0)
        world.deploy()


@pytest.mark.fault("a control plane stands still for longer than its lease")
def test_who_stood_still_for_longer_than_its_lease_ends_and_writes_nothing(world: World) -> None:
    with world.nobody_notices("stood still"):
        first, journal = world.project.control_plane, world.status()["seq"]
        assert first is not None
        second = stand_by(world)
        first.send_signal(signal.SIGSTOP)
        try:
            world.project.control_plane = second
            world.when(lambda: f"runs as process {second.pid}" in world.log())
            world.deploy()
        finally:
            first.send_signal(signal.SIGCONT)
        assert first.wait(30) == 7
        assert "another controller has taken over" in world.log()
        lines = world.project.check("journal", "tail", "-n", "200", "--json").splitlines()
        records = [one for line in lines for one in json.loads(line)["data"] if one["seq"] > journal]
        actors = {one["actor"] for one in records if one["subject"] == "control_plane"}
        assert len(actors) == 1
        assert f":{second.pid}:" in actors.pop()
        world.deploy()


@pytest.mark.fault("the socket's place is taken")
def test_what_is_at_the_sockets_place_is_left_alone_and_a_stale_socket_is_replaced(world: World) -> None:
    with world.nobody_notices("socket taken"):
        world.project.stop()
        path = world.state / "hitless.sock"
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.bind(str(path))
            stranger.listen()
            assert f"process {os.getpid()} listens there" in world.up_fails(code="HL6112", exit_code=6)
            assert path.is_socket()
        world.project.up()
        world.healthy()


@pytest.mark.fault("services swapped their addresses while hitless was down")
def test_two_services_swap_their_addresses_while_nothing_runs(tmp_path: Path) -> None:
    one, two = free_ports(2)

    def both(first: int, second: int) -> str:
        texts = (
            render(first, data=tmp_path),
            render(second, data=tmp_path).replace("service: shop", "service: search"),
        )
        return "services:\n" + "".join("  - " + text.strip().replace("\n", "\n    ") + "\n" for text in texts)

    with LiveProject(directory=tmp_path / "project", configuration=both(one, two)) as project:
        for name in ("shop", "search"):
            project.check("deploy", name, "--version", "v1")
        project.down()
        project.write(both(two, one))
        project.up()
        listening = {view["name"]: (view["listen"], view["problems"]) for view in project.json("status")}
        assert listening == {"shop": (f"127.0.0.1:{two}", []), "search": (f"127.0.0.1:{one}", [])}
