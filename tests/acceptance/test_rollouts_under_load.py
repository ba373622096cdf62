"""Every strategy, ended in every way at every step, under every kind of client: no request fails, no stream is cut."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import pytest

from hitless.testing.live import LiveLoad, LiveProject, live_load
from hitless.testing.load import Report, Verdict, as_text

STRATEGIES = {"rolling": 1, "blue_green": 3, "canary": 4}
"""Strategies, and how many stages each has."""

LEAST_REQUESTS = 100_000
RATE_RPS = "700"


class Season:
    """One service's life under load; versions are numbered."""

    def __init__(self, project: LiveProject, strategy: str, load: LiveLoad) -> None:
        self.project, self.strategy, self.load = project, strategy, load
        self.numbers = itertools.count(2)
        self.stable = "v1"
        self.ended = 0

    def deploy(self, *options: str, expect: int = 0) -> str:
        version = f"v{next(self.numbers)}"
        self.load.mark(f"{self.strategy} {version}")
        self.project.check("deploy", "shop", "--version", version, "--strategy", self.strategy, *options, expect=expect)
        self.ended += 1
        return version

    def at_stage(self, stage: int, act: Callable[[], object]) -> None:
        """Begin a rollout and act as soon as it has reached a stage."""
        self.deploy("--detach")
        deadline = time.monotonic() + 60
        while True:
            rollout = self.project.status("shop")["rollout"]
            if rollout["stage"] >= stage or rollout["state"] != "running":
                break
            assert time.monotonic() < deadline, rollout
        act()

    def promote(self, stage: int) -> None:
        self.at_stage(stage, lambda: self.project.run("rollout", "promote", "shop", "--full"))
        self.wait_until_ended()

    def abort(self, stage: int) -> None:
        self.at_stage(stage, lambda: self.project.run("rollout", "abort", "shop"))
        self.wait_until_ended()

    def supersede(self, stage: int) -> None:
        self.at_stage(stage, lambda: self.deploy("--supersede"))
        self.wait_until_ended()

    def undo(self) -> None:
        self.deploy()
        self.project.check("rollout", "undo", "shop")
        self.ended += 1

    def wait_until_ended(self) -> None:
        deadline = time.monotonic() + 90
        while (view := self.project.status("shop"))["rollout"]["state"] == "running":
            assert time.monotonic() < deadline, view
            time.sleep(0.1)


@pytest.mark.acceptance
@pytest.mark.timeout(600)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_request_fails_whichever_way_a_rollout_ends(shop: LiveProject, strategy: str) -> None:
    shop.check("deploy", "shop", "--version", "v1", "--strategy", "rolling")
    target = shop.status("shop")["listen"]
    with live_load(target, "--rate", RATE_RPS, "--streams", "10") as load:
        season = Season(shop, strategy, load)
        for stage in range(STRATEGIES[strategy]):
            season.promote(stage)
            season.abort(stage)
            season.supersede(stage)
        season.undo()
        while load.sent() < LEAST_REQUESTS:
            season.deploy()
        report = load.finish()
    print(f"\n{strategy}: {season.ended} rollouts\n{as_text(report)}")
    _assert_nobody_noticed(report)
    assert shop.json("journal", "verify")["problem"] is None


def _assert_nobody_noticed(report: Report) -> None:
    assert report.total.sent >= LEAST_REQUESTS
    assert report.total.failed == {}, report.examples
    assert report.total.cut == 0
    assert report.posts is not None
    assert (report.posts.duplicates, report.posts.lost) == (0, 0)
    assert report.verdict in {Verdict.CLEAN, Verdict.INCOMPLETE}
