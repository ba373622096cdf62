"""`hitless demo`: runs the demonstrations of the examples, which lie in the wheel, or beside `src` in a checkout."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import hitless
from hitless.cli.faults import DemoNotFound
from hitless.cli.session import DEFAULTS, Common
from hitless.testing.postgres import require_programs

ROWS = 200_000


def demo(*, migrate: bool = False, rows: int = ROWS, common: Common = DEFAULTS) -> int:
    """Show hitless at work: rollouts under load, or a change of the schema under load.

    Args:
        migrate: Show a change of the schema: a name is split into two columns of a table that is in use.
        rows: Of that table.
        common: Options of every command.
    """
    if not migrate:
        return _run("demo.py").returncode
    require_programs()
    options = ["--rows", str(rows), *["--json"] * common.json, *["--plain"] * common.plain]
    done = _run("demo_migrate.py", *options, stdout=subprocess.PIPE if common.json else None)
    if common.json and done.stdout:
        common.output.document("demo", json.loads(done.stdout))
    return done.returncode


def _run(script: str, *options: str, stdout: int | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(_folder() / script), *options]
    return subprocess.run(command, check=False, stdout=stdout, text=True)


def _folder() -> Path:
    package = Path(hitless.__file__).parent
    places = (package / "examples", package.parents[1] / "examples")
    found = next((place for place in places if (place / "demo.py").exists()), None)
    if found is None:
        raise DemoNotFound(places)
    return found
