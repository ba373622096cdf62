"""What the tests of bad worlds share: one project that serves under a light load, while fault after fault is played."""

from __future__ import annotations

import itertools
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import psutil

from hitless.testing.live import LiveLoad, LiveProject, free_ports, live_load
from hitless.testing.load import KindReport, Report, from_json

SHOP = Path(__file__).parents[2] / "examples" / "shop"
KINDS = ("--kinds", "keepalive", "close", "post")
RATE_RPS = "100"
WITHIN_S = 60.0

CONFIGURATION = """
service: shop
listen: 127.0.0.1:{port}
instances: 2
run:
  command: ["{python}", -m, shop, --port, "{{port}}"]
  directory: "{shop}"
  environment: {{SHOP_DATA: "{data}", SHOP_RELEASE: "{{version}}", SHOP_WARMUP: "0", LD_PRELOAD: ""}}
health: {{live: /health/live, ready: /health/ready, interval: 300ms, start_deadline: 20s, max_failures: 2}}
preflight: off
drain: {{requests: 1s, streams: 5s}}
progress_deadline: 30s
strategy:
  canary: {{steps: [{{weight: 25%, hold: {hold}}}, {{weight: 100%}}]}}
"""


def render(port: int, *, data: Path, hold: str = "200ms") -> str:
    return CONFIGURATION.format(port=port, hold=hold, python=sys.executable, shop=SHOP, data=data)


@dataclass(slots=True, kw_only=True)
class World:
    """One project under load."""

    project: LiveProject
    port: int
    data: Path
    load: LiveLoad
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(2))

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.project.directory / ".hitless"

    @property
    def store(self) -> Path:
        return self.state / "hitless.db"

    @property
    def controller(self) -> psutil.Process:
        assert self.project.control_plane is not None
        return psutil.Process(self.project.control_plane.pid)

    def text(self, *, port: int | None = None, hold: str = "200ms") -> str:
        """Render `hitless.yaml`."""
        return render(port or self.port, data=self.data, hold=hold)

    def deploy(self, *options: str, expect: int = 0) -> str:
        """Deploy the next version; return its name."""
        version = f"v{next(self.numbers)}"
        self.project.check("deploy", "shop", "--version", version, *options, expect=expect)
        return version

    def refused(self, *command: str, code: str, exit_code: int) -> CompletedProcess[str]:
        """Run a command that must fail with this error, and say what to do next."""
        done = self.project.run(*command)
        said = f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.returncode == exit_code, said
        assert f"error[{code}]" in done.stderr, said
        assert "hint: " in done.stderr, said
        return done

    def status(self) -> Any:
        return self.project.status("shop")

    def when(self, look: Callable[[], Any]) -> Any:
        """Wait until `look()` is true; return it."""
        deadline = time.monotonic() + WITHIN_S
        while not (found := look()):
            assert time.monotonic() < deadline, f"never came: {self.status()}\n{self.log()}"
            time.sleep(0.1)
        return found

    def told(self, words: str) -> str:
        """Wait until `hitless status` and the log say so; return the problem."""
        problem = self.shown(words)
        self.when(lambda: words in self.log())
        return problem

    def shown(self, words: str) -> str:
        """Wait until `hitless status` says so; return the problem."""
        return str(self.when(lambda: next((one for one in self.status()["problems"] if words in one), None)))

    def over(self, words: str) -> None:
        """Wait until nobody says so any more."""
        self.when(lambda: not any(words in one for one in self.status()["problems"]))

    def log(self) -> str:
        """Return what the control plane has written."""
        return self.project.log_path.read_text()

    def ended(self) -> Any:
        """Wait until the rollout has ended; return it."""
        self.when(lambda: self.status()["rollout"]["state"] != "running")
        return self.status()["rollout"]

    def healthy(self) -> Any:
        """Wait until the service is as it is wanted; return its status."""
        self.when(lambda: (view := self.status())["health"] == "healthy" and not view["problems"])
        return self.status()

    def instances(self) -> set[str]:
        return {one["id"] for one in self.status()["instances"]}

    def up_fails(self, *, code: str, exit_code: int) -> str:
        """Start a control plane that must refuse; return what it says."""
        before = len(self.log())
        began = self.project.begin()
        assert began.wait(WITHIN_S) == exit_code, self.log()[before:]
        said = self.log()[before:]
        assert f"error[{code}]" in said
        assert "hint: " in said
        return said

    @contextmanager
    def nobody_notices(self, name: str) -> Iterator[None]:
        """Play a fault that no request may fail for."""
        mark = f"{name} {next(self.numbers)}"
        self.load.mark(mark)
        yield
        self.load.mark(f"after {mark}")
        seen = self.when(lambda: self._snapshot_with(f"after {mark}"))
        total = sum(seen.by_mark.get(mark, {}).values(), KindReport())
        print(f"{name}: {total.sent} sent, {total.answered} answered, {dict(total.failed)}")
        assert total.sent > 0
        assert total.failed == {}, seen.examples

    def _snapshot_with(self, mark: str) -> Report | None:
        last = self.load._last_line()
        return from_json(last) if mark in last.get("by_mark", {}) else None

    @contextmanager
    def fresh(self) -> Iterator[World]:
        """Begin with everything as usual, and leave it so."""
        self.project.write(self.text())
        if self.status()["health"] != "healthy":
            self.healthy()
        yield self
        self.project.write(self.text())
        self.project.wrapper, self.project.control_environment = (), {}

    @contextmanager
    def limited(self, resource: int, limit: int) -> Iterator[None]:
        """Let the control plane have no more than this of a resource."""
        soft, hard = self.controller.rlimit(resource)
        self.controller.rlimit(resource, (limit, hard))
        try:
            yield
        finally:
            self.controller.rlimit(resource, (soft, hard))

    def restart(self, *, kill: bool = False) -> None:
        """End the control plane and start the next one."""
        assert self.project.control_plane is not None
        if self.project.control_plane.poll() is None:
            self.project._end(signal.SIGKILL if kill else signal.SIGTERM)
        self.project.up()


@contextmanager
def world_at(directory: Path) -> Iterator[World]:
    """A project that serves v1 under a light load."""
    (port,) = free_ports(1)
    data = directory / "data"
    data.mkdir(parents=True)
    project = LiveProject(directory=directory / "project", configuration="")
    world = World(project=project, port=port, data=data, load=None)  # type: ignore[arg-type]  # comes once it serves
    project.configuration = world.text()
    with project:
        project.check("deploy", "--version", "v1")
        with live_load(f"127.0.0.1:{port}", "--rate", RATE_RPS, *KINDS) as world.load:
            yield world
            report = world.load.finish()
            assert report.total.failed == {}, report.examples
            assert report.posts is not None
            assert (report.posts.problem, report.posts.duplicates, report.posts.lost) == (None, 0, 0)
