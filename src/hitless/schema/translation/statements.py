"""From a statement's text to its actions: one table of all statements that PostgreSQL has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hitless.schema.actions.action import Action, Other
from hitless.schema.actions.tables import MOVE_ALL, OtherTableAction, RelationKind, SetOwner
from hitless.schema.names import Name
from hitless.schema.parser import parse_statement, pg
from hitless.schema.translation import blocks, changes, data, definitions, session
from hitless.schema.translation.alter_table import RELATIONS, alter_table
from hitless.schema.translation.names import relation

Reader = Callable[[Any], Iterator[Action]]


def actions_of(text: str) -> tuple[Action, ...]:
    """Read a statement.

    Raises:
        SyntaxProblemError: it is not PostgreSQL's SQL.
    """
    return tuple(action for node in parse_statement(text) for action in _actions(node, text))


def _actions(node: pg.Node, text: str) -> Iterator[Action]:
    field = node.WhichOneof("node") or ""
    statement = getattr(node, field) if field else node
    if field == "alter_table_stmt":
        yield from alter_table(statement, _offsets(text))
    elif field == "do_stmt":
        yield blocks.block(statement, actions_of)
    elif field in _READERS:
        yield from _READERS[field](statement)
    else:
        yield Other(kind=_words(field))


def _offsets(text: str) -> Callable[[int], int]:
    """Return what makes offsets in characters of offsets in bytes."""
    if text.isascii():
        return lambda offset: offset
    encoded = text.encode()
    return lambda offset: len(encoded[:offset].decode(errors="ignore"))


def _words(field: str) -> str:
    return field.removesuffix("_stmt").replace("_", " ")


def _owner(node: pg.AlterOwnerStmt) -> Iterator[Action]:
    if node.HasField("relation"):
        kind = RELATIONS.get(node.object_type, RelationKind.TABLE)
        yield SetOwner(table=relation(node.relation), relation=kind, owner=node.newowner.rolename)
    else:
        yield Other(kind=f"alter {changes.kind_of(node.object_type)} owner")


def _database(node: pg.DropdbStmt) -> Iterator[Action]:
    yield changes.drop_plain("database", node.dbname, if_exists=node.missing_ok)


def _tablespace(node: pg.DropTableSpaceStmt) -> Iterator[Action]:
    yield changes.drop_plain("tablespace", node.tablespacename, if_exists=node.missing_ok)


def _subscription(node: pg.DropSubscriptionStmt) -> Iterator[Action]:
    yield changes.drop_plain("subscription", node.subname, if_exists=node.missing_ok)


def _explained(node: pg.ExplainStmt) -> Iterator[Action]:
    """EXPLAIN ANALYZE runs what it explains; plain EXPLAIN locks it all the same."""
    yield from _actions(node.query, "")


def _move_all(node: pg.AlterTableMoveAllStmt) -> Iterator[Action]:
    table = Name(f"ALL IN TABLESPACE {node.orig_tablespacename}")
    yield OtherTableAction(table=table, kind=MOVE_ALL)


_READERS: Mapping[str, Reader] = {
    "insert_stmt": data.insert,
    "update_stmt": data.update,
    "delete_stmt": data.delete,
    "merge_stmt": data.merge,
    "select_stmt": data.select,
    "copy_stmt": data.copy,
    "truncate_stmt": data.truncate,
    "lock_stmt": data.lock,
    "vacuum_stmt": data.vacuum,
    "cluster_stmt": data.cluster,
    "call_stmt": data.call,
    "create_stmt": definitions.create_table,
    "create_foreign_table_stmt": definitions.create_foreign_table,
    "create_table_as_stmt": definitions.create_table_as,
    "view_stmt": definitions.create_view,
    "index_stmt": definitions.create_index,
    "create_function_stmt": definitions.create_function,
    "create_trig_stmt": definitions.create_trigger,
    "create_policy_stmt": definitions.create_policy,
    "alter_policy_stmt": definitions.alter_policy,
    "rule_stmt": definitions.create_rule,
    "create_enum_stmt": definitions.create_enum,
    "composite_type_stmt": definitions.create_composite,
    "create_range_stmt": definitions.create_range,
    "define_stmt": definitions.define,
    "create_domain_stmt": definitions.create_domain,
    "create_seq_stmt": definitions.create_sequence,
    "alter_seq_stmt": definitions.alter_sequence,
    "create_schema_stmt": definitions.create_schema,
    "create_extension_stmt": definitions.create_extension,
    "alter_extension_stmt": definitions.alter_extension,
    "create_stats_stmt": definitions.create_statistics,
    "create_publication_stmt": definitions.create_publication,
    "alter_publication_stmt": definitions.alter_publication,
    "drop_stmt": changes.drop,
    "dropdb_stmt": _database,
    "drop_table_space_stmt": _tablespace,
    "drop_subscription_stmt": _subscription,
    "rename_stmt": changes.rename,
    "alter_object_schema_stmt": changes.set_schema,
    "alter_owner_stmt": _owner,
    "comment_stmt": changes.describe,
    "sec_label_stmt": changes.describe,
    "grant_stmt": changes.privileges,
    "reindex_stmt": changes.reindex,
    "refresh_mat_view_stmt": changes.refresh,
    "alter_enum_stmt": changes.alter_enum,
    "alter_domain_stmt": changes.alter_domain,
    "alter_system_stmt": changes.alter_system,
    "alter_table_move_all_stmt": _move_all,
    "explain_stmt": _explained,
    "transaction_stmt": session.transaction,
    "variable_set_stmt": session.variable,
}
