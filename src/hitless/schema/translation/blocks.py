"""DO blocks: the statements in a program that can be read without running it.

The body is cut like a script; from each piece the words of PL/pgSQL that may stand before a statement are taken off,
and what then begins like a statement of SQL is read. What is put together at run time (EXECUTE) is not, and is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from hitless.schema.actions.action import Action
from hitless.schema.actions.data import Block
from hitless.schema.actions.tables import CreateTable
from hitless.schema.parser import SyntaxProblemError, pg
from hitless.schema.reading.cutting import Cut, cut
from hitless.schema.translation.session import block as plain_block
from hitless.schema.translation.session import body_of

_LEAD = re.compile(r"\b(?:begin|then|else|loop)\s+", re.IGNORECASE)
_STATEMENT = re.compile(
    r"(?:alter|create|drop|truncate|update|delete\s+from|insert\s+into|lock|reindex|cluster|vacuum|refresh|comment|grant|"
    r"revoke|merge|with|execute)\b",
    re.IGNORECASE,
)
_EXECUTE = re.compile(
    r"execute\b(?:\s+(?:'(?P<sql>(?:[^']|'')*+)'|\$(?P<tag>\w*)\$(?P<body>(?:(?!\$(?P=tag)\$).)*+)\$(?P=tag)\$)\s*\Z)?",
    re.IGNORECASE | re.DOTALL,
)
_INTO = re.compile(r"\binto\s+(?:strict\s+)?[\w.]++(?:\s*,\s*[\w.]++)*+\s*\Z", re.IGNORECASE)
"""Where PL/pgSQL puts what RETURNING gives."""

_RETURNING = re.compile(r"\breturning\b", re.IGNORECASE)


def block(node: pg.DoStmt, read: Callable[[str], tuple[Action, ...]]) -> Block:
    """Read DO and what its body does."""
    found = plain_block(node)
    if found.language not in {"plpgsql", "sql"}:
        return replace(found, is_dynamic=True)
    actions: list[Action] = []
    is_dynamic = False
    for piece in cut(body_of(node)):
        statement = _statement(piece)
        if executed := _EXECUTE.match(statement):
            is_dynamic |= executed["sql"] is None and executed["body"] is None
            statement = executed["body"] or (executed["sql"] or "").replace("''", "'")
        actions += _read(statement, read)
    return replace(found, actions=tuple(actions), is_dynamic=is_dynamic)


def _read(statement: str, read: Callable[[str], tuple[Action, ...]]) -> Iterator[Action]:
    if not _STATEMENT.match(statement):
        return
    try:
        found = read(_without_targets(statement))
    except SyntaxProblemError:
        return  # variables of the program stand in it, in places where SQL knows none
    is_query = statement[:4].lower() == "with"  # what its SELECT INTO fills is a variable, and no table
    yield from (replace(one, at=0) for one in found if not (is_query and isinstance(one, CreateTable)))


def _without_targets(statement: str) -> str:
    """Take off the variables that RETURNING fills."""
    return _INTO.sub("", statement) if _RETURNING.search(statement) else statement


def _statement(piece: Cut) -> str:
    """Take off what PL/pgSQL writes before a statement, and comments."""
    text = piece.text
    for comment in piece.comments:
        if comment.start >= piece.start:
            start, end = comment.start - piece.start, comment.end - piece.start
            text = f"{text[:start]}{' ' * (end - start)}{text[end:]}"
    leads = (one.end() for one in _LEAD.finditer(text) if _STATEMENT.match(text, one.end()))
    return text[next(leads, 0) :].strip()
