"""The proxy's health check spares us most probes, and costs no promptness."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

from envoy_stage import serving, table, until
from processes_support import APPS, HEALTH, WEB_1, fleet_at, settled, start, web_spec

from hitless.adapters.processes.fleet import ProcessFleet
from hitless.rollout.spec import Address
from hitless.rollout.world import Phase
from hitless.testing.live import LiveProject, free_ports

SELDOM = replace(HEALTH, interval_s=0.1)


async def keep_saying(fleet: ProcessFleet, address: Address, *, passes: bool) -> None:
    """Say what a proxy would, as it would, until cancelled."""
    while True:
        fleet.hear({address: passes})
        await asyncio.sleep(0.05)


async def test_an_instance_that_is_vouched_for_is_asked_seldom(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec("count", health=SELDOM))
        ready = await settled(fleet, WEB_1, Phase.READY)
        vouching = asyncio.create_task(keep_saying(fleet, ready.address, passes=True))
        await asyncio.sleep(0.3)
        before = asked(tmp_path)
        await asyncio.sleep(1.5)
        assert asked(tmp_path) - before <= 1
        vouching.cancel()
        fleet.hear({})  # Envoy is silent: as often as before
        await until_asked(tmp_path, before + 5)


async def test_one_failure_of_ours_confirms_what_the_proxy_found(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec(health=replace(SELDOM, interval_s=600.0)))
        ready = await settled(fleet, WEB_1, Phase.READY)
        (tmp_path / "unready").touch()
        fleet.hear({ready.address: False})
        unready = await settled(fleet, WEB_1, Phase.UNREADY)
        assert unready.cause == "not ready: /ready failed 3 times in a row, last: 503: warming up"


async def test_an_instance_that_answers_us_stays_ready_whatever_the_proxy_finds(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec("count", health=SELDOM))
        ready = await settled(fleet, WEB_1, Phase.READY)
        doubting = asyncio.create_task(keep_saying(fleet, ready.address, passes=False))
        await until_asked(tmp_path, asked(tmp_path) + 5)
        assert (await settled(fleet, WEB_1, Phase.READY, Phase.UNREADY)).phase is Phase.READY
        doubting.cancel()


async def test_liveness_is_asked_as_often_as_ever(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec(health=replace(SELDOM, live="/live")))
        ready = await settled(fleet, WEB_1, Phase.READY)
        vouching = asyncio.create_task(keep_saying(fleet, ready.address, passes=True))
        (tmp_path / "dead").touch()
        begun_s = time.monotonic()
        await settled(fleet, WEB_1, Phase.FAILED)
        assert time.monotonic() - begun_s < 15.0  # less than the pause of one that is vouched for
        vouching.cancel()


async def test_envoy_says_who_passes_and_who_does_not(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, _, (v1, v2)):
        await built.must_apply(table({"v2": 5_000, "v1": 5_000}, [v1, v2]))
        v2.is_healthy = False

        async def is_told() -> bool:
            await built.router.look()
            return built.router.verdicts() == {v1.address: True, v2.address: False}

        await until(is_told)


async def test_a_look_is_news_only_when_something_changed(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, _, (v1, v2)):
        await built.router.look()
        assert not await built.router.look()
        await built.must_apply(table({"v2": 5_000, "v1": 5_000}, [v1, v2]))
        assert await built.router.look()
        assert not await built.router.look()


async def test_a_listing_that_has_not_changed_is_not_read_twice(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (built, _, _):
        admin = built.router._admin
        assert await admin.hosts() is await admin.hosts()


def test_an_instance_of_a_service_at_rest_that_says_no_is_seen_within_seconds(tmp_path: Path) -> None:
    configuration = f"""
services:
- service: web
  listen: 127.0.0.1:{free_ports(1)[0]}
  instances: 1
  run: {{command: ["{sys.executable}", -S, "{APPS / "fleet_app.py"}"], directory: "{tmp_path}"}}
  health: {{ready: /ready, interval: 0.2s}}
"""
    with LiveProject(directory=tmp_path / "project", configuration=configuration) as project:
        project.check("deploy", "web", "--version", "v1", "--strategy", "rolling")
        time.sleep(2.0)  # long enough that Envoy vouches for it, and that nobody asks soon
        (tmp_path / "unready").touch()
        begun_s = time.monotonic()
        while project.status("web")["instances"][0]["phase"] != "unready":
            assert time.monotonic() - begun_s < 15.0  # less than the pause of one that is vouched for
            time.sleep(0.1)
        (tmp_path / "unready").unlink()
        while project.status("web")["health"] != "healthy":
            assert time.monotonic() - begun_s < 30.0, json.dumps(project.status("web"))
            time.sleep(0.1)


def asked(home: Path) -> int:
    """How often the application was asked."""
    return (home / "count").stat().st_size


async def until_asked(home: Path, times: int) -> None:
    async def is_asked() -> bool:
        return asked(home) >= times

    await until(is_asked)
