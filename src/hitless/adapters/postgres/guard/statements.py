"""What roles have sent, as `pg_stat_statements` counts it, on one server or several.

Its limits, each of which makes evidence incomplete: entries that were evicted (`dealloc`), a reset, also of one role
alone, texts that it lost, a setting that hides utility statements, or a role whose own setting turns it off. It counts
by role, and knows neither an application's name nor when a statement was last sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from hitless.schema.guard.evidence import Statement
from hitless.schema.names import Name

_WHERE = """
SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements'
"""
_ROWS = """
SELECT r.rolname AS role, s.toplevel, s.query, s.calls
FROM {view} s JOIN pg_roles r ON r.oid = s.userid
WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_INFO = "SELECT dealloc, stats_reset FROM {view}"
_RESETS = "SELECT query FROM {view} WHERE position('pg_stat_statements_reset' IN query) > 0"
_PARTIAL = re.compile(r"pg_stat_statements_reset\s*\(\s*[^)\s]", re.IGNORECASE)
_COMMENT = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
_NO_CALL = re.compile(rf"{_COMMENT}(?:grant|revoke|create|alter|comment|drop)\b", re.IGNORECASE | re.DOTALL)
"""The extension's own script is among them: it was run when the extension was made."""

_SETTINGS = """
SELECT pg_conf_load_time() AS loaded_at,
       COALESCE(current_setting('pg_stat_statements.track', true), '') AS track,
       COALESCE(current_setting('pg_stat_statements.track_utility', true), '') AS utility,
       current_setting('compute_query_id') AS ids
"""
_OWN_SETTINGS = """
SELECT DISTINCT r.rolname, split_part(setting, '=', 1) FROM pg_db_role_setting s
JOIN pg_roles r ON r.oid = s.setrole OR s.setrole = 0, unnest(s.setconfig) setting
WHERE setting LIKE 'pg_stat_statements.%' OR setting LIKE 'compute_query_id=%'
"""
_PATHS = """
SELECT DISTINCT ON (r.rolname) r.rolname, substr(setting, 13) FROM pg_db_role_setting s
JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) setting
WHERE setting LIKE 'search_path=%'
  AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
ORDER BY r.rolname, s.setdatabase DESC
"""
_HIDDEN = "<insufficient privilege>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What one server has counted.

    Attributes:
        lacks: why it does not show absence, for all roles.
        lacks_of: the same, for one role.
        nested_seen: what functions send was counted too.
        since: from when on it counts; None = not known.
        loaded_at: since when its settings are what they are, at the latest.
    """

    server: str
    by_role: Mapping[str, tuple[Statement, ...]]
    lacks: tuple[str, ...]
    lacks_of: Mapping[str, tuple[str, ...]]
    nested_seen: bool
    since: datetime | None
    loaded_at: datetime | None = None


def read_sent(connection: psycopg.Connection, *, server: str) -> Sent:
    """Read what a server has counted; what cannot be read is lacking, and no error."""
    row = connection.execute(_WHERE).fetchone()
    if row is None:
        return _nothing(server, "the extension pg_stat_statements is not in this database")
    view, info = (str(Name(name, row[0])) for name in ("pg_stat_statements", "pg_stat_statements_info"))
    try:
        rows = _rows(connection, _ROWS.format(view=view))
        resets = [one["query"] for one in _rows(connection, _RESETS.format(view=view))]
        told = _rows(connection, _INFO.format(view=info))[0]
    except psycopg.Error as error:
        return _nothing(server, f"pg_stat_statements cannot be read: {error.diag.message_primary}")
    settings = _rows(connection, _SETTINGS)[0]
    paths: dict[str, str] = dict(connection.execute(_PATHS).fetchall())
    return Sent(
        server=server,
        by_role=_by_role(rows, paths),
        lacks=(*_lacks(rows, told, settings), *_of_resets(resets)),
        lacks_of=_own(connection),
        nested_seen=settings["track"] == "all",
        since=told["stats_reset"],
        loaded_at=settings["loaded_at"],
    )


def _nothing(server: str, why: str) -> Sent:
    return Sent(server=server, by_role={}, lacks=(why,), lacks_of={}, nested_seen=False, since=None)


def _rows(connection: psycopg.Connection, query: str) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode()).fetchall()


def _by_role(rows: Sequence[Mapping[str, Any]], paths: Mapping[str, str]) -> dict[str, tuple[Statement, ...]]:
    found: dict[str, list[Statement]] = {}
    for row in rows:
        if row["query"] is None or row["query"] == _HIDDEN:
            continue
        path = paths.get(row["role"])
        found.setdefault(row["role"], []).append(
            Statement(
                text=row["query"],
                calls=row["calls"],
                nested=not row["toplevel"],
                search_path=path.replace('"$user"', f'"{row["role"]}"') if path is not None else None,
            )
        )
    return {role: tuple(statements) for role, statements in found.items()}


def _lacks(rows: Sequence[Mapping[str, Any]], told: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[str]:
    if told["dealloc"]:
        yield f"pg_stat_statements has evicted entries {told['dealloc']:,} times: raise pg_stat_statements.max"
    if hidden := sum(row["query"] == _HIDDEN for row in rows):
        yield f"{hidden:,} statements are hidden from this role: GRANT pg_read_all_stats"
    if lost := sum(row["query"] is None for row in rows):
        yield f"pg_stat_statements has lost {lost:,} texts"
    if settings["track"] not in {"top", "all"}:
        yield f"pg_stat_statements.track is {settings['track'] or 'not set: the library is not loaded'}"
    if settings["utility"] != "on":
        yield "pg_stat_statements.track_utility is off: COPY and cursors are not counted"
    if settings["ids"] == "off":
        yield "compute_query_id is off"


def _of_resets(queries: Sequence[str]) -> Iterator[str]:
    """A reset of one role alone moves no date: the call itself, which is counted too, is all that is seen."""
    if any(_PARTIAL.search(one) and not _NO_CALL.match(one) for one in queries):
        yield (
            "somebody has reset a part of pg_stat_statements, and nobody knows which or when:"
            " SELECT pg_stat_statements_reset(), and the window begins anew"
        )


def _own(connection: psycopg.Connection) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for role, setting in connection.execute(_OWN_SETTINGS).fetchall():
        found[role] = (*found.get(role, ()), f"{role} has a setting of its own: {setting}")
    return found
