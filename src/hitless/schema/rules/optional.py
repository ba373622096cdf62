"""Rules that are off: changes which some teams want to see each time, one row each.

None of them is wrong by itself. A row says what counts, and how an action names what it touches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hitless.schema.actions.action import Action, Other
from hitless.schema.actions.objects import (
    AddEnumValue,
    ChangeExtension,
    ChangePolicy,
    ChangePrivileges,
    ChangeSequence,
    CreateFunction,
    CreateIndex,
    CreateView,
    Drop,
)
from hitless.schema.actions.tables import (
    AddColumn,
    AddConstraint,
    RelationKind,
    SetDefault,
    SetInheritance,
    SetNotNull,
    SetOptions,
    SetRowSecurity,
    SwitchTrigger,
    TableAction,
    TriggerState,
)
from hitless.schema.names import Name
from hitless.schema.rules.rule import Family, Rule, Severity, Step, Trouble
from hitless.schema.rules.use import HEAPS, is_used


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A kind of change.

    Attributes:
        counts: tells whether an action is of it.
        happens: what it does to the release that runs, behind the name of what is touched.
    """

    rule: str
    summary: str
    counts: Callable[[Action], bool]
    happens: str
    safe: str


def _drops(*kinds: str) -> Callable[[Action], bool]:
    return lambda action: isinstance(action, Drop) and action.kind in kinds


def _other(*starts: str) -> Callable[[Action], bool]:
    return lambda action: isinstance(action, Other) and action.kind.startswith(starts)


def _restricts(action: Action) -> bool:
    match action:
        case AddConstraint():
            return action.constraint.is_enforced and action.constraint.using_index is None
        case SetNotNull():
            return True
        case CreateIndex():
            return action.is_unique
    return False


