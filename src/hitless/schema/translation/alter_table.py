"""ALTER TABLE, and ALTER of whatever else has its subcommands: from the parser's tree to actions, by a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from hitless.schema.actions.action import Action
from hitless.schema.actions.tables import (
    AddColumn,
    AddConstraint,
    AlterColumnType,
    AlterConstraint,
    AlterIdentity,
    AttachPartition,
    DetachPartition,
    DropColumn,
    DropConstraint,
    DropNotNull,
    IdentityChange,
    OtherTableAction,
    RelationKind,
    SetAccessMethod,
    SetClustering,
    SetColumnOption,
    SetDefault,
    SetExpression,
    SetInheritance,
    SetNotNull,
    SetOptions,
    SetOwner,
    SetPersistence,
    SetReplicaIdentity,
    SetRowSecurity,
    SetTablespace,
    SwitchRule,
    SwitchTrigger,
    TableAction,
    TriggerState,
    ValidateConstraint,
)
from hitless.schema.parser import pg
from hitless.schema.translation.columns import bound, column, constraint
from hitless.schema.translation.expressions import expression, sql_type
from hitless.schema.translation.names import name_of, options, relation, value_text

RELATIONS: Mapping[int, RelationKind] = {
    pg.OBJECT_TABLE: RelationKind.TABLE,
    pg.OBJECT_INDEX: RelationKind.INDEX,
    pg.OBJECT_VIEW: RelationKind.VIEW,
    pg.OBJECT_MATVIEW: RelationKind.MATERIALIZED_VIEW,
    pg.OBJECT_SEQUENCE: RelationKind.SEQUENCE,
    pg.OBJECT_FOREIGN_TABLE: RelationKind.FOREIGN_TABLE,
    pg.OBJECT_TYPE: RelationKind.TYPE,
}

Facts = Mapping[str, Any]
"""What every subcommand has: table, relation, only, if_exists."""


def alter_table(node: pg.AlterTableStmt, offset: Callable[[int], int]) -> Iterator[Action]:
    """Read ALTER TABLE; `offset` makes an offset into the text of what the tree says."""
    facts = {
        "table": relation(node.relation),
        "relation": RELATIONS.get(node.objtype, RelationKind.TABLE),
        "only": not node.relation.inh and node.objtype != pg.OBJECT_TYPE,
        "if_exists": node.missing_ok,
    }
    for item in node.cmds:
        command = item.alter_table_cmd
        action = subcommand(command, facts)
        place = _place(command)
        yield replace(action, at=offset(place)) if place > 0 else action


def subcommand(command: pg.AlterTableCmd, facts: Facts) -> TableAction:
    """Read one subcommand."""
    kind = pg.AlterTableType.Name(command.subtype)
    read = _SUBCOMMANDS.get(kind)
    return read(command, facts) if read else OtherTableAction(**facts, kind=_words(kind))


def _words(kind: str) -> str:
    return "".join(f" {one.lower()}" if one.isupper() else one for one in kind.removeprefix("AT_")).strip()


def _definition(command: pg.AlterTableCmd) -> pg.Node:
    definition: pg.Node = getattr(command, "def")
    return definition


def _place(command: pg.AlterTableCmd) -> int:
    """Only what defines something has a place in the parser's tree."""
    definition = _definition(command)
    match definition.WhichOneof("node"):
        case "column_def":
            return int(definition.column_def.location)
        case "constraint":
            return int(definition.constraint.location)
    return 0


def _add_column(command: pg.AlterTableCmd, facts: Facts) -> TableAction:
    return AddColumn(**facts, column=column(_definition(command).column_def), if_not_exists=command.missing_ok)


def _drop_column(command: pg.AlterTableCmd, facts: Facts) -> TableAction:
    return DropColumn(**facts, column=command.name, cascade=_cascades(command), if_column_exists=command.missing_ok)


