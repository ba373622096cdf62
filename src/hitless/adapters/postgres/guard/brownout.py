"""The brownout: privileges on what is removed are taken from every role but the owner, and given back exactly.

How. A privilege on a whole table covers every column, so it is revoked, and granted anew on all columns but those, the
system's (`xmin`, `ctid` ...) with them. That takes no lock on the table, reaches statements that are prepared already,
and `42501` is what an application sees.

Given back exactly: the lists of privileges are written down in the transaction that changes them. On the way back all
that was granted is revoked and granted anew in the order in which it stood there, so pg_dump writes the same; what
somebody has granted meanwhile stays, and roles and columns that are gone are left out. The same happens once the
columns are dropped: a privilege on the table covers columns that come later, one on each column does not. Owners,
superusers and members of the owner are not stopped by any of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import psycopg

from hitless.adapters.postgres.hold import Hold
from hitless.adapters.postgres.patience import Try, patiently
from hitless.adapters.postgres.records import forget, record, tell
from hitless.errors import Refused
from hitless.schema.change.standing import Part
from hitless.schema.change.steps import Plan, Revoke, Step
from hitless.schema.names import Name, listed, quoted

BY_COLUMN = frozenset({"SELECT", "INSERT", "UPDATE", "REFERENCES"})
_GRANTS = """
SELECT a.ordinality, 0 AS number, '' AS name, COALESCE(e.rolname, ''), acl.privilege_type, acl.is_grantable, g.rolname,
       acl.grantor = c.relowner
FROM pg_class c, unnest(c.relacl) WITH ORDINALITY a(item, ordinality), aclexplode(ARRAY[a.item]) acl
LEFT JOIN pg_roles e ON e.oid = acl.grantee LEFT JOIN pg_roles g ON g.oid = acl.grantor
WHERE c.oid = to_regclass(%(table)s) AND acl.grantee <> c.relowner
UNION ALL
SELECT a.ordinality, t.attnum, t.attname, COALESCE(e.rolname, ''), acl.privilege_type, acl.is_grantable, g.rolname,
       acl.grantor = c.relowner
FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid AND NOT t.attisdropped,
     unnest(t.attacl) WITH ORDINALITY a(item, ordinality), aclexplode(ARRAY[a.item]) acl
LEFT JOIN pg_roles e ON e.oid = acl.grantee LEFT JOIN pg_roles g ON g.oid = acl.grantor
WHERE c.oid = to_regclass(%(table)s) AND acl.grantee <> c.relowner
ORDER BY 2, 1
"""
_COLUMNS = """
SELECT attname, attnum < 0 FROM pg_attribute WHERE attrelid = to_regclass(%s) AND NOT attisdropped ORDER BY attnum
"""
_ROLES = "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)"
_BYPASS = """
SELECT r.rolname, CASE WHEN r.rolsuper THEN 'is a superuser' WHEN r.oid = c.relowner THEN 'owns the table'
    WHEN pg_has_role(r.oid, c.relowner, 'MEMBER') THEN 'is a member of the owner'
    ELSE 'is a member of pg_read_all_data or pg_write_all_data' END
FROM pg_roles r, pg_class c
WHERE c.oid = to_regclass(%s) AND r.rolcanlogin AND (r.rolsuper OR pg_has_role(r.oid, c.relowner, 'MEMBER')
    OR pg_has_role(r.oid, 'pg_read_all_data', 'MEMBER') OR pg_has_role(r.oid, 'pg_write_all_data', 'MEMBER'))
"""


class BrownoutImpossible(Refused):
    """Privileges cannot be taken so that they can be given back exactly."""

    code = "HL4541"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One privilege of one role; `column` empty = on the whole table; `role` empty = PUBLIC."""

    column: str
    role: str
    privilege: str
    may_grant: bool

    @property
    def to(self) -> str:
        """Name the role as SQL does."""
        return quoted(self.role) if self.role else "PUBLIC"


def run(step: Step, hold: Hold) -> Mapping[str, Any]:
    """Take the privileges, and write down what they were.

    Raises:
        BrownoutImpossible: somebody else than the owner has granted some of them.
        LocksNotHad, Stopped, Fenced, StatementFailed, NotPermitted: see `patiently`.
    """
    revoke = cast("Revoke", step)

    def act(one: Try) -> Mapping[str, Any]:
        before = left = grants_of(one.connection, revoke.table)
        while any(_is_taken(each, revoke) for each in left):  # again, where somebody has granted between look and act
            one.run(_taking(revoke, left, _columns(one.connection, revoke.table)))
            left = grants_of(one.connection, revoke.table)
            before = (*before, *(each for each in left if _is_taken(each, revoke)))
        evidence = {
            "before": [_document(each) for each in before],
            "left": [_document(each) for each in left],
            "bypass": dict(bypassing(one.connection, (str(revoke.table),))),
        }
        record(one.connection, hold, revoke.id, evidence)
        tell(one.connection, hold.change, hold.actor, "step.done", step=revoke.id)
        return evidence

    return patiently(hold, act)


def take_back(step: Step, hold: Hold) -> None:
    """Give the privileges back as they were; same errors."""
    revoke = cast("Revoke", step)

    def act(one: Try) -> None:
        if _give(one, revoke):
            forget(one.connection, hold, revoke.id)
            tell(one.connection, hold.change, hold.actor, "step.undone", step=revoke.id)

    patiently(hold, act)


