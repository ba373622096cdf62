"""Statements that define tables, indexes, views, routines, triggers, types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from hitless.schema.actions.action import Action, Other
from hitless.schema.actions.objects import (
    ChangeExtension,
    ChangePolicy,
    ChangePublication,
    ChangeSequence,
    CreateDomain,
    CreateEnum,
    CreateFunction,
    CreateIndex,
    CreateRule,
    CreateSchema,
    CreateStatistics,
    CreateTrigger,
    CreateType,
    CreateView,
    IndexKey,
)
from hitless.schema.actions.tables import CreateTable, Persistence
from hitless.schema.actions.values import Constraint
from hitless.schema.names import Name, quoted
from hitless.schema.parser import pg
from hitless.schema.translation.columns import bound, column, constraint, table_elements
from hitless.schema.translation.expressions import expression, sql_type
from hitless.schema.translation.names import (
    name_of,
    options,
    relation,
    relations_in,
    value_text,
    whole,
    words,
)

PERSISTENCE = {"p": Persistence.PERMANENT, "u": Persistence.UNLOGGED, "t": Persistence.TEMPORARY}


def create_table(node: pg.CreateStmt) -> Iterator[Action]:
    """Read CREATE TABLE."""
    columns, constraints = table_elements(node.table_elts)
    parents = tuple(relation(one.range_var) for one in node.inh_relations)
    is_part = node.HasField("partbound")
    likes = (one.table_like_clause for one in node.table_elts if one.WhichOneof("node") == "table_like_clause")
    yield CreateTable(
        table=relation(node.relation),
        columns=columns,
        constraints=constraints,
        persistence=PERSISTENCE.get(node.relation.relpersistence, Persistence.PERMANENT),
        if_not_exists=node.if_not_exists,
        partition_of=parents[0] if is_part and parents else None,
        bound=bound(node.partbound) if is_part else None,
        is_partitioned=node.HasField("partspec"),
        partition_key=_partition_key(node.partspec),
        inherits=() if is_part else parents,
        reads=tuple(relation(one.relation) for one in likes),
    )


def _partition_key(node: pg.PartitionSpec) -> tuple[str, ...]:
    names = tuple(one.partition_elem.name for one in node.part_params)
    return names if all(names) else ()


def create_foreign_table(node: pg.CreateForeignTableStmt) -> Iterator[Action]:
    """Read CREATE FOREIGN TABLE."""
    base = node.base_stmt
    columns, constraints = table_elements(base.table_elts)
    yield CreateTable(
        table=relation(base.relation),
        columns=columns,
        constraints=constraints,
        if_not_exists=base.if_not_exists,
        is_foreign=True,
    )


def create_table_as(node: pg.CreateTableAsStmt) -> Iterator[Action]:
    """Read CREATE TABLE AS and CREATE MATERIALIZED VIEW."""
    target = node.into.rel
    reads = relations_in(node.query)
    if node.objtype == pg.OBJECT_MATVIEW:
        yield CreateView(
            view=relation(target),
            is_materialized=True,
            reads=reads,
            columns=_columns_in(node.query),
            takes_all=_takes_all(node.query),
            if_not_exists=node.if_not_exists,
            with_data=not node.into.skip_data,
        )
        return
    yield CreateTable(
        table=relation(target),
        persistence=PERSISTENCE.get(target.relpersistence, Persistence.PERMANENT),
        if_not_exists=node.if_not_exists,
        reads=reads,
        is_from_query=True,
    )


def create_view(node: pg.ViewStmt) -> Iterator[Action]:
    """Read CREATE VIEW."""
    yield CreateView(
        view=relation(node.view),
        replace=node.replace,
        is_temporary=node.view.relpersistence == "t",
        reads=relations_in(node.query),
        columns=_columns_in(node.query),
        takes_all=_takes_all(node.query),
        options=frozenset(_view_options(node)),
    )


def _view_options(node: pg.ViewStmt) -> Iterator[str]:
    yield from (one.defname for one in options(node.options))
    if node.with_check_option in {pg.LOCAL_CHECK_OPTION, pg.CASCADED_CHECK_OPTION}:
        yield "check_option"


def _columns_in(query: pg.Node) -> frozenset[str]:
    found = (one.fields[-1] for one in whole(query) if isinstance(one, pg.ColumnRef))
    return frozenset(one.string.sval for one in found if one.WhichOneof("node") == "string")


def _takes_all(query: pg.Node) -> bool:
    return any(isinstance(one, pg.ColumnRef) and one.fields[-1].WhichOneof("node") == "a_star" for one in whole(query))


def create_index(node: pg.IndexStmt) -> Iterator[Action]:
    """Read CREATE INDEX."""
    keys = tuple(_key(one.index_elem) for one in node.index_params)
    where = expression(node.where_clause) if node.HasField("where_clause") else None
    yield CreateIndex(
        name=node.idxname or None,
        table=relation(node.relation),
        keys=keys,
        is_unique=node.unique,
        concurrently=node.concurrent,
        if_not_exists=node.if_not_exists,
        only=not node.relation.inh,
        method=node.access_method or "btree",
        where=where,
        definition="".join(_definition(node, keys, where.text if where else None)),
    )


def _key(node: pg.IndexElem) -> IndexKey:
    if node.HasField("expr"):
        read = expression(node.expr)
        plain = node.expr.WhichOneof("node") == "func_call"
        column_name, core = None, read.text if plain else f"({read.text})"
    else:
        read, column_name, core = None, node.name, quoted(node.name)
    collation = f" COLLATE {name_of(node.collation)}" if node.collation else ""
    operators = f" {name_of(node.opclass)}" if node.opclass else ""
    order = {pg.SORTBY_DESC: " DESC", pg.SORTBY_ASC: " ASC"}.get(node.ordering, "")
    nulls = {pg.SORTBY_NULLS_FIRST: " NULLS FIRST", pg.SORTBY_NULLS_LAST: " NULLS LAST"}.get(node.nulls_ordering, "")
    return IndexKey(column=column_name, expression=read, text=f"{core}{collation}{operators}{order}{nulls}")


def _definition(node: pg.IndexStmt, keys: tuple[IndexKey, ...], where: str | None) -> Iterator[str]:
    if node.access_method not in {"", "btree"}:
        yield f"USING {quoted(node.access_method)} "
    yield f"({', '.join(key.text for key in keys)})"
    if node.index_including_params:
        yield f" INCLUDE ({', '.join(_key(one.index_elem).text for one in node.index_including_params)})"
    if node.nulls_not_distinct:
        yield " NULLS NOT DISTINCT"
    if given := [f"{one.defname} = {value_text(one.arg)}" for one in options(node.options)]:
        yield f" WITH ({', '.join(given)})"
    if node.table_space:
        yield f" TABLESPACE {quoted(node.table_space)}"
    if where is not None:
        yield f" WHERE {where}"


def create_function(node: pg.CreateFunctionStmt) -> Iterator[Action]:
    """Read CREATE FUNCTION and CREATE PROCEDURE."""
    given: dict[str, pg.Node] = {one.defname: one.arg for one in options(node.options)}
    body = words(given["as"].list.items) if "as" in given else ()
    volatility = value_text(given["volatility"]) if "volatility" in given else "volatile"
    yield CreateFunction(
        function=name_of(node.funcname),
        replace=node.replace,
        language=value_text(given["language"]).lower() if "language" in given else "sql",
        volatility=_VOLATILITIES.get(volatility, "volatile"),
        body=body[0] if body else None,
        reads=relations_in(node.sql_body) if node.HasField("sql_body") else (),
    )


_VOLATILITIES: Mapping[str, Literal["volatile", "stable", "immutable"]] = {
    "volatile": "volatile",
    "stable": "stable",
    "immutable": "immutable",
}

_BEFORE, _INSTEAD = 1 << 1, 1 << 6
_EVENTS = {1 << 2: "insert", 1 << 3: "delete", 1 << 4: "update", 1 << 5: "truncate"}
"""Bits of a trigger's type (TRIGGER_TYPE_* of catalog/pg_trigger.h)."""


