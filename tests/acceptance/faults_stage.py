"""What the tests of bad versions share: one project under a light load, while fault after fault is played."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from hitless.cli.client import Client
from hitless.cli.place import socket_path
from hitless.testing.live import LiveLoad, LiveProject, free_ports, live_load
from hitless.testing.load import KindReport, Report, from_json

SHOP = Path(__file__).parents[2] / "examples" / "shop"
APP = Path(__file__).parent / "apps" / "bad_version.py"
COMMAND = f'["{sys.executable}", "{APP}", "{{port}}"]'
RATE_RPS = "100"
WITHIN_S = 60.0
NEXT = ["hitless logs shop", "hitless journal tail --service shop"]
"""What the operator of a version that was turned away is told to run next."""

CONFIGURATION = """
service: shop
listen: 127.0.0.1:{port}
instances: 2
run: {{command: {command}, directory: "{directory}", environment: {{SHOP_DATA: "{data}", SHOP_WARMUP: "0"}}}}
health:
  {{live: /health/live, ready: /health/ready, interval: 200ms, timeout: 500ms, start_deadline: {start_deadline},
   max_failures: {max_failures}}}
drain: {{requests: 1s, streams: 5s}}
traffic: {{keep_alive: 30s}}
preflight: off
strategy:
  rolling: {{max_surge: 1, max_unavailable: 0}}
  blue_green: {{keep_warm: {hold}}}
  canary: {{steps: [{{weight: 25%, hold: {hold}}}, {{weight: 100%}}]}}
"""


@dataclass(slots=True, kw_only=True)
class Stage:
    """One project under load."""

    project: LiveProject
    load: LiveLoad
    port: int
    data: Path
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def client(self) -> Client:
        """The control plane, asked without a process for each question."""
        return Client(socket_path(self.project.directory))

    def configure(
        self,
        *,
        command: str = COMMAND,
        directory: str = str(SHOP),
        start_deadline: str = "30s",
        hold: str = "100ms",
        max_failures: int = 1,
    ) -> None:
        """Write the settings that the next deploy takes."""
        self.project.write(
            CONFIGURATION.format(
                port=self.port,
                command=command,
                directory=directory,
                data=self.data,
                start_deadline=start_deadline,
                hold=hold,
                max_failures=max_failures,
            )
        )

    def deploy(self, fault: str, *options: str, expect: int = 0) -> Any:
        """Deploy a version with this fault in its name; return the rollout."""
        self.project.check("deploy", "--version", f"{next(self.numbers)}-{fault}", *options, expect=expect)
        return self.rollout()

    def turned_away(self, fault: str, *options: str) -> str:
        """Deploy a version that must be turned away; return the cause that the operator is told."""
        before = self.status()["stable"]
        rollout = self.deploy(fault, *options, expect=3)
        self.when(lambda status: {one["version"] for one in status["instances"]} == {before})
        assert (self.status()["stable"], self.status()["health"]) == (before, "healthy")
        assert rollout["next"] == NEXT
        return str(rollout["cause"])

    @contextmanager
    def fresh(self) -> Iterator[Stage]:
        """Begin with the usual settings, and leave no rollout behind."""
        self.configure()
        try:
            yield self
        finally:
            if self.rollout()["state"] == "running":
                self.project.run("rollout", "abort", "shop")

    @contextmanager
    def window(self, name: str) -> Iterator[list[KindReport]]:
        """Count what becomes of users' requests; the list holds it after the block."""
        mark, found = f"{name} {next(self.numbers)}", list[KindReport]()
        self.load.mark(mark)
        yield found
        self._when(lambda: self._snapshot_with(mark))  # whatever was done may take less time than the next request
        self.load.mark(f"after {mark}")
        seen = self._when(lambda: self._snapshot_with(f"after {mark}"))
        kinds = seen.by_mark[mark].values()
        found.append(sum(kinds, KindReport()))
        print(f"{name}: {found[0].sent} sent, {found[0].answered} answered, {dict(found[0].failed)}")
        assert found[0].sent > 0

    @contextmanager
    def nobody_notices(self, name: str) -> Iterator[None]:
        """Play a fault that no request may fail for."""
        with self.window(name) as seen:
            yield
        assert seen[0].failed == {}

    def _snapshot_with(self, mark: str) -> Report | None:
        last = self.load._last_line()
        return from_json(last) if mark in last.get("by_mark", {}) else None

    def _when(self, look: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + WITHIN_S
        while not (found := look()):
            assert time.monotonic() < deadline, f"never came: {self.status()}"
            time.sleep(0.05)
        return found

    def when(self, look: Callable[[Any], Any]) -> Any:
        """Wait until `look(status)` is true; return it."""
        return self._when(lambda: look(self.status()))

    def status(self) -> Any:
        return self.client.service("shop")

    def rollout(self) -> Any:
        return self.status()["rollout"]

    def ended(self) -> Any:
        """Wait until the rollout has ended."""
        self.when(lambda status: status["rollout"]["state"] != "running")
        return self.rollout()

    def records(self, kind: str) -> list[Any]:
        """Newest journal records of a type, oldest first."""
        return [one for one in self.client.newest_records(200, subject="service/shop") if one["type"] == kind]

    def instances(self, version: str | None = None) -> list[Any]:
        return [one for one in self.status()["instances"] if version in {None, one["version"]}]

    def process(self, instance: str) -> psutil.Process:
        """Find an instance's process."""
        claim = self.project.directory / ".hitless/instances" / instance / "process"
        return psutil.Process(int(claim.read_text().split()[0]))


def processes_of(version: str) -> list[psutil.Process]:
    """List all processes whose environment names the version."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("HITLESS_VERSION") == version:
                found.append(process)
    return found


@contextmanager
def stage_at(directory: Path) -> Iterator[Stage]:
    """A project that serves `0-good` under a light load."""
    (port,) = free_ports(1)
    data = directory / "data"
    data.mkdir(parents=True)
    project = LiveProject(directory=directory / "project", configuration="")
    project.directory.mkdir()
    stage = Stage(project=project, load=None, port=port, data=data)  # type: ignore[arg-type]  # comes once it serves
    stage.configure()
    with project:
        project.check("deploy", "--version", "0-good")
        kinds = ("--kinds", "keepalive", "close", "post")
        with live_load(f"127.0.0.1:{port}", "--rate", RATE_RPS, *kinds) as stage.load:
            yield stage
            report = stage.load.finish()
            assert report.posts is not None
            print(f"POSTs: {report.posts}")
            assert (report.posts.problem, report.posts.duplicates, report.posts.lost) == (None, 0, 0)
