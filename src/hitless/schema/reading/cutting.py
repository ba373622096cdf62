r"""Cuts a script into statements, as psql does: before any parser sees it.

Theory. A semicolon ends a statement unless it stands in a string, a quoted name, a dollar quote, a comment, in
parentheses, or in the body of a function that is written as SQL (BEGIN ATOMIC ... END). A backslash begins a command
of psql, which ends with its line. What follows `COPY ... FROM stdin;` is data, up to a line with `\.` alone. So does
psql (psqlscan.l of PostgreSQL), and so one broken statement does not hide the ones behind it.

Rules. Nothing here fails: what is not closed goes on to the end of the text, and the parser says what is wrong with it.
Every part of a pattern is possessive or simple, so that no text takes more than linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_IDENTIFIER = r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*+"
_TOKEN = re.compile(
    rf"""
      (?P<line>--[^\r\n]*+)
    | (?P<block>/\*)
    | (?P<escaped>[eE]'(?>[^'\\]++|\\.|'')*+'?)
    | (?P<string>'[^']*+'?)
    | (?P<quoted>"[^"]*+"?)
    | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*+)?\$)
    | (?P<word>{_IDENTIFIER})
    | (?P<number>[0-9][0-9A-Za-z_.$]*+)
    | (?P<meta>\\[^\r\n]*+)
    | (?P<punctuation>[();])
    | (?P<other>[^\s'"$\\();A-Za-z_0-9/\-\x80-\U0010ffff]++)
    | (?P<rest>\S)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_COPY = re.compile(r"copy\b.*\bfrom\s+stdin\b", re.IGNORECASE | re.DOTALL)
_COPY_END = re.compile(r"^\\\.[ \t]*\r?$", re.MULTILINE)
_SENDS = re.compile(r"\\(?:g\w*|crosstabview\b|watch\b|bind\b|parse\b|;)")
"""Commands of psql that send what was typed before them."""

_ROUTINES = {"function", "procedure"}


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment without its marks; `start` and `end` are offsets into the file."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Cut:
    """One statement.

    Attributes:
        text: from its first word to before its semicolon; psql's commands in it are blanks.
        start: offset of its first word.
        end: offset behind its semicolon.
        comments: those before it, since the last statement, and those in it.
    """

    text: str
    start: int
    end: int
    comments: tuple[Comment, ...] = ()


@dataclass(slots=True)
class _Open:
    """The statement that is being read."""

    start: int | None = None
    words: list[str] = field(default_factory=list)
    parentheses: int = 0
    bodies: int = 0
    comments: list[Comment] = field(default_factory=list)
    blanks: list[tuple[int, int]] = field(default_factory=list)

    @property
    def is_routine(self) -> bool:
        return self.words[:1] == ["create"] and bool(_ROUTINES & set(self.words))

    def take_word(self, word: str) -> None:
        """Follow the bodies of routines: BEGIN and CASE open, END closes."""
        lower = word.lower()
        if len(self.words) < 4:  # noqa: PLR2004 - CREATE OR REPLACE FUNCTION
            self.words.append(lower)
        if (lower == "begin" and self.is_routine) or (lower == "case" and self.bodies):
            self.bodies += 1
        elif lower == "end" and self.bodies:
            self.bodies -= 1


def cut(text: str) -> Iterator[Cut]:
    """Cut a script into statements; comments behind the last one come with a cut that is empty."""
    position, current = 0, _Open()
    while (found := _TOKEN.search(text, position)) is not None:
        position = _skip(text, current, found)
        if position > 0:
            continue
        position = found.end()
        if not _ends(current, found):
            current.start = found.start() if current.start is None else current.start
            position = _take(text, current, found)
        elif current.start is not None:
            done = _close(text, current, found.start(), position)
            yield done
            current = _Open()
            position = _end_of_data(text, position) if _COPY.match(done.text) else position
    if current.start is not None or current.comments:
        yield _close(text, current, len(text), len(text))


def _skip(text: str, current: _Open, found: re.Match[str]) -> int:
    """Pass over what is no part of a statement, and return where it ends; 0 = it is part of one."""
    match found.lastgroup:
        case "line":
            current.comments.append(Comment(found[0][2:].strip(), *found.span()))
            return found.end()
        case "block":
            end = _end_of_comment(text, found.end())
            current.comments.append(Comment(text[found.end() : end].removesuffix("*/").strip(), found.start(), end))
            return end
        case "meta" if current.start is None or not _SENDS.match(found[0]):
            current.blanks.append(found.span())
            return found.end()
    return 0


def _ends(current: _Open, found: re.Match[str]) -> bool:
    """Tell whether a token ends the statement."""
    if found.lastgroup == "meta":
        return True
    return found[0] == ";" and (current.start is None or (current.parentheses <= 0 and current.bodies == 0))


def _take(text: str, current: _Open, found: re.Match[str]) -> int:
    """Take a token into the statement; return where the next one may begin."""
    match found.lastgroup:
        case "word":
            current.take_word(found[0])
        case "dollar":
            closed = text.find(found[0], found.end())
            return len(text) if closed < 0 else closed + len(found[0])
        case "punctuation" if found[0] in "()":
            current.parentheses += 1 if found[0] == "(" else -1
    return found.end()


def _close(text: str, current: _Open, end: int, behind: int) -> Cut:
    start = end if current.start is None else current.start
    body = text[start:end]
    for left, right in (blank for blank in current.blanks if blank[0] > start):
        body = f"{body[: left - start]}{' ' * (right - left)}{body[right - start :]}"
    return Cut(body.rstrip(), start, behind, tuple(current.comments))


def _end_of_comment(text: str, position: int) -> int:
    """Comments in comments count (PostgreSQL, "Lexical Structure")."""
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(text, position)) is not None:
        depth += 1 if edge[0] == "/*" else -1
        position = edge.end()
    return len(text) if depth else position


def _end_of_data(text: str, position: int) -> int:
    begin = text.find("\n", position)
    if begin < 0:
        return len(text)
    closed = _COPY_END.search(text, begin + 1)
    return closed.end() if closed else len(text)
