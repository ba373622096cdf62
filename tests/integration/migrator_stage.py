"""A database with users, a change of them that is written by hand, and what tests look at."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from postgres_support import connect

from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.dump import schema_of
from hitless.adapters.postgres.hold import Patience, Told
from hitless.adapters.postgres.migrator import Migrator
from hitless.schema.change.standing import Part
from hitless.schema.change.steps import Build, Ddl, Plan, Validate
from hitless.schema.names import Name

USERS = """
CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text, name text NOT NULL);
INSERT INTO users (email, name) SELECT 'user' || n || '@example.com', 'User ' || n FROM generate_series(1, 200) n;
"""
CHANGE = "contact"
SPEC = {"change": CHANGE, "table": "users", "add": {"address": {"type": "text"}}}

FUNCTION = """
CREATE FUNCTION hitless."contact_sync"() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  NEW.address := NEW.email;
  RETURN NEW;
END $$
"""
TRIGGER = """
CREATE TRIGGER zzz_hitless_contact_ins BEFORE INSERT ON public.users
FOR EACH ROW WHEN (NEW.address IS NULL) EXECUTE FUNCTION hitless."contact_sync"()
"""
STEPS = (
    Ddl(
        id="expand.1",
        part=Part.EXPAND,
        title="adds users.address",
        do=("ALTER TABLE public.users ADD COLUMN address text",),
        undo=("ALTER TABLE public.users DROP COLUMN IF EXISTS address",),
    ),
    Ddl(
        id="expand.2",
        part=Part.EXPAND,
        title="fills it in new rows",
        do=(FUNCTION, TRIGGER),
        undo=(
            "DROP TRIGGER IF EXISTS zzz_hitless_contact_ins ON public.users",
            'DROP FUNCTION IF EXISTS hitless."contact_sync"()',
        ),
    ),
    Build(
        id="expand.3",
        part=Part.EXPAND,
        title="builds an index on users.address",
        index=Name("users_address_idx", "public"),
        do="CREATE INDEX CONCURRENTLY users_address_idx ON public.users (address)",
        undo="DROP INDEX CONCURRENTLY users_address_idx",
    ),
    Ddl(
        id="switch.1",
        part=Part.SWITCH,
        title="demands an address",
        do=("ALTER TABLE public.users ADD CONSTRAINT address_there CHECK (email IS NOT NULL) NOT VALID",),
        undo=("ALTER TABLE public.users DROP CONSTRAINT IF EXISTS address_there",),
    ),
    Validate(
        id="switch.2",
        part=Part.SWITCH,
        title="reads that all have one",
        do=("ALTER TABLE public.users VALIDATE CONSTRAINT address_there",),
    ),
)
PLAN = Plan(change=CHANGE, steps=STEPS)


@dataclass
class Stage:
    """One database of a server.

    Attributes:
        heard: what the migrators tell.
    """

    version: int
    directory: Path
    name: str
    heard: list[Told] = field(default_factory=list)

    @property
    def database(self) -> Database:
        return Database(f"host={self.directory} user=postgres dbname={self.name}")

    def connect(self) -> psycopg.Connection:
        connection = connect(self.directory, self.name)
        connection.autocommit = True
        return connection

    def migrator(self, *, deadline_s: float = 60.0, user: str = "postgres") -> Migrator:
        return Migrator(
            database=Database(f"host={self.directory} user={user} dbname={self.name}"),
            actor="tester",
            tell=self.heard.append,
            patience=Patience(deadline_s=deadline_s),
        )

    def dump(self) -> list[str]:
        text = schema_of(self.database, version=self.version)
        return [line for line in text.splitlines() if "restrict" not in line]

    def kinds(self) -> list[str]:
        return [one.kind for one in self.heard]

    def value(self, query: str) -> object:
        with self.connect() as connection:
            row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None


@contextmanager
def stage(version: int, directory: Path, name: str, schema: str = USERS) -> Iterator[Stage]:
    """Make a database, and drop it at the end."""
    with connect(directory) as connection:
        connection.autocommit = True
        connection.execute(f"CREATE DATABASE {name}".encode())
    made = Stage(version, directory, name)
    with made.connect() as inside:
        inside.execute(schema.encode())
    yield made
    with connect(directory) as connection:  # another one: the server may have been restarted
        connection.autocommit = True
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def transaction(stage: Stage, statement: str, for_s: float = 60.0) -> Iterator[psycopg.Connection]:
    """Hold a transaction open for at most a time, or until the end."""
    connection = connect(stage.directory, stage.name)
    connection.execute("SET application_name = 'report'")
    connection.execute(statement.encode())
    over = threading.Event()

    def hold() -> None:
        over.wait(for_s)
        connection.rollback()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        yield connection
    finally:
        over.set()
        holder.join()
        connection.close()


@dataclass
class Writer:
    """Writes a row again and again, and keeps the longest wait."""

    stage: Stage
    statement: str = "UPDATE users SET name = name WHERE id = 1 + (random() * 199)::int"
    longest_s: float = 0.0
    writes: int = 0
    failed: list[str] = field(default_factory=list)

    @contextmanager
    def writing(self, pause_s: float = 0.005) -> Iterator[None]:
        over = threading.Event()

        def write() -> None:
            with self.stage.connect() as connection:
                while not over.wait(pause_s):
                    began_s = time.monotonic()
                    try:
                        connection.execute(self.statement.encode())
                    except psycopg.Error as error:
                        self.failed.append(str(error))
                    self.longest_s = max(self.longest_s, time.monotonic() - began_s)
                    self.writes += 1

        thread = threading.Thread(target=write)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
