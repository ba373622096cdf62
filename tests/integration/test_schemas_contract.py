"""What every `Schemas` does, the fake as well as PostgreSQL's."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import NoReturn

import psycopg
import pytest
from examples.accounts import stage
from psycopg.conninfo import conninfo_to_dict

from hitless.adapters.clock import SteadyClock
from hitless.adapters.postgres import schemas as module
from hitless.adapters.postgres.addresses import UrlMissing
from hitless.adapters.postgres.database import Database, DatabaseUnreachable
from hitless.adapters.postgres.hold import Hold
from hitless.adapters.postgres.roles import raise_limits, roles_of
from hitless.adapters.postgres.schemas import DatabaseBusy, DatabaseSchemas, KeyMissing
from hitless.adapters.postgres.taking import taken
from hitless.errors import EnvironmentFault
from hitless.ports import Schemas
from hitless.rollout.spec import (
    Address,
    Amount,
    ChangeSpec,
    ConnectionsSpec,
    DatabaseSpec,
    RolesSpec,
    RunSpec,
    ServiceSpec,
    TrafficSpec,
    Version,
)
from hitless.schema.change.standing import Standing
from hitless.schema.headroom import Limit, Taker
from hitless.testing import FakeSchemas
from hitless.testing.postgres import PostgresServer, programs, running_postgres

CHANGE = ChangeSpec(name="split-full-name", file=str(stage.CHANGES / "split.yaml"))
SPEC = ServiceSpec(
    name="shop",
    instances=2,
    run=RunSpec(command=("shop",)),
    traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=1)),
    database=DatabaseSpec(
        url="env:OWNER_URL",
        changes=(CHANGE,),
        connections=ConnectionsSpec(per_instance=5, reserve=Amount(count=2), during_migration=10),
        roles=RolesSpec(group="accounts_app", prefix="shop"),
    ),
)
V1, V2 = Version("1"), Version("2")
ROWS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    schemas: Schemas
    server: PostgresServer | None

    def go_away(self) -> None:
        if self.server is not None:
            self.server.stop()
        else:
            assert isinstance(self.schemas, FakeSchemas)
            self.schemas.go_away(DatabaseUnreachable("away"))


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    if not programs():
        pytest.skip("no PostgreSQL here")
    with running_postgres(**{**stage.SERVER_SETTINGS, "fsync": "off", "max_connections": "30"}) as server:
        yield server


@pytest.fixture(params=["fake", "postgres"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    if request.param == "fake":
        fake = FakeSchemas(SteadyClock(tmp_path), takes_s=0.5)
        fake.limits = (Limit(what="server", connections=30, kept_back=3, is_server=True),)
        yield Scene(schemas=fake, server=None)
        return
    server: PostgresServer = request.getfixturevalue("server")
    if server.process is None:
        server.start()
    stage.seed(server, ROWS)
    schemas = DatabaseSchemas(tmp_path, actor="test", environment={"OWNER_URL": stage.urls(server)[1]})
    yield Scene(schemas=schemas, server=server)
    if server.process is None:
        server.start()
    with server.connect() as connection:
        connection.execute("DROP DATABASE accounts WITH (FORCE)")
        for name, _ in connection.execute("SELECT rolname, 1 FROM pg_roles WHERE rolname LIKE 'shop%'").fetchall():
            connection.execute(f'DROP ROLE "{name}"'.encode())


async def bring(scene: Scene, told: list[str], standing: Standing = Standing.VERIFIED) -> Standing | None:
    found = await scene.schemas.bring(spec=SPEC, change=CHANGE, standing=standing, tell=told.append)
    assert found.change == CHANGE.name
    return found.standing


async def test_a_change_is_brought_where_it_is_needed_and_that_is_told(scene: Scene) -> None:
    told: list[str] = []
    assert [one.standing for one in await scene.schemas.states(SPEC)] == [Standing.PLANNED]
    assert await bring(scene, told) is Standing.VERIFIED
    assert told
    (state,) = await scene.schemas.states(SPEC)
    assert (state.standing, state.is_reached) == (Standing.VERIFIED, True)


async def test_what_is_there_already_is_not_done_again(scene: Scene) -> None:
    await bring(scene, [])
    told: list[str] = []
    assert await bring(scene, told, Standing.EXPANDED) is Standing.VERIFIED
    assert told == []


async def test_whoever_is_stopped_leaves_the_rest_to_the_next(scene: Scene) -> None:
    heard = asyncio.Event()
    begun = scene.schemas.bring(spec=SPEC, change=CHANGE, standing=Standing.VERIFIED, tell=lambda _: heard.set())
    first = asyncio.ensure_future(begun)
    await asyncio.wait_for(heard.wait(), 30)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await bring(scene, []) is Standing.VERIFIED


async def test_pools_are_held_against_the_limits(scene: Scene) -> None:
    fits = await scene.schemas.fits(spec=SPEC, takers=[Taker(who="1", connections=5, is_of_instances=True)])
    assert fits[0].what == "server"
    assert fits[0].fits
    fits = await scene.schemas.fits(spec=SPEC, takers=[Taker(who="1", connections=40, is_of_instances=True)])
    assert not fits[0].fits


async def test_roles_come_and_go_with_their_versions(scene: Scene) -> None:
    assert await scene.schemas.make_role(spec=SPEC, version=V1, connections=10) == "shop_v1"
    assert await scene.schemas.make_role(spec=SPEC, version=V1, connections=12) == "shop_v1"
    await scene.schemas.make_role(spec=SPEC, version=V2, connections=None)
    assert await scene.schemas.keep_roles(spec=SPEC, versions=frozenset({V2})) == ()
    if scene.server is not None:
        with scene.server.connect() as connection:
            roles = connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'shop%'").fetchall()
        assert roles == [("shop_v2",)]


async def test_a_database_that_is_away_answers_nothing(scene: Scene) -> None:
    scene.go_away()
    for asked in (
        scene.schemas.fits(spec=SPEC, takers=[]),
        scene.schemas.make_role(spec=SPEC, version=V1, connections=1),
        bring(scene, []),
        scene.schemas.states(SPEC),
        scene.schemas.keep_roles(spec=SPEC, versions=frozenset()),
    ):
        with pytest.raises(EnvironmentFault) as raised:
            await asked
        assert raised.value.temporary


async def test_an_instance_gets_the_url_of_its_own_role_and_keeps_it_without_the_variable(
    server: PostgresServer, tmp_path: Path
) -> None:
    if server.process is None:
        server.start()
    stage.seed(server, 1)
    try:
        schemas = DatabaseSchemas(tmp_path, actor="test", environment={"OWNER_URL": stage.urls(server)[1]})
        await schemas.make_role(spec=SPEC, version=V1, connections=10)
        url = schemas.dress(SPEC, V1).environment["DATABASE_URL"]
        with psycopg.connect(url) as session:
            assert session.execute("SELECT current_user, count(*) FROM users GROUP BY 1").fetchone() == ("shop_v1", 1)
        bare = DatabaseSchemas(tmp_path, actor="test", environment={})
        assert conninfo_to_dict(bare.dress(SPEC, V1).environment["DATABASE_URL"]) == conninfo_to_dict(url)
        assert "owner" not in (tmp_path / "databases.json").read_text()
        with pytest.raises(UrlMissing):
            bare.dress(replace(SPEC, name="cart"), V1)
    finally:
        with server.connect() as connection:
            connection.execute("DROP DATABASE accounts WITH (FORCE)")
            connection.execute("DROP ROLE shop_v1")


@pytest.fixture
def seeded(server: PostgresServer) -> Iterator[PostgresServer]:
    if server.process is None:
        server.start()
    stage.seed(server, 1_000)
    yield server
    with server.connect() as connection:
        connection.execute("DROP DATABASE accounts WITH (FORCE)")


async def test_a_change_that_somebody_else_carries_out_is_waited_for(seeded: PostgresServer, tmp_path: Path) -> None:
    owner = stage.urls(seeded)[1]
    schemas = DatabaseSchemas(tmp_path, actor="test", environment={"OWNER_URL": owner})
    spec = replace(SPEC, database=DatabaseSpec(url="env:OWNER_URL", changes=(CHANGE,)))
    await schemas.bring(spec=spec, change=CHANGE, standing=Standing.EXPANDED, tell=lambda _: None)
    heard, told = asyncio.Event(), list[str]()

    def tell(words: str) -> None:
        told.append(words)
        heard.set()

    hold = Hold(database=Database(owner), change=CHANGE.name, fence=0, actor="ann", tell=lambda _: None)
    with taken(hold):
        bringing = asyncio.ensure_future(schemas.bring(spec=spec, change=CHANGE, standing=Standing.VERIFIED, tell=tell))
        await asyncio.wait_for(heard.wait(), 30)
        assert "somebody else carries it out, it stands at expanded" in told[0]
    assert (await bringing).standing is Standing.VERIFIED


async def test_the_first_change_notes_whose_role_is_whose(seeded: PostgresServer, tmp_path: Path) -> None:
    schemas = DatabaseSchemas(tmp_path, actor="test", environment={"OWNER_URL": stage.urls(seeded)[1]})
    await schemas.make_role(spec=SPEC, version=V1, connections=10)
    await schemas.bring(spec=SPEC, change=CHANGE, standing=Standing.EXPANDED, tell=lambda _: None)
    with seeded.connect(stage.DATABASE) as connection:
        noted = connection.execute("SELECT role, service, version FROM hitless.role").fetchall()
        connection.execute("DROP ROLE shop_v1")
    assert noted == [("shop_v1", "shop", "1")]


def test_without_roles_an_instance_gets_what_is_set(tmp_path: Path) -> None:
    schemas = DatabaseSchemas(tmp_path, actor="test", environment={})
    bare = replace(SPEC, database=None)
    assert schemas.dress(bare, V1) is bare.run


@pytest.fixture
def schemas(seeded: PostgresServer, tmp_path: Path) -> Iterator[DatabaseSchemas]:
    yield DatabaseSchemas(tmp_path, actor="test", environment={"OWNER_URL": stage.urls(seeded)[1]})
    with seeded.connect() as connection:
        for name in roles_of(connection):
            connection.execute(f'DROP ROLE "{name}"'.encode())


async def test_who_looks_whether_pools_fit_takes_no_raised_limit_back(
    schemas: DatabaseSchemas, seeded: PostgresServer
) -> None:
    await schemas.make_role(spec=SPEC, version=V1, connections=10)
    with seeded.connect() as connection:
        raise_limits(connection, "shop", key=schemas.key, times=(2, 1))
        await schemas.fits(spec=SPEC, takers=[])
        assert roles_of(connection)["shop_v1"].raised_to == 20


async def test_a_role_that_somebody_else_changes_is_tried_again(
    schemas: DatabaseSchemas, seeded: PostgresServer
) -> None:
    await schemas.make_role(spec=SPEC, version=V1, connections=10)
    with seeded.connect() as connection, connection.transaction():
        connection.execute('ALTER ROLE "shop_v1" CONNECTION LIMIT 11')
        with pytest.raises(DatabaseBusy) as raised:
            await schemas.make_role(spec=SPEC, version=V1, connections=12)
    assert raised.value.temporary
    assert await schemas.make_role(spec=SPEC, version=V1, connections=12) == "shop_v1"


async def test_many_that_make_one_role_at_once_make_it_once(schemas: DatabaseSchemas, tmp_path: Path) -> None:
    asked = [schemas.make_role(spec=SPEC, version=V1, connections=10) for _ in range(8)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(one) for one in found} <= {str, DatabaseBusy}
    assert "shop_v1" in found
    assert {path.name for path in await asyncio.to_thread(lambda: list(tmp_path.iterdir()))} == {
        "database.key",
        "databases.json",
    }


async def test_an_instance_with_a_role_is_not_given_the_owners_url(schemas: DatabaseSchemas) -> None:
    await schemas.make_role(spec=SPEC, version=V1, connections=10)
    dressed = schemas.dress(SPEC, V1).environment
    assert dressed["OWNER_URL"] == ""
    assert "shop_v1" in dressed["DATABASE_URL"]


async def test_an_address_that_is_garbled_keeps_no_instance_from_starting(
    schemas: DatabaseSchemas, tmp_path: Path
) -> None:
    await schemas.make_role(spec=SPEC, version=V1, connections=10)
    url = schemas.dress(SPEC, V1).environment["DATABASE_URL"]
    garbled = DatabaseSchemas(tmp_path, actor="test", environment={"OWNER_URL": "postgresql://owner@[half"})
    assert conninfo_to_dict(garbled.dress(SPEC, V1).environment["DATABASE_URL"]) == conninfo_to_dict(url)


async def test_without_the_key_of_that_time_no_instance_is_started_with_a_password_that_is_wrong(
    schemas: DatabaseSchemas, tmp_path: Path
) -> None:
    await schemas.make_role(spec=SPEC, version=V1, connections=10)
    (tmp_path / "database.key").rename(tmp_path / "elsewhere")
    restored = DatabaseSchemas(tmp_path, actor="test", environment={"OWNER_URL": "host=/run/postgresql dbname=shop"})
    with pytest.raises(KeyMissing, match="shop_v1"):
        restored.dress(SPEC, V1)
    (tmp_path / "elsewhere").rename(tmp_path / "database.key")
    assert "shop_v1" in restored.dress(SPEC, V1).environment["DATABASE_URL"]


async def test_an_address_on_a_mount_that_hangs_holds_up_no_start(schemas: DatabaseSchemas, tmp_path: Path) -> None:
    await schemas.make_role(spec=SPEC, version=V1, connections=10)
    os.mkfifo(tmp_path / "url")  # whoever opens it waits
    assert SPEC.database is not None
    spec = replace(SPEC, database=replace(SPEC.database, url=f"file:{tmp_path / 'url'}"))
    dressed = await asyncio.wait_for(asyncio.to_thread(schemas.dress, spec, V1), 5)
    assert "shop_v1" in dressed.environment["DATABASE_URL"]


async def test_a_worker_that_stops_too_late_leaves_no_trace_in_the_log(
    schemas: DatabaseSchemas, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(str(context)))
    monkeypatch.setattr(module, "STOPS_WITHIN_S", 0.01)
    released, ended = Event(), Event()

    def carry_out(*_: object, **__: object) -> NoReturn:
        released.wait(30)
        ended.set()
        raise EnvironmentFault("stopped")

    monkeypatch.setattr(module, "carry_out", carry_out)
    spec = replace(SPEC, database=DatabaseSpec(url="env:OWNER_URL", changes=(CHANGE,)))
    bringing = asyncio.create_task(
        schemas.bring(spec=spec, change=CHANGE, standing=Standing.VERIFIED, tell=lambda _: None)
    )
    await asyncio.sleep(0.2)
    bringing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bringing
    del bringing
    released.set()
    await asyncio.to_thread(ended.wait, 30)
    await asyncio.sleep(0.1)
    gc.collect()
    assert told == []


async def test_files_are_found_beside_the_settings_wherever_the_control_plane_was_started(
    seeded: PostgresServer, tmp_path: Path
) -> None:
    (tmp_path / "split.yaml").write_text((stage.CHANGES / "split.yaml").read_text())
    (tmp_path / "url").write_text(stage.urls(seeded)[1])
    (tmp_path / ".hitless").mkdir()
    schemas = DatabaseSchemas(tmp_path / ".hitless", actor="test", environment={})
    change = replace(CHANGE, file="split.yaml")
    spec = replace(SPEC, database=DatabaseSpec(url="file:url", changes=(change,)))
    found = await schemas.bring(spec=spec, change=change, standing=Standing.EXPANDED, tell=lambda _: None)
    assert found.standing is Standing.EXPANDED
