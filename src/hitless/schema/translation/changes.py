"""Statements that drop, rename, move, describe or grant what is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hitless.schema.actions.action import Action, Other
from hitless.schema.actions.objects import (
    AddEnumValue,
    AlterDomain,
    ChangePrivileges,
    Describe,
    Drop,
    RefreshView,
    Reindex,
    Rename,
    RenameEnumValue,
    SetSchema,
)
from hitless.schema.names import Name
from hitless.schema.parser import pg
from hitless.schema.translation.columns import constraint
from hitless.schema.translation.names import flag, name_of, object_name, relation, words

_KINDS = {
    pg.OBJECT_MATVIEW: "materialized view",
    pg.OBJECT_TABCONSTRAINT: "constraint",
    pg.OBJECT_DOMCONSTRAINT: "domain constraint",
    pg.OBJECT_STATISTIC_EXT: "statistics",
    pg.OBJECT_ACCESS_METHOD: "access method",
    pg.OBJECT_FOREIGN_TABLE: "foreign table",
    pg.OBJECT_FOREIGN_SERVER: "server",
    pg.OBJECT_FDW: "foreign data wrapper",
    pg.OBJECT_EVENT_TRIGGER: "event trigger",
    pg.OBJECT_OPCLASS: "operator class",
    pg.OBJECT_OPFAMILY: "operator family",
    pg.OBJECT_TSCONFIGURATION: "text search configuration",
    pg.OBJECT_TSDICTIONARY: "text search dictionary",
    pg.OBJECT_TSPARSER: "text search parser",
    pg.OBJECT_TSTEMPLATE: "text search template",
    pg.OBJECT_USER_MAPPING: "user mapping",
}

_OF_A_TABLE = {pg.OBJECT_TRIGGER, pg.OBJECT_POLICY, pg.OBJECT_RULE, pg.OBJECT_TABCONSTRAINT, pg.OBJECT_COLUMN}
_RELATIONS = {
    pg.OBJECT_TABLE,
    pg.OBJECT_VIEW,
    pg.OBJECT_MATVIEW,
    pg.OBJECT_INDEX,
    pg.OBJECT_SEQUENCE,
    pg.OBJECT_FOREIGN_TABLE,
}


def kind_of(kind: int) -> str:
    """Name a kind of object as SQL does, in lower case."""
    return _KINDS.get(kind) or pg.ObjectType.Name(kind).removeprefix("OBJECT_").lower().replace("_", " ")


def drop(node: pg.DropStmt) -> Iterator[Action]:
    """Read DROP."""
    facts = {
        "kind": kind_of(node.remove_type),
        "cascade": node.behavior == pg.DROP_CASCADE,
        "concurrently": node.concurrent,
        "if_exists": node.missing_ok,
    }
    if node.remove_type in _OF_A_TABLE:
        for one in node.objects:
            parts = words(one.list.items)
            table = Name(parts[-2], parts[-3] if len(parts) > 2 else None) if len(parts) > 1 else None  # noqa: PLR2004
            yield Drop(**facts, names=(Name(parts[-1]),), table=table)
    else:
        yield Drop(**facts, names=tuple(object_name(one) for one in node.objects))


def drop_plain(kind: str, name: str, *, if_exists: bool) -> Action:
    """Return the DROP of what has a statement of its own: database, tablespace, subscription."""
    return Drop(kind=kind, names=(Name(name),), if_exists=if_exists)


def rename(node: pg.RenameStmt) -> Iterator[Action]:
    """Read RENAME."""
    kind = kind_of(node.rename_type)
    if not node.HasField("relation"):
        yield _rename_object(node, kind)
        return
    table = relation(node.relation)
    if node.rename_type in _RELATIONS:
        yield Rename(kind=kind, old=table, new=node.newname)
    else:
        yield Rename(kind=kind, old=Name(node.subname), new=node.newname, table=table)


def _rename_object(node: pg.RenameStmt, kind: str) -> Action:
    if node.HasField("object"):
        owner = object_name(node.object)
        if node.rename_type == pg.OBJECT_DOMCONSTRAINT:
            return Rename(kind=kind, old=Name(node.subname), new=node.newname, table=owner)
        return Rename(kind=kind, old=owner, new=node.newname)
    return Rename(kind=kind, old=Name(node.subname), new=node.newname)


def set_schema(node: pg.AlterObjectSchemaStmt) -> Iterator[Action]:
    """Read SET SCHEMA."""
    name = relation(node.relation) if node.HasField("relation") else object_name(node.object)
    yield SetSchema(kind=kind_of(node.object_type), name=name, schema=node.newschema)


def describe(node: pg.CommentStmt | pg.SecLabelStmt) -> Iterator[Action]:
    """Read COMMENT ON and SECURITY LABEL ON."""
    relation_name = None
    if node.objtype in _RELATIONS:
        relation_name = object_name(node.object)
    elif node.objtype in _OF_A_TABLE:
        parts = words(node.object.list.items)[:-1]
        relation_name = Name(parts[-1], parts[-2] if len(parts) > 1 else None) if parts else None
    yield Describe(kind=kind_of(node.objtype), relation=relation_name)


def privileges(node: pg.GrantStmt) -> Iterator[Action]:
    """Read GRANT and REVOKE on objects."""
    yield ChangePrivileges(
        is_grant=node.is_grant,
        kind=kind_of(node.objtype),
        names=tuple(object_name(one) for one in node.objects),
        privileges=tuple(one.access_priv.priv_name for one in node.privileges),
    )


_REINDEXED: Mapping[int, str] = {
    pg.REINDEX_OBJECT_INDEX: "index",
    pg.REINDEX_OBJECT_TABLE: "table",
    pg.REINDEX_OBJECT_SCHEMA: "schema",
    pg.REINDEX_OBJECT_SYSTEM: "system",
    pg.REINDEX_OBJECT_DATABASE: "database",
}


def reindex(node: pg.ReindexStmt) -> Iterator[Action]:
    """Read REINDEX."""
    target = relation(node.relation) if node.HasField("relation") else Name(node.name) if node.name else None
    yield Reindex(
        what=_REINDEXED.get(node.kind, "index"), target=target, concurrently=flag(node.params, "concurrently")
    )


def refresh(node: pg.RefreshMatViewStmt) -> Iterator[Action]:
    """Read REFRESH MATERIALIZED VIEW."""
    yield RefreshView(view=relation(node.relation), concurrently=node.concurrent, with_data=not node.skip_data)


def alter_enum(node: pg.AlterEnumStmt) -> Iterator[Action]:
    """Read ALTER TYPE of an enum."""
    name = name_of(node.type_name)
    if node.old_val:
        yield RenameEnumValue(type=name, old=node.old_val, new=node.new_val)
    else:
        yield AddEnumValue(
            type=name,
            value=node.new_val,
            neighbour=node.new_val_neighbor or None,
            is_after=node.new_val_is_after,
            if_not_exists=node.skip_if_new_val_exists,
        )


_DOMAIN_CHANGES = {
    "T": "set default",
    "N": "drop not null",
    "O": "set not null",
    "C": "add constraint",
    "X": "drop constraint",
    "V": "validate constraint",
}
"""Letters of AlterDomainStmt (parsenodes.h)."""


def alter_domain(node: pg.AlterDomainStmt) -> Iterator[Action]:
    """Read ALTER DOMAIN."""
    definition: pg.Node = getattr(node, "def")
    written = constraint(definition.constraint) if definition.WhichOneof("node") == "constraint" else None
    yield AlterDomain(
        domain=name_of(node.type_name),
        change=_DOMAIN_CHANGES.get(node.subtype, "other"),
        constraint=written,
        name=node.name or None,
    )


def alter_system(node: pg.AlterSystemStmt) -> Iterator[Action]:
    """Read ALTER SYSTEM."""
    yield Other(kind=f"alter system {node.setstmt.name}".strip())
