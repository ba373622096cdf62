"""The world around a control plane that runs goes bad: users are unharmed, the operator is told, and it goes on."""

from __future__ import annotations

import ctypes
import os
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psutil
import pytest
from worlds_stage import World, world_at

from hitless.adapters.envoy.watches import RESERVE, instances_in_use
from hitless.api.unix_socket import SOCKET_NAME, connect
from hitless.testing.live import free_ports

LEAKED = 16  # connections; more than the limit leaves room for
TAKE_EVERY_S = 0.1

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_at(tmp_path_factory.mktemp("bad-worlds")) as world:
        yield world


@pytest.fixture
def world(running: World) -> Iterator[World]:
    with running.fresh():
        yield running


# The project's file


@pytest.mark.fault("hitless.yaml edited to nonsense or deleted while running")
def test_nonsense_in_the_file_is_told_with_its_place_and_a_deploy_is_refused(world: World) -> None:
    with world.nobody_notices("nonsense in hitless.yaml"):
        world.project.write(world.text().replace("instances: 2", "instances: many"))
        assert "hitless.yaml:4:12" in world.told("hitless.yaml:4:12")
        world.refused("deploy", "shop", "--version", "x", code="HL2002", exit_code=2)
        (world.project.directory / "hitless.yaml").unlink()
        world.told("there is no hitless.yaml")
        world.refused("deploy", "shop", "--version", "x", code="HL2003", exit_code=2)
        world.project.write(world.text())
        world.over("hitless.yaml")
        world.deploy()


@pytest.mark.fault("two services ask for one address, or swap theirs")
def test_an_address_that_a_service_is_open_on_is_given_to_nobody_else(world: World) -> None:
    (free,) = free_ports(1)
    mine, other = world.text(), world.text(port=free).replace("service: shop", "service: search")

    def both(one: str, two: str) -> str:
        parts = [text.strip().replace("\n", "\n    ") for text in (one, two)]
        return "services:\n" + "".join(f"  - {part}\n" for part in parts)

    with world.nobody_notices("addresses"):
        world.project.write(both(mine, world.text().replace("service: shop", "service: search")))
        world.refused("deploy", "search", "--version", "x", code="HL2002", exit_code=2)
        world.project.write(both(world.text(port=free), world.text().replace("service: shop", "service: search")))
        world.refused("deploy", "shop", "--version", "x", code="HL4005", exit_code=4)
        said = world.refused("deploy", "search", "--version", "x", code="HL2101", exit_code=2).stderr
        assert "shop listens there already" in said
        world.project.write(both(mine, other))
        assert world.project.json("plan", "search", "--version", "x")["candidate"] == "x"


# What is asked


@pytest.mark.fault("two deploys at once")
def test_of_two_deploys_at_once_one_wins_and_the_other_is_told_by_whom(world: World) -> None:
    with world.nobody_notices("two deploys at once"):
        versions = [f"v{next(world.numbers)}" for _ in range(2)]
        for pair in (versions, [f"v{next(world.numbers)}"] * 2):
            commands = [("deploy", "shop", "--version", version) for version in pair]
            with ThreadPoolExecutor(2) as pool:
                done = list(pool.map(lambda command: world.project.run(*command), commands))
            assert sorted(one.returncode for one in done) == [0, 7], [one.stderr for one in done]
            loser = next(one.stderr for one in done if one.returncode)
            assert "error[HL7001]" in loser
            assert "begun by" in loser


@pytest.mark.fault("deploy of the running version")
def test_a_deploy_of_the_running_version_is_refused(world: World) -> None:
    world.deploy()  # with the settings that stand there now: others would be a rollout of their own
    with world.nobody_notices("deploy of the running version"):
        world.refused("deploy", "shop", "--version", world.status()["stable"], code="HL4004", exit_code=4)


@pytest.mark.fault("promotion of a stage that has passed")
def test_a_promotion_names_the_stage_it_means(world: World) -> None:
    world.project.write(world.text(hold="10m"))
    with world.nobody_notices("stale promotion"):
        world.deploy("--strategy", "canary", "--detach")
        world.refused("rollout", "promote", "shop", "--stage", "2", code="HL4410", exit_code=7)
        world.when(lambda: any(one["state"] == "current" for one in world.status()["rollout"]["stages"]))
        world.project.check("rollout", "promote", "shop", "--stage", "1", "--detach")
        world.when(lambda: world.status()["rollout"]["stage"] > 0)
        assert ((ended := world.ended())["state"], ended["cause"]) == ("completed", None)


