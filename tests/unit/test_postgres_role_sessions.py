"""Who counts sessions of versions' roles, with databases that hang."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from threading import Event
from typing import Any, cast

import pytest

from hitless.adapters.postgres import sessions
from hitless.adapters.postgres.schemas import DatabaseSchemas
from hitless.adapters.postgres.sessions import RoleSessions


async def test_a_database_that_hangs_keeps_nobody_from_looking_at_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    released, looks = Event(), list[str]()

    def read(connection: str, service: str, **_: Any) -> tuple[str, ...]:
        looks.append(service)
        return (f"{service} by {connection}",)

    class Schemas:
        key = "k1"

        def connect(self, spec: Any) -> Any:
            if spec == "hangs":
                released.wait(30)
            return spec

    monkeypatch.setattr(sessions, "EVERY_S", 0.01)
    monkeypatch.setattr(sessions, "read_sessions", read)
    monkeypatch.setattr(RoleSessions, "_close", lambda self, service: self._open.pop(service, None))
    watched: dict[str, Any] = {"cart": "hangs", "shop": "answers"}
    looking = RoleSessions(cast("DatabaseSchemas", Schemas()), lambda: watched)
    task = asyncio.create_task(looking.run())
    try:
        async with asyncio.timeout(10):
            while len(looks) < 3:  # noqa: ASYNC110 - what is looked at has no event
                await asyncio.sleep(0.01)
        assert looking.readings() == {"shop": ("shop by answers",)}
    finally:
        released.set()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
