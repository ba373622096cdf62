"""What hangs on tables, as its own definitions say it: indexes, views, triggers, policies, publications, privileges ...

The catalogue of the lint knows what matters to locks; to make an object anew its definition is needed whole. It is
taken from a dump of the schema (`pg_dump --schema-only`), also of a live database: one source, one reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hitless.schema.names import Name, derived
from hitless.schema.parser import Message, SyntaxProblemError, parse_statement, pg
from hitless.schema.reading.cutting import cut
from hitless.schema.translation.names import name_of, object_name, relation, relations_in, whole, words


class Kind(StrEnum):
    """What a definition defines."""

    INDEX = "index"
    VIEW = "view"
    MATERIALIZED_VIEW = "materialized view"
    TRIGGER = "trigger"
    POLICY = "policy"
    PUBLICATION = "publication"
    WIDE_PUBLICATION = "publication of schemas"
    STATISTICS = "statistics"
    RULE = "rule"
    COMMENT = "comment"
    GRANT = "grant"
    OPTION = "option"
    IDENTITY = "identity"
    SEQUENCE = "sequence"
    OWNER = "owner"
    REPLICA_IDENTITY = "replica identity"
    CLUSTER = "cluster"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A statement that defines something.

    Attributes:
        name: of the index, view, trigger ... itself.
        relations: the tables and views that it is about.
        columns: that it names, of whatever relation; of a publication of schemas, those: none = all.
        text: the statement.
    """

    kind: Kind
    name: Name
    relations: tuple[Name, ...]
    columns: frozenset[str]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependents:
    """All definitions of a schema, in the order of the dump."""

    definitions: tuple[Definition, ...] = ()

    def on(self, table: Name, *kinds: Kind) -> Iterator[Definition]:
        """Return the definitions about a relation."""
        return (one for one in self.definitions if one.kind in kinds and table in one.relations)

    def publications(self, table: Name) -> Iterator[Definition]:
        """Return the publications that a table is in: by its name, its schema, or as all are."""
        for one in self.definitions:
            is_wide = one.kind is Kind.WIDE_PUBLICATION and (not one.columns or table.schema in one.columns)
            if is_wide or (one.kind is Kind.PUBLICATION and table in one.relations):
                yield one

    def naming(self, table: Name, column: str, *kinds: Kind) -> Iterator[Definition]:
        """Return the definitions about a relation that name a column."""
        return (one for one in self.on(table, *kinds) if column in one.columns)


def dependents_of(dump: str) -> Dependents:
    """Read a dump; what the parser does not understand was told when its catalogue was read."""
    return Dependents(definitions=tuple(_definitions(dump)))


def _definitions(dump: str) -> Iterator[Definition]:
    for piece in cut(dump):
        if not piece.text:
            continue
        try:
            nodes = parse_statement(piece.text)
        except SyntaxProblemError:
            continue
        for node in nodes:
            field = node.WhichOneof("node") or ""
            if field in _READERS:
                yield from _READERS[field](getattr(node, field), piece.text)


def columns_in(message: Message) -> frozenset[str]:
    """Return every column that a statement names."""
    return frozenset(_columns(message))


def _columns(message: Message) -> Iterator[str]:
    for one in whole(message):
        match one:
            case pg.ColumnRef():
                last = one.fields[-1]
                yield last.string.sval if last.WhichOneof("node") == "string" else "*"
            case pg.IndexElem() | pg.StatsElem() if one.name:
                yield one.name


def _full(name: Name) -> Name:
    return name.within("public")


def _made(kind: Kind, node: Message, text: str, name: Name, *relations: Name, also: tuple[str, ...] = ()) -> Definition:
    return Definition(
        kind=kind,
        name=_full(name),
        relations=tuple(map(_full, relations)),
        columns=columns_in(node) | frozenset(also),
        text=text,
    )


def _index(node: pg.IndexStmt, text: str) -> Iterator[Definition]:
    table = relation(node.relation)
    keys = (one.index_elem.name or "expr" for one in node.index_params)
    name = node.idxname or derived(table.name, *keys, "idx")  # as PostgreSQL does (ChooseIndexName)
    yield _made(Kind.INDEX, node, text, Name(name, table.schema), table)


def _view(node: pg.ViewStmt, text: str) -> Iterator[Definition]:
    yield _made(Kind.VIEW, node, text, relation(node.view), *relations_in(node.query))


def _query(node: pg.CreateTableAsStmt, text: str) -> Iterator[Definition]:
    if node.objtype == pg.OBJECT_MATVIEW:
        yield _made(Kind.MATERIALIZED_VIEW, node, text, relation(node.into.rel), *relations_in(node.query))


def _trigger(node: pg.CreateTrigStmt, text: str) -> Iterator[Definition]:
    yield _made(Kind.TRIGGER, node, text, Name(node.trigname), relation(node.relation), also=words(node.columns))


