"""A database full of accounts, a load that remembers every value, and an audit with SQL of its own.

For the demo, the soak and the tests. Nothing here knows how a change is planned or carried out: what a value must be is
taken from what clients were told, and from how the table was seeded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from hitless.testing.live import free_ports
from hitless.testing.postgres import PostgresServer

HERE = Path(__file__).parent
CHANGES = HERE / "changes"
DATABASE = "accounts"
OWNER = "accounts_owner"
APPLICATION = "accounts"
SERVER_SETTINGS = {"max_connections": "100", "shared_buffers": "256MB", "max_wal_size": "4GB", "fsync": "on"}
SEED_BATCH = 500_000
STARTS_WITHIN_S = 60.0

SEEDED = {
    "name": "First{record} Last{record}",
    "email": "u{record}@example.org",
    "visits": "{number}",
    "bio": "",
}
"""What a seeded account shows, as the load is told."""

WRITTEN = {
    "name": "Ann{id} van der Lee{id}",
    "email": "m{id}@example.org",
    "visits": "{number}",
    "bio": "Bio {id}",
}
CREATED = '{"reference": "{id}", "name": "New {id}", "email": "{id}@new.example"}'

_ROLES = f"""
CREATE ROLE {OWNER} LOGIN CREATEDB CREATEROLE IN ROLE pg_monitor;
CREATE ROLE accounts_app NOLOGIN;
CREATE ROLE {APPLICATION} LOGIN IN ROLE accounts_app;
GRANT accounts_app TO {OWNER} WITH ADMIN OPTION"""
_SEED = """
INSERT INTO users (full_name, email, visits)
SELECT 'First' || i || ' Last' || i, 'u' || i || '@example.org', i FROM generate_series(%s::int, %s::int) AS i
"""

CONFIGURATION = """
service: accounts
listen: 127.0.0.1:{port}
instances: 2
run:
  command: {command}
  directory: {directory}
  environment: {environment}
health: {{live: /health/live, ready: /health/ready, start_deadline: 60s}}
drain: {{requests: 5s, streams: 10s}}
preflight: off
strategy:
  canary: {{steps: [{{weight: 10%, hold: {hold}}}, {{weight: 50%, hold: {hold}}}, {{weight: 100%}}]}}
  rolling: {{max_surge: 1, max_unavailable: 0}}
"""
MIGRATED = """
database:
  url: env:HITLESS_DATABASE_URL
  changes: {changes}
  pool: {{per_instance: 15}}
  roles: accounts_app
"""


FRAMEWORKS: Mapping[str, tuple[Path, tuple[str, ...]]] = {
    "sqlalchemy": (HERE, ("uvicorn", "accounts.app:app", "--port", "{port}", "--log-level", "warning")),
    "django": (
        HERE.with_name("accounts_django"),
        (
            "gunicorn",
            "accounts:application",
            "--bind",
            "127.0.0.1:{port}",
            "--worker-class",
            "gthread",
            "--threads",
            "8",
        ),
    ),
}
"""Where each application lies, and the module that serves it."""


def configuration(
    *,
    port: int,
    url: str | None,
    changes: tuple[Path, ...] = (),
    prepares: bool = True,
    hold: str = "2s",
    framework: str = "sqlalchemy",
) -> str:
    """Return a `hitless.yaml` that serves the accounts of a database.

    Args:
        port: where users reach it.
        url: how every release reaches its database; None = each has a role of its own, and rollouts make it ready.
        changes: what rollouts bring about in the database, without `url`.
        prepares: the driver prepares statements, as it does by itself.
        hold: how long a canary stays at each of its steps.
        framework: a name of `FRAMEWORKS`.
    """
    directory, command = FRAMEWORKS[framework]
    environment = {"ACCOUNTS_RELEASE": "{version}", "ACCOUNTS_PREPARES": "yes" if prepares else "no"}
    told = CONFIGURATION.format(
        port=port,
        hold=hold,
        command=json.dumps([sys.executable, "-m", *command]),
        directory=json.dumps(str(directory)),
        environment=json.dumps(environment | ({"DATABASE_URL": url} if url else {})),
    )
    return told if url else told + MIGRATED.format(changes=json.dumps([str(one) for one in changes]))


def seed(server: PostgresServer, rows: int) -> None:
    """Make the roles, the database and so many accounts in it.

    Nobody is a superuser: `OWNER` owns the tables and changes them, `APPLICATION` reads and writes them as a member of
    `accounts_app`, and may do nothing else.
    """
    with server.connect() as connection:
        if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (OWNER,)).fetchall():
            connection.execute(_ROLES)
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*map(sql.Identifier, (DATABASE, OWNER))))
    with psycopg.connect(server.url(DATABASE, role=OWNER), autocommit=True) as connection:
        connection.execute((HERE / "schema.sql").read_text("utf-8"))
        connection.execute("GRANT SELECT, INSERT, UPDATE ON users, sign_ins TO accounts_app")
        for first in range(1, rows + 1, SEED_BATCH):
            connection.execute(_SEED, (first, min(first + SEED_BATCH - 1, rows)))
        connection.execute("VACUUM ANALYZE users")


def urls(server: PostgresServer) -> tuple[str, str]:
    """Return how the application reaches its database, and how changes of the schema do."""
    return server.url(DATABASE, role=APPLICATION), server.url(DATABASE, role=OWNER)


def mix(*, rows: int, rate_rps: float, log: Path, records: int = 300) -> dict[str, Any]:
    """Return what clients ask: mostly records that are written and read back, spread over the whole table."""
    step = max(rows // records, 1)
    return {
        "records": {
            "rate_rps": rate_rps * 0.7,
            "path": "/accounts/{record}",
            "first": 1,
            "step": step,
            "records": min(records, rows),
            "seeded": SEEDED,
            "written": WRITTEN,
            "log": str(log),
        },
        "post": {
            "rate_rps": rate_rps * 0.1,
            "path": "/accounts",
            "body": CREATED,
            "executions_path": "/accounts/executions?prefix={prefix}",
        },
        "keepalive": {"rate_rps": rate_rps * 0.1, "path": f"/accounts?after={rows // 2}"},
        "close": {"rate_rps": rate_rps * 0.1, "path": "/accounts/find?email=u2@example.org"},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A place that says a field: SQL of its text, and the columns that it needs."""

    field: str
    columns: frozenset[str]
    text: str


