"""Objects of a copy that need what is removed: those that stop the contract, and those that would go without a word."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg

from hitless.adapters.postgres.guard.doomed import Doomed
from hitless.schema.guard.dependents import Dependent

_DIRECT = """
SELECT DISTINCT d.classid::regclass::text, d.objid, d.refobjid, d.refobjsubid,
       pg_describe_object(d.classid, d.objid, d.objsubid), (pg_identify_object(d.classid, d.objid, 0)).name,
       d.refclassid::regclass::text, d.deptype
FROM pg_depend d
WHERE (d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY(%s))
   OR (d.refclassid = 'pg_type'::regclass AND d.refobjid = ANY(%s))
ORDER BY 5
"""
_INDEX = """
SELECT indkey::int2[]::int[], indrelid::oid, indexprs IS NOT NULL OR indpred IS NOT NULL
FROM pg_index WHERE indexrelid = %s
"""
_CONSTRAINT = "SELECT conkey::int[], conrelid::oid, contype::text FROM pg_constraint WHERE oid = %s"
_DEFAULT = "SELECT adrelid::oid, adnum::int FROM pg_attrdef WHERE oid = %s"
_TRIGGER = "SELECT tgisinternal OR tgname LIKE 'zzz\\_hitless\\_%%' FROM pg_trigger WHERE oid = %s"
_KIND = "SELECT relkind::text FROM pg_class WHERE oid = %s"
_OWN_NAME = re.compile(r"(?:policy|constraint|trigger|index|statistics object|publication) (\S+)")
_JUDGED_ELSEWHERE = {"pg_rewrite", "pg_proc", "pg_type"}


def dependents_of(connection: psycopg.Connection, doomed: Doomed) -> tuple[tuple[Dependent, ...], tuple[str, ...]]:
    """Return what depends on it, and in words what goes with it without hindering anybody.

    What the contract's own statements name is left out: they deal with it.
    """
    mine = "\n".join(doomed.removal.statements)
    found, notes = [], []
    for one, identity, harmless in _direct(connection, doomed):
        if harmless:
            notes.append(f"{one.name} goes with {doomed.shown}")
        elif not _names(mine, identity):
            found.append(one)
    for (catalogue, oid), shown in doomed.tainted.items():
        if not _names(mine, _identity(connection, catalogue, oid)):
            found.append(Dependent(name=shown, why=f"uses {doomed.shown}"))
    for oid, why in doomed.opaque.items():
        # What a function sends as its owner is counted for the owner, and that is hitless more often than not.
        own = connection.execute("SELECT NOT prosecdef FROM pg_proc WHERE oid = %s", (oid,)).fetchone() == (True,)
        found.append(Dependent(name=why.partition(" is opaque: ")[0], why=why, is_told_by_statements=own))
    return tuple(dict.fromkeys(found)), tuple(dict.fromkeys(notes))


def _direct(connection: psycopg.Connection, doomed: Doomed) -> Iterator[tuple[Dependent, str | None, bool]]:
    rows = connection.execute(_DIRECT, (list(doomed.tables), list(doomed.rows))).fetchall()
    for catalogue, oid, table, number, shown, name, referenced, kind in rows:
        if catalogue in _JUDGED_ELSEWHERE or kind == "e":
            continue
        if referenced == "pg_type":
            if oid not in doomed.tables:
                yield Dependent(name=shown, why=f"has rows of {doomed.rows[table]} in it"), name, False
            continue
        if not doomed.is_table and (table, number) not in doomed.columns:
            continue
        harmless = _is_harmless(connection, doomed, catalogue, oid)
        if harmless is not None:
            what = doomed.columns.get((table, number), doomed.shown)
            own = _OWN_NAME.match(shown)
            yield Dependent(name=shown, why=f"needs {what}"), name or (own[1] if own else None), harmless


def _is_harmless(connection: psycopg.Connection, doomed: Doomed, catalogue: str, oid: int) -> bool | None:
    """Tell whether something may go with it; None = it is a part of what is removed, and not worth a word."""
    match catalogue:
        case "pg_class":
            return _of_relation(connection, doomed, oid)
        case "pg_constraint":
            return _of_constraint(connection, doomed, oid)
        case "pg_attrdef":
            row = connection.execute(_DEFAULT, (oid,)).fetchone()
            own = row is not None and (
                row[0] in doomed.tables if doomed.is_table else (row[0], row[1]) in doomed.columns
            )
            return None if own else False
        case "pg_trigger":
            row = connection.execute(_TRIGGER, (oid,)).fetchone()
            return None if row is not None and row[0] else doomed.is_table
        case _:
            return doomed.is_table and catalogue in {"pg_policy", "pg_statistic_ext"}


def _of_relation(connection: psycopg.Connection, doomed: Doomed, oid: int) -> bool | None:
    kind = connection.execute(_KIND, (oid,)).fetchone()
    if oid in doomed.tables or oid in doomed.sequences or kind is None or kind[0] == "t":
        return None
    row = connection.execute(_INDEX, (oid,)).fetchone()
    if row is None:
        return False
    keys, table, has_expressions = row
    if doomed.is_table:
        return True
    return not has_expressions and all((table, key) in doomed.columns for key in keys)


def _of_constraint(connection: psycopg.Connection, doomed: Doomed, oid: int) -> bool | None:
    row = connection.execute(_CONSTRAINT, (oid,)).fetchone()
    if row is None:
        return False
    keys, table, kind = row
    if doomed.is_table:
        return table in doomed.tables
    if kind == "f" and any((table, key) not in doomed.columns for key in keys or ()):
        return False
    return all((table, key) in doomed.columns for key in keys or (0,))


def _identity(connection: psycopg.Connection, catalogue: str, oid: int) -> str | None:
    row = connection.execute("SELECT (pg_identify_object(%s::regclass, %s, 0)).name", (catalogue, oid)).fetchone()
    if row is not None and row[0] is None and catalogue == "pg_proc":  # overloaded: not unique by its name
        row = connection.execute("SELECT proname FROM pg_proc WHERE oid = %s", (oid,)).fetchone()
    return row[0] if row is not None else None


def _names(statements: str, name: str | None) -> bool:
    return name is not None and re.search(rf"(?<!\w){re.escape(name.strip(chr(34)))}(?!\w)", statements) is not None