def create_trigger(node: pg.CreateTrigStmt) -> Iterator[Action]:
    """Read CREATE TRIGGER."""
    timing: Literal["before", "after", "instead of"] = "after"
    if node.timing:
        timing = "before" if node.timing & _BEFORE else "instead of"
    yield CreateTrigger(
        trigger=node.trigname,
        table=relation(node.relation),
        function=name_of(node.funcname),
        replace=node.replace,
        is_row=node.row,
        timing=timing,
        events=frozenset(word for bit, word in _EVENTS.items() if node.events & bit),
    )


def create_policy(node: pg.CreatePolicyStmt) -> Iterator[Action]:
    """Read CREATE POLICY."""
    yield ChangePolicy(
        policy=node.policy_name, table=relation(node.table), is_new=True, is_restrictive=not node.permissive
    )


def alter_policy(node: pg.AlterPolicyStmt) -> Iterator[Action]:
    """Read ALTER POLICY."""
    yield ChangePolicy(policy=node.policy_name, table=relation(node.table), is_new=False)


def create_rule(node: pg.RuleStmt) -> Iterator[Action]:
    """Read CREATE RULE."""
    yield CreateRule(rule=node.rulename, table=relation(node.relation), replace=node.replace)


def create_enum(node: pg.CreateEnumStmt) -> Iterator[Action]:
    """Read CREATE TYPE ... AS ENUM."""
    yield CreateEnum(type=name_of(node.type_name), values=words(node.vals))


