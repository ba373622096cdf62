"""A server's instances behind HAProxy, which knows nothing of hitless: it probes, and takes out what says no."""

from __future__ import annotations

import contextlib
import csv
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.stage import HAPROXY, ROOT, end_group
from hitless.rollout.spec import Address

APPLICATIONS = ROOT / "examples" / "lifecycle"
INSTANCES = 2
PORT, APP = "{port}", "{app}"
_UP_WITHIN_S = 30.0
_GONE_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.05

# Set against what would hide failures: HAProxy by default tries a refused connection 3 times, a second apart, at the
# same instance, which hides a restart that is quick. Not set: `option redispatch`, `retry-on`. Idle connections to
# instances are closed before any of the servers does it (gunicorn after 2 s, others 5 s and more), with and without
# hitless: a race between the two is not what is measured. `fall 3 rise 2` are HAProxy's own; `inter` is 2 s, and how
# long a probe may take follows from it: `timeout check` keeps that, or a busy machine looks like dead instances.
_CONFIGURATION = """
global
  stats socket {socket} level operator
defaults
  mode http
  retries 0
  timeout connect 2s
  timeout check 2s
  timeout client 60s
  timeout server 60s
frontend users
  bind {listen}
  default_backend instances
backend instances
  balance roundrobin
  option httpchk GET /health/ready
  default-server check inter 200ms fall 3 rise 2 pool-purge-delay 1s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server's command line; `{app}` and `{port}` are filled in."""

    name: str
    command: tuple[str, ...]
    module: str

    def line(self, port: int, *, with_library: bool) -> list[str]:
        """Return what starts it, with the library or without."""
        app = f"{self.module}:{'app' if with_library else 'plain'}"
        filled = [part.replace(PORT, str(port)).replace(APP, app) for part in self.command]
        return [
            sys.executable,
            "-m",
            *(["hitless.lifecycle", "--", sys.executable, "-m"] if with_library else []),
            *filled,
        ]


_GUNICORN = ("gunicorn", APP, "--bind", f"127.0.0.1:{PORT}", "--log-level", "critical")
SERVERS = {
    server.name: server
    for server in (
        Server(
            name="uvicorn",
            module="asgi",
            command=("uvicorn", APP, "--port", PORT, "--workers", "2", "--log-level", "critical"),
        ),
        Server(
            name="granian",
            module="asgi",
            command=("granian", "--interface", "asgi", "--port", PORT, "--workers", "2", "--no-log", APP),
        ),
        Server(
            name="hypercorn",
            module="asgi",
            command=("hypercorn", APP, "-b", f"127.0.0.1:{PORT}", "-w", "2", "--log-level", "critical"),
        ),
        Server(
            name="gunicorn uvicorn",
            module="asgi",
            command=(*_GUNICORN, "--workers", "2", "--worker-class", "uvicorn.workers.UvicornWorker"),
        ),
        Server(name="gunicorn sync", module="wsgi", command=(*_GUNICORN, "--workers", "12")),
        Server(
            name="gunicorn gthread",
            module="wsgi",
            command=(*_GUNICORN, "--workers", "2", "--worker-class", "gthread", "--threads", "8"),
        ),
    )
}


