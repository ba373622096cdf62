"""What is asked of the data before a step begins."""

from __future__ import annotations

from collections.abc import Iterable

from hitless.schema.change.expressions import RowExpression
from hitless.schema.change.intent import Lossy
from hitless.schema.change.pairs import Pair, differs
from hitless.schema.change.steps import Check
from hitless.schema.names import Name, listed, quoted

SHOWN = 20
"""Rows that a check returns to be looked at."""


def lossless(table: Name, pair: Pair, lossy: Lossy) -> tuple[tuple[Check, ...], tuple[str, ...]]:
    """Ask whether the inverse gives every row back; also return what is said where it is not asked."""
    back = {name: one.over(pair.forward) for name, one in pair.backward.items()}
    if all(one.text == name for name, one in back.items()):
        return (), ()
    wrong = " OR ".join(
        differs(_column(name), one.operand(), exact=name not in pair.as_text) for name, one in back.items()
    )
    check = _check(
        table,
        (*pair.old, *(f"{one.text} AS given_back" for one in list(back.values())[:1])),
        wrong,
        trouble=f"the inverse does not give {listed(pair.old)} of these rows back",
        remedy="correct the expressions, or the rows; or say `verify: {lossy: allow}`, and allow it by name",
        may_be_allowed=lossy == "allow",
    )
    if lossy == "report":
        return (), (f"rows that the inverse does not give back are not looked for: {check.counted}",)
    return (check,), ()


def _column(name: str) -> str:
    return listed((name,))


def _check(
    table: Name, shown: Iterable[str], wrong: str, *, trouble: str, remedy: str, may_be_allowed: bool = False
) -> Check:
    columns = ", ".join(one if " AS " in one else listed((one,)) for one in shown)
    return Check(
        query=f"SELECT {columns} FROM {table} WHERE {wrong} LIMIT {SHOWN}",
        counted=f"SELECT count(*) FROM {table} WHERE {wrong}",
        trouble=trouble,
        remedy=remedy,
        may_be_allowed=may_be_allowed,
        rows_of=table,
        wrong=wrong,
    )


def rows_where(table: Name, columns: tuple[str, ...], wrong: str, *, trouble: str, remedy: str) -> Check:
    """Ask for rows of which a condition is true."""
    return _check(table, columns, wrong, trouble=trouble, remedy=remedy)


def no_duplicates(
    table: Name,
    keys: tuple[str, ...],
    *,
    trouble: str,
    remedy: str,
    where: str | None = None,
    nulls_not_distinct: bool = False,
) -> Check:
    """Ask for values that several rows have; NULLs are not the same, unless they are said to be."""
    texts = ", ".join(keys)
    conditions = [] if nulls_not_distinct else [f"({one}) IS NOT NULL" for one in keys]
    conditions += [f"({where})"] if where else []
    narrowed = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    grouped = f"SELECT {texts}, count(*) AS rows FROM {table}{narrowed} GROUP BY {texts} HAVING count(*) > 1"
    return Check(
        query=f"{grouped} LIMIT {SHOWN}",
        counted=f"SELECT count(*) FROM ({grouped}) AS doubled",
        trouble=trouble,
        remedy=remedy,
    )


def no_nulls(table: Name, column: str, value: RowExpression, remedy: str) -> Check:
    """Ask for rows whose value will be NULL."""
    return _check(
        table,
        (column,),
        f"({value.text}) IS NULL",
        trouble=f"{listed((column,))} of these rows would be NULL",
        remedy=remedy,
    )


def orphans(table: Name, columns: tuple[str, ...], other: Name, referenced: tuple[str, ...]) -> Check:
    """Ask for rows whose partner is not there; a key that is NULL in part needs none."""
    pairs = zip(columns, referenced, strict=True)
    meets = " AND ".join(f"o.{quoted(there)} = t.{quoted(here)}" for here, there in pairs)
    present = " AND ".join(f"t.{quoted(one)} IS NOT NULL" for one in columns)
    found = f"FROM {table} AS t WHERE {present} AND NOT EXISTS (SELECT FROM {other} AS o WHERE {meets})"
    shown = ", ".join(f"t.{quoted(one)}" for one in columns)
    return Check(
        query=f"SELECT {shown} {found} LIMIT {SHOWN}",
        counted=f"SELECT count(*) {found}",
        trouble=f"{other.shown} has no row for {listed(columns)} of these",
        remedy=f"add what is missing to {other.shown}, or correct the rows",
    )
