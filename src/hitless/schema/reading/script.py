"""A file as a list of statements, each with its actions, and of what could not be read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hitless.schema.actions.action import Action
from hitless.schema.parser import SyntaxProblemError
from hitless.schema.reading.cutting import Comment, Cut, cut
from hitless.schema.reading.statement import Lines, Statement, statement_of
from hitless.schema.translation.statements import actions_of

LONGEST = 1_000_000
"""Characters of a statement that the parser is given: its tree takes some 50 times as much memory."""

_ROWS_FOLLOW = re.compile(r"\bvalues\s*\(", re.IGNORECASE)
_VARIABLE = re.compile(r"""(?<![:\w]):(?P<quote>['"]?)(?P<name>[A-Za-z_]\w*)(?P=quote)""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A statement and what it does."""

    statement: Statement
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """What the parser does not understand, and what it said."""

    line: int
    column: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remainder:
    """Comments behind the last statement."""

    comments: tuple[Comment, ...]
    lines: Lines


def read_script(text: str) -> Iterator[Read | Unreadable | Remainder]:
    """Read a file, statement by statement, in its order."""
    lines = Lines.of(text)
    for piece in cut(text):
        if not piece.text:
            yield Remainder(comments=piece.comments, lines=lines)
            continue
        statement = statement_of(piece, lines)
        try:
            yield Read(statement=statement, actions=_read(piece))
        except SyntaxProblemError as problem:
            line, column = statement.place(problem.offset)
            yield Unreadable(line=line, column=column, message=problem.message)


def _read(piece: Cut) -> tuple[Action, ...]:
    text = _shortened(piece.text)
    try:
        return actions_of(text)
    except SyntaxProblemError:
        plain = _VARIABLE.sub(_without_colon, text)
        if plain == text:
            raise
        try:
            return actions_of(plain)
        except SyntaxProblemError as second:
            raise second from None


def _without_colon(found: re.Match[str]) -> str:
    """A variable of psql stands for a string, a name, or anything: each as long as it was, so that places stay."""
    return f" {found[0][1:]}"


def _shortened(text: str) -> str:
    """Leave the rows of a long INSERT out: what they are changes nothing.

    Raises:
        SyntaxProblemError: the statement is long, and no such INSERT.
    """
    if len(text) <= LONGEST:
        return text
    rows = _ROWS_FOLLOW.search(text, 0, LONGEST)
    if rows is None or text[:6].lower() != "insert":
        raise SyntaxProblemError(f"a statement of {len(text):,} characters: at most {LONGEST:,} are read", 0)
    return f"{text[: rows.start()]}VALUES (NULL)"