# The store


@pytest.mark.fault("store locked")
def test_a_rollout_holds_while_another_process_keeps_the_store_locked_and_goes_on_after(world: World) -> None:
    world.project.write(world.text(hold="1s"))
    with world.nobody_notices("store locked"), closing(sqlite3.connect(world.store, isolation_level=None)) as other:
        world.deploy("--strategy", "canary", "--detach")
        other.execute("BEGIN EXCLUSIVE")
        stage = world.status()["rollout"]["stage"]
        assert "fuser" in world.told("keeps the store")
        world.refused("rollout", "pause", "shop", code="HL6301", exit_code=6)
        assert world.status()["rollout"]["stage"] == stage
        other.execute("ROLLBACK")
        world.over("keeps the store")
        assert ((ended := world.ended())["state"], ended["cause"]) == ("completed", None)


@pytest.mark.fault("store deleted while running")
def test_a_store_that_is_deleted_under_the_control_plane_is_told_and_what_runs_is_adopted(world: World) -> None:
    with world.nobody_notices("store deleted"):
        before = world.instances()
        stable = world.status()["stable"]
        for path in world.state.glob("hitless.db*"):
            path.unlink()
        world.refused("deploy", "shop", "--version", "x", code="HL6305", exit_code=6)
        world.told("was deleted, moved or replaced")
        world.restart()
        assert f"hitless deploy shop --version {stable}" in world.told("the store does not know")
        world.refused("deploy", "shop", "--version", "x", code="HL4411", exit_code=4)
        world.project.check("deploy", "shop", "--version", stable)
        assert {one["id"] for one in world.healthy()["instances"]} == before
        world.deploy()


# Resources


@pytest.mark.fault("no file descriptor left")
def test_without_descriptors_nobody_is_taken_for_ill_and_commands_say_why_they_fail(world: World) -> None:
    before = world.instances()
    highest = max(int(path.name) for path in Path(f"/proc/{world.controller.pid}/fd").iterdir())
    with world.nobody_notices("no descriptors"):
        with ExitStack() as leak, world.limited(psutil.RLIMIT_NOFILE, highest + 4):

            def refused(*command: str) -> str:
                """Take what has become free meanwhile; then nothing is left for the command."""
                for _ in range(LEAKED):
                    leak.enter_context(connect(world.state / SOCKET_NAME))
                return str(world.refused(*command, code="HL6111", exit_code=6).stderr)

            said = refused("deploy", "shop", "--version", "x")
            assert f"sudo prlimit --pid {world.controller.pid}" in said
            refused("status")
        assert {one["id"] for one in world.healthy()["instances"]} == before
    world.deploy()


@pytest.mark.fault("disk full: state directory")
def test_a_rollout_holds_while_nothing_can_be_written_and_goes_on_after(world: World) -> None:
    world.project.write(world.text(hold="1s"))
    with world.nobody_notices("nothing can be written"):
        world.deploy("--strategy", "canary", "--detach")
        with world.limited(psutil.RLIMIT_FSIZE, 1):
            world.shown("the store")  # its log has no room either
            world.refused("rollout", "pause", "shop", code="HL6300", exit_code=6)
        assert ((ended := world.ended())["state"], ended["cause"]) == ("completed", None)
        world.healthy()


@pytest.mark.fault("no inotify instance left")
def test_without_inotify_instances_envoy_lives_and_the_rollout_goes_on_once_there_are_some(world: World) -> None:
    with world.nobody_notices("no inotify instance"):
        with inotify_instances_taken():
            world.deploy("--detach")
            assert "sudo sysctl fs.inotify.max_user_instances" in world.told("not enough inotify instances")
        world.over("not enough inotify instances")
        assert ((ended := world.ended())["state"], ended["cause"]) == ("completed", None)


@contextmanager
def inotify_instances_taken() -> Iterator[None]:
    """Leave no more than the reserve, so that no other Envoy of this user is in danger; take what others give back."""
    libc, limit = ctypes.CDLL(None), int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    taken: list[int] = []
    is_over = threading.Event()

    def keep_taking() -> None:
        while not is_over.wait(TAKE_EVERY_S):
            free = limit - RESERVE - instances_in_use(os.getuid())
            taken.extend(libc.inotify_init1(os.O_CLOEXEC) for _ in range(free))

    thread = threading.Thread(target=keep_taking)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        for descriptor in taken:
            os.close(descriptor)