@dataclass(slots=True, kw_only=True)
class Instance:
    """One instance, started again and again on the same port."""

    name: str
    port: int
    line: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.line, cwd=APPLICATIONS, stdout=log, stderr=log, start_new_session=True, env=_environment()
            )

    @property
    def has_ended(self) -> bool:
        """Whether it ended by itself."""
        return self.process is not None and self.process.poll() is not None

    def end(self) -> tuple[float, int]:
        """Send SIGTERM, wait for the end; return how long it took, and the exit code."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(_GONE_WITHIN_S)
        return time.monotonic() - began, code


@dataclass(slots=True, kw_only=True)
class Balanced:
    """Instances behind HAProxy."""

    listen: Address
    instances: Sequence[Instance]
    socket_path: Path
    drains_s: list[float] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)
    downs_before: int = 0

    def restart(self, instance: Instance) -> None:
        """End an instance, start it again, wait until HAProxy sends to it."""
        took_s, code = instance.end()
        self.drains_s.append(took_s)
        self.exits.append(code)
        instance.start()
        self.until_up(instance)

    def until_up(self, instance: Instance) -> None:
        """Wait until the process there answers that it is ready, and HAProxy has counted it in.

        Raises:
            RuntimeError: it did not get up in time; holds the end of its log.
        """
        deadline = time.monotonic() + _UP_WITHIN_S
        while not (_is_ready(instance) and self._is_up(instance)):
            if time.monotonic() > deadline or instance.has_ended:
                raise RuntimeError(f"{instance.name} is not up: {instance.log.read_text()[-2000:]}")
            time.sleep(_LOOK_EVERY_S)

    @property
    def blackouts(self) -> int:
        """How often HAProxy had no instance left to send to since all were up."""
        return self.downs - self.downs_before

    @property
    def downs(self) -> int:
        """How often HAProxy had no instance: once as they start."""
        return int(self._stats()["BACKEND"]["chkdown"])

    def _is_up(self, instance: Instance) -> bool:
        return self._stats()[instance.name]["status"] == "UP"

    def _stats(self) -> dict[str, dict[str, str]]:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(_UP_WITHIN_S)
            asking.connect(str(self.socket_path))
            asking.sendall(b"show stat\n")
            rows = b"".join(iter(lambda: asking.recv(65_536), b"")).decode().removeprefix("# ").splitlines()
        return {row["svname"]: row for row in csv.DictReader(rows)}


@contextlib.contextmanager
def balanced(server: Server, directory: Path, *, with_library: bool) -> Iterator[Balanced]:
    """Run instances of a server behind HAProxy."""
    listen, *ports = _lasting_ports(INSTANCES + 1)
    instances = [
        Instance(
            name=f"one{port}",
            port=port,
            line=server.line(port, with_library=with_library),
            log=directory / f"{port}.log",
        )
        for port in ports
    ]
    with contextlib.ExitStack() as stack:
        for instance in instances:
            instance.start()
            stack.callback(_end, instance)
        found = Balanced(
            listen=Address(host="127.0.0.1", port=listen), instances=instances, socket_path=directory / "haproxy.sock"
        )
        stack.callback(end_group, _start_haproxy(found, directory))
        for instance in instances:
            found.until_up(instance)
        found.downs_before = found.downs
        yield found


def _start_haproxy(found: Balanced, directory: Path) -> subprocess.Popen[bytes]:
    assert HAPROXY is not None
    lines = [_CONFIGURATION.format(socket=found.socket_path, listen=found.listen).rstrip()]
    lines += [f"  server {instance.name} 127.0.0.1:{instance.port}" for instance in found.instances]
    path = directory / "haproxy.cfg"
    path.write_text("\n".join([*lines, ""]))
    process = subprocess.Popen([HAPROXY, "-q", "-db", "-f", str(path)], start_new_session=True)
    deadline = time.monotonic() + _UP_WITHIN_S
    while not found.socket_path.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("HAProxy did not start")
        time.sleep(_LOOK_EVERY_S)
    return process


def _lasting_ports(count: int) -> list[int]:
    """Return free ports that no outgoing connection takes while an instance restarts: below the ephemeral ones."""
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found = (port for port in random.sample(range(10_000, first_ephemeral), 1_000) if _is_free(port))
    return list(itertools.islice(found, count))


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _is_ready(instance: Instance) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{instance.port}/health/ready", timeout=2.0).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


def _end(instance: Instance) -> None:
    """End an instance at once, whatever it is at: measured is over."""
    assert instance.process is not None
    with contextlib.suppress(ProcessLookupError):
        instance.process.send_signal(signal.SIGINT)
    try:
        instance.process.wait(10.0)
    except subprocess.TimeoutExpired:
        os.killpg(instance.process.pid, signal.SIGKILL)
        instance.process.wait(5.0)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONWARNINGS": "ignore"}
