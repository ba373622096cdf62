"""A judgement as people see it: what the judge says, what it still needs, and the evidence by row."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from hitless.cli.figures import UNKNOWN, duration
from hitless.cli.symbols import CALLS, Glyphs, mark
from hitless.view.models import EvidenceView, JudgementView

ROWS = 6


def judgement_lines(
    judgement: JudgementView, glyphs: Glyphs, *, cause: str | None = None, rows: int = ROWS
) -> Iterator[RenderableType]:
    """Draw a judgement in a few lines.

    Args:
        judgement: what is drawn.
        glyphs: the terminal's.
        cause: why the rollout turned back, shown elsewhere: the same sentence is not said twice.
        rows: of evidence at most, those that say most.
    """
    yield Text()
    head = Text("judge ", style="bold").append(mark(CALLS[judgement["call"]], glyphs))
    sentence = judgement["detail"] or judgement["sentence"]
    yield head if sentence == cause else head.append(f": {sentence}", style="not bold")
    has_figures = judgement["detail"] not in {"", judgement["sentence"]}
    if not has_figures and (missing := missing_words(judgement)):
        yield Text(f"  {missing}", style="dim")
    told = [row for row in judgement["rows"] if _says_something(row)]
    shown = sorted(told, key=_weight, reverse=True)[:rows]
    counted = [row for row in shown if row["canary"] is not None]
    if counted:
        yield Padding(_table(counted), (0, 0, 0, 2), expand=False)
    yield from (Text(f"  {row['title']}: {row['detail']}", style="dim") for row in shown if row not in counted)


def ruling_line(judgement: JudgementView) -> str:
    """Tell in one line what the judge says."""
    return f"judge: {CALLS[judgement['call']].word}: {judgement['sentence']}"


def missing_words(judgement: JudgementView) -> str:
    """Say what a hold waits for, as far as it is known."""
    requests, seconds = judgement["missing_requests"], judgement["missing_s"]
    known = [f"{requests:,} request{'' if requests == 1 else 's'} of the new version"] if requests is not None else []
    known += [f"about {duration(seconds)}"] if seconds is not None else []
    return f"missing: {', '.join(known)}" if known else ""


def _table(rows: list[EvidenceView[str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("evidence", "new", "old", "odds", "towards rollback"):
        table.add_column(name, justify="left" if name == "evidence" else "right", no_wrap=True, overflow="ellipsis")
    for row in rows:
        style = "red" if row["since"] is not None else ""
        progress = UNKNOWN if row["log_evidence"] is None or row["log_needed"] is None else f"{_progress(row):.0%}"
        table.add_row(row["title"], _bad(row["canary"]), _bad(row["baseline"]), _times(row), progress, style=style)
    return table


def _says_something(row: EvidenceView[str]) -> bool:
    """Tell whether it has seen requests of the new version, or has something to tell in words."""
    return bool(row["canary"] and row["canary"][1]) or (row["canary"] is None and bool(row["detail"]))


def _weight(row: EvidenceView[str]) -> tuple[bool, float]:
    """Order rows: those that hold a rollout, or took it back, before all others."""
    return row["since"] is not None, _progress(row)


def _progress(row: EvidenceView[str]) -> float:
    """Return how far a row is on the way to its bound; evidence for the new version is none against it."""
    if row["log_evidence"] is None or not row["log_needed"]:
        return 0.0
    return min(max(row["log_evidence"] / row["log_needed"], 0.0), 1.0)


def _bad(counted: list[int] | None) -> str:
    return UNKNOWN if counted is None else f"{counted[0]:,} of {counted[1]:,}"


def _times(row: EvidenceView[str]) -> str:
    """Give the estimate and what it is at least and at most."""
    estimate = row["estimate"]
    if estimate is None or estimate["value"] is None:
        return UNKNOWN
    low, high = (UNKNOWN if bound is None else f"{bound:.1f}" for bound in (estimate["low"], estimate["high"]))
    return f"{estimate['value']:.1f}x ({low} to {high})"
