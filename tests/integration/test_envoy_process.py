"""Envoy's life is its own: it outlives controllers, is adopted, and is started again when it crashed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from pathlib import Path

import aiohttp
import psutil
import pytest
from envoy_stage import SERVICE, get, service, serving, stage, table, until

from hitless.adapters.envoy import watches
from hitless.adapters.envoy.admin import Admin
from hitless.adapters.envoy.files import Stamp
from hitless.adapters.envoy.layout import Layout
from hitless.adapters.envoy.logs import rotate
from hitless.adapters.envoy.refusals import AddressUnusable, EnvoyDidNotStart
from hitless.errors import Fenced
from hitless.rollout.spec import LOCAL


async def test_a_later_controller_adopts_envoy_and_its_acknowledged_table(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, listen, (v1, v2)), aiohttp.ClientSession() as client:
        before = await built.must_apply(table({"v2": 100, "v1": 9_900}, [v2, v1], salt="s"))
        pid = built.router.state.pid
        await built.router.close()
        later = built.another_router()
        await later.start()
        try:
            assert later.state.pid == pid
            assert later.state.status == "running"
            view = await built.view(later)
            assert view.acknowledged == before.acknowledged
            assert view.acknowledged is not None
            assert list(view.acknowledged.weights) == ["v2", "v1"]
            assert (view.pending, view.problem) == (None, None)
            assert (await get(client, listen))[0] == 200
        finally:
            await later.close()


async def test_an_older_controller_writes_nothing_after_a_later_one_has(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, listen, (v1, v2)), aiohttp.ClientSession() as client:
        later = built.another_router()
        await later.start()
        try:
            await later.define(built.router._specs["shop"])
            built.fence = 2
            await built.must_apply(table({"v2": 10_000}, [v1, v2]), router=later)
            built.fence = 1
            before = built.files(), built.inodes()
            with pytest.raises(Fenced):
                await built.apply(table({"v1": 10_000}, [v1, v2]))
            assert (built.files(), built.inodes()) == before
            assert (await get(client, listen))[1].startswith("v2")
        finally:
            await later.close()


async def test_a_controller_that_is_fenced_in_the_middle_of_a_change_stops_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, listen, (v1, v2)), aiohttp.ClientSession() as client:
        files = built.router._plane.files
        acknowledgements = type(built.router._plane.acknowledgements)
        wait = acknowledgements.wait

        async def wait_and_be_succeeded(*args: object, **options: object) -> str | None:
            files.check_fence(9)
            return await wait(*args, **options)

        monkeypatch.setattr(acknowledgements, "wait", wait_and_be_succeeded)
        with pytest.raises(Fenced):
            await built.apply(table({"v2": 10_000}, [v1, v2]))
        assert (await get(client, listen))[1].startswith("v1")
        assert files.update(tmp_path / LOCAL / "rds/shop.json", dict, Stamp(9, 1)).startswith("1.")


async def test_draining_goes_on_where_it_was_for_the_next_controller(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, _, (v1, v2)):
        before = await built.must_apply(table({"v2": 10_000}, [v1, v2], draining=[v1]))
        later = built.another_router()
        await later.start()
        try:
            view = await built.view(later)
            assert (
                view.open_requests[v1.name].draining_since == before.open_requests[v1.name].draining_since is not None
            )
            assert not view.open_requests[v1.name].is_quiet

            async def is_quiet() -> bool:
                return (await built.view(later)).open_requests[v1.name].is_quiet

            await until(is_quiet)
        finally:
            await later.close()


async def test_envoy_killed_serves_again_from_its_files(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, listen, (v1, v2)):
        await built.must_apply(table({"v2": 10_000}, [v1, v2]))
        pid = built.router.state.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

        async def is_told() -> bool:
            return (await built.view()).problem == "Envoy is down"

        await until(is_told)
        view = await built.view()
        assert {one.count for one in view.open_requests.values()} == {None}
        state = await built.router.ensure_running()
        assert state.status == "running"
        assert state.pid not in {None, pid}
        async with aiohttp.ClientSession() as client:
            assert (await get(client, listen))[1].startswith("v2")
        view = await built.view()
        assert view.acknowledged == table({"v2": 10_000}, [v1, v2])
        assert (view.pending, view.problem) == (None, None)


async def test_an_envoy_that_cannot_start_is_reported_and_not_restarted_without_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path) as built:
        (tmp_path / LOCAL / "bootstrap-0.json").unlink()
        monkeypatch.setattr("hitless.adapters.envoy.process.bootstrap", lambda *_, **__: {"no_such_field": 1})
        os.kill(built.router.state.pid or 0, signal.SIGKILL)

        async def is_down() -> bool:
            return built.router.state.status == "down"

        await until(is_down)
        state = await built.router.ensure_running()
        assert state.status == "down"
        assert state.problem is not None
        assert "ended at once" in state.problem
        lines = (tmp_path / LOCAL / "envoy.log").read_text().count("no_such_field")
        await built.router.ensure_running()
        assert (tmp_path / LOCAL / "envoy.log").read_text().count("no_such_field") == lines
        with pytest.raises(EnvoyDidNotStart) as fault:
            await built.router.start()
        assert any("no_such_field" in line for line in fault.value.evidence)


async def test_a_silent_envoy_is_unknown_and_not_quiet(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, _, (v1, v2)):
        wanted = table({"v2": 10_000}, [v1, v2], draining=[v1])
        await built.must_apply(wanted)
        pid = built.router.state.pid or 0
        os.kill(pid, signal.SIGSTOP)
        try:

            async def is_noticed() -> bool:
                return (await built.view()).problem is not None

            await until(is_noticed)
            view = await built.view()
            assert view.acknowledged == wanted
            assert view.problem is not None
            assert "does not answer" in view.problem
            assert {(one.count, one.is_quiet) for one in view.open_requests.values()} == {(None, False)}
            view = await built.apply(table({"v1": 1, "v2": 9_999}, [v1, v2]))
            assert view.pending == table({"v1": 1, "v2": 9_999}, [v1, v2])
        finally:
            os.kill(pid, signal.SIGCONT)
        await built.must_apply(table({"v1": 1, "v2": 9_999}, [v1, v2]))


async def test_envoy_lives_in_a_session_of_its_own_and_stop_ends_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as built:
        pid = built.router.state.pid or 0
        assert os.getsid(pid) != os.getsid(0)
        assert psutil.Process(pid).ppid() != os.getpid()  # Envoy wants SIGTERM at its parent's death
        await built.router.close()
        assert psutil.pid_exists(pid)
        await built.router.stop()
        with contextlib.suppress(psutil.NoSuchProcess):  # init may not have buried it yet
            assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        assert built.router.state.status == "down"


async def test_a_second_envoy_of_one_directory_cannot_start(tmp_path: Path) -> None:
    """So two controllers that start at the same moment never split one port's traffic between two proxies."""
    async with stage(tmp_path) as built:
        rival = built.another_router()
        rival._life.process.find = lambda: False
        (tmp_path / LOCAL / "admin.sock").rename(tmp_path / LOCAL / "hidden.sock")
        with pytest.raises(EnvoyDidNotStart) as fault:
            await rival.start()
        assert any("unable to bind domain socket" in line for line in fault.value.evidence)
        await rival.close()