def _column_type(command: pg.AlterTableCmd, facts: Facts) -> TableAction:
    written = _definition(command).column_def
    return AlterColumnType(
        **facts,
        column=command.name,
        type=sql_type(written.type_name),
        using=expression(written.raw_default) if written.HasField("raw_default") else None,
        collation=str(name_of(written.coll_clause.collname)) if written.HasField("coll_clause") else None,
    )


def _default(command: pg.AlterTableCmd, facts: Facts) -> TableAction:
    written = _definition(command)
    return SetDefault(**facts, column=command.name, default=expression(written) if written.WhichOneof("node") else None)


def _expression(command: pg.AlterTableCmd, facts: Facts) -> TableAction:
    written = _definition(command)
    return SetExpression(
        **facts, column=command.name, expression=expression(written) if written.WhichOneof("node") else None
    )


def _constraint(command: pg.AlterTableCmd, facts: Facts) -> TableAction:
    return AddConstraint(**facts, constraint=constraint(_definition(command).constraint))


def _alter_constraint(command: pg.AlterTableCmd, facts: Facts) -> TableAction:
    written = _definition(command)
    inner = written.atalter_constraint
    return AlterConstraint(
        **facts, name=inner.conname, enforces=inner.is_enforced if inner.alter_enforceability else None
    )


def _drop_constraint(command: pg.AlterTableCmd, facts: Facts) -> TableAction:
    return DropConstraint(
        **facts, name=command.name, cascade=_cascades(command), if_constraint_exists=command.missing_ok
    )


def _options(command: pg.AlterTableCmd, facts: Facts, *, is_reset: bool) -> TableAction:
    given = options(_definition(command).list.items)
    pairs = tuple(
        (f"{one.defnamespace}.{one.defname}" if one.defnamespace else one.defname, value_text(one.arg)) for one in given
    )
    return SetOptions(**facts, options=pairs, is_reset=is_reset)


def _attach(command: pg.AlterTableCmd, facts: Facts) -> TableAction:
    inner = _definition(command).partition_cmd
    read = bound(inner.bound) if inner.HasField("bound") else None
    return AttachPartition(**facts, partition=relation(inner.name), bound=read)


def _detach(command: pg.AlterTableCmd, facts: Facts, *, finalize: bool = False) -> TableAction:
    inner = _definition(command).partition_cmd
    return DetachPartition(**facts, partition=relation(inner.name), concurrently=inner.concurrent, finalize=finalize)


def _replica_identity(command: pg.AlterTableCmd, facts: Facts) -> TableAction:
    inner = _definition(command).replica_identity_stmt
    kinds = {"f": "full", "n": "nothing", "d": "default", "i": "index"}
    return SetReplicaIdentity(**facts, identity=kinds.get(inner.identity_type, "default"), index=inner.name or None)


def _cascades(command: pg.AlterTableCmd) -> bool:
    return bool(command.behavior == pg.DROP_CASCADE)


def _trigger(trigger: str | None, state: TriggerState) -> Callable[[pg.AlterTableCmd, Facts], TableAction]:
    return lambda command, facts: SwitchTrigger(**facts, trigger=trigger or command.name, state=state)


def _rule(state: TriggerState) -> Callable[[pg.AlterTableCmd, Facts], TableAction]:
    return lambda command, facts: SwitchRule(**facts, rule=command.name, state=state)


def _security(change: str) -> Callable[[pg.AlterTableCmd, Facts], TableAction]:
    return lambda _, facts: SetRowSecurity(**facts, change=change)


def _identity(change: IdentityChange) -> Callable[[pg.AlterTableCmd, Facts], TableAction]:
    return lambda command, facts: AlterIdentity(**facts, column=command.name, change=change)


def _column_option(option: str) -> Callable[[pg.AlterTableCmd, Facts], TableAction]:
    return lambda command, facts: SetColumnOption(**facts, column=command.name, option=option)


def _inherit(*, inherits: bool) -> Callable[[pg.AlterTableCmd, Facts], TableAction]:
    return lambda command, facts: SetInheritance(
        **facts, parent=relation(_definition(command).range_var), inherits=inherits
    )


