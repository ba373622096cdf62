"""The README and the tutorial are executed to the letter, in an empty folder; only ports are exchanged for free ones.

Convention, in Markdown: a `python` or `yaml` block whose first line is `# path` is a file. A `console` block is a
session: what follows a `$ ` is a command; it must exit with 0 unless `$ echo $?` comes next, and must print what stands
below it, where `...` stands for anything. `hitless up` goes on until the end.
"""

from __future__ import annotations

import contextlib
import doctest
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from hitless.testing.live import free_ports

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# ([\w./-]+\.\w+)\n")
PORT = re.compile(r"(?<=127\.0\.0\.1:)8\d{3}\b")
ENDED = "--- ended with"
ASK_CODE = "echo $?"
UP = """\
: >up.txt; hitless up >>up.txt 2>&1 & up=$!
until grep --quiet '^Ctrl-C' up.txt || ! kill -0 $up; do sleep 0.1; done; cat up.txt
"""
TUTORIAL_S = 280
MATCH = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command and what it must print."""

    command: str
    wanted: str

    @property
    def script(self) -> str:
        """The command, and behind its output the code it ended with, which the next command still finds in `$?`."""
        command = UP if self.command == "hitless up" else f"{self.command}\n"
        return f"{{ {command}}}; code=$?; printf '%s %s\\n' {shlex.quote(ENDED)} $code; (exit $code)\n"


def files_of(document: str) -> Iterator[tuple[str, str]]:
    for kind, content in BLOCK.findall(document):
        named = FILE_NAME.match(content)
        if kind in {"python", "yaml"} and named:
            yield named[1], content


def steps_of(document: str) -> Iterator[Step]:
    for kind, content in BLOCK.findall(document):
        for part in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:] if kind == "console" else ():
            command = re.match(r"(?:.*\\\n)*.*\n", part)
            assert command is not None
            yield Step(command=command[0].strip(), wanted=part[command.end() :])


def script_of(steps: list[Step]) -> str:
    """Join the commands; a code that nobody asks for ends it all."""
    parts = []
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        is_asked_for = following is not None and following.command == ASK_CODE
        parts.append(step.script if is_asked_for else f"{step.script}[ $code = 0 ] || exit $code\n")
    return "".join(parts)


def with_free_ports(document: str) -> str:
    found = sorted(set(PORT.findall(document)))
    ports = {port: str(free) for port, free in zip(found, free_ports(len(found)), strict=True)}
    return PORT.sub(lambda found: ports[found[0]], document)


def play(script: str, folder: Path) -> list[tuple[str, int]]:
    """Run the session in one shell; return what each command printed, and its code."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder.parent),
        "LANG": "C.UTF-8",
        "CHECKOUT": str(ROOT),
    }
    try:
        done = subprocess.run(
            ["bash", "-c", f"exec 2>&1\n{script}"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=TUTORIAL_S,
        )
    finally:
        subprocess.run(["hitless", "down", "--yes"], cwd=folder, env=environment, capture_output=True, check=False)
        end_what_is_left(folder)
    parts = re.split(rf"^{re.escape(ENDED)} (\d+)\n", done.stdout, flags=re.MULTILINE)
    return [(printed, int(code)) for printed, code in zip(parts[::2], parts[1::2], strict=False)]


def end_what_is_left(folder: Path) -> None:
    """Leave nothing behind a session that went wrong: whatever names this very folder on its command line."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(folder) in word for word in process.cmdline()):
                process.kill()


@pytest.mark.acceptance
@pytest.mark.parametrize("name", ["README.md", "docs/tutorial/canary.md", "docs/tutorial/schema-change.md"])
def test_everything_happens_as_written(name: str, tmp_path: Path) -> None:
    document = with_free_ports((ROOT / name).read_text("utf-8"))
    folder = tmp_path / "project"
    for path, content in files_of(document):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    steps = list(steps_of(document))
    seen = play(script_of(steps), folder)
    for step, (printed, code) in zip(steps, seen, strict=False):
        matches = doctest.OutputChecker().check_output(step.wanted, printed, MATCH) or not step.wanted
        assert matches, f"$ {step.command}\n{printed}\n--- exit code {code}; as written:\n{step.wanted}"
    assert len(seen) == len(steps), f"ended at $ {steps[len(seen) - 1].command}\n{seen[-1]}"
