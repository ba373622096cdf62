"""Which changes of a column's type leave its rows as they are.

From ATColumnChangeRequiresRewrite of tablecmds.c and the casts that PostgreSQL's catalogue calls binary coercible; the
functions behind `varchar(n)`, `numeric(p, s)`, `timestamp(p)` and their kin say themselves when they change nothing
(varchar_support, numeric_support, timestamp_support).
"""

from __future__ import annotations

from hitless.schema.actions.values import SqlType

_STAMPS = {"timestamp with time zone", "timestamp without time zone", "time with time zone", "time without time zone"}
_MOST_PRECISE = 6
"""Fractional digits of timestamps that say none."""

_BINARY_COERCIBLE = {
    ("character varying", "text"),
    ("varchar", "text"),
    ("text", "varchar"),
    ("citext", "text"),
    ("text", "citext"),
    ("citext", "varchar"),
    ("varchar", "citext"),
    ("cidr", "inet"),
    ("xml", "text"),
    ("xml", "varchar"),
    ("integer", "oid"),
    ("oid", "integer"),
    ("integer", "regclass"),
    ("oid", "regclass"),
    ("regclass", "oid"),
    ("bit", "bit varying"),
}


def keeps_rows(old: SqlType, new: SqlType, *, time_zone_is_utc: bool = False) -> bool:
    """Tell whether no row must be written anew; whether indexes must be built again is another question."""
    if old == new:
        return True
    if old.is_array or new.is_array or old.schema != new.schema:
        return False  # elements of arrays are always looked at one by one
    if old.name == new.name:
        return _widens(old, new)
    if {old.name, new.name} == {"timestamp with time zone", "timestamp without time zone"}:
        return time_zone_is_utc and _precision(new) >= _precision(old)
    return (old.name, new.name) in _BINARY_COERCIBLE and not new.arguments


def _widens(old: SqlType, new: SqlType) -> bool:
    """Tell whether the same type takes all that it took, in the same form."""
    if not new.arguments:
        return old.name not in {"character", "bit", "interval"}
    if old.name in {"varchar", "bit varying"}:
        return bool(old.arguments) and new.arguments[0] >= old.arguments[0]
    if old.name == "numeric":
        return bool(old.arguments) and _scale(old) == _scale(new) and new.arguments[0] >= old.arguments[0]
    if old.name in _STAMPS:
        return _precision(new) >= _precision(old)
    return False


def _scale(one: SqlType) -> int:
    return one.arguments[1] if len(one.arguments) > 1 else 0


def _precision(one: SqlType) -> int:
    return one.arguments[0] if one.arguments else _MOST_PRECISE


def loses_values(old: SqlType, new: SqlType) -> bool:
    """Tell whether some values of the old type do not fit the new one: the statement may fail, or round."""
    ranks = {"smallint": 1, "integer": 2, "bigint": 3, "numeric": 4}
    if old.name in ranks and new.name in ranks and not new.arguments:
        return ranks[new.name] < ranks[old.name]
    if new.name == "text" and not new.is_array:
        return False
    return not keeps_rows(old, new)
