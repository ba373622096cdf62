"""Envoy is exchanged for another while it serves: nothing is cut, and nothing that the old one carries is forgotten."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest
from envoy_stage import Stage, Upstream, get, open_requests, serving, table, until

from hitless.adapters.envoy.binary import envoy_binary
from hitless.adapters.envoy.files import kept_copy
from hitless.adapters.envoy.identity import Identity, is_refused
from hitless.adapters.envoy.restart import EarlierEnvoyBusy, EnvoyUnfit, HotRestartImpossible
from hitless.adapters.envoy.router import EnvoyRouter
from hitless.errors import HitlessError
from hitless.rollout.spec import LOCAL, Address


@asynccontextmanager
async def websocket(client: aiohttp.ClientSession, listen: Address) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with client.ws_connect(f"http://{listen}/ws") as opened:
        yield opened


async def echoes(opened: aiohttp.ClientWebSocketResponse) -> str:
    await opened.send_str("x")
    return await opened.receive_str(timeout=5)


NEVER_READY = json.dumps(
    {
        "static_resources": {
            "clusters": [
                {"name": "nobody", "type": "STATIC", "connect_timeout": "1s"},
                {
                    "name": "waits",
                    "type": "EDS",
                    "connect_timeout": "1s",
                    "eds_cluster_config": {
                        "eds_config": {
                            "resource_api_version": "V3",
                            "initial_fetch_timeout": "0s",
                            "api_config_source": {
                                "api_type": "GRPC",
                                "transport_api_version": "V3",
                                "grpc_services": [{"envoy_grpc": {"cluster_name": "nobody"}}],
                            },
                        }
                    },
                },
            ]
        }
    }
)
"""Waits for endpoints that nobody sends."""


async def held_up(built: Stage, upstream: Upstream, router: EnvoyRouter | None = None) -> None:
    """Wait until idle connections of the old Envoy are closed; the stream that is left must hold its instance up."""

    async def has_one() -> bool:
        return open_requests(await built.view(router), upstream).count == 1

    await until(has_one)
    for _ in range(10):  # three zeros, 20 ms apart, would do
        assert not open_requests(await built.view(router), upstream).is_quiet
        await asyncio.sleep(0.03)


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def never_ready(path: Path) -> Path:
    """Make an Envoy that takes its configuration and then hangs."""
    more = f"""case "$*" in *--restart-epoch*) set -- "$@" --config-yaml '{NEVER_READY}';; esac"""
    return script(path, f'{more}; exec {envoy_binary()} "$@"')


def restarted_by(built: Stage, binary: Path) -> None:
    """Let the stage's router start this binary from now on, as a newer hitless would."""
    built.router._life.process.program = binary


async def test_a_stream_lives_on_in_the_old_envoy_and_holds_its_instance_up(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, listen, (v1, v2)), aiohttp.ClientSession() as client:
        before = built.router.state
        async with websocket(client, listen) as opened:
            state = await built.router.restart(cut=False, streams_s=600)
            assert (state.status, state.epoch) == ("running", 1)
            assert state.pid not in {None, before.pid}
            assert await echoes(opened) == "v1 x"
            assert await get(client, listen) == (200, "v1 v1-0")
            await built.must_apply(table({"v2": 10_000}, [v1, v2], draining=[v1]))
            assert [one.pid for one in await built.router.earlier()] == [before.pid]
            await held_up(built, v1)
            assert await echoes(opened) == "v1 x"
        await built.until_quiet(v1)


async def test_whoever_asks_while_connections_to_the_old_envoy_are_closed_gets_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, "v1") as (built, _, _):
        admin = built.router._admin
        await admin.versions()
        close = aiohttp.ClientSession.close

        async def close_slowly(session: aiohttp.ClientSession) -> None:
            await close(session)
            await asyncio.sleep(0.1)

        monkeypatch.setattr(aiohttp.ClientSession, "close", close_slowly)
        closing = asyncio.create_task(admin.close())
        await asyncio.sleep(0)
        assert await admin.versions()
        await closing


