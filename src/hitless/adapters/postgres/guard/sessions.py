"""Who is connected, who may come, and what leaves the server: roles, sessions, standbys, replication slots."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import psycopg

from hitless.adapters.postgres.database import APPLICATION

_SELF = "SELECT current_user, clock_timestamp(), pg_is_in_recovery(), pg_postmaster_start_time()"
_SESSIONS = """
SELECT usename, COALESCE(application_name, ''), count(*), min(backend_start)
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
GROUP BY 1, 2 ORDER BY 1, 2
"""
_BACKGROUND = """
SELECT DISTINCT usename, backend_type FROM pg_stat_activity
WHERE datname = current_database() AND usename IS NOT NULL
  AND backend_type NOT IN ('client backend', 'autovacuum worker', 'parallel worker', 'walsender',
                           'logical replication launcher', 'logical replication worker')
"""
_VERSIONS = """
SELECT rolname, shobj_description(oid, 'pg_authid') FROM pg_roles
WHERE shobj_description(oid, 'pg_authid') LIKE '%hitless%'
"""
_TABLE = "SELECT role, service, version, made_at FROM hitless.role"
_STANDBYS = """
SELECT COALESCE(r.application_name, ''), COALESCE(r.client_addr::text, 'a socket') FROM pg_stat_replication r
WHERE r.state <> 'backup' AND NOT EXISTS (
    SELECT FROM pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')
"""
_SLOTS = """
SELECT slot_name::text, slot_type, COALESCE(plugin::text, ''), active FROM pg_replication_slots
WHERE (slot_type = 'logical' AND database = current_database()) OR (slot_type = 'physical' AND NOT active)
"""
_COLUMNS = """
SELECT unnest(ARRAY[c.relname, n.nspname || '.' || c.relname]), array_agg(a.attname::text)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
GROUP BY c.oid, c.relname, n.nspname
"""
_SUBSCRIPTIONS = """
WITH RECURSIVE family AS (
    SELECT to_regclass(%s)::oid AS id UNION SELECT i.inhrelid FROM pg_inherits i JOIN family f ON i.inhparent = f.id
) SELECT DISTINCT s.subname FROM family f JOIN pg_subscription_rel r ON r.srrelid = f.id
JOIN pg_subscription s ON s.oid = r.srsubid
"""
"""What an apply worker writes is counted nowhere, and it may not run just now."""

_MAY = """
SELECT r.rolname FROM pg_roles r, (SELECT to_regclass(%s)::oid AS oid) t
WHERE t.oid IS NOT NULL AND r.rolcanlogin AND NOT r.rolsuper AND (
    has_table_privilege(r.oid, t.oid, 'SELECT, INSERT, UPDATE, DELETE')
    OR has_any_column_privilege(r.oid, t.oid, 'SELECT, INSERT, UPDATE'))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Sessions of one role under one application's name."""

    role: str
    application: str
    count: int
    oldest: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionOf:
    """The version that a role belongs to; `made_at` None = nobody wrote it down."""

    service: str
    version: str
    made_at: datetime | None

    @property
    def name(self) -> str:
        """Name it: `shop@41`."""
        return f"{self.service}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Who is around a database.

    Attributes:
        me: the role that looks.
        sessions: but those of this program.
        versions: which role belongs to which version.
        permitted: roles that may log in and use what is removed.
        standbys: names of those that stream now.
        slots: name -> kind, of those that feed somebody from here.
        subscriptions: that write into what is removed.
        is_standby: the server is one.
        started_at: when it was: by that, it is known again.
    """

    me: str
    now: datetime
    sessions: tuple[Session, ...]
    versions: Mapping[str, VersionOf]
    permitted: tuple[str, ...]
    standbys: tuple[str, ...]
    slots: Mapping[str, str]
    subscriptions: tuple[str, ...]
    is_standby: bool
    started_at: datetime


def look_around(connection: psycopg.Connection, tables: tuple[str, ...]) -> Surroundings:
    """Look who is around."""
    row = connection.execute(_SELF).fetchone()
    assert row is not None, "one row"
    me, now, is_standby, started_at = row
    sessions = [
        Session(role=role, application=application, count=count, oldest=oldest)
        for role, application, count, oldest in connection.execute(_SESSIONS).fetchall()
        if not (role == me and application.startswith(APPLICATION))
    ]
    sessions += [
        Session(role=role, application=kind, count=1, oldest=now)
        for role, kind in connection.execute(_BACKGROUND).fetchall()
    ]
    feeding = {name for table in tables for (name,) in connection.execute(_SUBSCRIPTIONS, (table,)).fetchall()}
    permitted = {role for table in tables for (role,) in connection.execute(_MAY, (table,)).fetchall()}
    return Surroundings(
        me=me,
        now=now,
        sessions=tuple(sessions),
        versions=_versions(connection),
        permitted=tuple(sorted(permitted)),
        standbys=tuple(name or address for name, address in connection.execute(_STANDBYS).fetchall()),
        slots={name: f"{kind} {plugin}".strip() for name, kind, plugin, _ in connection.execute(_SLOTS).fetchall()},
        subscriptions=tuple(sorted(feeding)),
        is_standby=is_standby,
        started_at=started_at,
    )


def columns_of(connection: psycopg.Connection) -> Mapping[str, frozenset[str]]:
    """Return the columns of every table and view, by its name with the schema and without it."""
    found: dict[str, frozenset[str]] = {}
    for name, columns in connection.execute(_COLUMNS).fetchall():
        found[name] = found.get(name, frozenset()) | frozenset(columns)
    return found


def _versions(connection: psycopg.Connection) -> dict[str, VersionOf]:
    """Read them from the roles' comments, and from the table of this database, which also knows since when."""
    found: dict[str, VersionOf] = {}
    for role, comment in connection.execute(_VERSIONS).fetchall():
        try:
            said = json.loads(comment)
        except ValueError:
            continue
        if isinstance(said, dict) and "hitless" in said and {"service", "version"} <= said.keys():
            found[role] = VersionOf(service=str(said["service"]), version=str(said["version"]), made_at=None)
    if connection.execute("SELECT to_regclass('hitless.role') IS NOT NULL").fetchone() == (True,):
        for role, service, version, made_at in connection.execute(_TABLE).fetchall():
            found[role] = VersionOf(service=service, version=version, made_at=made_at)
    return found
