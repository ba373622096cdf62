"""Versions that must be turned away, or misbehave once they serve: users are unharmed, the operator is told why."""

from __future__ import annotations

import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults_stage import COMMAND, NEXT, Stage, processes_of, stage_at

from hitless.adapters.processes.logs import LOG_LIMIT_BYTES

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

CANARY = ("--strategy", "canary")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage_at(tmp_path_factory.mktemp("bad-versions")) as stage:
        yield stage


@pytest.fixture
def stage(running: Stage) -> Iterator[Stage]:
    with running.fresh():
        yield running


# Versions that never get users


@pytest.mark.fault("never ready")
def test_a_version_that_is_never_ready_is_turned_away_with_the_last_answer(stage: Stage) -> None:
    stage.configure(start_deadline="3s")
    with stage.nobody_notices("never ready"):
        cause = stage.turned_away("never-ready")
    assert "1 instance of" in cause
    assert "not ready within 3 s: /health/ready last said: 503: no connection to the warehouse" in cause


@pytest.mark.fault("slow start beyond the deadline")
def test_a_start_beyond_the_deadline_is_turned_away_with_what_is_missing_and_the_last_words(stage: Stage) -> None:
    stage.configure(start_deadline="1s")
    with stage.nobody_notices("slow start"):
        cause = stage.turned_away("slow-start")
    assert "not ready within 1 s: /health/ready last said: connection refused; nothing listens on port" in cause
    assert cause.endswith("its log ends with: loading the catalogue")


@pytest.mark.fault("crashes at start")
def test_a_version_that_crashes_at_its_start_is_turned_away_with_code_and_last_words(stage: Stage) -> None:
    with stage.nobody_notices("crashes at start"):
        cause = stage.turned_away("dies-at-start")
    assert stage.project.check(*NEXT[0].split()[1:]).count("no such table: orders") == 1
    assert '"outcome"' in stage.project.check(*NEXT[1].split()[1:], "--json")
    assert cause.endswith("exited with code 1; its log ends with: no such table: orders")


@pytest.mark.fault("daemonises")
def test_a_version_that_goes_to_the_background_is_turned_away_and_its_daemon_ended(stage: Stage) -> None:
    with stage.nobody_notices("daemonises"):
        cause = stage.turned_away("daemonises")
        assert "exited with code 0 and left running: " in cause
        assert "it must stay in the foreground" in cause
        assert processes_of(stage.rollout()["candidate"]) == []


@pytest.mark.fault("executable, interpreter or directory missing or not allowed")
def test_a_version_that_cannot_be_started_is_turned_away_with_what_is_wrong(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "plain.txt").touch(0o644)
    (tmp_path / "script").write_text("#!/no/such/python\nprint()\n")
    (tmp_path / "script").chmod(0o755)
    wrong = {
        ('["no-such-program"]', tmp_path): "executable missing: no-such-program is in none of PATH=",
        ('["./plain.txt"]', tmp_path): f"executable missing: {tmp_path}/plain.txt may not be executed",
        ('["./script"]', tmp_path): f"interpreter missing: '/no/such/python', as the first line of {tmp_path}/script",
        (COMMAND, tmp_path / "nowhere"): f"directory missing: {tmp_path}/nowhere",
    }
    with stage.nobody_notices("cannot be started"):
        for (command, directory), cause in wrong.items():
            stage.configure(command=command, directory=str(directory))
            assert cause in stage.turned_away("cannot-start")


# Versions that fail once they have users


@pytest.mark.fault("crashes later, while it is held")
def test_a_canary_that_crashes_while_it_is_held_is_turned_away(stage: Stage) -> None:
    stage.configure(hold="60s")
    with stage.window("crashes later") as seen:
        cause = stage.turned_away("dies-later", *CANARY)
    assert cause.endswith("exited with code 3; its log ends with: out of orders")
    assert seen[0].failures <= 10  # what was in flight


@pytest.mark.fault("every request fails")
@pytest.mark.parametrize("strategy", ["canary", "blue_green"])
def test_a_version_whose_every_request_fails_is_turned_away_within_seconds(stage: Stage, strategy: str) -> None:
    stage.configure(hold="60s")
    with stage.window(f"every request fails, {strategy}") as seen:
        cause = stage.turned_away("all-fail", "--strategy", strategy)
    assert f"requests to {stage.rollout()['candidate']} failed (5xx), while " in cause
    assert set(seen[0].failed_versions) == {stage.rollout()["candidate"]}
    assert 30 <= seen[0].failures <= 600


@pytest.mark.fault("leaks descriptors")
def test_a_canary_that_runs_out_of_descriptors_is_turned_away_with_the_count(stage: Stage) -> None:
    stage.configure(hold="60s")
    with stage.window("leaks descriptors") as seen:
        cause = stage.turned_away("leaks", *CANARY)
    assert "of 80 descriptors open" in cause
    assert seen[0].failures <= 60  # what waited for an answer when it was ended


