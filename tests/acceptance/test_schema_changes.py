"""Each kind of change, end to end under load: no failed request, no wrong, lost or doubled value.

Usually the changes are made together, on 20,000 rows. `HITLESS_MIGRATE_EACH=1` makes each by itself;
`HITLESS_MIGRATE_ROWS=2000000` and `HITLESS_MIGRATE_RATE=200` are what the figures in the documentation are from.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from changes_stage import ROWS, Trial, require_clean, statements, trial
from examples.accounts import stage

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3_000 if ROWS > 100_000 else 600)]

EACH = ("split", "rename", "type", "not_null", "drop", "primary_key")
CHANGES = EACH if os.environ.get("HITLESS_MIGRATE_EACH") else ("all",)
SWAPS = frozenset({"type", "primary_key", "all"})
"""Changes that exchange a column's type under its name: prepared statements would fail once each; see the how-to."""


def prepares(change: str) -> bool:
    return change not in SWAPS


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_made_while_both_releases_use_the_table(change: str, tmp_path: Path) -> None:
    with trial(tmp_path, change, prepares=prepares(change)) as run:
        run.make_ready()
        run.roll_and_return()
        assert run.parity() == 0
        require_clean(run)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_is_undone_leaves_the_schema_as_it_was(change: str, tmp_path: Path) -> None:
    with trial(tmp_path, change, prepares=prepares(change)) as run:
        before = run.server.dump(stage.DATABASE)
        run.make_ready()
        run.deploy(run.release(2), "canary")
        run.back()
        run.migrate("undo", "--yes")
        require_clean(run)
        assert run.server.dump(stage.DATABASE) == before
        nothing_is_left(run)


def test_django_meets_right_values_too_on_the_newest_server(tmp_path: Path) -> None:
    with trial(tmp_path, "all", framework="django", version=18) as run:
        run.make_ready()
        run.roll_and_return()
        require_clean(run)


def nothing_is_left(run: Trial) -> None:
    invalid = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
    held = "SELECT pid FROM pg_locks WHERE locktype = 'advisory'"
    ours = "SELECT nspname FROM pg_namespace WHERE nspname = 'hitless'"
    assert [statements(run.server, query) for query in (invalid, held, ours)] == [[], [], []]