def create_composite(node: pg.CompositeTypeStmt) -> Iterator[Action]:
    """Read CREATE TYPE ... AS (...)."""
    columns = tuple(column(one.column_def) for one in node.coldeflist)
    yield CreateType(type=relation(node.typevar), kind="composite", columns=columns)


def create_range(node: pg.CreateRangeStmt) -> Iterator[Action]:
    """Read CREATE TYPE ... AS RANGE."""
    yield CreateType(type=name_of(node.type_name), kind="range")


def define(node: pg.DefineStmt) -> Iterator[Action]:
    """Read CREATE of a base type, aggregate, operator, collation or text search object."""
    if node.kind == pg.OBJECT_TYPE:
        yield CreateType(type=name_of(node.defnames), kind="base")
    else:
        yield Other(kind=f"create {pg.ObjectType.Name(node.kind).removeprefix('OBJECT_').lower()}")


def create_domain(node: pg.CreateDomainStmt) -> Iterator[Action]:
    """Read CREATE DOMAIN."""
    written = [one.constraint for one in node.constraints if one.WhichOneof("node") == "constraint"]
    yield CreateDomain(
        domain=name_of(node.domainname),
        base=str(sql_type(node.type_name)),
        constraints=tuple(_checks(written)),
        is_not_null=any(one.contype == pg.CONSTR_NOTNULL for one in written),
    )


def _checks(written: Iterable[pg.Constraint]) -> Iterator[Constraint]:
    return (constraint(one) for one in written if one.contype == pg.CONSTR_CHECK)


def create_sequence(node: pg.CreateSeqStmt) -> Iterator[Action]:
    """Read CREATE SEQUENCE."""
    yield _sequence(node, is_new=True)


def alter_sequence(node: pg.AlterSeqStmt) -> Iterator[Action]:
    """Read ALTER SEQUENCE."""
    yield _sequence(node, is_new=False)


def _sequence(node: pg.CreateSeqStmt | pg.AlterSeqStmt, *, is_new: bool) -> Action:
    given = {one.defname: one.arg for one in options(node.options)}
    owner = words(given["owned_by"].list.items) if "owned_by" in given else ()
    table = owner[:-1]
    owned_by = Name(table[-1], table[-2] if len(table) > 1 else None) if table else None
    return ChangeSequence(sequence=relation(node.sequence), is_new=is_new, options=tuple(given), owned_by=owned_by)


def create_schema(node: pg.CreateSchemaStmt) -> Iterator[Action]:
    """Read CREATE SCHEMA."""
    yield CreateSchema(schema=node.schemaname, if_not_exists=node.if_not_exists)


def create_extension(node: pg.CreateExtensionStmt) -> Iterator[Action]:
    """Read CREATE EXTENSION."""
    yield ChangeExtension(extension=node.extname, is_new=True)


def alter_extension(node: pg.AlterExtensionStmt) -> Iterator[Action]:
    """Read ALTER EXTENSION ... UPDATE."""
    yield ChangeExtension(extension=node.extname, is_new=False)


def create_statistics(node: pg.CreateStatsStmt) -> Iterator[Action]:
    """Read CREATE STATISTICS."""
    name = name_of(node.defnames) if node.defnames else None
    yield CreateStatistics(name=name, tables=tuple(relation(one.range_var) for one in node.relations))


def create_publication(node: pg.CreatePublicationStmt) -> Iterator[Action]:
    """Read CREATE PUBLICATION."""
    yield ChangePublication(publication=node.pubname, tables=_published(node.pubobjects))


def alter_publication(node: pg.AlterPublicationStmt) -> Iterator[Action]:
    """Read ALTER PUBLICATION."""
    yield ChangePublication(
        publication=node.pubname, tables=_published(node.pubobjects), is_drop=node.action == pg.AP_DropObjects
    )


def _published(nodes: Iterable[pg.Node]) -> tuple[Name, ...]:
    tables = (one.publication_obj_spec.pubtable for one in nodes)
    return tuple(relation(one.relation) for one in tables if one.HasField("relation"))
