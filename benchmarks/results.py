"""What a benchmark hands back, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

Cell = str | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A limit and what was measured; a goal that is not met is told, it breaks nothing."""

    name: str
    measured: float
    limit: float
    unit: str = ""
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the measured value is on the right side of the limit."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One benchmark's outcome.

    Attributes:
        notes: how it was measured, and what was left out.
        broken: what must not happen at any speed, such as failed requests; empty when all is well.
    """

    tables: tuple[Table, ...]
    goals: tuple[Goal, ...] = ()
    notes: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()


def to_markdown(name: str, result: Result) -> str:
    """Render a result."""
    return "\n".join([f"## {name}", "", *_lines(result)])


def to_json(result: Result) -> dict[str, Any]:
    """Return a result as JSON values."""
    return {**asdict(result), "goals": [{**asdict(goal), "is_met": goal.is_met} for goal in result.goals]}


def _lines(result: Result) -> Iterator[str]:
    for table in result.tables:
        yield from (f"**{table.title}**", "", _row(table.columns), _row(["---"] * len(table.columns)))
        yield from (_row(row) for row in table.rows)
        yield ""
    for goal in result.goals:
        verdict = "met" if goal.is_met else "NOT MET"
        sign = ">=" if goal.at_least else "<="
        yield f"- goal: {goal.name} {sign} {goal.limit:,g}{goal.unit}: {goal.measured:,.4g}{goal.unit}, **{verdict}**"
    yield from (f"- {note}" for note in result.notes)
    yield from (f"- **BROKEN**: {one}" for one in result.broken)
    yield ""


def _row(cells: tuple[Cell, ...] | list[str]) -> str:
    return f"| {' | '.join(f'{cell:,}' if isinstance(cell, int) else str(cell) for cell in cells)} |"
