"""What is told of a walk through a table: a bar, a line now and then, or documents."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from hitless.adapters.postgres.hold import Told
from hitless.cli import migrate_progress
from hitless.cli.migrate_progress import BarTeller, telling
from hitless.cli.output import Output


def batch(rows: int, total: int | None = 1_000) -> Told:
    return Told(kind="batch", sentence=f"{rows:,} rows", data={"rows": rows, "total": total})


def test_lines_tell_of_batches_now_and_then_and_of_everything_else(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    monkeypatch.setattr(migrate_progress.time, "monotonic", lambda: now_s)
    with telling(Output()) as teller:
        for second in range(12):
            now_s = float(second)
            teller.tell(batch(second))
        teller.tell(Told(kind="throttled", sentence="writers are slow"))
    assert capsys.readouterr().err.splitlines() == ["0 rows", "5 rows", "10 rows", "writers are slow"]


def test_programs_get_every_event(capsys: pytest.CaptureFixture[str]) -> None:
    with telling(Output(json=True)) as teller:
        teller.tell(batch(1))
        teller.tell(batch(2))
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["data"]["data"]["rows"] for one in documents] == [1, 2]
    assert documents[0]["schema"] == "hitless.migration-event/v1"


@pytest.mark.parametrize("total", [1_000, None])
def test_a_terminal_gets_a_bar_with_the_sentence(total: int | None) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    progress = Progress(BarColumn(10), TextColumn("{task.description}", markup=False), console=console)
    teller = BarTeller(Output(), progress)
    teller.tell(batch(500, total))
    teller.tell(batch(750, total))
    (task,) = progress.tasks
    assert (task.completed, task.total, task.description) == (750, total, "750 rows")
