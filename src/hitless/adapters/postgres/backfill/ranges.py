"""Where a range of a part begins and ends."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from hitless.adapters.postgres.backfill.key import Part, Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Rows of a part above one key and up to another.

    Attributes:
        after: the key before the first one; None = from the beginning.
        to: the last key.
        rows: how many keys there are.
    """

    part: Part
    after: Values | None
    to: Values
    rows: int

    @property
    def condition(self) -> str:
        """Write it as a condition."""
        return self.part.between(self.after, self.to)


def greatest_key(connection: psycopg.Connection, part: Part) -> Values | None:
    """Return the greatest key of a part; None where it is empty."""
    query = f"SELECT {part.key.texts} FROM {part.written} ORDER BY {part.key.ordered(descending=True)} LIMIT 1"
    return _key(connection.execute(query.encode()).fetchone())


def next_range(
    connection: psycopg.Connection, part: Part, *, after: Values | None, upper: Values, rows: int
) -> Range | None:
    """Return the next range of at most so many rows; None where nothing is left up to `upper`.

    The end is looked up in the index: keys may have gaps of any size, and each range has the rows that were asked for.
    """
    condition = part.between(after, upper)
    query = f"SELECT {part.key.texts} FROM {part.written} WHERE {condition} ORDER BY {part.key.ordered()}"
    end = _key(connection.execute(f"{query} OFFSET {rows - 1} LIMIT 1".encode()).fetchone())
    if end is not None:
        return Range(part=part, after=after, to=end, rows=rows)
    counted = connection.execute(f"SELECT count(*) FROM {part.written} WHERE {condition}".encode()).fetchone()
    left = counted[0] if counted else 0
    return Range(part=part, after=after, to=upper, rows=left) if left else None


def _key(row: tuple[list[str], ...] | None) -> Values | None:
    return tuple(row[0]) if row is not None else None
