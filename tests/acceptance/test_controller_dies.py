"""The controller may die at any moment: users notice nothing, and the next one goes on where the world stands."""

from __future__ import annotations

import contextlib
import os
import time

import psutil
import pytest

from hitless.adapters.store_sql.store import open_store
from hitless.engine.codec import load_state, rebuild
from hitless.testing.live import LiveProject, live_load


def wait_for_end(project: LiveProject) -> dict[str, object]:
    deadline = time.monotonic() + 60
    while (view := project.status("shop")["rollout"])["state"] == "running":
        assert time.monotonic() < deadline, view
        time.sleep(0.1)
    return view


@pytest.mark.acceptance
def test_a_rollout_goes_on_after_its_controller_was_killed(shop: LiveProject) -> None:
    shop.check("deploy", "--version", "v1")
    target = shop.status("shop")["listen"]
    with live_load(target, "--rate", "200", "--streams", "5") as load:
        for number, strategy in enumerate(["rolling", "blue_green", "canary"], 2):
            shop.check("deploy", "--version", f"v{number}", "--strategy", strategy, "--detach")
            for pause_s in (0.3, 0.8):
                time.sleep(pause_s)
                shop.kill()
                shop.up()
            assert wait_for_end(shop)["state"] == "completed"
        report = load.finish()
    assert report.total.failed == {}, report.examples
    assert report.posts is not None
    assert (report.posts.duplicates, report.posts.lost) == (0, 0)
    view = shop.status("shop")
    assert [one["phase"] for one in view["instances"] if one["version"] == "v4"] == ["ready", "ready"]
    assert view["health"] == "healthy"
    assert_journal_rebuilds_the_state(shop)


@pytest.mark.acceptance
def test_ending_the_control_plane_leaves_services_alone(shop: LiveProject) -> None:
    shop.check("deploy", "--version", "v1")
    before = shop.status("shop")
    with live_load(before["listen"], "--rate", "200", "--streams", "5") as load:
        for _ in range(3):
            assert shop.stop() == 0
            time.sleep(0.5)
            shop.up()
        report = load.finish()
    assert report.total.failed == {}, report.examples
    assert [one["id"] for one in shop.status("shop")["instances"]] == [one["id"] for one in before["instances"]]


def assert_journal_rebuilds_the_state(project: LiveProject) -> None:
    with open_store(project.directory / ".hitless") as store:
        run = store.run("service/shop")
        assert run is not None
        assert rebuild(store.journal(), service="shop") == load_state(run.state)
        assert store.verify_journal() is None


@pytest.mark.acceptance
def test_what_was_deployed_comes_back_after_everything_was_ended(shop: LiveProject) -> None:
    shop.check("deploy", "--version", "v1")
    shop.check("deploy", "--version", "v2", "--strategy", "canary", "--detach")
    shop.down()
    shop.up()
    view = wait_for_end(shop)
    assert (view["state"], view["baseline"]) == ("rolled_back", "v1")
    assert shop.status("shop")["health"] == "healthy"
    assert_journal_rebuilds_the_state(shop)


@pytest.mark.acceptance
def test_down_leaves_no_process_behind_and_nobody_who_starts_them_again(shop: LiveProject) -> None:
    shop.check("deploy", "--version", "v1")
    assert len(processes_of(shop)) >= 4  # the control plane, Envoy, two instances
    stands_by = shop.begin()
    deadline = time.monotonic() + 30
    while "this one stands by" not in shop.log_path.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    shop.down()
    assert stands_by.wait(30) == 0
    assert "hitless down has ended everything" in shop.log_path.read_text()
    assert processes_of(shop) == []


def processes_of(project: LiveProject) -> list[str]:
    """List processes whose command line or environment names the project's directory."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = [*process.cmdline(), *process.environ().values()]
            if process.pid != os.getpid() and any(str(project.directory.parent) in word for word in words):
                found.append(" ".join(process.cmdline()))
    return found