def settle(one: Try, plan: Plan) -> None:
    """Give privileges on tables back once their columns are dropped; in the transaction that ends the contract."""
    for step in plan.of(Part.BROWNOUT):
        if isinstance(step, Revoke) and step.columns:
            _give(one, step)


def _give(one: Try, revoke: Revoke) -> bool:
    """Give back what is recorded, to roles and on columns that are still there; False = nothing is recorded."""
    row = one.connection.execute(
        "SELECT evidence FROM hitless.step WHERE change = %s AND id = %s", (one.hold.change, revoke.id)
    ).fetchone()
    if row is None:
        return False
    before, left = ([_grant(each) for each in row[0][name]] for name in ("before", "left"))
    roles = {"", *(name for (name,) in one.connection.execute(_ROLES, ([each.role for each in before],)).fetchall())}
    columns = {"", *_columns(one.connection, revoke.table)}
    before = [each for each in before if each.role in roles and each.column in columns]
    one.run(_giving(revoke.table, before, left, grants_of(one.connection, revoke.table)))
    return True


def _columns(connection: psycopg.Connection, table: Name) -> dict[str, bool]:
    """Return the columns of a table, and whether each is one of the system's."""
    return dict(connection.execute(_COLUMNS, (str(table),)).fetchall())


def grants_of(connection: psycopg.Connection, table: Name) -> tuple[Grant, ...]:
    """Read privileges of all roles but the owner, in the order in which they stand there.

    Raises:
        BrownoutImpossible: somebody else has granted one: only that role could give it back.
    """
    rows = connection.execute(_GRANTS, {"table": str(table)}).fetchall()
    foreign = [
        f"{grantee} has {privilege} from {grantor}" for _, _, _, grantee, privilege, _, grantor, own in rows if not own
    ]
    if foreign:
        raise BrownoutImpossible(
            f"privileges on {table.shown} were granted by roles that do not own it",
            evidence=tuple(dict.fromkeys(foreign)),
            hints=("let the owner grant them, and revoke those of the other role",),
        )
    return tuple(
        Grant(column=column, role=role, privilege=privilege, may_grant=grantable)
        for _, _, column, role, privilege, grantable, _, _ in rows
    )


def bypassing(connection: psycopg.Connection, tables: Sequence[str]) -> Mapping[str, str]:
    """Name the roles that may log in and that no privilege stops, each with the reason."""
    return {role: why for table in tables for role, why in connection.execute(_BYPASS, (table,)).fetchall()}


def _is_taken(one: Grant, revoke: Revoke) -> bool:
    """Tell whether a brownout revokes a privilege: on what is removed, or on the whole table around it."""
    return not revoke.columns or one.column in revoke.columns or (not one.column and one.privilege in BY_COLUMN)


def _taking(revoke: Revoke, before: Sequence[Grant], columns: Mapping[str, bool]) -> Iterator[str]:
    on = f"ON TABLE {revoke.table}"
    for one in before:
        if _is_taken(one, revoke):
            yield f"REVOKE {one.privilege}{_of(one.column)} {on} FROM {one.to}"
    for one in before if revoke.columns else ():
        kept = _kept(one, revoke, columns)
        if not one.column and one.privilege in BY_COLUMN and kept:
            yield f"GRANT {one.privilege} ({listed(kept)}) {on} TO {one.to}{_option(one)}"
        elif one.column and one.column not in revoke.columns and _is_covered(one, before):
            yield f"GRANT {one.privilege}{_of(one.column)} {on} TO {one.to}{_option(one)}"


def _kept(one: Grant, revoke: Revoke, columns: Mapping[str, bool]) -> tuple[str, ...]:
    """Name the columns that stay; the system's can only be read."""
    return tuple(
        name
        for name, is_systems in columns.items()
        if name not in revoke.columns and (not is_systems or one.privilege == "SELECT")
    )


def _is_covered(one: Grant, before: Sequence[Grant]) -> bool:
    """Revoking a privilege on the table takes it from the columns too."""
    return any(not each.column and (each.role, each.privilege) == (one.role, one.privilege) for each in before)


def _giving(table: Name, before: Sequence[Grant], left: Sequence[Grant], now: Sequence[Grant]) -> Iterator[str]:
    on = f"ON TABLE {table}"
    meanwhile = [one for one in now if one not in left]
    taken_meanwhile = {one for one in left if one not in now and one in before}
    for role in dict.fromkeys(one.to for one in now):
        columns = tuple(dict.fromkeys(one.column for one in now if one.to == role and one.column))
        yield f"REVOKE ALL {on} FROM {role}"
        if columns:
            yield f"REVOKE ALL ({listed(columns)}) {on} FROM {role}"
    for one in dict.fromkeys((*before, *meanwhile)):
        if one not in taken_meanwhile:
            yield f"GRANT {one.privilege}{_of(one.column)} {on} TO {one.to}{_option(one)}"


def _of(column: str) -> str:
    return f" ({quoted(column)})" if column else ""


def _option(one: Grant) -> str:
    return " WITH GRANT OPTION" if one.may_grant else ""


def _document(one: Grant) -> dict[str, Any]:
    return {"column": one.column, "role": one.role, "privilege": one.privilege, "may_grant": one.may_grant}


def _grant(said: Mapping[str, Any]) -> Grant:
    return Grant(column=said["column"], role=said["role"], privilege=said["privilege"], may_grant=said["may_grant"])