async def test_an_envoy_whose_pid_file_is_lost_is_found_by_its_socket(tmp_path: Path) -> None:
    async with stage(tmp_path) as built:
        pid = built.router.state.pid
        (tmp_path / LOCAL / "envoy.json").unlink()
        later = built.another_router()
        await later.start()
        assert later.state.pid == pid
        await later.close()


async def test_a_deep_directory_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    async with serving(deep, "v1") as (built, listen, _), aiohttp.ClientSession() as client:
        assert await get(client, listen) == (200, "v1 v1-0")
        assert built.router.state.status == "running"
    assert not built.router._layout.admin_socket.parent.exists()


@pytest.mark.fault("the short way to Envoy's admin socket is deleted")
async def test_a_short_way_to_the_socket_that_somebody_tidied_away_is_made_again(tmp_path: Path) -> None:
    """Temporary directories are swept; a project that runs for weeks must not lose its Envoy by that."""
    async with serving(tmp_path / ("d" * 120), "v1") as (built, _, _):
        short = built.router._layout.admin_socket.parent
        short.unlink()
        await built.router._admin.close()

        async def is_whole() -> bool:
            state = await built.router.ensure_running()
            return short.is_symlink() and state.status == "running" and await built.router._admin.is_ready()

        await until(is_whole)
        assert (built.router.state.epoch, (await built.view()).problem) == (0, None)


async def test_an_address_that_was_taken_while_envoy_was_down_keeps_no_other_from_starting(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (built, listen, _):
        await built.router.define(service("other"))
        await built.router.stop()
        with socket.create_server((listen.host, listen.port)):
            await built.router.start()
            assert await built.open_services() == {"other"}
            with pytest.raises(AddressUnusable, match=str(listen)):
                await built.router.define(service(listen=listen))
        await built.router.define(service(listen=listen))
        assert await built.open_services() == {"other", SERVICE}


async def test_a_version_costs_envoy_one_inotify_instance_and_it_is_counted(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, _, (v1, v2)):
        await built.must_apply(table({"v1": 10_000}, [v1]))
        envoy = Path(f"/proc/{built.router.state.pid}")
        before = watches._instances_of(envoy)
        await built.must_apply(table({"v1": 10_000}, [v1, v2]))
        assert watches._instances_of(envoy) == before + 1
        assert await asyncio.to_thread(watches.instances_in_use, os.getuid()) >= before + 1


async def test_an_overgrown_access_log_is_set_aside_and_writing_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (_, listen, _), aiohttp.ClientSession() as client:
        layout, log = Layout(tmp_path / LOCAL), tmp_path / LOCAL / "logs/shop.jsonl"
        admin = Admin(layout.admin_socket)

        async def is_written() -> bool:
            await get(client, listen)
            return log.exists() and log.stat().st_size > 0

        await until(is_written)
        await rotate(layout, admin, limit=0)
        await admin.close()
        assert log.with_suffix(".jsonl.1").stat().st_size > 0
        await until(is_written)
