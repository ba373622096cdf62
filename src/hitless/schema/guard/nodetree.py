"""Whole rows in PostgreSQL's parsed trees, as catalogues keep them (`pg_proc.prosqlbody`, `pg_rewrite.ev_action`).

Why. Dependencies are recorded by column, and a whole row (`to_jsonb(u)`) records none: where a statement names any
column beside it, nothing of the whole row is left in pg_depend (dependency.c: find_expr_references_walker).

The form: `{NODE :field value ...}`, lists in parentheses, strings with backslashes (outfuncs.c, read.c). A `Var` with
attribute 0 is a whole row of the entry `varno` of the range table of the query it belongs to, `varlevelsup` queries
further out. Read with a stack of its own: trees are as deep as people write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_WORD = re.compile(r"[(){}]|(?:\\.|[^\s(){}\\])+", re.DOTALL)
_JOIN = 2
_EXISTS = "0"
_WRITES = frozenset({"2", "3"})
"""CmdType of UPDATE and INSERT (nodes.h): entries of their target lists are columns of the table by number."""


@dataclass(slots=True)
class _Query:
    outer: _Query | None
    entries: list[tuple[int, int]] = field(default_factory=list)
    command: str = ""
    result: int = 0


@dataclass(slots=True)
class _Node:
    name: str
    query: _Query | None
    parent: str
    under: str
    label: str = ""
    waits: bool = False
    is_exists: bool = False
    is_skipped: bool = False
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Found:
    """What is resolved once every range table is known."""

    variables: list[tuple[_Query, int, int, int]] = field(default_factory=list)
    written: list[tuple[_Query, int]] = field(default_factory=list)
    has_skipped: bool = False


def whole_rows(tree: str) -> frozenset[int]:
    """Return the relations (oid) of which a tree takes whole rows; of a join, all those of its query."""
    taken = [one for one in _found(tree).variables if one[3] == 0]
    return frozenset(relation for query, levels, varno, _ in taken for relation in _relations(query, levels, varno))


def columns_that_count(tree: str) -> frozenset[tuple[int, int]] | None:
    """Return the columns, as `(oid, attribute)`, that a tree really uses, where it lists more; None where it does not.

    Two lists hold every column of a table, and PostgreSQL records them all as needed: what `excluded` could give in ON
    CONFLICT DO UPDATE, and what EXISTS (SELECT * ...) selects and nobody takes. Who names a column in one of them fails
    where it is gone: that is seen by preparing it.
    """
    found = _found(tree)
    if not found.has_skipped:
        return None
    read = {
        (relation, attribute)
        for query, levels, varno, attribute in found.variables
        for relation in _relations(query, levels, varno)
    }
    written = {(one, number) for query, number in found.written for one in _relations(query, 0, query.result)}
    return frozenset(read | written)


def _found(tree: str) -> _Found:
    found = _Found()
    skipped = 0  # how deep within such a list
    for node, is_begin in _nodes(tree):
        if node.is_skipped:
            skipped += 1 if is_begin else -1
            found.has_skipped = True
        elif not is_begin and not skipped and node.query is not None:
            _take(found, node, node.query)
    return found


def _take(found: _Found, node: _Node, query: _Query) -> None:
    match node.name:
        case "RTE" | "RANGETBLENTRY":
            query.entries.append((int(node.fields.get("rtekind", "-1")), int(node.fields.get("relid", "0"))))
        case "VAR":
            told = node.fields
            found.variables.append((query, int(told["varlevelsup"]), int(told["varno"]), int(told["varattno"])))
        case "QUERY":
            query.result = int(node.fields.get("resultRelation", "0"))
        case "TARGETENTRY" if _is_column(node, query):
            found.written.append((query, int(node.fields["resno"])))


def _is_column(node: _Node, query: _Query) -> bool:
    match node.parent, node.under:
        case "QUERY", "targetList":
            return query.command in _WRITES
        case ("ONCONFLICTEXPR", "onConflictSet") | ("MERGEACTION", "targetList"):
            return True
    return False


def _relations(query: _Query | None, levels: int, varno: int) -> Iterator[int]:
    for _ in range(levels):
        query = query.outer if query is not None else None
    if query is None or not 0 < varno <= len(query.entries):
        return
    kind, relation = query.entries[varno - 1]
    if kind == _JOIN:
        yield from (one for _, one in query.entries if one)
    elif relation:
        yield relation


def _nodes(tree: str) -> Iterator[tuple[_Node, bool]]:
    """Yield every node as it begins and as it ends."""
    stack: list[_Node] = []
    opened = False
    for found in _WORD.finditer(tree):
        word = found.group()
        if opened:
            stack.append(_begun(word, stack[-1] if stack else None))
            yield stack[-1], True
            opened = False
        elif word == "{":
            opened = True
        elif word == "}":
            if stack:
                yield stack.pop(), False
        elif stack and word.startswith(":") and len(word) > 1:
            stack[-1].label, stack[-1].waits = word[1:], True
        elif stack and stack[-1].waits and word not in "()":
            _give(stack[-1], word)


def _give(node: _Node, value: str) -> None:
    node.waits = False
    node.fields.setdefault(node.label, value)
    if node.name == "QUERY" and node.label == "commandType" and node.query is not None:
        node.query.command = value  # at once: it is asked for before the query ends


def _begun(name: str, parent: _Node | None) -> _Node:
    if parent is None:
        return _Node(name, _Query(None) if name == "QUERY" else None, "", "")
    parent.waits = False
    return _Node(
        name,
        _Query(parent.query) if name == "QUERY" else parent.query,
        parent.name,
        parent.label,
        is_exists=name == "QUERY" and parent.name == "SUBLINK" and parent.fields.get("subLinkType") == _EXISTS,
        is_skipped=(parent.is_exists and parent.label == "targetList") or parent.label == "exclRelTlist",
    )
