"""The main job in about a minute: a shop behind Envoy, real clients of every kind, three rollouts, three bad versions.

In the middle of the canary the controller is killed with SIGKILL and started again, at the end Envoy is. One of the bad
versions serves well but for one request in twenty: the judge finds out, and takes it back.

Run it with `make demo`, or `hitless demo`. Everything in it is the product itself: `hitless up`, `hitless deploy`,
`hitless load`.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from hitless.cli.client import Client
from hitless.cli.place import socket_path
from hitless.testing.live import LiveLoad, LiveProject, free_ports, live_load
from hitless.testing.load import Report

SHOP = Path(__file__).parent / "shop"
RATE_RPS = 200
SERVER = "granian" if find_spec("granian") else "uvicorn"  # what every installation of hitless has

CONFIGURATION = f"""
service: shop
listen: 127.0.0.1:{{port}}
instances: 2
run:
  command: ["{sys.executable}", -m, shop, --port, "{{{{port}}}}", --server, {SERVER}]
  directory: "{SHOP}"
  environment: {{{{SHOP_DATA: "{{data}}", SHOP_RELEASE: "{{{{version}}}}"}}}}
health: {{{{live: /health/live, ready: /health/ready, start_deadline: 4s, max_failures: 2}}}}
drain: {{{{requests: 1s, streams: 10m}}}}
preflight: off
traffic: {{{{sticky: {{{{cookie: hitless}}}}, keep_alive: 5s}}}}
strategy:
  rolling: {{{{max_surge: 1, max_unavailable: 0}}}}
  blue_green: {{{{checks: [{{{{path: /}}}}], keep_warm: 2s}}}}
  canary: {{{{steps: {{steps}}}}}}
