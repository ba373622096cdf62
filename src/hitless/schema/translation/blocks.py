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
from hitless.schema.parser import SyntaxProblemError, pg
from hitless.schema.reading.cutting import cut
from hitless.schema.translation.session import block as plain_block
from hitless.schema.translation.session import body_of

_LEADS = re.compile(r"\b(?:begin|then|else|loop|declare|is)\s+", re.IGNORECASE)
_STATEMENT = re.compile(
    r"(?:alter|create|drop|truncate|update|delete\s+from|insert\s+into|lock|reindex|cluster|vacuum|refresh|comment|grant|"
    r"revoke|merge)\b",
    re.IGNORECASE,
)
_EXECUTE = re.compile(
    r"execute\s+(?:format\s*\(\s*)?'(?P<sql>(?:[^']|'')*+)'\s*(?P<rest>.*)", re.IGNORECASE | re.DOTALL
)


def block(node: pg.DoStmt, read: Callable[[str], tuple[Action, ...]]) -> Block:
    """Read DO and what its body does."""
    found = plain_block(node)
    if found.language not in {"plpgsql", "sql"}:
        return replace(found, is_dynamic=True)
    actions: list[Action] = []
    is_dynamic = False
    for piece in cut(body_of(node)):
        statement = _statement(piece.text)
        is_dynamic |= bool(re.match(r"execute\b", statement, re.IGNORECASE))
        actions += _read(statement, read)
    return replace(found, actions=tuple(actions), is_dynamic=is_dynamic)


def _read(statement: str, read: Callable[[str], tuple[Action, ...]]) -> Iterator[Action]:
    if (executed := _EXECUTE.match(statement)) and not executed["rest"].strip():
        statement = executed["sql"].replace("''", "'")
    if not _STATEMENT.match(statement):
        return
    try:
        found = read(statement)
    except SyntaxProblemError:
        return  # variables of the program stand in it, in places where SQL knows none
    yield from (replace(action, at=0) for action in found)


def _statement(text: str) -> str:
    """Take off what PL/pgSQL writes before a statement."""
    leads = [one.end() for one in _LEADS.finditer(text) if _STATEMENT.match(text, one.end())]
    executes = [
        one.end() for one in _LEADS.finditer(text) if re.compile("execute", re.IGNORECASE).match(text, one.end())
    ]
    return text[min([*leads, *executes], default=0) :].strip()
