"""Programs in the how-to pages do what their page says."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hitless.journal.lines import export_lines
from hitless.journal.record import Entry, Record, chain

HOW_TO = Path(__file__).parents[2] / "docs/how-to"
PROGRAM = re.compile(r"^```python\n(# (\S+)\n.*?)^```$", re.MULTILINE | re.DOTALL)

PROJECT = """\
service: checkout
listen: 127.0.0.1:8080
instances: 4
run: {command: [python3, app.py, "{port}"], directory: "releases/{version}"}
strategy: {canary: {steps: [{weight: 5%, hold: 1m}, {weight: 100%}]}}
"""


def programs(page: str, *, to: Path) -> list[str]:
    """Write a page's programs into a folder; return their names."""
    found = PROGRAM.findall((HOW_TO / page).read_text("utf-8"))
    for content, name in found:
        (to / name).write_text(content)
    return [name for _, name in found]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def some_records() -> list[Record]:
    records: list[Record] = []
    for number, data in enumerate([{}, {"reason": "ü \U0001f680", "hash": "x"}, {"share": 0.1, "many": 1e21}]):
        entry = Entry(at=datetime(2026, 1, 1, 0, number, tzinfo=UTC), type="t", subject="s", actor="a", data=data)
        records.append(chain(entry, after=records[-1] if records else None))
    return records


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda lines: lines, "3 records hold"),
        (lambda lines: [*lines[:1], lines[1].replace('"x"', '"y"'), *lines[2:]], "record 2 does not hold"),
        (lambda lines: [lines[0], lines[2]], "record 2 does not hold"),
    ],
    ids=["as exported", "changed", "removed"],
)
def test_a_program_of_your_own_checks_an_export(tmp_path: Path, break_it: object, said: str) -> None:
    assert callable(break_it)
    assert programs("journal.md", to=tmp_path) == ["check_journal.py"]
    (tmp_path / "journal.jsonl").write_text("".join(break_it(list(export_lines(some_records())))), encoding="utf-8")
    done = run(tmp_path, "check_journal.py", "journal.jsonl")
    assert said in done.stdout + done.stderr


def test_the_tests_of_the_testing_page_pass(tmp_path: Path) -> None:
    names = programs("testing.md", to=tmp_path)
    (tmp_path / "hitless.yaml").write_text(PROJECT)
    options = ["-p", "no:randomly", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto"]
    scope = ["-o", "asyncio_default_fixture_loop_scope=function"]
    done = run(tmp_path, "-m", "pytest", "-q", *options, *scope, *(name for name in names if name.startswith("test_")))
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
