"""Login roles by version, in a server: made, limited, dropped.

Rules.
* A role is touched only if its comment says that it is ours: of this service and this version, and of the key of this
  state directory. Another project on the same server may have a service of the same name.
* The limit of a role that is there is never lowered: instances may be connected as it, or come back as it.
* A password is never sent: the server gets its verifier (SCRAM-SHA-256), so no log of statements holds it.
* A role is dropped by `DROP ROLE` alone, which the server refuses while the role owns anything or has a privilege of
  its own. `DROP OWNED` could drop a table that was made a moment ago.
* Everything is idempotent: whoever died in the middle is followed by one who looks.
* The table `hitless.role` of a database that has one is a copy, for whoever asks which version a statement was of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import psycopg
from psycopg import errors, sql

from hitless.errors import EnvironmentFault, Refused
from hitless.schema.roles import VersionRole, comment_of, role_of

NO_LIMIT = -1

_KNOWN = """
SELECT rolname, shobj_description(oid, 'pg_authid') FROM pg_roles
WHERE shobj_description(oid, 'pg_authid') IS NOT NULL
"""
_SESSIONS = "SELECT count(*)::int FROM pg_stat_activity WHERE usename = %s"
_OWNED = """
SELECT coalesce(d.datname, 'the server'), count(*)::int FROM pg_shdepend s LEFT JOIN pg_database d ON d.oid = s.dbid
WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = %s::regrole AND s.deptype = 'o' GROUP BY 1 ORDER BY 1
"""

_FORGET = "DELETE FROM hitless.role WHERE service = %s AND role <> ALL (%s)"
_NOTE = """
INSERT INTO hitless.role (role, service, version) VALUES (%s, %s, %s)
ON CONFLICT (role) DO UPDATE SET service = excluded.service, version = excluded.version
"""


class RoleTaken(Refused):
    """The name of a version's role is somebody else's, or its password came from another key."""

    code = "HL4552"


class RoleNotAllowed(EnvironmentFault):
    """The role of `database.url` may not make roles, or may not give the group."""

    code = "HL4553"
    temporary = False

    def __init__(self, user: str, group: str, said: str) -> None:
        super().__init__(
            f"{user} may not make a login role in {group}: {said}",
            hints=(
                f"as a superuser: ALTER ROLE {user} CREATEROLE; GRANT {group} TO {user} WITH ADMIN OPTION",
                "or remove `database.roles`: then versions share a role, and no statement tells which one sent it",
            ),
        )


class GroupMissing(Refused):
    """There is no role that versions' roles could be members of."""

    code = "HL4554"


def roles_of(connection: psycopg.Connection) -> Mapping[str, VersionRole]:
    """Return every login role of a version that we have made, by name, whichever service it is of."""
    found = ((name, role_of(comment)) for name, comment in connection.execute(_KNOWN).fetchall())
    return {name: known for name, known in found if known is not None}


def own_roles(connection: psycopg.Connection, service: str, key: str) -> Mapping[str, VersionRole]:
    """Return those of a service that were made with this key, by name."""
    return {name: one for name, one in roles_of(connection).items() if (one.service, one.key) == (service, key)}


def make_role(connection: psycopg.Connection, name: str, wanted: VersionRole, *, group: str, password: str) -> None:
    """Make a version's role, or bring the one that is there up to date.

    Args:
        connection: in autocommit.
        name: of the role.
        wanted: what is to be remembered of it.
        group: that it is a member of.
        password: that it logs in with.

    Raises:
        RoleTaken: the name is somebody else's, or its password is not this one.
        GroupMissing: there is no such group.
        RoleNotAllowed: the privileges do not suffice.
    """
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (group,)).fetchone() is None:
        raise GroupMissing(
            f"there is no role {group}, which versions' roles are to be members of",
            hints=(f"CREATE ROLE {group} NOLOGIN, and grant it what the application needs",),
        )
    try:
        with connection.transaction():
            _make(connection, name, wanted, group=group, password=password)
    except errors.InsufficientPrivilege as error:
        user = connection.info.user
        raise RoleNotAllowed(user, group, error.diag.message_primary or str(error)) from error


def _make(connection: psycopg.Connection, name: str, wanted: VersionRole, *, group: str, password: str) -> None:
    row = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
    if row is not None:
        _alter(connection, name, _widened(_ours(name, roles_of(connection).get(name), wanted), wanted))
        _ensure_member(connection, name, group)
        return
    verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    role = sql.Identifier(name)
    connection.execute(
        sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} CONNECTION LIMIT {} IN ROLE {}").format(
            role, sql.Literal(verifier), sql.Literal(_limit(wanted)), sql.Identifier(group)
        )
    )
    _remember(connection, name, wanted)


def _widened(known: VersionRole, wanted: VersionRole) -> VersionRole:
    """Return a role with room for both: what is examined of a version that runs must not take its connections."""
    if known.connections is None or wanted.connections is None:
        return replace(known, connections=None, raised_to=None)
    return replace(known, connections=max(known.connections, wanted.connections))


