"""Definitions written anew: the same index, statistics or option for other columns, under another name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hitless.schema.actions.values import Expression
from hitless.schema.change.expressions import RowExpression, read_trusted
from hitless.schema.names import Name, literal, quoted
from hitless.schema.parser import Message, expression_text, parse_statement, pg, statement_text
from hitless.schema.translation.names import relation, whole, words


def index_like(definition: str, name: str, names: Mapping[str, str], *, table: Name, whole_only: bool = False) -> str:
    """Write CREATE INDEX for an index like another one: CONCURRENTLY, or ON ONLY the whole of a partitioned table."""
    node = _renamed(definition, names)
    index = node.index_stmt
    index.idxname = name
    index.concurrent = not whole_only
    index.relation.relname, index.relation.schemaname = table.name, table.schema or ""
    index.relation.inh = not whole_only
    return statement_text(node)


def statistics_like(definition: str, name: Name, names: Mapping[str, str]) -> str:
    """Write CREATE STATISTICS for statistics like others."""
    node = _renamed(definition, names).create_stats_stmt
    kinds = f" ({', '.join(words(node.stat_types))})" if node.stat_types else ""
    elements = (one.stats_elem for one in node.exprs)
    what = ", ".join(quoted(one.name) if one.name else f"({expression_text(one.expr)})" for one in elements)
    return f"CREATE STATISTICS {name}{kinds} ON {what} FROM {relation(node.relations[0].range_var)}"


def option_like(definition: str, names: Mapping[str, str]) -> str:
    """Write ALTER COLUMN ... SET STATISTICS, SET STORAGE and their kin for another column."""
    node = parse_statement(definition)[0]
    for one in node.alter_table_stmt.cmds:
        one.alter_table_cmd.name = names.get(one.alter_table_cmd.name, one.alter_table_cmd.name)
    node.alter_table_stmt.relation.inh = True
    return statement_text(node)


def grant_like(definition: str, names: Mapping[str, str]) -> str | None:
    """Write GRANT on columns for those that replace them; None where it grants nothing on one of them."""
    node = parse_statement(definition)[0]
    kept = []
    for one in node.grant_stmt.privileges:
        columns = [names[column] for column in words(one.access_priv.cols) if column in names]
        if columns:
            kept.append(
                pg.Node(access_priv=pg.AccessPriv(priv_name=one.access_priv.priv_name, cols=map(_string, columns)))
            )
    if not kept:
        return None
    del node.grant_stmt.privileges[:]
    node.grant_stmt.privileges.extend(kept)
    return statement_text(node)


def comment_like(definition: str, table: Name, column: str) -> str:
    """Write COMMENT ON COLUMN for another column."""
    said = parse_statement(definition)[0].comment_stmt.comment
    return f"COMMENT ON COLUMN {table}.{Name(column)} IS {literal(said)}"


def condition_like(condition: Expression, names: Mapping[str, str]) -> RowExpression:
    """Return a condition over columns of other names."""
    return read_trusted(condition.text).renamed(names)


def _renamed(definition: str, names: Mapping[str, str]) -> Any:
    node = parse_statement(definition)[0]
    for one in whole(node):
        _rename(one, names)
    return node


def _rename(one: Message, names: Mapping[str, str]) -> None:
    match one:
        case pg.ColumnRef() if one.fields[-1].WhichOneof("node") == "string":
            last = one.fields[-1].string
            last.sval = names.get(last.sval, last.sval)
        case pg.IndexElem() | pg.StatsElem() if one.name:
            one.name = names.get(one.name, one.name)


def _string(text: str) -> Any:
    return pg.Node(string=pg.String(sval=text))
