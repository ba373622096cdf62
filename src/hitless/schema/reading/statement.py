"""One statement of a file, with its place."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from hitless.schema.reading.cutting import Comment, Cut


@dataclass(frozen=True, slots=True)
class Lines:
    """Where each line of a text begins."""

    starts: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> Lines:
        """Find the lines; CR LF and LF end one."""
        starts, position = [0], text.find("\n")
        while position >= 0:
            starts.append(position + 1)
            position = text.find("\n", position + 1)
        return cls(tuple(starts))

    def place(self, offset: int) -> tuple[int, int]:
        """Return line and column of an offset; both count from 1."""
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement.

    Attributes:
        text: without the semicolon.
        start: offset of its first character in the file.
        lines: of the file.
        first_line, last_line: where it begins and ends.
        comments: before it, in it, and behind it on its last line.
    """

    text: str
    start: int
    lines: Lines
    first_line: int
    last_line: int
    comments: tuple[Comment, ...] = ()

    def place(self, at: int = 0) -> tuple[int, int]:
        """Return line and column of an offset into its text."""
        return self.lines.place(self.start + at)


def statement_of(piece: Cut, lines: Lines) -> Statement:
    """Give a cut its place."""
    last = max(piece.start, piece.start + len(piece.text) - 1)
    return Statement(
        text=piece.text,
        start=piece.start,
        lines=lines,
        first_line=lines.place(piece.start)[0],
        last_line=lines.place(last)[0],
        comments=piece.comments,
    )
