"""One change of the schema from first to last, on a table that two releases of a real application use under load."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from accounts_support import accounts
from examples.accounts import stage

from hitless.testing.live import LiveLoad, LiveProject, free_ports, live_load
from hitless.testing.load import KindReport, Report, as_text
from hitless.testing.postgres import PostgresServer

ROWS = int(os.environ.get("HITLESS_MIGRATE_ROWS", "20000"))
RATE_RPS = float(os.environ.get("HITLESS_MIGRATE_RATE", "60"))
CALM = "calm"


@dataclass(slots=True, kw_only=True)
class Trial:
    """A change under way; every step of it is a window of the load's report."""

    change: str
    server: PostgresServer
    project: LiveProject
    load: LiveLoad
    log: Path
    took_s: dict[str, float] = field(default_factory=dict)

    @property
    def file(self) -> str:
        return str(stage.CHANGES / f"{self.change}.yaml")

    def release(self, number: int) -> str:
        return f"{number}-{self.change.replace('_', '-')}"

    @contextmanager
    def window(self, name: str) -> Iterator[None]:
        """Count what users meet meanwhile under a name of its own."""
        self.load.mark(name)
        began = time.monotonic()
        yield
        self.took_s[name] = time.monotonic() - began
        self.load.mark(CALM)

    def migrate(self, verb: str, *options: str, expect: int = 0) -> str:
        with self.window(verb):
            done = self.project.run("migrate", verb, self.file, *options, timeout_s=900)
        assert done.returncode == expect, f"{verb}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def deploy(self, version: str, strategy: str = "rolling") -> None:
        with self.window(f"deploy {version} {strategy}"):
            self.project.check("deploy", "--version", version, "--strategy", strategy)

    def back(self) -> None:
        with self.window("back"):
            self.project.check("rollout", "undo")

    def parity(self) -> int:
        """How many rows say one thing in the old columns and another in the new ones, at this moment."""
        with self.server.connect(stage.DATABASE, role=stage.OWNER) as connection:  # the guard asks who reads what
            return stage.parity(connection)

    def make_ready(self) -> None:
        """Bring the database to where the new release needs it; the old one goes on."""
        for verb in ("expand", "backfill", "verify", "switch"):
            self.migrate(verb)
        assert self.parity() == 0

    def roll_and_return(self) -> None:
        """The new release comes in by a canary, the old one comes back, the new one comes again."""
        self.deploy(self.release(2), "canary")
        self.back()
        self.deploy(self.release(2))

    def _windows(self, report: Report) -> Iterator[str]:
        for name, took_s in self.took_s.items():
            total = sum(report.by_mark.get(name, {}).values(), KindReport())
            p99, longest = total.latency.quantile_ms(0.99) or math.nan, total.latency.max_ms
            yield f"{name}: {took_s:.1f} s, {total.sent:,} requests, p99 {p99:.0f} ms, longest {longest:.0f} ms"

    def finish(self) -> tuple[Report, dict[str, Any], stage.Audit]:
        """End the load; return what became of every request and every value."""
        report = self.load.finish()
        told = json.loads(self.log.read_text())
        with self.server.connect(stage.DATABASE) as connection:
            found = stage.audit(connection, rows=ROWS, log=told)
        print(f"\n{self.change}: {as_text(report)}\nvalues: {told['writes']:,} written, {told['values_read']:,} read,")
        print(f"{told['wrong']:,} wrong, shown by another release: {told['crossings']}\naudit: {found}")
        print("\n".join(self._windows(report)))
        return report, told, found


@contextmanager
def trial(
    folder: Path,
    change: str,
    *,
    prepares: bool = True,
    framework: str = "sqlalchemy",
    version: int = 16,
    has_roles: bool = False,
    **settings: str,
) -> Iterator[Trial]:
    """Serve release 1 under load; with `has_roles`, each release has its own, and rollouts make the database ready."""
    with accounts(ROWS, version=version, **settings) as server:
        application, owner = stage.urls(server)
        url = None if has_roles else application
        configuration = stage.configuration(
            port=free_ports(1)[0], url=url, prepares=prepares, hold="1s", framework=framework
        )
        environment = {"HITLESS_DATABASE_URL": owner}
        project = LiveProject(directory=folder / "project", configuration=configuration, environment=environment)
        log, mix = folder / "values.json", folder / "mix.json"
        mix.write_text(json.dumps(stage.mix(rows=ROWS, rate_rps=RATE_RPS, log=log)))
        with project:
            project.check("deploy", "--version", "1")
            target = project.status("accounts")["listen"]
            with live_load(target, "--mix", str(mix), duration_s=3_000) as load:
                yield Trial(change=change, server=server, project=project, load=load, log=log)


def require_clean(trial: Trial) -> None:
    """Nothing failed, nothing was wrong, nothing is lost; and the releases really met each other's values."""
    report, told, found = trial.finish()
    assert report.failed == 0, report.examples
    assert told["wrong"] == 0
    assert told["doubtful"] == 0
    assert found.faults == []
    assert found.touched > 100
    assert told["crossings"].get(f"1 -> {trial.release(2)}", 0) > 0
    assert told["crossings"].get(f"{trial.release(2)} -> 1", 0) > 0


def statements(server: PostgresServer, query: str) -> list[Any]:
    with server.connect(stage.DATABASE) as connection:
        return connection.execute(query.encode()).fetchall()


def connection_of(server: PostgresServer) -> psycopg.Connection:
    return server.connect(stage.DATABASE)
