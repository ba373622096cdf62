"""What the tests of schema changes share: a server, the accounts in it, and one release served without a proxy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from examples.accounts import stage

from hitless.testing.load import Report, from_json
from hitless.testing.postgres import PostgresServer, programs, running_postgres

FAST = {"fsync": "off", "autovacuum": "off"}


def require_postgres(version: int) -> None:
    """Skip the test where the programs are not; in CI they must be."""
    if version not in programs() and not (os.environ.get("CI") and version != 15):
        pytest.skip(f"no PostgreSQL {version} here")


@contextmanager
def accounts(rows: int, *, version: int = 16, **settings: str) -> Iterator[PostgresServer]:
    """Run a server with the accounts in it."""
    require_postgres(version)
    with running_postgres(version, **{**stage.SERVER_SETTINGS, **FAST, **settings}) as server:
        stage.seed(server, rows)
        yield server


def load(
    target: str, folder: Path, *, rows: int, seconds: float, rate_rps: float = 60
) -> tuple[Report, dict[str, Any]]:
    """Load a target; return the report, and the log of every value."""
    log, mix = folder / "values.json", folder / "mix.json"
    mix.write_text(json.dumps(stage.mix(rows=rows, rate_rps=rate_rps, log=log, records=50)))
    command = [sys.executable, "-m", "hitless.testing.load", "--target", target, "--json", "--mix", str(mix)]
    done = subprocess.run([*command, "--duration", str(seconds)], capture_output=True, text=True, check=False)
    return from_json(json.loads(done.stdout.splitlines()[-1])), json.loads(log.read_text())