@pytest.mark.fault("closes its port and lives on")
def test_a_canary_that_closes_its_port_is_turned_away(stage: Stage) -> None:
    stage.configure(hold="60s")
    with stage.window("closes its port") as seen:
        cause = stage.turned_away("closes-its-port", *CANARY)
    assert "last: connection refused; nothing listens on port" in cause
    assert seen[0].failures <= 100  # its share, with nobody beside it to ask instead, until three probes have failed


@pytest.mark.fault("readiness flaps")
def test_an_instance_that_is_ready_now_and_then_serves_now_and_then(stage: Stage) -> None:
    stage.configure(hold="60s")
    with stage.nobody_notices("readiness flaps"):
        version = stage.deploy("flaps", *CANARY, "--detach")["candidate"]
        for phase in ("ready", "unready", "ready"):
            (one,) = stage.when(lambda _, phase=phase: [i for i in stage.instances(version) if i["phase"] == phase])
            if phase == "unready":
                assert "/health/ready failed 3 times in a row, last: 503: no connection" in one["cause"]
        assert len(stage.records("stage.unsettled")) >= 1
        stage.project.check("rollout", "abort", "shop")


# Versions that serve, and misbehave


@pytest.mark.fault("port taken by another program")
def test_an_instance_whose_port_is_taken_gets_another_one_and_nothing_is_held_against_its_version(stage: Stage) -> None:
    with stage.nobody_notices("port taken"), socket.socket() as thief:
        version = stage.deploy("late-to-bind", "--detach")["candidate"]
        (one,) = stage.when(lambda _: stage.instances(version))
        host, port = one["address"].split(":")
        thief.bind((host, int(port)))
        thief.listen()
        assert ((ended := stage.ended())["state"], ended["cause"]) == ("completed", None)
    (failed,) = [one for one in stage.records("instance.failed") if "was taken" in one["data"]["cause"]]
    assert f"port {port} was taken by another program: " in failed["data"]["cause"]
    assert f"(pid {os.getpid()})" in failed["data"]["cause"]
    assert failed["data"]["is_lost"]


@pytest.mark.fault("ignores SIGTERM")
@pytest.mark.fault("floods its log")
@pytest.mark.fault("zombie children")
def test_a_version_with_bad_manners_serves_and_goes(stage: Stage) -> None:
    with stage.nobody_notices("floods its log, zombie children, ignores SIGTERM"):
        version = stage.deploy("floods-its-log-zombies-ignores-sigterm")["candidate"]
        names = [one["id"] for one in stage.instances(version)]
        assert len(stage.process(names[0]).children()) == 20
        stage._when(lambda: "still writing" in stage.project.check("logs", "--instance", names[0], "-n", "1"))
        stage._when(lambda: _log_bytes(stage, names[0]) <= 2 * LOG_LIMIT_BYTES)
        stage.deploy("good")
        stage._when(lambda: not processes_of(version))
        gone = stage._when(lambda: _endings(stage, set(names)))
    assert set(gone.values()) == {"killed: it did not end within its grace"}


def _log_bytes(stage: Stage, name: str) -> int:
    return sum(one.stat().st_size for one in stage.project.directory.glob(f".hitless/logs/shop/{name}.log*"))


def _endings(stage: Stage, names: set[str]) -> dict[str, str] | None:
    found = {one["data"]["instance"]: one["data"]["how"] for one in stage.records("instance.gone")}
    return {name: found[name] for name in names} if names <= found.keys() else None


@pytest.mark.fault("log disk full")
def test_an_instance_serves_on_while_its_log_has_no_room(stage: Stage) -> None:
    newest = max(int(one["data"]["number"]) for one in stage.records("instance.ordered"))
    logs = stage.project.directory / ".hitless/logs/shop"
    for number in range(newest + 1, newest + 5):
        (logs / f"shop-{number}.log").symlink_to("/dev/full")
    with stage.nobody_notices("log disk full"):
        version = stage.deploy("floods-its-log", *CANARY)["candidate"]
        for one in stage.instances(version):
            assert Path(f"/proc/{stage.process(one['id']).pid}/fd/1").readlink() == Path("/dev/full")
    for link in filter(Path.is_symlink, logs.iterdir()):
        link.unlink()


@pytest.mark.fault("huge responses")
def test_huge_headers_and_bodies_pass_and_headers_beyond_the_limit_fail_alone(stage: Stage) -> None:
    with stage.nobody_notices("huge responses"):
        with urllib.request.urlopen(f"http://127.0.0.1:{stage.port}/huge") as answer:
            assert len(answer.headers["x-huge"]) == 40_000
            assert len(answer.read()) == 32_000_000
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{stage.port}/too-huge")
        assert refused.value.code == 502
        refused.value.close()
        assert stage.status()["health"] == "healthy"
