"""Intents of one change that are about the same column: refused, as which comes first would be a matter of luck."""

from __future__ import annotations

from collections.abc import Iterator

from hitless.schema.change.intent import (
    Add,
    Change,
    DropColumns,
    DropTable,
    Intent,
    Move,
    Rename,
    ReplaceEnum,
    Require,
    Retype,
    Split,
    WidenKey,
)
from hitless.schema.change.refusals import CannotPlan
from hitless.schema.names import quoted


def hold_apart(change: Change) -> None:
    """Hold that each column is that of one intent.

    Raises:
        CannotPlan: one is that of two.
    """
    seen: dict[str, Intent] = {}
    for intent in change.intents:
        for column in _columns(intent):
            if column in seen:
                raise CannotPlan(
                    f"two intents are about {quoted(column)}: {seen[column].kind} and {intent.kind}",
                    "one change after the other; a new name and a new type: type: {c: {to: TYPE, as: NAME}}",
                )
            seen[column] = intent
    if len(change.intents) > 1 and any(isinstance(one, DropTable) for one in change.intents):
        raise CannotPlan("the table is to be dropped, and changed as well", "say one of the two")


def _columns(intent: Intent) -> Iterator[str]:
    """Name the columns that an intent is about, and those that it makes."""
    match intent:
        case Split():
            yield from (*intent.sources, *intent.into)
        case Rename():
            yield from (intent.column, intent.to)
        case Retype():
            yield from (intent.column, intent.new_name) if intent.new_name else (intent.column,)
        case DropColumns():
            yield from intent.columns
        case Move():
            yield from intent.columns
        case Require() | Add() | ReplaceEnum() | WidenKey():
            yield intent.column
