"""Versions that are worse in one way each are taken back by what they do to requests, good ones are let in."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from disks import fill, small_disk

from hitless.cli.client import Client
from hitless.cli.place import socket_path
from hitless.testing.live import LiveLoad, LiveProject, free_ports, live_load
from hitless.testing.load import KindReport, Report, from_json

APP = Path(__file__).parent / "apps" / "judged_version.py"
RATE_RPS = 200
WITHIN_S = 120.0
LOGS = ".hitless/envoy/local/logs"
"""Of Envoy, on a disk of their own, that can be full while everything else goes on."""

UNANSWERED_S = 11.0
"""So long after it was sent every request of the load has a fate; those that hang must not be found in what follows."""

BACKGROUND_S = 15
"""What the old version was like is measured for so long before the first deploy."""

CONFIGURATION = """
service: shop
listen: 127.0.0.1:{port}
instances: 2
run:
  command: ["{python}", "{app}", "{{port}}"]
  directory: "{data}"
  environment: {{SHARED: "{data}/shared"}}
health: {{ready: /health, interval: 200ms}}
drain: {{requests: 1s, streams: 5s}}
traffic: {{keep_alive: 30s}}
preflight: off
metrics:
  path: /metrics
  ratios: {{orders: {{good: 'orders_total{{outcome="paid"}}', total: orders_total}}}}
slo: {{success_rate: {{at_least: 99%, for: 5s}}}}
analysis:
  {{error_rate: {{margin: 0.3pp}}, dependencies: [catalogue], warm_up: {warm_up}, undecided: {undecided},
   patience: {patience}}}
strategy:
  canary: {{steps: [{{weight: 50%, hold: {hold}}}, {{weight: 100%}}]}}
  blue_green: {{keep_warm: 90s}}
