"""Rollouts that bring their database along: the schema first, pools held, a role for each version; under load."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from accounts_support import accounts
from examples.accounts import stage

from hitless.testing.live import LiveLoad, LiveProject, free_ports, live_load
from hitless.testing.load import as_text
from hitless.testing.postgres import PostgresServer

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

NEW = "2-split"
DATABASE = """
database:
  url: env:ACCOUNTS_OWNER_URL
  pool: {{per_instance: {per_instance}, during_migration: {during}}}
  roles: accounts_app
  changes: {changes}
"""
WITHIN_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A project whose accounts lie in a server of its own."""

    server: PostgresServer
    project: LiveProject
    port: int

    def write(self, *, changes: bool = True, per_instance: int = 10) -> None:
        """Say what the next release needs."""
        text = stage.configuration(port=self.port, url=None, hold="1s").partition("database:")[0]
        file = stage.CHANGES / "split.yaml"
        wanted = DATABASE.format(
            per_instance=per_instance, during=2 * per_instance, changes=[str(file)] if changes else []
        )
        self.project.write(text + wanted)

    def ask(self, query: str) -> list[Any]:
        with self.server.connect(stage.DATABASE) as connection:
            return connection.execute(query.encode()).fetchall()

    def rollout(self) -> Any:
        return self.project.json("rollout", "get", "accounts")

    def roles(self) -> set[str]:
        return {name for (name,) in self.ask("SELECT rolname FROM pg_roles WHERE rolname LIKE 'accounts_v%'")}

    def filled(self) -> int:
        if self.ask("SELECT to_regclass('hitless.backfill') IS NOT NULL") != [(True,)]:
            return 0
        return int(self.ask("SELECT coalesce(sum(rows), 0) FROM hitless.backfill")[0][0])


@contextmanager
def running(folder: Path, *, rows: int) -> Iterator[Run]:
    with accounts(rows) as server:
        port = free_ports(1)[0]
        environment = {"ACCOUNTS_OWNER_URL": stage.urls(server)[1]}
        project = LiveProject(directory=folder / "project", configuration="", environment=environment)
        project.directory.mkdir()
        run = Run(server=server, project=project, port=port)
        run.write(changes=False)
        with project:
            project.check("deploy", "--version", "1")
            run.write()
            yield run


@contextmanager
def loaded(run: Run, folder: Path, *, rows: int) -> Iterator[LiveLoad]:
    mix = folder / "mix.json"
    mix.write_text(json.dumps(stage.mix(rows=rows, rate_rps=40, log=folder / "values.json")))
    with live_load(f"127.0.0.1:{run.port}", "--mix", str(mix)) as load:
        yield load


def until(condition: Callable[[], bool], what: str | Callable[[], str]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, what if isinstance(what, str) else what()
        time.sleep(0.05)


def ended(command: subprocess.Popen[str]) -> int:
    """Wait until a command has ended; return its exit code."""
    command.communicate(timeout=WITHIN_S)
    return command.returncode


def parity(run: Run) -> int:
    with run.server.connect(stage.DATABASE) as connection:
        return stage.parity(connection)


def test_a_release_brings_its_schema_and_its_role_and_goes_back_without_a_failed_request(tmp_path: Path) -> None:
    with running(tmp_path, rows=20_000) as run, loaded(run, tmp_path, rows=20_000) as load:
        assert run.roles() == {"accounts_v1"}
        told = run.project.run("deploy", "--version", NEW, "--strategy", "canary")
        assert told.returncode == 0, told.stdout + told.stderr
        assert "split-full-name stands at verified" in told.stdout + told.stderr
        found = run.rollout()["database"]
        assert (found["verdict"], found["role"]) == ("ready", f"accounts_v{NEW}")
        assert found["connections"][0]["fits"]
        assert parity(run) == 0
        users = {name for (name,) in run.ask("SELECT usename FROM pg_stat_activity WHERE usename LIKE 'accounts_v%'")}
        assert f"accounts_v{NEW}" in users
        run.project.check("rollout", "undo")
        (met,) = run.rollout()["database"]["returns"]
        assert "at verified: 1 reads and writes users.full_name" in met
        until(lambda: run.roles() == {"accounts_v1"}, lambda: f"{run.roles()}: {run.project.status('accounts')}")
        report = load.finish()
        print(as_text(report))
        assert report.failed == 0, report.examples
        assert report.total.sent > 200


def test_a_controller_that_is_killed_in_a_backfill_leaves_it_to_the_next(tmp_path: Path) -> None:
    with running(tmp_path, rows=400_000) as run, loaded(run, tmp_path, rows=400_000) as load:
        deploying = run.project.start("deploy", "--version", NEW)
        until(lambda: run.filled() > 0, "the backfill never began")
        run.project.kill()
        before = run.filled()
        assert 0 < before < 400_000
        run.project.up()
        ended(deploying)
        until(lambda: run.project.status("accounts")["stable"] == NEW, "the release never came in")
        assert run.rollout()["database"]["verdict"] == "ready"
        assert parity(run) == 0
        raised = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = 'accounts_v1'"
        assert "raised_to" not in run.ask(raised)[0][0]
        report = load.finish()
        assert report.failed == 0, report.examples


def test_a_database_that_goes_away_in_a_backfill_holds_the_rollout_until_it_is_back(tmp_path: Path) -> None:
    with running(tmp_path, rows=400_000) as run:
        deploying = run.project.start("deploy", "--version", NEW)
        until(lambda: run.filled() > 0, "the backfill never began")
        run.server.stop(signal.SIGQUIT)
        until(lambda: "cannot be reached" in str(run.rollout()["database"]), "nobody says that the database is away")
        assert run.rollout()["state"] == "running"
        assert run.rollout()["stage"] == 0
        run.server.start()
        assert ended(deploying) == 0
        assert parity(run) == 0


def test_an_abort_stops_a_backfill_and_the_next_deploy_goes_on_with_it(tmp_path: Path) -> None:
    with running(tmp_path, rows=400_000) as run:
        deploying = run.project.start("deploy", "--version", NEW)
        until(lambda: run.filled() > 0, "the backfill never began")
        run.project.check("rollout", "abort")
        assert ended(deploying) == 3
        until(lambda: run.ask("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'") == [], "the worker goes on")
        done = run.filled()
        assert done < 400_000
        run.project.check("deploy", "--version", NEW)
        assert parity(run) == 0


def test_pools_that_do_not_fit_are_refused_with_a_table_before_anything_changes(tmp_path: Path) -> None:
    with running(tmp_path, rows=1_000) as run:
        run.write(per_instance=60)
        told = run.project.run("deploy", "--version", NEW)
        assert told.returncode == 4, told.stdout + told.stderr
        assert "the pools of all versions do not fit" in told.stdout + told.stderr
        assert "instances x 60" in told.stdout + told.stderr
        assert run.filled() == 0
        assert run.project.status("accounts")["stable"] == "1"
        planned = run.project.json("plan", "--version", NEW)
        assert planned["database"]["connections"][0]["fits"] is False
