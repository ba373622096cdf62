"""The sessions of versions' roles, looked at once a second while a rollout compares them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from examples.accounts import stage

from hitless.adapters.postgres.schemas import DatabaseSchemas
from hitless.adapters.postgres.sessions import RoleSessions
from hitless.rollout.spec import (
    Address,
    ConnectionsSpec,
    DatabaseSpec,
    RolesSpec,
    RunSpec,
    ServiceSpec,
    TrafficSpec,
    Version,
)
from hitless.testing.postgres import programs, running_postgres

SPEC = ServiceSpec(
    name="shop",
    instances=1,
    run=RunSpec(command=("shop",)),
    traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=1)),
    database=DatabaseSpec(
        url="env:OWNER_URL",
        connections=ConnectionsSpec(per_instance=5),
        roles=RolesSpec(group="accounts_app", prefix="shop"),
    ),
)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is looked at has no event
            await asyncio.sleep(0.02)


async def test_what_is_open_is_told_and_a_database_that_is_away_tells_nothing(tmp_path: Path) -> None:
    if not programs():
        pytest.skip("no PostgreSQL here")
    with running_postgres(**{**stage.SERVER_SETTINGS, "fsync": "off"}) as server:
        stage.seed(server, 1)
        schemas = DatabaseSchemas(tmp_path, actor="test", environment={"OWNER_URL": stage.urls(server)[1]})
        await schemas.make_role(spec=SPEC, version=Version("1"), connections=10)
        url = schemas.dress(SPEC, Version("1")).environment["DATABASE_URL"]
        watched = {"shop": SPEC}
        sessions = RoleSessions(schemas, lambda: watched)
        looking = asyncio.create_task(sessions.run())
        try:
            with psycopg.connect(url):
                await until(lambda: any(one.used == 1 for one in sessions.readings().get("shop", ())))
            (reading,) = sessions.readings()["shop"]
            assert (reading.version, reading.size) == ("1", 10)
            server.stop()
            await until(lambda: sessions.readings() == {})
            server.start()
            await until(lambda: "shop" in sessions.readings())
            watched.clear()
            await until(lambda: sessions.readings() == {})
            assert not looking.done()
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
