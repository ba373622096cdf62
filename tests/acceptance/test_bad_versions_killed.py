"""Instances and Envoy that are killed or hang: only what was in flight is lost; the service comes back by itself."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import psutil
import pytest
from faults_stage import Stage, stage_at

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage_at(tmp_path_factory.mktemp("killed")) as stage:
        yield stage


@pytest.fixture
def stage(running: Stage) -> Iterator[Stage]:
    with running.fresh():
        yield running


def is_healthy(stage: Stage, version: str) -> bool:
    status = stage.status()
    return status["health"] == "healthy" and status["stable"] == version


@pytest.mark.fault("an old instance is killed during a rollout")
@pytest.mark.parametrize("strategy", ["rolling", "blue_green", "canary"])
def test_a_rollout_completes_although_an_old_instance_is_killed(stage: Stage, strategy: str) -> None:
    stage.configure(hold="2s", max_failures=3)
    old = stage.status()["stable"]
    with stage.window(f"old instance killed, {strategy}") as seen:
        new = stage.deploy("good", "--strategy", strategy, "--detach")["candidate"]
        stage.when(lambda _: stage.instances(new))
        stage.process(stage.instances(old)[0]["id"]).kill()
        assert ((ended := stage.ended())["state"], ended["cause"]) == ("completed", None)
    assert any("killed by signal 9 (SIGKILL)" in one["data"]["cause"] for one in stage.records("instance.failed"))
    assert seen[0].failures <= 10


@pytest.mark.fault("all new instances are killed during a canary")
def test_a_canary_goes_on_after_its_instances_were_killed_once(stage: Stage) -> None:
    stage.configure(hold="3s", max_failures=3)
    with stage.window("all new instances killed") as seen:
        new = stage.deploy("good", "--strategy", "canary", "--detach")["candidate"]
        stage.when(lambda _: [one for one in stage.instances(new) if one["rotation"] == "in"])
        for one in stage.instances(new):
            stage.process(one["id"]).kill()
        assert ((ended := stage.ended())["state"], ended["cause"]) == ("completed", None)
    assert seen[0].failures <= 100  # one instance, nobody beside it to ask instead: its share, until it is taken out


@pytest.mark.fault("crashes later, after completion")
def test_a_version_that_crashes_after_completion_is_started_again_with_growing_pauses(stage: Stage) -> None:
    version = stage.deploy("dies-when-told", "--strategy", "blue_green")["candidate"]
    with stage.window("crashes after completion"):
        (stage.data / "die").touch()
        stage._when(lambda: len(_failures(stage)) >= 5)
        (stage.data / "die").unlink()
        stage._when(lambda: is_healthy(stage, version))  # the version is kept, and started again and again
    last_words = "exited with code 3; its log ends with: out of orders"
    assert all(one["cause"].endswith(last_words) for one in _failures(stage))
    stage.deploy("good", "--strategy", "blue_green")


def _failures(stage: Stage) -> list[dict[str, str]]:
    return [one["data"] for one in stage.records("instance.failed") if "out of orders" in one["data"]["cause"]]


@pytest.mark.fault("all instances are killed at once")
def test_a_service_comes_back_by_itself_after_all_its_instances_were_killed(stage: Stage) -> None:
    version = stage.status()["stable"]
    with stage.window("all instances killed"):  # who comes in time waits in Envoy for the next ones, others get a 503
        before = {one["id"] for one in stage.instances()}
        begun = time.monotonic()
        for name in before:
            stage.process(name).kill()
        stage.when(lambda status: not before & {one["id"] for one in status["instances"]})
        stage._when(lambda: is_healthy(stage, version))
        print(f"healthy again after {time.monotonic() - begun:.1f} s")
    with stage.nobody_notices("after that"):
        pass


@pytest.mark.fault("Envoy is killed during a rollout")
def test_envoy_comes_back_and_the_rollout_completes(stage: Stage) -> None:
    stage.configure(hold="2s", max_failures=3)
    with stage.window("Envoy killed") as seen:
        stage.deploy("good", "--strategy", "canary", "--detach")
        before = envoy_of(stage)
        psutil.Process(before).kill()
        begun = time.monotonic()
        stage._when(lambda: envoy_of(stage) not in {before, None})
        print(f"another Envoy after {time.monotonic() - begun:.2f} s")
        assert ((ended := stage.ended())["state"], ended["cause"]) == ("completed", None)
    assert seen[0].failures <= 300


def envoy_of(stage: Stage) -> int | None:
    directory = str(stage.project.directory)
    for process in psutil.process_iter(["name", "cmdline"]):
        words = process.info["cmdline"] or ()
        if process.info["name"] == "envoy" and any(directory in word for word in words):
            return int(process.pid)
    return None


@pytest.mark.fault("an instance hangs")
def test_an_instance_that_hangs_leaves_the_rotation_and_is_replaced(stage: Stage) -> None:
    with stage.window("an instance hangs") as seen:
        hung = stage.instances()[0]["id"]
        stage.process(hung).send_signal(signal.SIGSTOP)
        stage.when(lambda _: hung not in {one["id"] for one in stage.instances()})
        stage.when(lambda status: status["health"] == "healthy")
    (failed,) = [one["data"] for one in stage.records("instance.failed") if one["data"]["instance"] == hung]
    assert "liveness lost: /health/live failed 3 times in a row, last: no answer within 0.5 s" in failed["cause"]
    assert "is stopped by a signal (such as SIGSTOP)" in failed["cause"]
    assert seen[0].failures <= 200