_SUBCOMMANDS: Mapping[str, Callable[[pg.AlterTableCmd, Facts], TableAction]] = {
    "AT_AddColumn": _add_column,
    "AT_DropColumn": _drop_column,
    "AT_AlterColumnType": _column_type,
    "AT_ColumnDefault": _default,
    "AT_SetNotNull": lambda command, facts: SetNotNull(**facts, column=command.name),
    "AT_DropNotNull": lambda command, facts: DropNotNull(**facts, column=command.name),
    "AT_SetExpression": _expression,
    "AT_DropExpression": lambda command, facts: SetExpression(**facts, column=command.name),
    "AT_SetStatistics": _column_option("statistics"),
    "AT_SetOptions": _column_option("options"),
    "AT_ResetOptions": _column_option("options"),
    "AT_SetStorage": _column_option("storage"),
    "AT_SetCompression": _column_option("compression"),
    "AT_AddIdentity": _identity(IdentityChange.ADD),
    "AT_SetIdentity": _identity(IdentityChange.SET),
    "AT_DropIdentity": _identity(IdentityChange.DROP),
    "AT_AddConstraint": _constraint,
    "AT_AlterConstraint": _alter_constraint,
    "AT_ValidateConstraint": lambda command, facts: ValidateConstraint(**facts, name=command.name),
    "AT_DropConstraint": _drop_constraint,
    "AT_SetLogged": lambda _, facts: SetPersistence(**facts, is_logged=True),
    "AT_SetUnLogged": lambda _, facts: SetPersistence(**facts, is_logged=False),
    "AT_SetTableSpace": lambda command, facts: SetTablespace(**facts, tablespace=command.name),
    "AT_SetAccessMethod": lambda command, facts: SetAccessMethod(**facts, method=command.name or "DEFAULT"),
    "AT_SetRelOptions": lambda command, facts: _options(command, facts, is_reset=False),
    "AT_ResetRelOptions": lambda command, facts: _options(command, facts, is_reset=True),
    "AT_ClusterOn": lambda command, facts: SetClustering(**facts, index=command.name),
    "AT_DropCluster": lambda _, facts: SetClustering(**facts, index=None),
    "AT_EnableTrig": _trigger(None, TriggerState.ENABLED),
    "AT_EnableAlwaysTrig": _trigger(None, TriggerState.ENABLED),
    "AT_EnableReplicaTrig": _trigger(None, TriggerState.ENABLED),
    "AT_DisableTrig": _trigger(None, TriggerState.DISABLED),
    "AT_EnableTrigAll": _trigger("ALL", TriggerState.ENABLED),
    "AT_DisableTrigAll": _trigger("ALL", TriggerState.DISABLED),
    "AT_EnableTrigUser": _trigger("USER", TriggerState.ENABLED),
    "AT_DisableTrigUser": _trigger("USER", TriggerState.DISABLED),
    "AT_EnableRule": _rule(TriggerState.ENABLED),
    "AT_EnableAlwaysRule": _rule(TriggerState.ENABLED),
    "AT_EnableReplicaRule": _rule(TriggerState.ENABLED),
    "AT_DisableRule": _rule(TriggerState.DISABLED),
    "AT_AddInherit": _inherit(inherits=True),
    "AT_DropInherit": _inherit(inherits=False),
    "AT_ReplicaIdentity": _replica_identity,
    "AT_EnableRowSecurity": _security("ENABLE"),
    "AT_DisableRowSecurity": _security("DISABLE"),
    "AT_ForceRowSecurity": _security("FORCE"),
    "AT_NoForceRowSecurity": _security("NO FORCE"),
    "AT_ChangeOwner": lambda command, facts: SetOwner(**facts, owner=command.newowner.rolename),
    "AT_AttachPartition": _attach,
    "AT_DetachPartition": _detach,
    "AT_DetachPartitionFinalize": lambda command, facts: _detach(command, facts, finalize=True),
}
