"""Two ways to ask PostgreSQL whether a statement uses what is removed, and what they say together.

* *Shape*: the statement is prepared on a copy of the schema, and on one where the contract has been applied. It uses
  what was removed if it fails there, or returns other columns. Blind to whole rows, bodies of functions, and text that
  is built at run time.
* *Parts*: the statement becomes the body of a SQL function on the first copy; PostgreSQL then records every column
  that it reads or writes, the types and functions that it needs, and its parsed tree, in which whole rows stand. Blind
  to what functions do. It also counts what an inner `SELECT *` names and nobody takes out: a false alarm.

Together: it uses what is removed if either says so, and is clear only if both could tell.
"""

from __future__ import annotations

from dataclasses import dataclass

from hitless.schema.guard.verdict import CLEAR, Answer, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What preparing a statement says: its columns, or why it cannot be prepared.

    Attributes:
        columns: name and type of each; empty where it returns nothing.
        error: what the server says; None = it can be prepared.
    """

    columns: tuple[tuple[str, str], ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the parsed statement uses of what is removed, in words; and what is not transparent in it."""

    ways: tuple[str, ...] = ()
    opaque: tuple[str, ...] = ()
    error: str | None = None


def together(before: Shape, after: Shape, parts: Parts) -> Answer:
    """Combine both ways."""
    if before.error is not None:
        return Answer(verdict=Verdict.UNKNOWN, doubt=f"it cannot be prepared: {before.error}")
    ways = parts.ways or tuple(_of_shape(before, after))
    if ways:
        return Answer(verdict=Verdict.REFERENCES, ways=ways)
    if parts.error is not None:
        return Answer(verdict=Verdict.UNKNOWN, doubt=f"what it uses cannot be listed: {parts.error}")
    if parts.opaque:
        return Answer(verdict=Verdict.UNKNOWN, doubt="; ".join(parts.opaque))
    return CLEAR


def _of_shape(before: Shape, after: Shape) -> list[str]:
    if after.error is not None:
        return [f"fails without it: {after.error}"]
    if before.columns != after.columns:
        gone = [name for name, _ in before.columns if name not in {kept for kept, _ in after.columns}]
        return [f"returns other columns without it{': ' + ', '.join(gone) if gone else ''}"]
    return []