async def test_open_connections_that_cannot_be_counted_are_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, _, (v1, v2)):
        await built.router.restart(cut=False, streams_s=600)
        monkeypatch.setattr("hitless.adapters.envoy.earlier._sockets", lambda _: None)
        await built.must_apply(table({"v2": 10_000}, [v1, v2], draining=[v1]))
        await asyncio.sleep(0.5)
        left = open_requests(await built.view(), v1)
        assert (left.count, left.is_quiet) == (None, False)


@pytest.mark.fault("Envoy is to be exchanged while one before it has streams")
async def test_a_restart_that_would_cut_streams_is_refused_until_they_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hitless.adapters.envoy.restart._QUIET_WITHIN_S", 2.5)
    async with serving(tmp_path, "v1") as (built, listen, _), aiohttp.ClientSession() as client:
        async with websocket(client, listen) as opened:
            await built.router.restart(cut=False, streams_s=600)
            with pytest.raises(EarlierEnvoyBusy, match=r"still has \d+ open connections"):
                await built.router.restart(cut=False, streams_s=600)
            assert await echoes(opened) == "v1 x"
        assert (await built.router.restart(cut=False, streams_s=600)).epoch == 2
        assert await get(client, listen) == (200, "v1 v1-0")


async def test_the_next_controller_knows_the_old_envoys_streams(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, "v1", "v2") as (built, listen, (v1, v2)),
        aiohttp.ClientSession() as client,
        websocket(client, listen) as opened,
    ):
        await built.router.restart(cut=False, streams_s=600)
        await built.must_apply(table({"v2": 10_000}, [v1, v2], draining=[v1]))
        later = built.another_router()
        await later.start()
        try:
            assert later.state.pid == built.router.state.pid
            await held_up(built, v1, later)
            assert await echoes(opened) == "v1 x"
        finally:
            await later.close()


async def test_the_old_envoy_ends_when_its_time_is_up(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (built, listen, _), aiohttp.ClientSession() as client:
        async with websocket(client, listen) as opened:
            await built.router.restart(cut=False, streams_s=1)
            assert (await opened.receive(timeout=10)).type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}

        async def is_alone() -> bool:
            return not await built.router.earlier()

        await until(is_alone)
        assert await get(client, listen) == (200, "v1 v1-0")


@pytest.mark.fault("an Envoy that was exchanged dies before its time")
async def test_the_old_envoys_death_does_not_take_the_new_one_with_it(tmp_path: Path) -> None:
    """Left to itself, the new one aborts after it wanted to end the dead one. The control plane may be gone."""
    async with serving(tmp_path, "v1") as (built, listen, _), aiohttp.ClientSession() as client:
        old = built.router.state.pid
        state = await built.router.restart(cut=False, streams_s=4)
        os.kill(old or 0, signal.SIGKILL)
        base_id = int((tmp_path / LOCAL / "base-id").read_text())

        async def is_stood_in_for() -> bool:
            await built.router.ensure_running()
            return len(await asyncio.to_thread(stand_ins, base_id)) == 1

        await until(is_stood_in_for)
        await built.router.close()

        async def is_ending_the_dead() -> bool:
            return "shutting down parent after drain" in (tmp_path / LOCAL / "envoy.log").read_text()

        await until(is_ending_the_dead)
        later = built.another_router()
        await until(later._admin.is_ready, within_s=5)
        await later.start()
        assert later.state.pid == state.pid
        for epoch in (2, 3):  # the last one needs the very name
            again = await later.restart(cut=False, streams_s=600)
            assert (again.status, again.epoch) == ("running", epoch)
        assert await get(client, listen) == (200, "v1 v1-0")
        await later.close()
        await built.router.stop()
        assert stand_ins(base_id) == []


