"""What SQLAlchemy, Django and psycopg really send, captured, and judged by the guard."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
import sqlalchemy.dialects.postgresql
from postgres_support import connect, running
from sql_application import (
    TABLES,
    NewBase,
    NewOrder,
    NewUser,
    OldBase,
    OldOrder,
    OldUser,
    work_with_sqlalchemy,
)

from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.guard.inquiry import inquire
from hitless.lifecycle.sql import Capture, sqlalchemy_models
from hitless.lifecycle.sql.manifests import merge, with_models
from hitless.schema.change.steps import Removal
from hitless.schema.guard.manifests import Manifest, manifest_of
from hitless.schema.guard.verdict import Judged, Verdict, judge
from hitless.schema.names import Name

COLUMN = Removal(
    table=Name("users", "public"), columns=("full_name",), statements=("ALTER TABLE users DROP COLUMN full_name",)
)
HERE = Path(__file__).parent


@pytest.fixture(scope="module", params=[16, 18])
def server(request: pytest.FixtureRequest) -> Iterator[Path]:
    with running(request.param) as directory:
        yield directory


@pytest.fixture
def database(server: Path) -> Database:
    with connect(server) as connection:
        connection.autocommit = True
        connection.execute("DROP DATABASE IF EXISTS app WITH (FORCE)")
        connection.execute("CREATE DATABASE app")
    with connect(server, "app") as connection:
        connection.execute(TABLES.encode())
    return Database(f"host={server} user=postgres dbname=app")


def read(path: Path) -> Manifest:
    return manifest_of(json.loads(path.read_text()), name=path.name, window=timedelta(hours=24))


def judged(database: Database, manifest: Manifest) -> Judged:
    statements = [one for each in manifest.evidence for one in each.statements]
    found = inquire(database, [COLUMN], statements)
    return judge("shop", because=(), evidence=manifest.evidence, answers=found.answers, mapped=found.mapped)


def capture_sqlalchemy(server: Path, path: Path, version: str, user: type, order: type) -> None:
    engine = sa.create_engine(f"postgresql+psycopg://postgres@/app?host={server}")
    capture = Capture(path, service="shop", version=version, scope="tests", coverage=0.99)
    capture.sqlalchemy(engine)
    work_with_sqlalchemy(engine, user, order)
    engine.dispose()
    capture.write()
    merge(path)
    metadata = OldBase.metadata if version == "old" else NewBase.metadata
    with_models(path, sqlalchemy_models(metadata), {"service": "shop", "version": version})


def test_what_sqlalchemy_sends_is_judged_as_it_is(server: Path, database: Database, tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    capture_sqlalchemy(server, old, "old", OldUser, OldOrder)
    with psycopg.connect(database.conninfo) as connection:
        connection.execute("TRUNCATE users, orders RESTART IDENTITY")
    capture_sqlalchemy(server, new, "new", NewUser, NewOrder)
    clear = judged(database, read(new))
    assert [one.statement for one in clear.uses] == []
    assert clear.verdict is Verdict.CLEAR
    assert sum(len(one.statements) for one in clear.evidence) >= 12
    used = judged(database, read(old))
    assert used.verdict is Verdict.REFERENCES
    assert used.doubts == ()
    assert {"maps users.full_name", "names users.full_name"} <= {one.way for one in used.uses}
    assert any("sql_application.py:" in str(one.place) for one in used.uses)


@pytest.mark.parametrize(("which", "verdict"), [("old", Verdict.REFERENCES), ("new", Verdict.CLEAR)])
def test_what_django_sends_is_judged_as_it_is(
    server: Path, database: Database, tmp_path: Path, which: str, verdict: Verdict
) -> None:
    path = tmp_path / "sqlmanifest.json"
    worker = [sys.executable, HERE / "django_worker.py", server, "app", path, which]
    subprocess.run(worker, check=True, cwd=HERE, timeout=120)
    found = judged(database, read(path))
    assert found.verdict is verdict, found
    assert [one for one in found.doubts if one.statement] == []
    assert sum(len(one.statements) for one in found.evidence) >= 15


def test_cursors_of_psycopg_write_down_what_they_send(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "sqlmanifest.json"
    capture = Capture(path, service="shop", version="1", scope="tests", coverage=1.0)
    with psycopg.connect(database.conninfo, cursor_factory=capture.psycopg(psycopg.Cursor)) as connection:
        connection.execute("INSERT INTO users (email) VALUES (%s)", ("d@example.org",))
        connection.cursor().executemany("UPDATE users SET visits = %(n)s WHERE id = %(id)s", [{"n": 1, "id": 1}])
        table = psycopg.sql.SQL("SELECT id FROM {} WHERE email LIKE '%d'").format(psycopg.sql.Identifier("users"))
        connection.execute(table)
        with connection.cursor().copy("COPY users TO STDOUT") as copy:
            list(copy)
    asyncio.run(_ask(database, capture))
    capture.write()
    merge(path)
    answers = inquire(database, [COLUMN], read(path).evidence[0].statements).answers
    assert {one.text: answer.verdict for one, answer in answers.items()} == {
        "INSERT INTO users (email) VALUES (%s)": Verdict.CLEAR,
        "UPDATE users SET visits = %(n)s WHERE id = %(id)s": Verdict.CLEAR,
        "SELECT id FROM \"users\" WHERE email LIKE '%d'": Verdict.CLEAR,
        "COPY users TO STDOUT": Verdict.REFERENCES,
        "SELECT full_name FROM users WHERE id = %s": Verdict.REFERENCES,
    }


async def _ask(database: Database, capture: Capture) -> None:
    async with await psycopg.AsyncConnection.connect(
        database.conninfo, cursor_factory=capture.psycopg(psycopg.AsyncCursor)
    ) as connection:
        cursor = await connection.execute("SELECT full_name FROM users WHERE id = %s", (1,))
        assert len(await cursor.fetchall()) == 1


assert sqlalchemy.dialects.postgresql