_ROWS = (
    _Row(
        rule="column-added",
        summary="A column is added.",
        counts=lambda action: isinstance(action, AddColumn) and action.relation in HEAPS,
        happens="SELECT * of code that runs returns one column more",
        safe="Name columns in queries and INSERTs.",
    ),
    _Row(
        rule="attribute-added",
        summary="An attribute is added to a composite type.",
        counts=lambda action: isinstance(action, AddColumn) and action.relation is RelationKind.TYPE,
        happens="values that code writes without its attributes' names no longer fit",
        safe="A second type.",
    ),
    _Row(
        rule="default-set",
        summary="A column gets a default.",
        counts=lambda action: isinstance(action, SetDefault) and action.default is not None,
        happens="INSERTs of code that leaves the column out write another value than before",
        safe="Release code that always writes the column first.",
    ),
    _Row(
        rule="write-restricted",
        summary="A constraint, NOT NULL or unique index is added that writes of older code may break.",
        counts=_restricts,
        happens="writes of code that runs may break it from this moment on, NOT VALID or not",
        safe="Release code that keeps to it first; look at what the version that runs has written lately.",
    ),
    _Row(
        rule="enum-value-added",
        summary="A value is added to an enum.",
        counts=lambda action: isinstance(action, AddEnumValue),
        happens="code that knows only the other values may read it",
        safe="Release code that bears unknown values before any version writes it.",
    ),
    _Row(
        rule="index-dropped",
        summary="An index is dropped.",
        counts=_drops("index"),
        happens="queries of code that runs, or that a rollback returns to, may need it",
        safe="Look at pg_stat_user_indexes first, on replicas too.",
    ),
    _Row(
        rule="trigger-dropped",
        summary="A trigger is dropped.",
        counts=_drops("trigger"),
        happens="code that runs may count on what it writes",
        safe="Drop it when no version counts on it.",
    ),
    _Row(
        rule="trigger-disabled",
        summary="A trigger is disabled.",
        counts=lambda action: isinstance(action, SwitchTrigger) and action.state is TriggerState.DISABLED,
        happens="rows that are written until it is enabled again never see it",
        safe="Let the function of the trigger pass what it should not see.",
    ),
    _Row(
        rule="policy-created",
        summary="A policy is created.",
        counts=lambda action: isinstance(action, ChangePolicy) and action.is_new,
        happens="other rows than before may be seen and written",
        safe="Test it with the roles of every version that runs.",
    ),
    _Row(
        rule="policy-altered",
        summary="A policy is changed.",
        counts=lambda action: isinstance(action, ChangePolicy) and not action.is_new,
        happens="other rows than before may be seen and written",
        safe="Test it with the roles of every version that runs.",
    ),
    _Row(
        rule="policy-dropped",
        summary="A policy is dropped.",
        counts=_drops("policy"),
        happens="other rows than before may be seen and written",
        safe="Test it with the roles of every version that runs.",
    ),
    _Row(
        rule="row-security-changed",
        summary="Row level security is switched.",
        counts=lambda action: isinstance(action, SetRowSecurity),
        happens="without a policy nobody but the owner sees a row; without row level security everybody sees all",
        safe="Create the policies first.",
    ),
    _Row(
        rule="privilege-revoked",
        summary="A privilege is revoked.",
        counts=lambda action: isinstance(action, ChangePrivileges) and not action.is_grant,
        happens="statements of code that runs fail if they need it",
        safe="Revoke it when no version needs it.",
    ),
    _Row(
        rule="view-or-function-replaced",
        summary="A view or function is replaced.",
        counts=lambda action: isinstance(action, (CreateView, CreateFunction)) and action.replace,
        happens="code that runs gets what the new definition returns",
        safe="A second one under another name.",
    ),
    _Row(
        rule="function-options-changed",
        summary="The options of a function are changed.",
        counts=_other("alter function", "alter procedure"),
        happens="calls of code that runs may behave otherwise",
        safe="A second one under another name.",
    ),
    _Row(
        rule="view-options-changed",
        summary="The options of a view are changed.",
        counts=lambda action: isinstance(action, SetOptions) and action.relation is RelationKind.VIEW,
        happens="other rows than before may be seen, or written, through it",
        safe="A second view under another name.",
    ),
    _Row(
        rule="inheritance-changed",
        summary="A table leaves, or joins, its parent.",
        counts=lambda action: isinstance(action, SetInheritance),
        happens="queries of the parent return other rows than before",
        safe="Release code that reads both first.",
    ),
    _Row(
        rule="sequence-altered",
        summary="A sequence is changed.",
        counts=lambda action: isinstance(action, ChangeSequence) and not action.is_new and action.owned_by is None,
        happens="numbers that it draws may be taken already, or run out",
        safe="Move it forward only, beyond what is taken.",
    ),
    _Row(
        rule="role-options-changed",
        summary="A role is changed.",
        counts=_other("alter role"),
        happens="sessions of code that runs may lose what they need",
        safe="A second role for the new version.",
    ),
    _Row(
        rule="database-options-changed",
        summary="Settings of a database are changed.",
        counts=_other("alter database"),
        happens="every new session gets them, of whatever version",
        safe="Settings of the role of a version.",
    ),
    _Row(
        rule="system-options-changed",
        summary="Settings of the server are changed.",
        counts=_other("alter system"),
        happens="every database of the server gets them",
        safe="Settings of the role of a version.",
    ),
    _Row(
        rule="extension-altered",
        summary="An extension is changed.",
        counts=lambda action: isinstance(action, ChangeExtension) and not action.is_new,
        happens="functions and types of it may behave otherwise for every version",
        safe="Try it on a copy with the statements of every version that runs.",
    ),
)


_NAMES: Mapping[type[Action], Callable[[Any], Name | None]] = {
    ChangePolicy: lambda action: action.table,
    CreateIndex: lambda action: action.table,
    AddEnumValue: lambda action: action.type,
    CreateView: lambda action: action.view,
    CreateFunction: lambda action: action.function,
    ChangeSequence: lambda action: action.sequence,
    Drop: lambda action: action.table or action.names[0],
    ChangePrivileges: lambda action: action.names[0] if action.names else None,
}


def _touched(action: Action) -> Name | None:
    """Return what an action is done to."""
    if isinstance(action, TableAction):
        return action.table
    name = _NAMES.get(type(action))
    return name(action) if name else None


def _look(row: _Row) -> Callable[[Step], Iterator[Trouble]]:
    def look(step: Step) -> Iterator[Trouble]:
        if not row.counts(step.action):
            return
        name = _touched(step.action)
        if name is not None and not is_used(step, name):
            return
        yield Trouble(message=f"{f'{name}: ' if name else ''}{row.happens}", fix=f"-- {row.safe}")

    return look


RULES = tuple(
    Rule(
        id=row.rule,
        family=Family.OPTIONAL,
        severity=Severity.OFF,
        summary=row.summary,
        why=f"{row.happens[0].upper()}{row.happens[1:]}.",
        safe=row.safe,
        on_action=_look(row),
    )
    for row in _ROWS
)