def stand_ins(base_id: int) -> list[int]:
    """Find who holds one of Envoy's names and is none."""
    held = [one for one in psutil.net_connections("unix") if f"_socket_parent_{base_id}" in str(one.laddr)]
    found = {one.pid: Identity.of(one.pid) for one in held if one.pid}
    return [pid for pid, who in found.items() if who and who.arguments()[:1] == ("sleep",)]


async def test_after_a_crash_the_streams_of_the_one_before_live_on_and_are_counted(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, listen, (v1, v2)), aiohttp.ClientSession() as client:
        async with websocket(client, listen) as opened:
            state = await built.router.restart(cut=False, streams_s=600)
            os.kill(state.pid or 0, signal.SIGKILL)

            async def serves_again() -> bool:
                again = await built.router.ensure_running()
                return again.status == "running" and again.pid != state.pid

            await until(serves_again)
            assert built.router.state.epoch == 0
            await built.must_apply(table({"v2": 10_000}, [v1, v2], draining=[v1]))
            await held_up(built, v1)
            assert await echoes(opened) == "v1 x"
            assert (await built.router.restart(cut=False, streams_s=600)).epoch == 1

        async def is_orphan_gone() -> bool:
            await built.router.ensure_running()
            return len(await built.router.earlier()) == 1  # the parent of the newest alone

        await until(is_orphan_gone)
        await built.until_quiet(v1)


@pytest.mark.fault("the Envoy that is to take over fails")
async def test_a_newcomer_that_dies_on_the_way_leaves_the_old_one_in_charge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has closed the old one's admin interface by then; that comes back by itself, and restarts go on."""
    async with serving(tmp_path, "v1", "v2") as (built, listen, (v1, v2)), aiohttp.ClientSession() as client:
        monkeypatch.setattr("hitless.adapters.envoy.lifecycle._HAND_OVER_WITHIN_S", 2.0)
        restarted_by(built, never_ready(tmp_path / "envoy"))
        with pytest.raises(HitlessError, match="not ready in time"):
            await built.router.restart(cut=False, streams_s=600)
        assert not await built.router._admin.is_ready()
        assert await get(client, listen) == (200, "v1 v1-0")

        async def is_whole() -> bool:
            return (await built.router.ensure_running()).status == "running"

        await until(is_whole)
        await built.must_apply(table({"v2": 10_000}, [v1, v2]))
        restarted_by(built, envoy_binary())
        assert (await built.router.restart(cut=False, streams_s=600)).status == "running"
        assert (await get(client, listen))[1].startswith("v2")


async def dies_in_the_middle_of_a_restart(built: Stage) -> Identity:
    """Start a newcomer and leave it alone."""
    process = built.router._life.process
    newcomer = await asyncio.to_thread(process._spawn_next, process.next_launch(parent_lives_s=600))
    await built.router.close()
    return newcomer


@pytest.mark.parametrize("is_recorded", [True, False])
async def test_the_next_controller_follows_a_newcomer_that_is_on_its_way(tmp_path: Path, *, is_recorded: bool) -> None:
    """Also if the one before has died before it could say who is coming."""
    async with serving(tmp_path, "v1", "v2") as (built, listen, (v1, v2)), aiohttp.ClientSession() as client:
        record = tmp_path / LOCAL / "envoy.json"
        old, before = built.router.state.pid, record.read_text()
        newcomer = await dies_in_the_middle_of_a_restart(built)
        if not is_recorded:
            for one in (record, kept_copy(tmp_path / LOCAL, record)):
                one.write_text(before)
        later = built.another_router()
        await later.start()
        try:

            async def is_followed() -> bool:
                return (await later.ensure_running()).pid == newcomer.pid

            await until(is_followed)
            assert later.state.status == "running"
            await later.define(built.router._specs["shop"])
            await built.must_apply(table({"v2": 10_000}, [v1, v2]), router=later)
            assert (await get(client, listen))[1].startswith("v2")
            assert [one.pid for one in await later.earlier()] in ([old], [])
        finally:
            await later.close()


