"""The main job in about a minute: a shop behind Envoy, real clients of every kind, three rollouts and two bad versions.

Run it with `make demo`. Everything in it is the product itself: `hitless up`, `hitless deploy`, `hitless load`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hitless.testing.live import LiveLoad, LiveProject, free_ports, live_load
from hitless.testing.load import Report

SHOP = Path(__file__).parent / "shop"
RATE_RPS = 250

CONFIGURATION = f"""
service: shop
listen: 127.0.0.1:{{port}}
instances: 2
run:
  command: ["{sys.executable}", -m, shop, --port, "{{{{port}}}}"]
  directory: "{SHOP}"
  environment: {{{{SHOP_DATA: "{{data}}", SHOP_RELEASE: "{{{{version}}}}"}}}}
health: {{{{live: /health/live, ready: /health/ready, start_deadline: 4s, max_failures: 2}}}}
drain: {{{{requests: 1s, streams: 10m}}}}
traffic: {{{{sticky: {{{{cookie: hitless}}}}, keep_alive: 5s}}}}
strategy:
  rolling: {{{{max_surge: 1, max_unavailable: 0}}}}
  blue_green: {{{{checks: [{{{{path: /}}}}], keep_warm: 2s}}}}
  canary: {{{{steps: [{{{{weight: 1%, hold: 2s}}}}, {{{{weight: 25%, hold: 2s}}}}, {{{{weight: 100%}}}}]}}}}
"""

ACTS = [
    ("rolling", "v2", "rolling", 0),
    ("blue-green", "v3", "blue_green", 0),
    ("canary", "v4", "canary", 0),
    ("never ready", "v5-never-ready", "rolling", 3),
    ("crashes", "v6-crash", "canary", 3),
]
"""What happens, the version, the strategy, and how `hitless deploy` must exit: 0 completed, 3 rolled back."""

console = Console(highlight=False)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="hitless-demo-") as folder:
        data = Path(folder) / "data"
        data.mkdir()
        configuration = CONFIGURATION.format(port=free_ports(1)[0], data=data)
        console.print("[bold]hitless[/bold]: a shop behind Envoy, on this machine only\n")
        with LiveProject(directory=Path(folder) / "project", configuration=configuration) as project:
            return play(project)


def play(project: LiveProject) -> int:
    deploy(project, "v1", "rolling")
    target = project.status("shop")["listen"]
    console.rule(f"clients of every kind now send {RATE_RPS} requests a second")
    with live_load(target, "--rate", str(RATE_RPS), "--streams", "5") as load:
        outcomes = [act(project, load, *scene) for scene in ACTS]
        load.mark("after")
        report = load.finish()
    tell(report, [name for name, *_ in ACTS])
    return 0 if all(outcomes) and report.total.failed == {} else 1


def act(project: LiveProject, load: LiveLoad, name: str, version: str, strategy: str, expected: int) -> bool:
    console.print()
    console.rule(f"[bold]{name}[/bold]: hitless deploy shop --version {version} --strategy {strategy}")
    load.mark(name)
    code = deploy(project, version, strategy)
    if code != expected:
        console.print(f"[red]exit code {code}, expected {expected}[/red]")
    return code == expected


def deploy(project: LiveProject, version: str, strategy: str) -> int:
    """Deploy in this very terminal, so that the live tree of `hitless deploy` is what you see."""
    command = project.command("deploy", "shop", "--version", version, "--strategy", strategy)
    return subprocess.run(command, check=False).returncode


def tell(report: Report, names: list[str]) -> None:
    table = Table(title="\nAnswered requests, by rollout and kind of client", title_justify="left", title_style="bold")
    table.add_column("clients")
    for name in [*names, "in all"]:
        table.add_column(name, justify="right")
    table.add_column("failed", justify="right")
    for kind, found in report.kinds.items():
        windows = [report.by_mark.get(name, {}).get(kind) for name in names]
        cells = [f"{one.answered:,}" if one else "0" for one in windows]
        table.add_row(kind.value, *cells, f"{found.answered:,}", f"{found.failures:,}")
    total = report.total
    table.add_section()
    sums = [sum(one.answered for one in report.by_mark.get(name, {}).values()) for name in names]
    table.add_row("all", *(f"{one:,}" for one in sums), f"{total.answered:,}", f"{total.failures:,}")
    console.print(table)
    posts = report.posts
    if posts is not None and posts.problem is None:
        console.print(f"orders: {posts.acknowledged:,} accepted, {posts.duplicates} executed twice, {posts.lost} lost")
    console.print(f"streams: {total.opened:,} opened, {total.cut:,} cut before their time")
    style = "red" if total.failures else "green"
    console.print(f"[bold {style}]{total.sent:,} requests sent, {total.answered:,} answered, {total.failures:,} failed")


if __name__ == "__main__":
    sys.exit(main())
