"""What kind of statement a text is: one to ask the server about, one that uses no column, one that nobody can judge.

A kind that is not known is in doubt. Statements that hold a query (a cursor, EXPLAIN, COPY of a query, PREPARE, CREATE
TABLE AS) are judged by it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from hitless.schema.guard.forms import numbered, readable, selected
from hitless.schema.names import Name
from hitless.schema.parser import SyntaxProblemError, parse_statement, pg, statement_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A statement that a server can prepare."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """A statement that names tables, and columns of them: COPY, LOCK, TRUNCATE, ANALYZE; no columns = all."""

    tables: tuple[Name, ...]
    columns: tuple[str, ...]
    takes_columns: bool
    way: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Text of PL/pgSQL, or a call of procedures: judged as bodies of functions are."""

    body: str
    calls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Harmless:
    """A statement that has nothing to do with tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unjudged:
    """A statement that nobody can judge."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A statement that changes the schema: what it has made is found in the catalogue; its words are looked at."""

    text: str


Kind = Query | Touch | Code | Definition | Harmless | Unjudged

_ASKED = {"select_stmt", "insert_stmt", "update_stmt", "delete_stmt", "merge_stmt"}
_HARMLESS = {
    *("transaction_stmt", "variable_set_stmt", "variable_show_stmt", "discard_stmt", "deallocate_stmt", "listen_stmt"),
    *("unlisten_stmt", "notify_stmt", "close_portal_stmt", "fetch_stmt", "checkpoint_stmt", "constraints_set_stmt"),
    *("load_stmt"),
}
_HOLDS = {  # statement -> the field in which its query stands
    "declare_cursor_stmt": "query",
    "explain_stmt": "query",
    "prepare_stmt": "query",
    "create_table_as_stmt": "query",
    "view_stmt": "query",
}
_DEFINES = (
    "create_",
    "alter_",
    "drop_",
    "index_",
    "rename_",
    "comment_",
    "grant_",
    "define_",
    "rule_",
    "reindex_",
)
"""How kinds begin that change the schema, or who may do what."""

_FIRST_WORD = re.compile(r"\s*([a-z]+)", re.IGNORECASE)
_SAID = frozenset("set reset show begin start commit end rollback abort savepoint release discard deallocate".split())
"""Whatever follows these words is no query; pg_stat_statements 1.12 puts `$1` behind them."""


def kinds_of(text: str, *, marks: str = "$", nested: bool = False) -> tuple[Kind, ...]:
    """Say what each statement of a text is."""
    text = numbered(text, marks).strip()
    first = _FIRST_WORD.match(text)
    if first is not None and first[1].lower() in _SAID and ";" not in text.rstrip(";"):
        return (Harmless(),)
    nodes = _read(text, nested=nested)
    if isinstance(nodes, Unjudged):
        return (nodes,)
    source, found = nodes
    if len(found) == 1 and found[0].WhichOneof("node") in _ASKED:
        return (_query(found[0], source.rstrip().rstrip(";")),)
    return tuple(_kind(one) for one in found) or (Harmless(),)


def _read(text: str, *, nested: bool) -> tuple[str, list[pg.Node]] | Unjudged:
    tries = [text, readable(text)]
    query = selected(text) if nested else None
    tries = [query, readable(query)] if query is not None else tries
    reason = ""
    for one in tries:
        try:
            return one, parse_statement(one)
        except SyntaxProblemError as error:
            reason = reason or error.message
    return Unjudged(reason=f"it cannot be read: {reason}")


def _kind(node: pg.Node) -> Kind:  # noqa: C901, PLR0911 - one return a kind
    which = node.WhichOneof("node")
    inner = getattr(node, which)
    if which in _HARMLESS:
        return Harmless()
    if which in _ASKED:
        return _written(node, inner)
    if which in _HOLDS:
        return _kind(getattr(inner, _HOLDS[which]))
    match which:
        case "copy_stmt":
            return _copy(inner)
        case "lock_stmt" | "truncate_stmt":
            tables = tuple(_name(one.range_var) for one in inner.relations)
            return Touch(tables=tables, columns=(), takes_columns=False, way=which.removesuffix("_stmt").upper())
        case "refresh_mat_view_stmt":
            return Touch(tables=(_name(inner.relation),), columns=(), takes_columns=False, way="REFRESH")
        case "vacuum_stmt":
            return _vacuum(inner)
        case "do_stmt":
            return Code(body=" ".join(_strings(inner)))
        case "call_stmt":
            call = inner.funccall
            return Code(body="", calls=(call.funcname[-1].string.sval,)) if not _asks(call) else _doubt(which)
        case "execute_stmt":
            return Unjudged(reason="it runs what was prepared before under a name")
        case _ if which.startswith(_DEFINES):
            return Definition(text=str(inner))
        case _:
            return _doubt(which or "")


def _doubt(which: str) -> Unjudged:
    return Unjudged(reason=f"nobody can judge a statement of this kind ({which.removesuffix('_stmt')})")


def _query(node: pg.Node, text: str) -> Kind:
    if node.WhichOneof("node") == "select_stmt" and node.select_stmt.HasField("into_clause"):
        return _written(node, node.select_stmt)
    return Query(text=text)


def _written(node: pg.Node, inner: Any) -> Kind:
    """Write it anew: it stood within another statement; SELECT INTO becomes the SELECT."""
    if node.WhichOneof("node") == "select_stmt" and node.select_stmt.HasField("into_clause"):
        node.select_stmt.ClearField("into_clause")
    try:
        return Query(text=statement_text(inner))
    except SyntaxProblemError as error:
        return Unjudged(reason=error.message)


def _copy(inner: Any) -> Kind:
    if inner.HasField("query"):
        return _kind(inner.query)
    columns = tuple(one.string.sval for one in inner.attlist)
    if inner.HasField("where_clause"):
        return Unjudged(reason="COPY with a condition")
    return Touch(tables=(_name(inner.relation),), columns=columns, takes_columns=True, way="COPY")


def _vacuum(inner: Any) -> Kind:
    named = [one.vacuum_relation for one in inner.rels]
    columns = tuple(column.string.sval for one in named for column in one.va_cols)
    tables = tuple(_name(one.relation) for one in named)
    return Touch(tables=tables, columns=columns, takes_columns=bool(columns), way="VACUUM or ANALYZE")


def _name(range_var: Any) -> Name:
    return Name(range_var.relname, range_var.schemaname or None)


def _strings(do: Any) -> list[str]:
    return [one.def_elem.arg.string.sval for one in do.args if one.def_elem.defname == "as"]


def _asks(call: Any) -> bool:
    """Tell whether the arguments of a call hold a query."""
    return "sub_link" in str(call)