@pytest.mark.fault("the Envoy that is to take over hangs, and no control plane is there")
async def test_a_newcomer_that_hangs_is_ended_by_the_next_controller_and_the_old_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hitless.adapters.envoy.router.START_WITHIN_S", 5.0)
    async with serving(tmp_path, "v1") as (built, listen, _), aiohttp.ClientSession() as client:
        restarted_by(built, never_ready(tmp_path / "envoy"))
        newcomer = await dies_in_the_middle_of_a_restart(built)

        async def has_silenced_the_old_one() -> bool:
            return is_refused(tmp_path / LOCAL / "admin-0.sock")

        await until(has_silenced_the_old_one)
        assert await get(client, listen) == (200, "v1 v1-0")
        later = built.another_router()
        try:
            await later.start()
            assert (later.state.status, newcomer.is_alive()) == ("running", False)
            assert await get(client, listen) == (200, "v1 v1-0")
            await later.define(built.router._specs["shop"])
        finally:
            await later.close()


@pytest.mark.fault("the Envoy that is to take over does not fit")
async def test_an_envoy_that_cannot_take_over_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (built, listen, _), aiohttp.ClientSession() as client:
        before = built.router.state
        real = envoy_binary()
        for text, error in (
            (f'[ "$1" = --hot-restart-version ] && echo 12.1 && exit; exec {real} "$@"', HotRestartImpossible),
            (f'[ "$1" = --mode ] && echo no such field >&2 && exit 1; exec {real} "$@"', EnvoyUnfit),
        ):
            restarted_by(built, script(tmp_path / "envoy", text))
            with pytest.raises(error):
                await built.router.restart(cut=False, streams_s=600)
        restarted_by(built, tmp_path / "missing")
        with pytest.raises(EnvoyUnfit):
            await built.router.restart(cut=False, streams_s=600)
        assert (built.router.state.pid, built.router.state.status) == (before.pid, "running")
        assert (await built.view()).problem is None
        assert await get(client, listen) == (200, "v1 v1-0")


async def test_cut_starts_afresh_where_there_is_no_other_way(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (built, listen, _), aiohttp.ClientSession() as client:
        real = envoy_binary()
        text = f'[ "$1" = --hot-restart-version ] && echo 12.1 && exit; exec {real} "$@"'
        restarted_by(built, script(tmp_path / "envoy", text))
        before = built.router.state.pid
        state = await built.router.restart(cut=True, streams_s=600)
        assert (state.status, state.epoch) == ("running", 0)
        assert state.pid != before
        assert await built.router.earlier() == ()
        assert await get(client, listen) == (200, "v1 v1-0")


async def test_what_this_hitless_would_start_otherwise_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (built, _, _):
        await built.router.ensure_running()
        assert built.router.state.differences == ()
        later = built.another_router(concurrency=1)
        await later.start()
        try:
            state = await later.ensure_running()
            running = built.router._life.process._concurrency
            assert state.differences == (f"option --concurrency: {running}, would be 1",)
            assert (await later.restart(cut=False, streams_s=600)).differences == ()
        finally:
            await later.close()


async def test_an_envoy_that_hangs_is_told_and_nothing_is_removed(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, listen, (v1, v2)), aiohttp.ClientSession() as client:
        await built.must_apply(table({"v2": 10_000}, [v1, v2], draining=[v1]))
        pid = built.router.state.pid or 0
        os.kill(pid, signal.SIGSTOP)
        try:
            built.router._look_afresh()
            view = await built.view()
            assert view.problem is not None
            assert "does not answer" in view.problem
            assert {one.count for one in view.open_requests.values()} == {None}
            assert not any(one.is_quiet for one in view.open_requests.values())
            with pytest.raises(HitlessError, match="does not answer"):
                await built.router.restart(cut=False, streams_s=600)
            assert (await built.router.ensure_running()).pid == pid
        finally:
            os.kill(pid, signal.SIGCONT)
        await built.until_quiet(v1)
        assert (await built.view()).problem is None
        assert (await get(client, listen))[1].startswith("v2")
        assert (tmp_path / LOCAL / "envoy.json").exists()
