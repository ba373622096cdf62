"""What an endpoint has open is counted, and quiet means quiet."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aiohttp
from envoy_stage import get, open_requests, serving, table, until


async def test_slow_requests_and_websockets_outlive_the_drain_and_are_counted(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, listen, (v1, v2)), aiohttp.ClientSession() as client:
        socket = await client.ws_connect(f"http://{listen}/ws")
        slow = asyncio.create_task(get(client, listen, "/slow?s=3"))

        async def has_open(count: int) -> bool:
            return open_requests(await built.view(), v1).count == count

        await until(lambda: has_open(2))
        await built.must_apply(table({"v2": 10_000}, [v1, v2], draining=[v1]))
        seen = v1.seen
        assert {(await get(client, listen))[1] for _ in range(20)} == {f"v2 {v2.name}"}
        assert v1.seen == seen
        assert await slow == (200, "v1 v1-0")
        await until(lambda: has_open(1))
        assert not open_requests(await built.view(), v1).is_quiet
        await socket.send_str("still here")
        assert await socket.receive_str(timeout=5) == "v1 still here"
        await socket.close()
        await built.until_quiet(v1)
        view = await built.must_apply(table({"v2": 10_000}, [v2]))
        assert v1.name not in view.open_requests


async def test_a_websocket_survives_a_flip_the_removal_of_its_version_and_of_its_cluster(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, listen, (v1, v2)), aiohttp.ClientSession() as client:
        socket = await client.ws_connect(f"http://{listen}/ws")
        for wanted in (
            table({"v2": 10_000}, [v1, v2]),
            table({"v2": 10_000}, [v1, v2], draining=[v1]),
            table({"v2": 10_000}, [v2]),
        ):
            await built.must_apply(wanted)
            await socket.send_str("x")
            assert await socket.receive_str(timeout=5) == "v1 x"
        await socket.close()


async def test_quiet_is_not_claimed_within_100_ms_of_the_acknowledgement(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, _, (v1, v2)):
        began = time.monotonic()
        await built.must_apply(table({"v2": 10_000}, [v1, v2], draining=[v1]))
        await built.until_quiet(v1)
        assert time.monotonic() - began >= 0.14  # 100 ms, then three reads 20 ms apart


async def test_an_endpoint_back_in_rotation_drains_no_more(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, listen, (v1, v2)), aiohttp.ClientSession() as client:
        view = await built.must_apply(table({"v2": 10_000}, [v1, v2], draining=[v1]))
        assert open_requests(view, v1).draining_since is not None
        view = await built.must_apply(table({"v1": 10_000}, [v1, v2]))
        assert open_requests(view, v1).draining_since is None
        assert await get(client, listen) == (200, "v1 v1-0")


async def test_one_look_at_envoy_serves_all_services_of_a_tick(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (built, _, _):
        looks = 0
        snapshot = built.router._admin.snapshot

        async def counted() -> object:
            nonlocal looks
            looks += 1
            return await snapshot()

        built.router._admin.snapshot = counted
        built.router._snapshot = None
        await asyncio.gather(*(built.router.observe("shop") for _ in range(20)))
        assert looks <= 2


async def test_a_look_that_began_before_a_change_is_not_held_against_it(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, _, (v1, v2)):
        snapshot, begun, may_end = built.router._admin.snapshot, asyncio.Event(), asyncio.Event()

        async def slow() -> object:
            found = await snapshot()
            begun.set()
            await may_end.wait()
            return found

        built.router._look_afresh()
        built.router._admin.snapshot = slow
        looking = asyncio.create_task(built.router.look())
        await begun.wait()
        built.router._admin.snapshot = snapshot
        wanted = table({"v2": 10_000}, [v1, v2])
        changing = asyncio.create_task(built.apply(wanted))

        async def is_settled() -> bool:
            return built.router._ledgers["shop"].acknowledged == wanted

        await until(is_settled)
        may_end.set()
        await looking
        view = await changing
        assert view.acknowledged == wanted
        assert view.pending is None
        assert view.problem is None
