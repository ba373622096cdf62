"""PostgreSQL's own parser, libpg_query, and the only module that names the library that binds it.

What has been tried, and what it is guarded against here:

* a NUL ends the text that C sees; PostgreSQL refuses one anywhere, and so does this;
* a tree that is some 25,000 deep (`1 + 1 + ...`) overruns the stack of 8 MiB and ends the process. A server refuses it
  too (max_stack_depth). What nests to the right is bounded by the grammar's own stack; chains to the left are counted
  before;
* protobuf gives up on 100 levels, which a sum of 50 terms has. Its other limit, 65,535, is asked for;
* positions of errors count characters, positions of nodes bytes.
"""

from __future__ import annotations

import re
from contextlib import suppress

from google.protobuf.message import DecodeError, Message
from postgast import PgQueryError, deparse, parse
from postgast import pg_query_pb2 as pg

with suppress(ImportError):  # protobuf in pure Python has no limit to raise
    from google._upb import _message  # where the switch is; it has no public name

    _message.SetAllowOversizeProtos(True)  # noqa: FBT003 - its only argument

__all__ = ["Message", "SyntaxProblemError", "expression_text", "parse_statement", "pg", "statement_text"]

DEEPEST = 5_000
_SHORT = 2 * DEEPEST
"""A chain takes two characters a link at least: shorter texts need not be counted."""

_LINK = re.compile(
    r"""'[^']*+'?|"[^"]*+"?|(?P<open>[(\[])|(?P<close>[)\]])|(?P<comma>,)"""
    r"""|(?P<link>[-+*/<>=~!@#%^&|`?]++|::|\b(?:union|except|intersect|join|is|isnull|notnull|collate|at|like|ilike|"""
    r"""similar|between|in|operator|overlaps)\b)""",
    re.IGNORECASE,
)


class SyntaxProblemError(Exception):
    """The parser does not understand the text; `offset` counts characters from its begin."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


def parse_statement(text: str) -> list[pg.Node]:
    """Parse a statement; several where the text holds several, none where it holds nothing.

    Raises:
        SyntaxProblemError: it is not PostgreSQL's SQL.
    """
    if (nul := text.find("\0")) >= 0:
        raise SyntaxProblemError("a NUL character, which PostgreSQL does not take", nul)
    if len(text) > _SHORT and (deepest := _deepest_chain(text)) > DEEPEST:
        raise SyntaxProblemError(f"an expression with {deepest:,} operators in a chain: too deep for a server", 0)
    try:
        return [raw.stmt for raw in parse(text).stmts]
    except PgQueryError as error:
        raise SyntaxProblemError(error.message, max(error.cursorpos - 1, 0)) from None
    except (DecodeError, UnicodeError) as error:
        raise SyntaxProblemError(f"the parser's answer cannot be read: {error}", 0) from None


def _deepest_chain(text: str) -> int:
    """Bound how deep a tree's left arms go: links since the last comma, in all open parentheses together."""
    deepest, total, here = 0, 0, 0
    outside: list[int] = []
    for found in _LINK.finditer(text):
        match found.lastgroup:
            case "open":
                outside.append(here)
                here = 0
            case "close":
                total -= here
                here = outside.pop() if outside else 0
            case "comma":
                total -= here
                here = 0
            case "link":
                here += 1
                total += 1
                deepest = max(deepest, total)
    return deepest


def expression_text(node: pg.Node) -> str:
    """Write an expression as SQL; `...` where the library cannot."""
    select = pg.SelectStmt(
        target_list=[pg.Node(res_target=pg.ResTarget(val=node))], limit_option=pg.LIMIT_OPTION_DEFAULT, op=pg.SETOP_NONE
    )
    tree = pg.ParseResult(version=180004, stmts=[pg.RawStmt(stmt=pg.Node(select_stmt=select))])
    try:
        return str(deparse(tree)).removeprefix("SELECT ")
    except (PgQueryError, UnicodeError):
        return "..."


def statement_text(node: Message) -> str:
    """Write a statement as SQL: the statement itself, or the node that wraps it.

    Raises:
        SyntaxProblemError: the library cannot.
    """
    if not isinstance(node, pg.Node):
        kinds = pg.Node.DESCRIPTOR.fields_by_name
        field = next(name for name, one in kinds.items() if one.message_type is node.DESCRIPTOR)
        node = pg.Node(**{field: node})
    try:
        return str(deparse(pg.ParseResult(version=180004, stmts=[pg.RawStmt(stmt=node)])))
    except (PgQueryError, UnicodeError) as error:
        raise SyntaxProblemError(f"a statement cannot be written back: {error}", 0) from None
