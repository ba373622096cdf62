"""Judge of the services' databases: they answer, have room, and let hitless do what the settings ask of it."""

from __future__ import annotations

from collections.abc import Iterator

from hitless.doctor.finding import Finding, Findings, failed, ok, unknown, warning
from hitless.doctor.measures import DatabaseState, GroupState

FULL = 0.8
"""Above this share of its connections a database has no room for a second set of pools of any size."""


def databases(found: tuple[DatabaseState, ...]) -> Findings:
    """Every database that a service names is ready for a rollout."""
    if not found:
        return (ok("no service names a database"),)
    return tuple(finding for one in found for finding in _one(one))


def _one(found: DatabaseState) -> Iterator[Finding]:
    if found.missing is not None:
        text = f"{found.service}: {found.missing}; the control plane may have it"
        yield unknown(text, f"hitless plan {found.service} --version VERSION   # the control plane asks")
        return
    if found.problem is not None:
        yield failed(f"{found.service}: {found.problem}", "hitless explain HL6501")
        return
    troubles = [*_room(found), *_group(found), *_statements(found)]
    yield from troubles
    if not troubles:
        yield ok(f"{found.service}: PostgreSQL {found.version} answers, {_connections(found)}")


def _connections(found: DatabaseState) -> str:
    wanted = f", its instances open {found.opens}" if found.opens is not None else ""
    return f"{found.in_use} of {found.room} connections are open{wanted}"


def _room(found: DatabaseState) -> Iterator[Finding]:
    plan = f"hitless plan {found.service} --version VERSION   # who takes what at the peak"
    if found.opens is not None and found.opens > found.room:
        yield failed(f"{found.service}: {_connections(found)}: not even one version fits", plan)
    elif found.in_use > FULL * found.room:
        yield warning(f"{found.service}: {_connections(found)}: little room for a second version", plan)


def _group(found: DatabaseState) -> Iterator[Finding]:
    group = found.group
    if group is None:
        return
    if not group.exists:
        text = f"{found.service}: there is no role {group.group}, which versions' roles are to be members of"
        yield failed(text, f"psql -c 'CREATE ROLE {group.group} NOLOGIN'", "hitless explain HL4554")
    elif not (group.may_make and group.may_give):
        yield failed(f"{found.service}: {group.user} may not {_lacks(group)}", _grant(group), "hitless explain HL4553")


def _lacks(group: GroupState) -> str:
    return f"give {group.group} to another role" if group.may_make else "make roles"


def _grant(group: GroupState) -> str:
    given = f"GRANT {group.group} TO {group.user} WITH ADMIN OPTION"
    return f"psql -c 'ALTER ROLE {group.user} CREATEROLE' -c '{given}'   # as a superuser"


def _statements(found: DatabaseState) -> Iterator[Finding]:
    if found.group is not None and found.has_statements is False:
        text = f"{found.service}: pg_stat_statements is not loaded: which version sends which statement is not recorded"
        setting = "ALTER SYSTEM SET shared_preload_libraries = pg_stat_statements"
        yield warning(text, f"psql -c '{setting}'   # then restart the server")
