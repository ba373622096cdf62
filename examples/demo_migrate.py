"""A name becomes two columns while two releases read and write it: about a minute, on a PostgreSQL of its own.

A table of accounts is in use at a constant rate. It is expanded, filled in the background and compared; release 2,
which knows first and last names, comes in by a canary, is taken back, and comes in again; a request to drop the old
column is refused while release 1 could come back. Every value that a client wrote is read back from whichever release
answers, and at the end every row is compared by SQL that hitless has no part in.

Run it with `hitless demo --migrate`. Everything in it is the product itself: `hitless up`, `deploy`, `migrate`, `load`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accounts import stage
from rich import box
from rich.console import Console
from rich.table import Table

from hitless.testing.live import LiveLoad, LiveProject, free_ports, live_load
from hitless.testing.load import KindReport, Report
from hitless.testing.postgres import PostgresServer, running_postgres

ROWS = 200_000
RATE_RPS = 100.0
SETTLE_S = 2.0
OLD, NEW = "1", "2-split"
REFUSED = 4
CHANGE = stage.CHANGES / "split.yaml"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One thing that happens under load: its name, the command, and the exit code that it must end with."""

    name: str
    command: tuple[str, ...]
    expected: int = 0
    fills: bool = False


SCENES = (
    Scene(name="expand", command=("migrate", "expand", str(CHANGE))),
    Scene(name="backfill", command=("migrate", "backfill", str(CHANGE)), fills=True),
    Scene(name="verify", command=("migrate", "verify", str(CHANGE)), fills=True),
    Scene(name="switch", command=("migrate", "switch", str(CHANGE))),
    Scene(name="canary to 2", command=("deploy", "--version", NEW, "--strategy", "canary")),
    Scene(name="back to 1", command=("rollout", "undo")),
    Scene(name="2 again", command=("deploy", "--version", NEW, "--strategy", "rolling")),
    Scene(name="contract", command=("migrate", "contract", str(CHANGE), "--yes"), expected=REFUSED),
)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a scene cost its users.

    Attributes:
        rows_per_s: of what goes through the whole table; None = nothing does.
        longest_ms: the slowest request, from the moment at which it was due.
    """

    name: str
    seconds: float
    rows_per_s: float | None
    requests: int
    failed: int
    p50_ms: float | None
    p99_ms: float | None
    longest_ms: float


def main() -> int:
    asked = _arguments()
    console = Console(stderr=asked.json, highlight=False, no_color=asked.plain or None)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hitless-demo-")))
        console.print(
            f"[bold]hitless[/bold]: {asked.rows:,} accounts in a PostgreSQL of their own, on this machine only"
        )
        server = stack.enter_context(running_postgres(**stage.SERVER_SETTINGS))
        stage.seed(server, asked.rows)
        project = stack.enter_context(_project(server, folder))
        return play(console, server, project, folder, rows=asked.rows, tells_json=asked.json)


def play(
    console: Console, server: PostgresServer, project: LiveProject, folder: Path, *, rows: int, tells_json: bool
) -> int:
    project.check("deploy", "--version", OLD)
    target, log, mix = project.status("accounts")["listen"], folder / "values.json", folder / "mix.json"
    mix.write_text(json.dumps(stage.mix(rows=rows, rate_rps=RATE_RPS, log=log)))
    console.rule(f"release {OLD} serves; clients write and read {RATE_RPS:g} times a second")
    seconds: dict[str, float] = {}
    with live_load(target, "--mix", str(mix)) as load:
        load.mark("before")
        time.sleep(2 * SETTLE_S)
        went = [act(console, project, load, scene, seconds) for scene in SCENES]
        report = load.finish()
    figures = [_figures(report, scene, seconds, rows) for scene in SCENES]
    told = json.loads(log.read_text("utf-8"))
    with server.connect(stage.DATABASE) as connection:
        found = stage.audit(connection, rows=rows, log=told)
    tell(console, report, figures, told, found)
    if tells_json:
        print(json.dumps(_document(report, figures, told, found)))
    return 0 if all(went) and not (report.failed or told["wrong"] or found.faults) else 1


def act(console: Console, project: LiveProject, load: LiveLoad, scene: Scene, seconds: dict[str, float]) -> bool:
    """Play a scene; tell whether it ended as it must."""
    shown = " ".join(word.replace(str(stage.HERE), "accounts") for word in scene.command)
    console.print(f"\n[bold]{scene.name}[/bold]: hitless {shown}")
    load.mark(scene.name)
    began = time.monotonic()
    done = project.run(*scene.command)
    seconds[scene.name] = time.monotonic() - began
    words = (done.stderr + done.stdout).strip().splitlines()
    for line in words[-3:] if done.returncode == 0 else words[-14:]:
        console.print(f"  {line}", markup=False, style="dim" if done.returncode == 0 else "yellow")
    if done.returncode != scene.expected:
        console.print(f"[red]exit code {done.returncode}, expected {scene.expected}[/red]")
    load.mark("between")
    time.sleep(SETTLE_S)
    return done.returncode == scene.expected


def tell(console: Console, report: Report, figures: list[Figures], told: dict[str, Any], found: stage.Audit) -> None:
    table = Table(
        title="\nWhat users met", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column("", no_wrap=True)
    for name in ("seconds", "rows/s", "requests", "failed", "p50 ms", "p99 ms", "max ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in figures:
        rate = "" if one.rows_per_s is None else f"{one.rows_per_s:,.0f}"
        spans = (_ms(one.p50_ms), _ms(one.p99_ms), _ms(one.longest_ms))
        table.add_row(one.name, f"{one.seconds:.1f}", rate, f"{one.requests:,}", str(one.failed), *spans)
    console.print(table)
    crossed = sum(count for pair, count in told["crossings"].items() if pair in {f"{OLD} -> {NEW}", f"{NEW} -> {OLD}"})
    style = "red" if report.failed or told["wrong"] or found.faults else "green"
    console.print(
        f"[bold {style}]{report.sent:,} requests, {report.failed:,} failed; {told['writes']:,} values written, "
        f"{told['values_read']:,} read back, {told['wrong']:,} wrong[/bold {style}]; {crossed:,} of them one release "
        "wrote and the other one showed"
    )
    console.print(f"[bold {style}]{found}[/bold {style}]")


def _figures(report: Report, scene: Scene, seconds: dict[str, float], rows: int) -> Figures:
    total = sum(report.by_mark.get(scene.name, {}).values(), KindReport())
    took = seconds[scene.name]
    return Figures(
        name=scene.name,
        seconds=round(took, 2),
        rows_per_s=round(rows / took) if scene.fills else None,
        requests=total.sent,
        failed=total.failures,
        p50_ms=total.latency.quantile_ms(0.5),
        p99_ms=total.latency.quantile_ms(0.99),
        longest_ms=total.latency.max_ms,
    )


def _document(report: Report, figures: list[Figures], told: dict[str, Any], found: stage.Audit) -> dict[str, Any]:
    counts = {name: told[name] for name in ("reads", "writes", "values_read", "wrong", "crossings")}
    audit = {"rows": found.rows, "compared": found.compared, "faults": found.faults}
    scenes = [asdict(one) for one in figures]
    return {"requests": report.sent, "failed": report.failed, "values": counts, "scenes": scenes, "audit": audit}


def _project(server: PostgresServer, folder: Path) -> LiveProject:
    application, owner = stage.urls(server)
    return LiveProject(
        directory=folder / "project",
        configuration=stage.configuration(port=free_ports(1)[0], url=application),
        environment={"HITLESS_DATABASE_URL": owner},
    )


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--json", action="store_true", help="the figures on stdout, the rest on stderr")
    parser.add_argument("--plain", action="store_true", help="no colours")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