"""
STEPS = "[{weight: 1%, hold: 2s}, {weight: 25%, hold: 2s}, {weight: 100%}]"
CAREFUL_STEPS = "[{weight: 10%, hold: 1m}, {weight: 100%}]"

KILL_AFTER_S = 2.5
"""Into the canary: at its first step."""

WORSE = "1 in 20 fails"
"""At the first step of a canary, a tenth of the traffic."""

ENVOY_WITHIN_S = 5.0
ENVOY_KILLED = "Envoy killed"
JUDGED_WITHIN_S = 90.0


def kill_controller(project: LiveProject) -> None:
    """Kill the controller in the middle of what goes on, and start the next one."""
    time.sleep(KILL_AFTER_S)
    project.kill()
    console.print("[bold yellow]kill -9 of the controller[/bold yellow]; `hitless deploy` waits for the next one")
    project.up()


ACTS: list[tuple[str, str, str, int, Callable[[LiveProject], None] | None]] = [
    ("rolling", "v2", "rolling", 0, None),
    ("blue-green", "v3", "blue_green", 0, None),
    ("canary", "v4", "canary", 0, kill_controller),
    ("never ready", "v5-never-ready", "rolling", 3, None),
    ("crashes", "v6-crash", "canary", 3, None),
]
"""What happens, the version, the strategy, how `hitless deploy` must exit (0 completed, 3 rolled back), what is done
meanwhile."""

console = Console(highlight=False)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="hitless-demo-") as folder:
        data = Path(folder) / "data"
        data.mkdir()
        configured = functools.partial(CONFIGURATION.format, port=free_ports(1)[0], data=data)
        console.print("[bold]hitless[/bold]: a shop behind Envoy, on this machine only\n")
        with LiveProject(directory=Path(folder) / "project", configuration=configured(steps=STEPS)) as project:
            return play(project, careful=configured(steps=CAREFUL_STEPS))


def play(project: LiveProject, *, careful: str) -> int:
    deploy(project, "v1", "rolling")
    target = project.status("shop")["listen"]
    console.rule(f"clients of every kind now send {RATE_RPS} requests a second")
    with live_load(target, "--rate", str(RATE_RPS), "--streams", "5") as load:
        outcomes = [act(project, load, *scene) for scene in ACTS]
        project.write(careful)
        outcomes.append(judge(project, load))
        outcomes.append(kill_envoy(project, load))
        report = load.finish()
    tell(report, [name for name, *_ in ACTS])
    return 0 if all(outcomes) and report.failed == report.failed_in(ENVOY_KILLED) + report.failed_in(WORSE) else 1


def act(
    project: LiveProject,
    load: LiveLoad,
    name: str,
    version: str,
    strategy: str,
    expected: int,
    meanwhile: Callable[[LiveProject], None] | None,
) -> bool:
    console.print()
    console.rule(f"[bold]{name}[/bold]: hitless deploy shop --version {version} --strategy {strategy}")
    load.mark(name)
    disturbance = threading.Thread(target=meanwhile or (lambda _: None), args=(project,))
    disturbance.start()
    code = deploy(project, version, strategy)
    disturbance.join()
    if code != expected:
        console.print(f"[red]exit code {code}, expected {expected}[/red]")
    return code == expected


def judge(project: LiveProject, load: LiveLoad) -> bool:
    """Deploy a version that fails one request in twenty, and time how long it has users."""
    version = "v7-fails-1-in-20"
    had_users = threading.Thread(target=lambda: moments.update(watch_share(project, version)))
    moments: dict[str, float] = {}
    had_users.start()
    turned_back = act(project, load, WORSE, version, "canary", 3, None)
    load.mark("between")
    had_users.join()
    console.print(f"from its first user to weight 0: [bold]{moments['seconds']:.1f} s[/bold]")
    return turned_back


def watch_share(project: LiveProject, version: str) -> dict[str, float]:
    """Return for how long a version had a share of the traffic."""
    client, began = Client(socket_path(project.directory)), 0.0
    deadline = time.monotonic() + JUDGED_WITHIN_S
    while time.monotonic() < deadline:
        routed = [one["routed_bp"] for one in client.service("shop")["versions"] if one["version"] == version]
        if any(routed):
            began = began or time.monotonic()
        elif began:
            return {"seconds": time.monotonic() - began}
        time.sleep(0.02)
    return {"seconds": float("nan")}


def kill_envoy(project: LiveProject, load: LiveLoad) -> bool:
    """Kill the proxy itself: what is in flight is lost, the next one serves in a moment."""
    console.print()
    console.rule("[bold]kill -9 of Envoy[/bold]")
    client = Client(socket_path(project.directory))
    first = client.control_plane()["envoy_pid"]
    assert first is not None
    load.mark(ENVOY_KILLED)
    os.kill(first, signal.SIGKILL)
    killed_at = time.monotonic()
    while client.control_plane()["envoy_pid"] in {None, first}:
        if time.monotonic() > killed_at + ENVOY_WITHIN_S:
            console.print("[red]it did not come back[/red]")
            return False
        time.sleep(0.01)
    console.print(f"the next one serves after {time.monotonic() - killed_at:.1f} s")
    time.sleep(1)  # what was due meanwhile is sent late: it belongs to this window
    load.mark("after")
    time.sleep(1)
    return True


def deploy(project: LiveProject, version: str, strategy: str) -> int:
    """Deploy in this very terminal, so that the live tree of `hitless deploy` is what you see."""
    command = project.command("deploy", "shop", "--version", version, "--strategy", strategy)
    return subprocess.run(command, check=False).returncode


def tell(report: Report, names: list[str]) -> None:
    table = Table(
        title="\nAnswered requests, by rollout and kind of client",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("clients", no_wrap=True)
    for name in [*names, "in all", "failed", WORSE, ENVOY_KILLED]:
        table.add_column(name, justify="right")
    windows = [report.by_mark.get(name, {}) for name in names]
    apart = [report.by_mark.get(name, {}) for name in (WORSE, ENVOY_KILLED)]
    for kind, found in report.kinds.items():
        cells = [window[kind].answered if kind in window else 0 for window in windows]
        gone = [window[kind].failures if kind in window else 0 for window in apart]
        table.add_row(kind.value, *_figures(*cells, found.answered, found.failures - sum(gone), *gone))
    total, planted, lost = report.total, report.failed_in(WORSE), report.failed_in(ENVOY_KILLED)
    failed = report.failed - planted - lost
    table.add_section()
    sums = [sum(one.answered for one in window.values()) for window in windows]
    table.add_row("all", *_figures(*sums, total.answered, failed, planted, lost))
    console.print(table)
    posts = report.posts
    if posts is not None and posts.problem is None:
        console.print(f"orders: {posts.acknowledged:,} accepted, {posts.duplicates} executed twice, {posts.lost} lost")
    style = "red" if failed else "green"
    console.print(
        f"[bold {style}]{total.sent:,} requests sent, {total.answered:,} answered; failed through "
        f"{len(names)} rollouts and the controller's death: {failed:,}[/bold {style}]; "
        f"by the version that fails 1 in 20 while it had users: {planted:,}"
    )


def _figures(*numbers: int) -> list[str]:
    return [f"{one:,}" for one in numbers]


if __name__ == "__main__":
    sys.exit(main())
