"""Statements about rows, and about tables as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from hitless.schema.actions.action import Action
from hitless.schema.actions.data import Call, Cluster, LockTables, Read, Truncate, Vacuum, Write
from hitless.schema.actions.session import SetVariable
from hitless.schema.actions.tables import CreateTable, Persistence
from hitless.schema.actions.values import Expression
from hitless.schema.names import Name
from hitless.schema.parser import Message, pg
from hitless.schema.translation.conditions import Tables, held_columns, is_always
from hitless.schema.translation.definitions import PERSISTENCE
from hitless.schema.translation.expressions import expression
from hitless.schema.translation.names import called, flag, relation, relations_in, value_text, whole


def insert(node: pg.InsertStmt) -> Iterator[Action]:
    """Read INSERT, and what its WITH writes."""
    yield _insert(node)
    yield from _written_within(node)


def _written_within(node: Message) -> Iterator[Action]:
    """Read the INSERT, UPDATE, DELETE and MERGE of WITH queries, however deep they stand."""
    for one in whole(node):
        if one is not node and (read := _WRITES.get(type(one))) is not None:
            yield read(one)


def _insert(node: pg.InsertStmt) -> Write:
    table = relation(node.relation)
    select = node.select_stmt.select_stmt
    return Write(
        verb="insert",
        table=table,
        columns=_targets(node.cols),
        source=_source(node, select),
        rows=len(select.values_lists),
        reads=_others(node, table),
        on_conflict=node.HasField("on_conflict_clause"),
        parts=frozenset(_parts(node.cols)),
    )


def _source(node: pg.InsertStmt, select: pg.SelectStmt) -> Literal["defaults", "values", "query"]:
    if node.select_stmt.WhichOneof("node") is None:
        return "defaults"
    return "values" if select.values_lists else "query"


def update(node: pg.UpdateStmt) -> Iterator[Action]:
    """Read UPDATE, and what its WITH writes."""
    yield _update(node)
    yield from _written_within(node)


def _update(node: pg.UpdateStmt) -> Write:
    change = _change("update", node, columns=_targets(node.target_list))
    return replace(change, assigned=tuple(_assigned(node)), parts=frozenset(_parts(node.target_list)))


def _assigned(node: pg.UpdateStmt) -> Iterator[tuple[str, Expression]]:
    for one in node.target_list:
        if one.WhichOneof("node") == "res_target" and one.res_target.val.WhichOneof("node") != "multi_assign_ref":
            yield one.res_target.name, expression(one.res_target.val)


def _parts(nodes: Iterable[pg.Node]) -> Iterator[str]:
    """`SET address.street = ...` and `SET tags[1] = ...` leave the rest of the column as it is."""
    for one in nodes:
        if one.WhichOneof("node") == "res_target" and one.res_target.indirection:
            yield one.res_target.name


def delete(node: pg.DeleteStmt) -> Iterator[Action]:
    """Read DELETE, and what its WITH writes."""
    yield _change("delete", node)
    yield from _written_within(node)


def _change(
    verb: Literal["update", "delete"], node: pg.UpdateStmt | pg.DeleteStmt, columns: tuple[str, ...] = ()
) -> Write:
    table = relation(node.relation)
    called_so = node.relation.alias.aliasname
    change = Write(verb=verb, table=table, called=called_so, columns=columns, reads=_others(node, table))
    if not node.HasField("where_clause"):
        return change
    held = held_columns(node.where_clause, Tables.of(node))
    return replace(
        change,
        where=_condition(node.where_clause),
        pinned=held.pinned,
        joined=held.joined,
        is_always=is_always(node.where_clause),
    )


def _condition(node: pg.Node) -> Expression:
    """Read a condition; the row that a cursor stands on has an address."""
    if node.WhichOneof("node") == "current_of_expr":
        return Expression(text=f"CURRENT OF {node.current_of_expr.cursor_name}", columns=frozenset({"ctid"}))
    return expression(node)


def merge(node: pg.MergeStmt) -> Iterator[Action]:
    """Read MERGE, and what its WITH writes."""
    yield _merge(node)
    yield from _written_within(node)


def _merge(node: pg.MergeStmt) -> Write:
    table = relation(node.relation)
    return Write(verb="merge", table=table, source="query", reads=_others(node, table))


_WRITES: Mapping[type[Message], Callable[[Any], Write]] = {
    pg.InsertStmt: _insert,
    pg.UpdateStmt: _update,
    pg.DeleteStmt: lambda node: _change("delete", node),
    pg.MergeStmt: _merge,
}


def copy(node: pg.CopyStmt) -> Iterator[Action]:
    """Read COPY."""
    if node.HasField("relation") and node.is_from:
        table = relation(node.relation)
        yield Write(verb="copy", table=table, source="file" if node.filename else "stdin")
    else:
        yield Read(reads=relations_in(node))


def select(node: pg.SelectStmt) -> Iterator[Action]:
    """Read SELECT, and what its WITH writes; SELECT INTO makes a table."""
    yield from _written_within(node)
    if node.HasField("into_clause"):
        table = relation(node.into_clause.rel)
        persistence = PERSISTENCE.get(node.into_clause.rel.relpersistence, Persistence.PERMANENT)
        reads = tuple(one for one in relations_in(node) if one != table)
        yield CreateTable(table=table, persistence=persistence, reads=reads, is_from_query=True)
        return
    yield from _settings(node)
    names = relations_in(node)
    yield Read(reads=names, locked=names if node.locking_clause else (), functions=frozenset(_functions(node)))


def _settings(node: pg.SelectStmt) -> Iterator[Action]:
    """Read set_config() of time-outs, with constants; the search_path is empty in dumps, which name all schemas."""
    for one in node.target_list:
        call = one.res_target.val.func_call
        if len(call.args) == _OF_SET_CONFIG and called(call.funcname).name == "set_config":
            name, value, is_local = (value_text(argument) for argument in call.args)
            if name.lower().endswith("_timeout") and value:
                yield SetVariable(name=name.lower(), values=(value,), is_local=is_local in _TRUE)


_OF_SET_CONFIG = 3
_TRUE = {"true", "t"}


def _functions(node: Message) -> Iterator[Name]:
    return (called(one.funcname) for one in whole(node) if isinstance(one, pg.FuncCall))


def _targets(nodes: Iterable[pg.Node]) -> tuple[str, ...]:
    return tuple(one.res_target.name for one in nodes if one.WhichOneof("node") == "res_target")


def _others(node: Message, table: Name) -> tuple[Name, ...]:
    return tuple(name for name in relations_in(node) if name != table)


def truncate(node: pg.TruncateStmt) -> Iterator[Action]:
    """Read TRUNCATE."""
    yield Truncate(tables=_relations(node.relations), cascade=node.behavior == pg.DROP_CASCADE)


def lock(node: pg.LockStmt) -> Iterator[Action]:
    """Read LOCK TABLE."""
    yield LockTables(tables=_relations(node.relations), mode=node.mode)


def _relations(nodes: Iterable[pg.Node]) -> tuple[Name, ...]:
    return tuple(relation(one.range_var) for one in nodes)


def vacuum(node: pg.VacuumStmt) -> Iterator[Action]:
    """Read VACUUM and ANALYZE."""
    tables = tuple(relation(one.vacuum_relation.relation) for one in node.rels)
    yield Vacuum(tables=tables, is_vacuum=node.is_vacuumcmd, is_full=flag(node.options, "full"))


def cluster(node: pg.ClusterStmt) -> Iterator[Action]:
    """Read CLUSTER."""
    yield Cluster(table=relation(node.relation) if node.HasField("relation") else None)


def call(node: pg.CallStmt) -> Iterator[Action]:
    """Read CALL."""
    yield Call(procedure=called(node.funccall.funcname))
