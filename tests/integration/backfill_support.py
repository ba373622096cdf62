"""Changes that are made by hand in the house, and workers in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
from postgres_support import connect
from psycopg.conninfo import make_conninfo

from hitless.adapters.postgres.backfill.run import run as fill
from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.hold import Hold, Told
from hitless.adapters.postgres.house import TABLES
from hitless.schema.change.standing import Part
from hitless.schema.change.steps import Compare, Fill
from hitless.schema.names import Name

CHANGE = "split-full-name"
FILL = Fill(
    id="backfill.1",
    part=Part.BACKFILL,
    title="fill first_name and last_name",
    table=Name("users", "public"),
    assignments={
        "first_name": "split_part(full_name, ' ', 1)",
        "last_name": "substr(full_name, strpos(full_name, ' ') + 1)",
    },
    todo="(first_name, last_name) IS DISTINCT FROM"
    " (split_part(full_name, ' ', 1), substr(full_name, strpos(full_name, ' ') + 1))",
)
COMPARE = Compare(
    id="verify.1",
    part=Part.VERIFY,
    title="compare names",
    table=Name("users", "public"),
    forward="(first_name, last_name) IS NOT DISTINCT FROM"
    " (split_part(full_name, ' ', 1), substr(full_name, strpos(full_name, ' ') + 1))",
    backward="full_name IS NOT DISTINCT FROM concat_ws(' ', first_name, last_name)",
    shown=("full_name", "first_name", "last_name"),
)
USERS = """
CREATE TABLE users (id bigint PRIMARY KEY, full_name text, first_name text, last_name text);
INSERT INTO users SELECT n, 'First' || n || ' Last' || n FROM generate_series(1, {rows}) AS n;
"""
AUDIT = """
CREATE TABLE audit (id text);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO audit VALUES (NEW.id::text); RETURN NULL; END $$;
CREATE TRIGGER audit AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION audit();
"""
WRONG = "SELECT count(*) FROM users WHERE first_name || ' ' || last_name IS DISTINCT FROM full_name"
TWICE = "SELECT count(*) FROM (SELECT id FROM audit GROUP BY id HAVING count(*) > 1) AS twice"
UNHEEDFUL = '{"is_heedful": false}'


@dataclass
class Stage:
    """A database with a house, in which one change is expanded."""

    directory: Path
    name: str
    told: list[Told] = field(default_factory=list)
    stopping: Event = field(default_factory=Event)

    @property
    def database(self) -> Database:
        return Database(make_conninfo(host=str(self.directory), user="postgres", dbname=self.name))

    def connect(self) -> psycopg.Connection:
        connection = connect(self.directory, self.name)
        connection.autocommit = True
        return connection

    def one(self, query: str) -> Any:
        with self.connect() as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]

    def do(self, statements: str) -> None:
        with self.connect() as connection:
            connection.execute(statements.encode())

    def limit(self, limits: str, step: str = FILL.id) -> None:
        """Set limits, as the command line does."""
        self.do(
            f"INSERT INTO hitless.backfill (change, step, limits) VALUES ('{CHANGE}', '{step}', '{limits}')"
            " ON CONFLICT (change, step) DO UPDATE SET limits = excluded.limits"
        )

    def hold(self, *, tell: Callable[[Told], None] | None = None, stopping: Event | None = None) -> Hold:
        """Take hold of the change, as the migrator does."""
        fence = self.one(f"UPDATE hitless.change SET fence = fence + 1 WHERE id = '{CHANGE}' RETURNING fence")
        return Hold(
            database=self.database,
            change=CHANGE,
            fence=fence,
            actor="tester",
            tell=tell or self.told.append,
            stopping=stopping or self.stopping,
        )

    def fill(self, step: Fill = FILL) -> Mapping[str, Any]:
        return fill(step, self.hold())

    def sentences(self, kind: str) -> list[str]:
        return [one.sentence for one in self.told if one.kind == kind]


@contextmanager
def staged(directory: Path, name: str, setup: str, *, limits: str = UNHEEDFUL) -> Iterator[Stage]:
    """Make a database of that name, with tables and a change; drop it at the end."""
    with connect(directory) as admin:
        admin.autocommit = True
        admin.execute(f'CREATE DATABASE "{name}"'.encode())
    stage = Stage(directory, name)
    try:
        for statement in (*TABLES, setup):
            stage.do(statement)
        stage.do(f"INSERT INTO hitless.change (id, spec, plan) VALUES ('{CHANGE}', '{{}}', '{{}}')")
        stage.limit(limits)
        yield stage
    finally:
        with connect(directory) as admin:
            admin.autocommit = True
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def worker(stage: Stage) -> subprocess.Popen[bytes]:
    """Start a worker in a process of its own: it takes hold and fills to the end."""
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[3]);"
        "from backfill_support import Stage; Stage(Path(sys.argv[1]), sys.argv[2]).fill()"
    )
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", code, str(stage.directory), stage.name, here]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def wait_for(condition: Callable[[], bool], *, within_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "not in time"
        time.sleep(0.02)
