"""A contract waits for the last release that needs what it removes, and takes it away without a failed request."""

from __future__ import annotations

from pathlib import Path

import pytest
from changes_stage import ROWS, Trial, statements, trial
from examples.accounts import stage

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3_000 if ROWS > 100_000 else 600)]

AT_ONCE = ("--window", "0s", "--quiet", "0s", "--retention", "0s", "--yes")
REFUSED = 4
STATEMENTS = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "all"}


def test_a_rollout_makes_the_database_ready_and_the_contract_waits_for_release_1(tmp_path: Path) -> None:
    with trial(tmp_path, "split", version=15, has_roles=True, **STATEMENTS) as run:
        superuser(run, "CREATE EXTENSION pg_stat_statements")
        bring_changes(run)
        run.deploy(run.release(2), "canary")
        assert run.parity() == 0
        run.migrate("switch")
        told = run.migrate("contract", *evidence(run), expect=REFUSED)
        print(told)
        assert "accounts@1" in told
        run.deploy(run.release(3))
        contract(run)
        require_nothing_failed(run)
        assert "full_name" not in columns(run)


def bring_changes(run: Trial) -> None:
    """From now on rollouts bring the change about before they start anything."""
    run.project.write(run.project.configuration.replace("changes: []", f'changes: ["{run.file}"]'))


def evidence(run: Trial) -> tuple[str, ...]:
    superuser_looks = ("--override", "bypass postgres", "--reason", "made the extension", "--expires", "1h")
    return (*AT_ONCE, *superuser_looks, "--scratch", run.server.url())


def contract(run: Trial) -> None:
    for stop in ("browned out", "hidden", "contracted"):
        told = run.migrate("contract", *evidence(run))
        assert stop in told.replace("_", " "), told


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
