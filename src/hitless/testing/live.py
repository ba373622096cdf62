"""A real project in a folder of its own: `hitless up` as a process, the command line, and a load beside it.

For acceptance tests, demos and benchmarks, of hitless itself and of what is deployed with it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from hitless.testing.load import Report, from_json

START_WITHIN_S = 30.0
STOP_WITHIN_S = 15.0


def free_ports(count: int) -> list[int]:
    """Return different TCP ports of loopback that nothing listens on; asked for one by one, two may be the same."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(probe.getsockname()[1]) for probe in probes]


@dataclass(slots=True, kw_only=True)
class LiveProject:
    """One project directory with its `hitless.yaml`.

    Use as a context manager: `hitless up` at the beginning, `hitless down` at the end.

    Attributes:
        environment: added to that of every process.
        wrapper: what the control plane alone is started through, such as `prlimit`.
        control_environment: added to that of the control plane alone.
    """

    directory: Path
    configuration: str
    environment: Mapping[str, str] = field(default_factory=dict)
    wrapper: Sequence[str] = ()
    control_environment: Mapping[str, str] = field(default_factory=dict)
    control_plane: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.write(self.configuration)
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def write(self, configuration: str) -> None:
        """Replace `hitless.yaml`."""
        self.configuration = configuration
        (self.directory / "hitless.yaml").write_text(configuration)

    def up(self) -> None:
        """Start the control plane and wait until it answers.

        Raises:
            RuntimeError: it ended, or did not answer in time; holds what it said.
        """
        self.control_plane = self.begin()
        deadline = time.monotonic() + START_WITHIN_S
        while self.run("status", "--json").returncode:
            if self.control_plane.poll() is not None or time.monotonic() > deadline:
                self.control_plane.kill()
                raise RuntimeError(f"hitless up: {self.log_path.read_text()}")
            time.sleep(0.05)

    def begin(self) -> subprocess.Popen[bytes]:
        """Start a control plane and return at once."""
        command = [*self.wrapper, *self.command("up")]
        environment = {**self.environ, **self.control_environment}
        with self.log_path.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)

    def stop(self) -> int:
        """End the control plane alone, as Ctrl-C does; services live on."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End the control plane at once, as a crash does."""
        return self._end(signal.SIGKILL)

    def _end(self, number: int) -> int:
        assert self.control_plane is not None
        self.control_plane.send_signal(number)
        return self.control_plane.wait(STOP_WITHIN_S)

    def down(self) -> None:
        """End everything."""
        if self.control_plane is None:
            return
        if self.control_plane.poll() is not None:
            self.up()
        self.check("down", "--yes")
        with suppress(subprocess.TimeoutExpired):
            self.control_plane.wait(STOP_WITHIN_S)
        self.control_plane = None

    @property
    def log_path(self) -> Path:
        """Where `hitless up` writes."""
        return self.directory / "up.log"

    def command(self, *arguments: str) -> list[str]:
        """Return a command line."""
        return [sys.executable, "-m", "hitless.cli", *arguments, "--project", str(self.directory)]

    def run(self, *arguments: str, timeout_s: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
            env=self.environ,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command and return at once."""
        pipe = subprocess.PIPE
        return subprocess.Popen(self.command(*arguments), stdout=pipe, stderr=pipe, text=True, env=self.environ)

    def check(self, *arguments: str, expect: int = 0) -> str:
        """Run a command that must exit with `expect`; return what it printed.

        Raises:
            RuntimeError: it did not.
        """
        done = self.run(*arguments)
        if done.returncode != expect:
            raise RuntimeError(f"hitless {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """Run a reading command; return its data."""
        return json.loads(self.check(*arguments, "--json"))["data"]

    def status(self, service: str) -> Any:
        """Return the service's view."""
        return next(one for one in self.json("status") if one["name"] == service)

    @property
    def environ(self) -> dict[str, str]:
        """What every process of the project begins with."""
        return {**os.environ, **self.environment}


@dataclass(slots=True, kw_only=True)
class LiveLoad:
    """A load in a process of its own, its JSON lines in a file; `mark` begins a window of the report."""

    process: subprocess.Popen[str]
    lines: IO[bytes]
    report: Report | None = None

    def mark(self, name: str) -> None:
        """Begin a window."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()

    def sent(self) -> int:
        """Return how many requests were sent so far."""
        return int(self._last_line().get("sent", 0))

    def finish(self) -> Report:
        """End the load; return what became of every request."""
        if self.report is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.communicate(timeout=120)
            self.report = from_json(self._last_line())
        return self.report

    def _last_line(self) -> dict[str, Any]:
        # by pread(2): the load writes by the same open file, and would move on where a read has come to
        told = os.pread(self.lines.fileno(), os.fstat(self.lines.fileno()).st_size, 0)
        whole = told[: told.rfind(b"\n") + 1].splitlines()
        return json.loads(whole[-1]) if whole else {}


@contextmanager
def live_load(target: str, *options: str, duration_s: float = 600.0) -> Iterator[LiveLoad]:
    """Load `target` (`host:port`) until the block ends, at most `duration_s`."""
    command = [sys.executable, "-m", "hitless.testing.load", "--target", target, "--duration", str(duration_s)]
    with tempfile.TemporaryFile("ab+") as lines:
        process = subprocess.Popen(
            [*command, "--json", "--marks-from-stdin", *options], stdin=subprocess.PIPE, stdout=lines, text=True
        )
        load = LiveLoad(process=process, lines=lines)
        try:
            yield load
        finally:
            if load.report is None:
                process.kill()
                process.communicate()
