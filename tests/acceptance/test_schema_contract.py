"""A contract waits for the last release that needs what it removes, and takes it away without a failed request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from changes_stage import ROWS, Trial, statements, trial
from examples.accounts import stage

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3_000 if ROWS > 100_000 else 600)]

AT_ONCE = ("--window", "0s", "--quiet", "0s", "--retention", "0s", "--yes")
REFUSED = 4
EACH = ("split", "rename", "type", "drop", "primary_key")
CHANGES = EACH if os.environ.get("HITLESS_MIGRATE_EACH") else ("all",)
STATEMENTS = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "all"}


def test_a_rollout_makes_the_database_ready_and_the_contract_waits_for_release_1(tmp_path: Path) -> None:
    """By what the server counts for the role of each release; the wheel's servers do not bring pg_stat_statements."""
    with trial(tmp_path, "split", version=15, has_roles=True, **STATEMENTS) as run:
        superuser(run, "CREATE EXTENSION pg_stat_statements")
        superuser_looks = ("--override", "bypass postgres", "--reason", "made the extension", "--expires", "1h")
        wait_for_release_1(run, lambda: (*AT_ONCE, *superuser_looks, "--scratch", run.server.url()))


@pytest.mark.parametrize("change", CHANGES)
def test_a_contract_goes_by_what_releases_wrote_down_in_a_rehearsal(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    with trial(tmp_path, change, version=16, has_roles=True, prepares=False) as run:
        run.make_ready()
        monkeypatch.setenv("ACCOUNTS_MANIFESTS", str(folder))
        for release in ("1", run.release(2), run.release(3)):
            rehearse(run, release)
        monkeypatch.delenv("ACCOUNTS_MANIFESTS")
        wait_for_release_1(run, lambda: (*AT_ONCE, *manifests(folder)))


def rehearse(run: Trial, release: str) -> None:
    """Ask a release, out of rotation, for something of everything that it does."""
    account = {"reference": f"rehearsal {release}", "name": f"New rehearsal {release}"}
    account["email"] = f"{account['reference']}@new.example"
    with stage.served(run.server, release) as target:
        made = asked(target, "POST", "/accounts", account)
        for path in (f"/accounts/{made['id']}", "/accounts?after=5", "/accounts/find?email=u2@example.org"):
            asked(target, "GET", path)
        asked(target, "PATCH", f"/accounts/{made['id']}", {"name": "Somebody Else"})
        asked(target, "PATCH", f"/accounts/{made['id']}", {"name": account["name"]})


def asked(target: str, method: str, path: str, body: dict[str, str] | None = None) -> dict[str, Any]:
    sent = json.dumps(body).encode() if body else None
    request = urllib.request.Request(f"http://{target}{path}", method=method, data=sent)
    with urllib.request.urlopen(request, timeout=30) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


def wait_for_release_1(run: Trial, evidence: Callable[[], tuple[str, ...]]) -> None:
    superuser(run, f"DROP ROLE {stage.APPLICATION}")  # each release has a role of its own: nobody is this one
    bring_changes(run)
    run.deploy(run.release(2), "canary")
    assert run.parity() == 0
    told = run.migrate("contract", *evidence(), expect=REFUSED)
    print(told)
    assert "accounts@1" in told
    run.deploy(run.release(3))
    for stop in ("browned out", "hidden", "contracted"):
        assert stop in run.migrate("contract", *evidence()).replace("_", " ")
    require_nothing_failed(run)
    assert not [name for name in columns(run) if name.startswith("hitless")]


def manifests(folder: Path) -> Iterator[str]:
    """Join what the processes of each release have written down."""
    for name in {path.name.partition(".json")[0] for path in folder.iterdir()}:
        whole = folder / f"{name}.json"
        subprocess.run([sys.executable, "-m", "hitless.lifecycle.sql", "merge", str(whole)], check=True)
        yield from ("--manifest", str(whole))


def bring_changes(run: Trial) -> None:
    """From now on rollouts bring the change about before they start anything."""
    brought = f'changes: [{{file: "{run.file}", standing: switched}}]'
    run.project.write(run.project.configuration.replace("changes: []", brought))


def require_nothing_failed(run: Trial) -> None:
    report, told, found = run.finish()
    assert report.failed == 0, report.examples
    assert told["wrong"] == 0
    assert found.faults == []


def columns(run: Trial) -> set[str]:
    query = "SELECT attname FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped"
    return {name for (name,) in statements(run.server, query)}


def superuser(run: Trial, statement: str) -> None:
    with run.server.connect(stage.DATABASE) as connection:
        connection.execute(statement.encode())