def _source(name: str, text: str, *columns: str) -> Source:
    return Source(field=name, columns=frozenset(columns), text=text)


SOURCES: tuple[Source, ...] = (
    _source("name", "full_name", "full_name"),
    _source("name", "rtrim(first_name || ' ' || last_name)", "first_name", "last_name"),
    _source("name", "hitless_old_full_name", "hitless_old_full_name"),
    _source("email", "email", "email"),
    _source("email", "email_address", "email_address"),
    _source("visits", "visits::text", "visits"),
    _source("visits", "hitless_visits::text", "hitless_visits"),
    _source("visits", "hitless_old_visits::text", "hitless_old_visits"),
    _source("bio", "coalesce(bio, '')", "bio"),
    _source("id", "id::text", "id"),
    _source("id", "hitless_id::text", "hitless_id"),
    _source("id", "hitless_old_id::text", "hitless_old_id"),
)
"""Old columns and new ones, shadows and what a swap left: whichever are there must all say the same."""

_SEEDS = {
    "name": "'First' || u.number || ' Last' || u.number",
    "email": "'u' || u.number || '@example.org'",
    "visits": "u.number::text",
    "bio": "''",
    "id": "u.number::text",
}
_CREATIONS = {
    "name": "'New ' || u.reference",
    "email": "u.reference || '@new.example'",
    "visits": "'0'",
    "bio": "''",
    "id": "u.number::text",
}

_READ = "SELECT id AS number, reference, {text} AS text FROM users"
_UNTOUCHED = """
SELECT count(*), min(u.number) FROM ({read}) u WHERE {whose} AND u.text IS DISTINCT FROM ({should})
    AND NOT EXISTS (SELECT FROM may_be m WHERE m.number = u.number AND m.field = {field})"""
_TOUCHED = """
SELECT count(*), min(m.number)
    FROM (SELECT number, array_agg(value) AS texts FROM may_be WHERE field = {field} GROUP BY 1) m
    LEFT JOIN ({read}) u USING (number) WHERE u.text IS NULL OR NOT u.text = ANY (m.texts)"""


