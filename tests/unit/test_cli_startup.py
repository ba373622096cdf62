"""What starting `hitless` costs. Times are measured elsewhere; here it is what must not be loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli_support import Shell, a_shell

from hitless.cli import app
from hitless.cli.reference import reference
from scripted_control_plane import ScriptedControlPlane

HEAVY = [
    "fastapi",
    "starlette",
    "uvicorn",
    "sqlalchemy",
    "pydantic",
    "ruamel",
    "psutil",
    "aiohttp",
    "asyncio",
    "postgast",
    "google",
]
ROOT = Path(__file__).parents[2]

PROBE = """
import json, sys
from hitless.cli.shell import run
code = run(sys.argv[1:])
json.dump([code, [name for name in {heavy} if name in sys.modules]], sys.stderr)
"""


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return a_shell(tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["--version"],
        ["status"],
        ["status", "--json"],
        ["rollout", "list"],
        ["deploy", "--help"],
        ["migrate", "--help"],
        ["explain", "check-scans"],
    ],
)
def test_daily_commands_load_neither_the_web_framework_nor_the_store(shell: Shell, command: list[str]) -> None:
    with shell.served(ScriptedControlPlane()):
        probe = [sys.executable, "-c", PROBE.format(heavy=HEAVY), *command]
        done = subprocess.run(probe, capture_output=True, text=True, check=True, timeout=60)
    code, loaded = json.loads(done.stderr[done.stderr.index("[") :])
    assert (code, loaded) == (0, [])


def test_every_registered_command_exists() -> None:
    built = app.build()
    for command in app.TOP:
        assert built[command].default_command is not None
    for group, commands in app.GROUPS.items():
        for command in commands:
            assert built[group][command].default_command is not None


def test_the_reference_of_the_command_line_is_up_to_date() -> None:
    page = ROOT / "docs/reference/cli.md"
    assert page.read_text() == reference(), "python -m hitless.cli.reference > docs/reference/cli.md"
