"""A service's database, looked at for `hitless doctor`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import psycopg

from hitless.adapters.postgres.addresses import UrlMissing, beside, resolve
from hitless.adapters.postgres.connections import limits_of
from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.faults import in_words
from hitless.doctor.measures import DatabaseState, GroupState
from hitless.errors import HitlessError
from hitless.rollout.spec import ServiceSpec

_GROUP = """
SELECT g.oid IS NOT NULL, u.rolsuper OR u.rolcreaterole,
       u.rolsuper OR (g.oid IS NOT NULL AND pg_has_role(u.oid, g.oid, 'MEMBER WITH ADMIN OPTION'))
           OR (u.rolcreaterole AND current_setting('server_version_num')::int < 160000)
FROM pg_roles u LEFT JOIN pg_roles g ON g.rolname = %s WHERE u.rolname = current_user
"""
_LIBRARIES = "SELECT current_setting('shared_preload_libraries', true)"


def look_at(
    spec: ServiceSpec, environment: Mapping[str, str] | None = None, *, directory: Path = Path()
) -> DatabaseState | None:
    """Measure the database of a service; None = it names none.

    Args:
        spec: the service.
        environment: where `env:NAME` is looked up; None = that of this process.
        directory: of hitless.yaml.
    """
    wish = spec.database
    if wish is None:
        return None
    try:
        database = Database(resolve(beside(wish.url, directory), os.environ if environment is None else environment))
    except UrlMissing as error:
        return DatabaseState(service=spec.name, place=wish.url, missing=error.message)
    except HitlessError as error:
        return DatabaseState(service=spec.name, place=wish.url, problem=error.message)
    try:
        with database.connect() as connection, in_words(database):
            return _measured(spec, connection)
    except HitlessError as error:
        return DatabaseState(service=spec.name, place=wish.url, problem=error.message)


def _measured(spec: ServiceSpec, connection: psycopg.Connection) -> DatabaseState:
    wish = spec.database
    assert wish is not None
    server = next(one for one in limits_of(connection, service="") if one.is_server)
    version = connection.info.server_version
    return DatabaseState(
        service=spec.name,
        place=wish.url,
        version=f"{version // 10_000}.{version % 10_000}",
        opens=wish.connections.per_instance * spec.instances if wish.connections is not None else None,
        in_use=server.others,
        room=server.connections - server.kept_back,
        has_statements=_has_statements(connection),
        group=_group(connection, wish.roles.group) if wish.roles is not None else None,
    )


def _has_statements(connection: psycopg.Connection) -> bool | None:
    try:
        row = connection.execute(_LIBRARIES).fetchone()
    except psycopg.errors.InsufficientPrivilege:  # shown to pg_read_all_settings alone
        return None
    return "pg_stat_statements" in row[0] if row is not None and row[0] is not None else None


def _group(connection: psycopg.Connection, group: str) -> GroupState:
    row = connection.execute(_GROUP, (group,)).fetchone()
    assert row is not None
    return GroupState(
        group=group, user=connection.info.user, exists=bool(row[0]), may_make=bool(row[1]), may_give=bool(row[2])
    )