def _policy(node: pg.CreatePolicyStmt, text: str) -> Iterator[Definition]:
    yield _made(Kind.POLICY, node, text, Name(node.policy_name), relation(node.table))


def _rule(node: pg.RuleStmt, text: str) -> Iterator[Definition]:
    yield _made(Kind.RULE, node, text, Name(node.rulename), relation(node.relation))


def _statistics(node: pg.CreateStatsStmt, text: str) -> Iterator[Definition]:
    tables = (relation(one.range_var) for one in node.relations if one.WhichOneof("node") == "range_var")
    yield _made(Kind.STATISTICS, node, text, name_of(node.defnames), *tables)


def _publication(node: pg.CreatePublicationStmt | pg.AlterPublicationStmt, text: str) -> Iterator[Definition]:
    if node.for_all_tables:
        yield _made(Kind.WIDE_PUBLICATION, node, text, Name(node.pubname))
    for one in node.pubobjects:
        if one.publication_obj_spec.pubobjtype == pg.PUBLICATIONOBJ_TABLES_IN_SCHEMA:
            also = (one.publication_obj_spec.name,)
            yield _made(Kind.WIDE_PUBLICATION, one, text, Name(node.pubname), also=also)
        table = one.publication_obj_spec.pubtable
        if table.relation.relname:
            yield _made(
                Kind.PUBLICATION, table, text, Name(node.pubname), relation(table.relation), also=words(table.columns)
            )


def _comment(node: pg.CommentStmt, text: str) -> Iterator[Definition]:
    found = object_name(node.object)
    if node.objtype == pg.OBJECT_COLUMN:
        parts = words(node.object.list.items)
        table = Name(parts[-2], parts[-3] if len(parts) > 2 else None)  # noqa: PLR2004 - schema, table, column
        yield _made(Kind.COMMENT, node, text, table, table, also=(parts[-1],))
    elif node.objtype in {pg.OBJECT_VIEW, pg.OBJECT_TABLE, pg.OBJECT_SEQUENCE, pg.OBJECT_INDEX}:
        yield _made(Kind.COMMENT, node, text, found, found)
    elif node.objtype == pg.OBJECT_STATISTIC_EXT:
        yield _made(Kind.COMMENT, node, text, name_of(node.object.list.items))
    elif node.objtype == pg.OBJECT_TABCONSTRAINT:
        parts = words(node.object.list.items)
        table = Name(parts[-2], parts[-3] if len(parts) > 2 else None)  # noqa: PLR2004 - as above
        yield _made(Kind.COMMENT, node, text, table.sibling(parts[-1]), table)


def _grant(node: pg.GrantStmt, text: str) -> Iterator[Definition]:
    columns = tuple(one for privilege in node.privileges for one in words(privilege.access_priv.cols))
    for one in node.objects:
        if one.WhichOneof("node") == "range_var":
            table = relation(one.range_var)
            yield _made(Kind.GRANT, node, text, table, table, also=columns)


def _sequence(node: pg.AlterSeqStmt, text: str) -> Iterator[Definition]:
    for one in node.options:
        if one.def_elem.defname == "owned_by":
            parts = words(one.def_elem.arg.list.items)
            if len(parts) > 1:
                table = Name(parts[-2], parts[-3] if len(parts) > 2 else None)  # noqa: PLR2004 - as above
                yield _made(Kind.SEQUENCE, node, text, relation(node.sequence), table, also=(parts[-1],))


_COLUMN_OPTIONS = {pg.AT_SetStatistics, pg.AT_SetStorage, pg.AT_SetOptions, pg.AT_SetCompression}


def _alter(node: pg.AlterTableStmt, text: str) -> Iterator[Definition]:
    table = relation(node.relation)
    for one in node.cmds:
        command = one.alter_table_cmd
        kind = _COMMANDS.get(command.subtype)
        if kind is not None:
            yield _made(kind, command, text, table, table, also=(command.name,) if command.name else ())


_COMMANDS: Mapping[int, Kind] = {
    **dict.fromkeys(_COLUMN_OPTIONS, Kind.OPTION),
    pg.AT_AddIdentity: Kind.IDENTITY,
    pg.AT_ChangeOwner: Kind.OWNER,
    pg.AT_ReplicaIdentity: Kind.REPLICA_IDENTITY,
    pg.AT_ClusterOn: Kind.CLUSTER,
    pg.AT_ColumnDefault: Kind.DEFAULT,
}

_READERS: Mapping[str, Callable[[Any, str], Iterator[Definition]]] = {
    "index_stmt": _index,
    "view_stmt": _view,
    "create_table_as_stmt": _query,
    "create_trig_stmt": _trigger,
    "create_policy_stmt": _policy,
    "rule_stmt": _rule,
    "create_stats_stmt": _statistics,
    "create_publication_stmt": _publication,
    "alter_publication_stmt": _publication,
    "comment_stmt": _comment,
    "grant_stmt": _grant,
    "alter_seq_stmt": _sequence,
    "alter_table_stmt": _alter,
}
