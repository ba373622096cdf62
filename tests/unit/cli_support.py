"""Runs `hitless` in this process, against a scripted control plane on a real Unix socket."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hitless.cli import place
from hitless.cli.clock import WallClock
from hitless.cli.shell import run
from scripted_control_plane import NOON, ScriptedControlPlane, serving

CONFIGURATION = """\
service: checkout
listen: 127.0.0.1:8080
instances: 2
run:
  command: [python, -m, shop, "{port}"]
  directory: "releases/{version}"
health: {ready: /ready}
strategy:
  canary: {steps: [{weight: 5%, hold: 10m}, {weight: 100%}]}
"""


@dataclass
class Told:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The data of the only JSON document."""
        return json.loads(self.out)["data"]

    @property
    def documents(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Shell:
    """A project directory with a prompt."""

    directory: Path
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Told:
        self.capsys.readouterr()
        code = run(list(arguments))
        captured = self.capsys.readouterr()
        return Told(code, captured.out, captured.err)

    @property
    def socket(self) -> Path:
        return place.socket_path(self.directory)

    @contextmanager
    def served(self, control: ScriptedControlPlane) -> Iterator[ScriptedControlPlane]:
        with serving(control, self.socket):
            yield control


def trimmed(text: str) -> str:
    """Take off what tables pad lines with."""
    return "\n".join(line.rstrip() for line in text.splitlines())


def without_stamps(text: str) -> str:
    """Take off the moment at the begin of each line."""
    return re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", "", text, flags=re.MULTILINE)


def a_shell(directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Stand in a fresh project; time stands still and pauses take none."""
    shell = Shell(directory=directory, capsys=capsys)
    (directory / "hitless.yaml").write_text(CONFIGURATION)
    monkeypatch.chdir(directory)
    for name in ("HITLESS_PROJECT", "HITLESS_ACTOR", "COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(WallClock, "now", lambda _: NOON + timedelta(seconds=252))
    monkeypatch.setattr(WallClock, "pause", lambda *_: None)
    return shell
