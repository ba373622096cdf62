"""What a plain cast from one type to another may do to values, as far as a plan must know.

A cast to text writes numbers, uuids and words as everybody reads them, but dates as the session's DateStyle has them,
and timestamps with and without time zone turn into each other by the session's TimeZone: two sessions would
disagree on what is the same. Those need an expression that says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from hitless.schema.actions.values import SqlType
from hitless.schema.change.expressions import RowExpression, casts_in
from hitless.schema.change.refusals import CannotPlan
from hitless.schema.effects.types import keeps_rows
from hitless.schema.names import quoted

_WHOLE = {"smallint": 1, "integer": 2, "bigint": 3}
_WORDS = {"text", "varchar", "character", "citext"}
_MOMENTS = {
    "date",
    "timestamp with time zone",
    "timestamp without time zone",
    "time with time zone",
    "time without time zone",
    "interval",
}


class Cast(IntEnum):
    """What a cast does."""

    TOTAL = 0  # every value has its own in the other type
    PARTIAL = 1  # some values fail, or are rounded or cut
    BY_SESSION = 2  # the result depends on settings of the session


def cast_of(old: SqlType, new: SqlType) -> Cast:
    """Tell what a cast does."""
    if old == new:
        return Cast.TOTAL
    if old.is_array or new.is_array:
        return Cast.TOTAL if _is_free_text(new) and not _mentions_time(old) else Cast.PARTIAL
    if _mentions_time(old) or _mentions_time(new):
        return _of_time(old, new)
    if _is_free_text(new) or _widens(old, new):
        return Cast.TOTAL
    return Cast.TOTAL if keeps_rows(old, new) else Cast.PARTIAL


def hold_steady(one: RowExpression, types: Mapping[str, SqlType | None]) -> None:
    """Hold that no cast of an expression depends on the session.

    Raises:
        CannotPlan: one does, as far as types are known.
    """
    for column, wanted in casts_in(one):
        known = types.get(column)
        if known is not None and cast_of(known, wanted) is Cast.BY_SESSION:
            raise CannotPlan(
                f"the cast of {quoted(column)} from {known} to {wanted} depends on settings of the session, so two"
                " sessions would not agree",
                "say the zone or the form: `x AT TIME ZONE 'UTC'`, `to_char(x, 'YYYY-MM-DD')`",
                evidence=(one.text,),
            )


def _is_free_text(one: SqlType) -> bool:
    return one.name in {"text", "varchar", "citext"} and not one.arguments and not one.is_array


def _mentions_time(one: SqlType) -> bool:
    return one.name in _MOMENTS


def _of_time(old: SqlType, new: SqlType) -> Cast:
    if old.name == new.name:
        return Cast.TOTAL if keeps_rows(old, new) else Cast.PARTIAL
    if (old.name, new.name) == ("date", "timestamp without time zone"):
        return Cast.TOTAL
    if (old.name, new.name) == ("timestamp without time zone", "date"):
        return Cast.PARTIAL
    return Cast.BY_SESSION


def _widens(old: SqlType, new: SqlType) -> bool:
    if old.schema is not None or new.schema is not None:
        return False
    if old.name in _WHOLE and new.name in _WHOLE:
        return _WHOLE[old.name] <= _WHOLE[new.name]
    if old.name in _WHOLE and new.name == "numeric":
        return not new.arguments
    if old.name in {"smallint", "integer"} and new.name == "double precision":
        return True
    if (old.name, new.name) in {("real", "double precision"), ("smallint", "real")}:
        return True
    return old.name in _WORDS and new.name == "text"