def _ours(name: str, known: VersionRole | None, wanted: VersionRole) -> VersionRole:
    if known is None or (known.service, known.version) != (wanted.service, wanted.version):
        whose = f"of {known.service} {known.version}" if known is not None else "that hitless has not made"
        raise RoleTaken(
            f"the role {name} is there already, and is one {whose}",
            hints=("give `database.roles.prefix` another value", "or rename that role"),
        )
    if known.key != wanted.key:
        raise RoleTaken(
            f"the role {name} has a password that this state directory does not know",
            evidence=(f"made with key {known.key}, database.key here is {wanted.key}",),
            hints=(
                "put the database.key of that time back into .hitless",
                f"or, when no instance connects as it any more: DROP ROLE {sql.Identifier(name).as_string(None)}",
            ),
        )
    return known


def _alter(connection: psycopg.Connection, name: str, wanted: VersionRole) -> None:
    connection.execute(
        sql.SQL("ALTER ROLE {} LOGIN CONNECTION LIMIT {}").format(sql.Identifier(name), sql.Literal(_limit(wanted)))
    )
    _remember(connection, name, wanted)


def _ensure_member(connection: psycopg.Connection, name: str, group: str) -> None:
    """Give the group where it is missing; who has it already needs no privilege for that."""
    row = connection.execute("SELECT pg_has_role(%s, %s, 'MEMBER')", (name, group)).fetchone()
    if row is None or not row[0]:
        connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(name)))


def _remember(connection: psycopg.Connection, name: str, role: VersionRole) -> None:
    comment = sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(name), sql.Literal(comment_of(role)))
    connection.execute(comment)


def _limit(role: VersionRole) -> int:
    if role.connections is None:
        return NO_LIMIT
    return max(role.connections, role.raised_to or 0)


def copy_to_table(connection: psycopg.Connection, service: str) -> None:
    """Write a service's roles into the table `hitless.role`, where this database has one."""
    row = connection.execute("SELECT to_regclass('hitless.role') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return
    known = {name: one.version for name, one in roles_of(connection).items() if one.service == service}
    with connection.transaction():
        connection.execute(_FORGET, (service, list(known)))
        for name, version in known.items():
            connection.execute(_NOTE, (name, service, version))


def raise_limits(connection: psycopg.Connection, service: str, *, key: str, times: tuple[int, int]) -> tuple[str, ...]:
    """Raise the limits of a service's roles for a migration; return their names.

    Remembered in the transaction that raises it, so that whoever comes after a crash takes it back.

    Args:
        connection: in autocommit.
        service: whose.
        key: fingerprint of what the passwords were derived from.
        times: connections that an instance opens meanwhile, and usually.
    """
    wide, usual = times
    raised = []
    for name, known in own_roles(connection, service, key).items():
        if known.connections is not None:
            more = -(-known.connections * wide // usual)
            with connection.transaction():
                _alter(connection, name, replace(known, raised_to=more))
            raised.append(name)
    return tuple(raised)


def take_limits_back(connection: psycopg.Connection, service: str, *, key: str) -> tuple[str, ...]:
    """Give a service's roles their usual limits back, whoever has raised them; return the names of those that had not.

    Sessions beyond the limit live on; the limit holds for new ones.
    """
    raised = {name: one for name, one in own_roles(connection, service, key).items() if one.raised_to is not None}
    for name, known in raised.items():
        with connection.transaction():
            _alter(connection, name, replace(known, raised_to=None))
    return tuple(raised)


def drop_roles(connection: psycopg.Connection, service: str, *, key: str, keep: frozenset[str]) -> tuple[str, ...]:
    """Drop the roles of a service's other versions; say which stay, and why.

    Args:
        connection: in autocommit.
        service: whose.
        key: fingerprint of what the passwords were derived from; roles of another key are another project's.
        keep: versions that run or may come back.
    """
    others = [name for name, known in own_roles(connection, service, key).items() if known.version not in keep]
    return tuple(why for name in others for why in _drop(connection, name))


def _drop(connection: psycopg.Connection, name: str) -> Iterator[str]:
    row = connection.execute(_SESSIONS, (name,)).fetchone()
    if row is not None and row[0]:
        yield f"login role {name} stays: {row[0]} sessions are open as it"
        return
    try:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
    except errors.DependentObjectsStillExist:
        yield f"login role {name} stays: {_what_it_has(connection, name)}"
    except errors.InsufficientPrivilege as error:
        yield f"login role {name} stays: {error.diag.message_primary}"
    except errors.UndefinedObject:
        return  # somebody else has dropped it meanwhile


def _what_it_has(connection: psycopg.Connection, name: str) -> str:
    quoted = sql.Identifier(name).as_string(None)
    owned = connection.execute(_OWNED, (quoted,)).fetchall()
    if owned:
        where = ", ".join(f"{count} objects in {place}" for place, count in owned)
        return f"it owns {where}; give them away first: REASSIGN OWNED BY {quoted} TO OWNER"
    return f"it has privileges of its own; take them away first: DROP OWNED BY {quoted}   # it owns nothing"