"""


@dataclass(slots=True, kw_only=True)
class Court:
    """One project under load, and what becomes of each version that comes before its judge."""

    project: LiveProject
    load: LiveLoad
    port: int
    data: Path
    deployed: int = 0
    marks: list[str] = field(default_factory=list)

    @property
    def client(self) -> Client:
        return Client(socket_path(self.project.directory))

    @property
    def shared(self) -> Path:
        return self.data / "shared"

    def configure(
        self, *, warm_up: str = "0s", hold: str = "3s", undecided: str = "wait", patience: str = "30m"
    ) -> None:
        self.project.write(
            CONFIGURATION.format(
                port=self.port, python=sys.executable, app=APP, data=self.data, warm_up=warm_up, hold=hold,
                undecided=undecided, patience=patience,
            )
        )  # fmt: skip

    def version(self, fault: str) -> str:
        self.deployed += 1
        return f"{self.deployed}-{fault}"

    def tried(self, fault: str, *options: str, expect: int) -> tuple[Any, float, KindReport]:
        """Deploy a version; return its rollout, how long it had users, and what became of requests meanwhile."""
        version = self.version(fault)
        self.load.mark(version)
        began_s = time.monotonic()
        self.project.check("deploy", "--version", version, *options, expect=expect)
        seconds = time.monotonic() - began_s
        harmed = self._window(version)
        rollout = self.rollout()
        print(f"{fault}: {seconds:.1f} s, {harmed.failures} of {harmed.sent} failed; {rollout['cause'] or 'completed'}")
        return rollout, seconds, harmed

    def begun(self, fault: str) -> str:
        version = self.version(fault)
        self.project.check("deploy", "--version", version, "--detach")
        return version

    def when(self, look: Callable[[Any], Any], *, within_s: float = WITHIN_S) -> Any:
        deadline = time.monotonic() + within_s
        while not (found := look(rollout := self.rollout())):
            assert time.monotonic() < deadline, f"never came: {rollout}"
            time.sleep(0.2)
        return found

    def rollout(self) -> Any:
        return self.client.service("shop")["rollout"]

    def held(self, why: str, *, within_s: float = WITHIN_S) -> Any:
        """Wait until the rollout is held for this reason; return the judgement."""
        return self.when(
            lambda rollout: (
                rollout["state"] == "running"
                and (said := rollout["judgement"]) is not None
                and said["why"] == why
                and said
            ),
            within_s=within_s,
        )

    def abort(self) -> None:
        self.project.check("rollout", "abort", "shop")

    def _window(self, name: str) -> KindReport:
        self.load.mark(f"after {name}")
        deadline = time.monotonic() + WITHIN_S
        while f"after {name}" not in (last := self.load._last_line()).get("by_mark", {}):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        report: Report = from_json(last)
        return sum(report.by_mark[name].values(), KindReport())


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    folder = tmp_path_factory.mktemp("judge")
    with small_disk(folder / "project" / LOGS, mib=256), opened(folder, rate_rps=RATE_RPS) as court:
        time.sleep(BACKGROUND_S)
        yield court


@contextmanager
def opened(folder: Path, *, rate_rps: int) -> Iterator[Court]:
    (port,) = free_ports(1)
    project = LiveProject(directory=folder / "project", configuration="")
    project.directory.mkdir(exist_ok=True)
    court = Court(project=project, load=None, port=port, data=folder)  # type: ignore[arg-type]  # comes once it serves
    court.configure()
    with project:
        project.check("deploy", "--version", "0-good")
        kinds = ("--kinds", "keepalive", "close")
        with live_load(f"127.0.0.1:{port}", "--rate", str(rate_rps), *kinds, duration_s=1200) as court.load:
            yield court


@pytest.fixture
def court(busy: Court) -> Iterator[Court]:
    busy.configure()
    try:
        yield busy
    finally:
        busy.shared.unlink(missing_ok=True)
        if busy.rollout()["state"] == "running":
            busy.project.run("rollout", "abort", "shop")


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("fault", "rows"),
    [
        ("errors", {"errors"}),
        ("slow", {"latency"}),
        ("tail", {"latency"}),
        ("hangs", {"latency"}),
        ("dependency", {"dependencies.catalogue"}),
    ],
)
def test_a_version_that_is_worse_is_taken_back_by_the_row_that_tells_why(
    court: Court, fault: str, rows: set[str]
) -> None:
    before = court.client.service("shop")["stable"]
    rollout, _, _ = court.tried(fault, expect=3)
    said = rollout["judgement"]
    assert (said["call"], said["why"]) == ("rollback", "worse")
    assert said["row"] in rows
    assert rollout["cause"] == said["sentence"]
    assert court.client.service("shop")["stable"] == before
    if fault == "hangs":
        time.sleep(UNANSWERED_S)


@pytest.mark.acceptance
def test_a_version_whose_requests_all_succeed_and_whose_orders_fail_is_taken_back(court: Court) -> None:
    rollout, _, harmed = court.tried("unpaid", expect=3)
    said = rollout["judgement"]
    assert (said["call"], said["why"], said["row"]) == ("rollback", "worse", "ratios.orders")
    assert rollout["cause"].startswith("ratios.orders: ")
    assert harmed.failures == 0


@pytest.mark.acceptance
def test_a_version_whose_every_request_fails_is_gone_in_seconds(court: Court) -> None:
    _, _, harmed = court.tried("all-fail", expect=3)
    assert harmed.failures < 5 * RATE_RPS  # its half of the traffic, for less than ten seconds


@pytest.mark.acceptance
def test_after_a_flip_a_version_that_breaks_the_promise_is_taken_back(court: Court) -> None:
    rollout, _, _ = court.tried("often", "--strategy", "blue_green", expect=3)
    said = rollout["judgement"]
    assert (said["call"], said["row"]) == ("rollback", "objective")
    assert rollout["cause"].startswith("objective: ")


@pytest.mark.acceptance
def test_a_good_version_is_promoted_because_it_is_shown_to_be_no_worse(court: Court) -> None:
    rollout, _, harmed = court.tried("good", expect=0)
    assert harmed.failed == {}
    said = rollout["judgement"]
    assert (said["call"], said["why"]) == ("promote", "not_worse"), said
    (network,) = [row for row in said["rows"] if row["name"] == "network"]
    print(network["detail"])
    assert "times that of the old version" in network["detail"]
    assert 0.5 < network["estimate"]["value"] < 2.0


@pytest.mark.acceptance
def test_a_cold_cache_is_forgiven_for_as_long_as_the_settings_say(court: Court) -> None:
    court.configure(warm_up="10s", hold="10m")  # it is not to be what the others are compared with
    court.begun("cold")
    said = court.held("not_worse")
    print(said["sentence"])
    assert said["call"] == "promote"


@pytest.mark.acceptance
def test_where_both_versions_fail_nobody_is_blamed_and_nothing_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path, rate_rps=RATE_RPS) as court:  # of its own: an incident would be the others' background
        time.sleep(BACKGROUND_S)
        court.configure(hold="2s")
        court.begun("good")
        court.held("too_few")
        court.shared.touch()
        said = court.held("environment")
        print(said["detail"])
        assert court.rollout()["state"] == "running"
        court.shared.unlink()
        court.abort()


@pytest.mark.acceptance
def test_without_metrics_a_rollout_holds_and_is_not_taken_back(court: Court) -> None:
    court.configure(hold="2s")
    court.begun("good")
    court.held("too_few")
    ballast = fill(court.project.directory / LOGS)
    try:
        said = court.held("no_data")
        print(said["detail"])
        assert court.rollout()["state"] == "running"
    finally:
        ballast.unlink()


@pytest.mark.acceptance
def test_with_next_to_no_traffic_it_says_what_is_missing_and_the_settings_decide(tmp_path: Path) -> None:
    with opened(tmp_path, rate_rps=2) as court:
        court.configure(undecided="rollback", patience="5s")
        court.begun("good")
        said = court.held("too_few")
        assert said["missing_requests"] is None or said["missing_requests"] > 100
        print(said["detail"])
        rollout = court.when(lambda rollout: rollout["state"] == "rolled_back" and rollout)
    assert "is undecided 5 s after its time: not enough requests to" in rollout["cause"]
