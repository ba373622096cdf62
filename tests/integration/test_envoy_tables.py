"""Weights and endpoints on a real Envoy: what is confirmed is in force, and no step on the way fails a request."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from certificates import pair, put
from envoy_stage import SERVICE, get, service, serving, stage, table, until

from hitless.adapters.envoy import watches
from hitless.adapters.envoy.refusals import (
    EnvoyRejected,
    NotDefined,
    UnknownRegion,
    VersionInUse,
    WatchBudgetSpent,
    WeightWithoutEndpoint,
)
from hitless.rollout.spec import LOCAL, Address, InstanceId, Region, Version
from hitless.rollout.world import EMPTY_TABLE, Endpoint, EndpointState


async def _load(client: aiohttp.ClientSession, address: Address, fates: Counter[str], stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            status, body = await get(client, address)
            fates[body.split()[0] if status == 200 else f"status {status}"] += 1
        except aiohttp.ClientError as error:
            fates[type(error).__name__] += 1


async def test_a_service_without_a_table_answers_503_and_says_when_to_come_back(tmp_path: Path) -> None:
    async with stage(tmp_path) as built, aiohttp.ClientSession() as client:
        spec = service()
        await built.router.define(spec)
        async with client.get(f"http://{spec.traffic.listen}/") as response:
            assert response.status == 503
            assert response.headers["retry-after"] == "5"
            assert "no version of shop serves yet" in await response.text()
            assert "server" not in response.headers
        view = await built.view()
        assert (view.acknowledged, view.pending, view.problem) == (None, None, None)


async def test_an_acknowledged_table_is_in_force(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, listen, (v1, v2)), aiohttp.ClientSession() as client:
        assert await get(client, listen) == (200, "v1 v1-0")
        for turn in range(6):
            version = ("v2", "v1")[turn % 2]
            await built.must_apply(table({version: 10_000}, [v1, v2]))
            answers = {(await get(client, listen))[1].split()[0] for _ in range(5)}
            assert answers == {version}


async def test_a_hundred_flips_under_keep_alive_load_fail_no_request(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, listen, (v1, v2)), aiohttp.ClientSession() as client:
        fates: Counter[str] = Counter()
        stop = asyncio.Event()
        load = [asyncio.create_task(_load(client, listen, fates, stop)) for _ in range(3)]
        for turn in range(100):
            await built.must_apply(table({("v2", "v1")[turn % 2]: 10_000}, [v1, v2]))
        stop.set()
        await asyncio.gather(*load)
        assert set(fates) == {"v1", "v2"}, fates
        assert sum(fates.values()) > 300


async def test_instances_replaced_one_by_one_and_whole_versions_fail_no_request(tmp_path: Path) -> None:
    """New versions come, take over, old ones drain and leave, each as the engine orders it, five times."""
    async with serving(tmp_path, "v0") as (built, listen, (first,)), aiohttp.ClientSession() as client:
        current = first
        fates: Counter[str] = Counter()
        stop = asyncio.Event()
        load = [asyncio.create_task(_load(client, listen, fates, stop)) for _ in range(3)]
        for turn in range(1, 6):
            (fresh,) = await built.serve(f"v{turn}")
            await built.must_apply(table({current.version: 10_000}, [current, fresh]))
            await built.must_apply(table({fresh.version: 10_000}, [current, fresh], draining=[current]))
            await built.until_quiet(current)
            await built.must_apply(table({fresh.version: 10_000}, [fresh]))
            await current.stop()
            current = fresh
        stop.set()
        await asyncio.gather(*load)
        assert set(fates) <= {f"v{turn}" for turn in range(6)}, fates
        left = {path.stem for path in (tmp_path / LOCAL / "eds").iterdir()}
        assert left == {"shop@v5"}


async def test_weight_and_drain_in_one_table_fail_no_request(tmp_path: Path) -> None:
    """One table that adds, flips and drains at once is carried out in an order in which someone always serves."""
    async with serving(tmp_path, "v1") as (built, listen, (v1,)), aiohttp.ClientSession() as client:
        fates: Counter[str] = Counter()
        stop = asyncio.Event()
        load = [asyncio.create_task(_load(client, listen, fates, stop)) for _ in range(4)]
        (v2,) = await built.serve("v2")
        for turn in range(20):
            to, away = ((v2, v1), (v1, v2))[turn % 2]
            await built.must_apply(table({to.version: 10_000}, [v1, v2], draining=[away]))
        stop.set()
        await asyncio.gather(*load)
        assert set(fates) <= {"v1", "v2"}, fates


async def test_a_refused_table_writes_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, _, (v1, v2)):
        before = built.files()
        with pytest.raises(WeightWithoutEndpoint):
            await built.apply(table({"v2": 10_000}, [v1, v2], draining=[v2]))
        with pytest.raises(VersionInUse):
            await built.apply(table({"v2": 10_000}, [v2]))
        assert built.files() == before


async def test_a_table_that_envoy_rejects_leaves_the_last_good_one_in_force_and_says_why(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (built, listen, (v1,)), aiohttp.ClientSession() as client:
        good = table({"v1": 10_000}, [v1])
        name = Endpoint(address=Address(host="no.such.host", port=80), state=EndpointState.ACTIVE)
        bad = replace(good, endpoints={v1.version: {**good.endpoints[v1.version], InstanceId("x"): name}})
        view = await built.apply(bad)
        assert view.acknowledged == good
        assert view.pending == bad
        assert view.problem is not None
        assert "malformed IP address: no.such.host" in view.problem
        assert await get(client, listen) == (200, "v1 v1-0")
        await built.must_apply(good)


async def test_a_newcomer_that_answers_no_health_check_gets_no_weight(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (built, listen, (v1,)), aiohttp.ClientSession() as client:
        (v2,) = await built.serve("v2")
        v2.is_healthy = False
        wanted = table({"v2": 10_000}, [v1, v2])
        view = await built.apply(wanted)
        assert view.pending == wanted
        assert view.problem is not None
        assert "shop@v2 does not answer Envoy's health check" in view.problem
        assert {(await get(client, listen))[1] for _ in range(5)} == {"v1 v1-0"}
        v2.is_healthy = True
        await built.must_apply(wanted)
        assert await get(client, listen) == (200, f"v2 {v2.name}")


async def test_a_table_that_waits_for_a_newcomer_lets_a_newer_one_pass(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (built, listen, (v1,)), aiohttp.ClientSession() as client:
        (v2,) = await built.serve("v2")
        v2.is_healthy = False
        router, hurry = built.another_router(acknowledged_within_s=600.0), asyncio.Event()
        await router.define(service(listen=listen))
        waiting = asyncio.create_task(
            built.apply(table({"v2": 10_000}, [v1, v2]), router=router, hurry=hurry), name="waits for v2"
        )
        await until(lambda: asyncio.to_thread((tmp_path / LOCAL / "eds" / "shop@v2.json").exists))
        hurry.set()
        view = await asyncio.wait_for(waiting, 5)
        assert view.pending is not None
        wanted = table({"v1": 10_000}, [v1, v2], draining=[v2])
        assert (await built.apply(wanted, router=router)).acknowledged == wanted
        assert await get(client, listen) == (200, "v1 v1-0")
        await router.close()


async def test_a_rollout_touches_no_listener_and_the_same_definition_no_file(tmp_path: Path) -> None:
    async with stage(tmp_path) as built:
        spec = service()
        await built.router.define(spec)
        listeners = tmp_path / LOCAL / "lds.json"
        written = listeners.stat().st_ino
        (v1,), (v2,) = await built.serve("v1"), await built.serve("v2")
        await built.must_apply(table({"v1": 10_000}, [v1, v2]))
        await built.must_apply(table({"v2": 1, "v1": 9_999}, [v1, v2]))
        before = built.files(), built.inodes()
        await built.router.define(spec)
        assert (built.files(), built.inodes()) == before
        assert listeners.stat().st_ino == written


async def test_the_same_table_again_writes_no_resource(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (built, _, (v1,)):
        wanted = table({"v1": 10_000}, [v1])
        before = built.files(but="tables")
        await built.must_apply(wanted)
        assert built.files(but="tables") == before


async def test_every_changed_file_carries_fence_and_revision(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (built, _, (v1,)):
        built.fence, built.revision = 3, 16
        (v2,) = await built.serve("v2")
        await built.must_apply(table({"v2": 1, "v1": 9_999}, [v1, v2]))
        root = tmp_path / LOCAL
        changed = (root / "rds/shop.json", root / "cds.json", root / "eds/shop@v2.json")
        assert {json.loads(path.read_bytes())["version_info"].partition("-")[0] for path in changed} == {"3.17"}
        untouched = json.loads((root / "eds/shop@v1.json").read_bytes())["version_info"]
        assert untouched.startswith("1.1-")


async def test_changed_settings_of_routes_come_into_force_and_stay_acknowledged(tmp_path: Path) -> None:
    async with stage(tmp_path) as built, aiohttp.ClientSession() as client:
        spec = service()
        await built.router.define(spec)
        (v1,) = await built.serve("v1")
        await built.must_apply(table({"v1": 10_000}, [v1]))
        await built.router.define(replace(spec, traffic=replace(spec.traffic, sticky_cookie="uid")))
        async with client.get(f"http://{spec.traffic.listen}/") as response:
            assert response.headers["set-cookie"].startswith("uid=")
        view = await built.view()
        assert (view.pending, view.problem) == (None, None)


async def test_no_traffic_at_all_is_a_table_too(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (built, listen, (v1,)), aiohttp.ClientSession() as client:
        await built.must_apply(table({}, [v1]))
        assert (await get(client, listen))[0] == 503
        await built.must_apply(EMPTY_TABLE)
        assert (await get(client, listen))[0] == 503


async def test_two_services_change_at_the_same_time(tmp_path: Path) -> None:
    async with stage(tmp_path) as built, aiohttp.ClientSession() as client:
        names = ("shop", "cart", "mail")
        specs = {name: service(name) for name in names}
        pools = {name: [(await built.serve("v1"))[0], (await built.serve("v2"))[0]] for name in names}
        for spec in specs.values():
            await built.router.define(spec)

        async def roll(name: str) -> None:
            v1, v2 = pools[name]
            for wanted in (
                table({"v1": 10_000}, [v1]),
                table({"v1": 10_000}, [v1, v2]),
                table({"v2": 10_000}, [v1, v2], draining=[v1]),
                table({"v2": 10_000}, [v2]),
            ):
                await built.must_apply(wanted, service=name)

        await asyncio.gather(*(roll(name) for name in names))
        for name in names:
            assert await get(client, specs[name].traffic.listen) == (200, f"v2 {pools[name][1].name}")
        assert await built.open_services() == set(names)


async def test_a_removed_service_leaves_no_file_and_no_open_address(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (built, listen, _), aiohttp.ClientSession() as client:
        await built.router.define(service("other"))
        await built.router.remove(SERVICE)
        assert await built.router.observe(SERVICE) == {}
        assert await built.open_services() == {"other"}
        root = tmp_path / LOCAL
        names = {path.name for folder in ("rds", "eds", "tables") for path in (root / folder).iterdir()}
        assert not any("shop" in name for name in names)

        async def is_closed() -> bool:
            try:
                await get(client, listen)
            except aiohttp.ClientConnectorError:
                return True
            return False

        client.connector._cleanup()  # kept-alive connections are served on, as they should
        await until(is_closed)


async def test_what_is_not_defined_or_elsewhere_is_refused(tmp_path: Path) -> None:
    async with stage(tmp_path) as built:
        with pytest.raises(NotDefined):
            await built.router.apply("nope", region=LOCAL, table=EMPTY_TABLE, specs={}, fence=1, revision=1)
        with pytest.raises(UnknownRegion):
            await built.router.apply("nope", region=Region("mars"), table=EMPTY_TABLE, specs={}, fence=1, revision=1)


async def test_too_few_inotify_instances_are_refused_before_envoy_aborts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, "v1") as (built, listen, (v1,)), aiohttp.ClientSession() as client:
        limit = tmp_path / "limit"
        limit.write_text("1")
        monkeypatch.setattr(watches, "_LIMIT", limit)
        (v2,) = await built.serve("v2")
        before = built.files()
        with pytest.raises(WatchBudgetSpent):
            await built.apply(table({"v1": 10_000}, [v1, v2]))
        assert built.files() == before
        await built.must_apply(table({"v1": 10_000}, [v1]))
        assert await get(client, listen) == (200, "v1 v1-0")


async def test_versions_of_any_spelling_are_routed(tmp_path: Path) -> None:
    async with serving(tmp_path, "feature/a b:1.2@x") as (_, listen, (v1,)), aiohttp.ClientSession() as client:
        assert (await get(client, listen))[1].startswith("feature/a b:1.2@x")
        assert v1.version == Version("feature/a b:1.2@x")


async def test_the_access_log_names_version_instance_and_attempts(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (_, listen, (v1,)), aiohttp.ClientSession() as client:
        await get(client, listen, "/cart?secret=1")
        log = tmp_path / LOCAL / "logs/shop.jsonl"

        async def is_written() -> bool:
            return log.exists() and log.read_text().endswith("\n")

        await until(is_written)
        entry = json.loads(log.read_text().splitlines()[0])
        assert (entry["cluster"], entry["host"]) == ("shop@v1", str(v1.address))
        assert (entry["path"], entry["status"], entry["attempts"]) == ("/cart", 200, 1)
        assert entry["duration_us"] > 0


async def test_an_unknown_listener_setting_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path, "v1") as (built, listen, _), aiohttp.ClientSession() as client:
        listeners = tmp_path / LOCAL / "lds.json"
        before = json.loads(listeners.read_bytes())["resources"]
        monkeypatch.setattr("hitless.adapters.envoy.resources._tls", lambda *_: {"name": "no such socket"})
        with pytest.raises(EnvoyRejected, match="no such socket"):
            await built.router.define(service("other", tls=put(pair(tmp_path), tmp_path)))
        assert json.loads(listeners.read_bytes())["resources"] == before
        assert await get(client, listen) == (200, "v1 v1-0")
