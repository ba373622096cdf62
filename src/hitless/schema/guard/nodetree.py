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
_SUBQUERY, _JOIN, _RELATION = 1, 2, 0


@dataclass(slots=True)
class _Query:
    outer: _Query | None
    entries: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Node:
    name: str
    query: _Query | None
    fields: dict[str, str] = field(default_factory=dict)


def whole_rows(tree: str) -> frozenset[int]:
    """Return the relations (oid) of which a tree takes whole rows; of a join, all those of its query."""
    taken: list[tuple[_Query, int, int]] = []
    for node in _nodes(tree):
        match node.name:
            case "RTE" | "RANGETBLENTRY" if node.query is not None:
                kind, relation = int(node.fields.get("rtekind", "-1")), int(node.fields.get("relid", "0"))
                node.query.entries.append((kind, relation))
            case "VAR" if node.query is not None and node.fields.get("varattno") == "0":
                taken.append((node.query, int(node.fields["varlevelsup"]), int(node.fields["varno"])))
    return frozenset(relation for one in taken for relation in _relations(*one))


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


def _nodes(tree: str) -> Iterator[_Node]:
    """Yield every node as it ends; one that holds a range table entry's subquery ends after what is in it."""
    stack: list[_Node] = []
    label: str | None = None
    opened = False
    for found in _WORD.finditer(tree):
        word = found.group()
        if opened:
            stack.append(_begun(word, stack[-1].query if stack else None))
            opened, label = False, None
        elif word == "{":
            opened = True
        elif word == "}":
            if stack:
                yield stack.pop()
            label = None
        elif word.startswith(":") and len(word) > 1:
            label = word[1:]
        elif label is not None and stack and word not in "()":
            stack[-1].fields.setdefault(label, word)
            label = None


def _begun(name: str, query: _Query | None) -> _Node:
    return _Node(name, _Query(query) if name == "QUERY" else query)