@dataclass(slots=True, kw_only=True)
class Audit:
    """What the database holds, beside what clients were told.

    Attributes:
        compared: values that were compared, over all places that say them.
        faults: each wrong, lost or doubled thing, in words; none = all is well.
    """

    rows: int = 0
    created: int = 0
    compared: int = 0
    touched: int = 0
    sources: tuple[str, ...] = ()
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Say it in one line."""
        wrong = "; ".join(self.faults) or "0 wrong, 0 lost, 0 doubled"
        told = f"{self.rows:,} rows ({self.created:,} created), {self.compared:,} values compared"
        return f"{told}, {self.touched:,} of them written by clients, in {', '.join(self.sources)}: {wrong}"


def audit(connection: psycopg.Connection, *, rows: int, log: Mapping[str, Any] | None = None) -> Audit:
    """Compare every value of every account, wherever it stands, with what clients were told or how it was seeded.

    One snapshot: the load may go on, then without `log`, which is known only at its end.
    """
    found = Audit()
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        found.touched = _load_log(connection, log or {"records": {}})
        _count(connection, found, rows)
        columns = _columns(connection)
        there = [one for one in SOURCES if one.columns <= columns]
        found.sources = tuple(one.text for one in there)
        found.faults += [fault for one in there for fault in _compare(connection, one)]
        found.compared = found.rows * len(there)
        connection.execute("DROP TABLE may_be")
    return found


def parity(connection: psycopg.Connection) -> int:
    """Count rows in which two places that say the same field differ, at this very moment, load or not."""
    columns = _columns(connection)
    there = [one for one in SOURCES if one.columns <= columns]
    pairs = [
        (one.text, other.text) for at, one in enumerate(there) for other in there[at + 1 :] if one.field == other.field
    ]
    unlike = " OR ".join(f"({one}) IS DISTINCT FROM ({other})" for one, other in pairs)
    counted = connection.execute(f"SELECT count(*) FROM users WHERE {unlike or 'false'}").fetchone()
    assert counted is not None
    return int(counted[0])


def _load_log(connection: psycopg.Connection, log: Mapping[str, Any]) -> int:
    connection.execute("CREATE TEMP TABLE may_be (number bigint, field text, value text)")
    with connection.cursor().copy("COPY may_be FROM STDIN") as copy:
        for line in _lines(log):
            copy.write_row(line)
    connection.execute("CREATE INDEX ON may_be (number, field)")
    touched = connection.execute("SELECT count(DISTINCT (number, field)) FROM may_be").fetchone()
    assert touched is not None
    return int(touched[0])


def _lines(log: Mapping[str, Any]) -> Iterator[tuple[int, str, str]]:
    for number, fields in log["records"].items():
        for name, told in fields.items():
            yield from ((int(number), name, str(value)) for value in told["may_be"])


def _count(connection: psycopg.Connection, found: Audit, rows: int) -> None:
    query = "SELECT count(*), count(DISTINCT id), count(reference), count(DISTINCT reference) FROM users"
    counted = connection.execute(query).fetchone()
    assert counted is not None
    found.rows, ids, found.created, references = counted
    signed = connection.execute("SELECT count(*) FROM sign_ins JOIN users ON users.id = user_id").fetchone()
    assert signed is not None
    wrong = {
        "seeded accounts": (rows, found.rows - found.created),
        "different ids": (found.rows, ids),
        "different references": (found.created, references),
        "sign-ins of accounts that were created": (found.created, signed[0]),
    }
    found.faults += [f"{name}: {seen:,}, not {wanted:,}" for name, (wanted, seen) in wrong.items() if seen != wanted]


def _compare(connection: psycopg.Connection, one: Source) -> Iterator[str]:
    read, name = _READ.format(text=one.text), f"'{one.field}'"
    queries = {
        "seeded": _UNTOUCHED.format(read=read, whose="u.reference IS NULL", should=_SEEDS[one.field], field=name),
        "created": _UNTOUCHED.format(
            read=read, whose="u.reference IS NOT NULL", should=_CREATIONS[one.field], field=name
        ),
        "written": _TOUCHED.format(read=read, field=name),
    }
    for kind, query in queries.items():
        counted = connection.execute(query).fetchone()
        assert counted is not None
        if counted[0]:
            yield f"{counted[0]:,} {kind} values of {one.field} wrong in {one.text}, first of account {counted[1]}"


def _columns(connection: psycopg.Connection) -> frozenset[str]:
    query = "SELECT attname FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped"
    return frozenset(name for (name,) in connection.execute(query).fetchall())


@contextmanager
def served(server: PostgresServer, release: str, *, prepares: bool = True, log: Path | None = None) -> Iterator[str]:
    """Serve one release without a proxy; yields its `host:port`."""
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "uvicorn", "accounts.app:app", "--port", str(port), "--log-level", "warning"]
    environment = {**os.environ, "DATABASE_URL": urls(server)[0], "ACCOUNTS_RELEASE": release}
    environment["ACCOUNTS_PREPARES"] = "yes" if prepares else "no"
    with (log or Path(os.devnull)).open("ab") as told:
        process = subprocess.Popen(command, cwd=HERE, env=environment, stdout=told, stderr=told)
    try:
        _wait(f"http://127.0.0.1:{port}/health/ready", process)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.URLError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{url} does not answer") from None
            time.sleep(0.1)
        else:
            return
