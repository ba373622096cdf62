"""Whatever somebody does to Envoy's files: users notice nothing, it is told, and the next command works."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from envoy_stage import Stage, get, serving, table, until

from hitless.adapters.envoy.damage import Damage
from hitless.adapters.envoy.files import FileDamaged, read_resources
from hitless.adapters.envoy.ledger import read_ledger
from hitless.rollout.spec import LOCAL

FILES = ["lds.json", "cds.json", "rds/shop.json", "eds/shop@v1.json", "tables/shop.json"]


def write_garbage(path: Path) -> None:
    path.write_bytes(b"\x00\xffnot JSON")


def rename_garbage(path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    write_garbage(temporary)
    temporary.rename(path)


def delete_it(path: Path) -> None:
    path.unlink()


def take_everything_out(path: Path) -> None:
    document = json.loads(path.read_bytes())
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({**document, "version_info": "mine", "resources": []}))
    temporary.rename(path)


async def until_restored(built: Stage, before: dict[Path, bytes]) -> None:
    async def is_restored() -> bool:
        await built.router.ensure_running()
        return before == {path: found for path in before if (found := content(path)) is not None}

    await until(is_restored)


async def kill_and_await(built: Stage) -> None:
    pid = built.router.state.pid or 0
    os.kill(pid, signal.SIGKILL)
    await until(lambda: is_down(built))

    async def serves_again() -> bool:
        state = await built.router.ensure_running()
        return state.status == "running" and state.pid != pid

    await until(serves_again)


async def is_down(built: Stage) -> bool:
    return built.router.state.status == "down"


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


@pytest.mark.fault("a file of Envoy is damaged or deleted")
@pytest.mark.parametrize("harm", [write_garbage, rename_garbage, delete_it])
async def test_damaged_files_are_told_and_restored_and_the_next_table_is_taken(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, listen, (v1, v2)), aiohttp.ClientSession() as client:
        await built.router.ensure_running()
        before = {path: path.read_bytes() for path in (tmp_path / LOCAL / name for name in FILES)}
        for path in before:
            harm(path)
        assert await get(client, listen) == (200, "v1 v1-0")
        await until_restored(built, before)
        assert await get(client, listen) == (200, "v1 v1-0")
        notices = (await built.view()).notices
        assert [path for path in before if not any(f"{path} " in notice for notice in notices)] == []
        await built.must_apply(table({"v2": 10_000}, [v1, v2]))
        assert (await get(client, listen))[1].startswith("v2")


async def test_a_table_is_taken_in_the_very_moment_in_which_files_are_damaged(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, listen, (v1, v2)), aiohttp.ClientSession() as client:
        for name in ("cds.json", "rds/shop.json", "eds/shop@v1.json"):
            write_garbage(tmp_path / LOCAL / name)
        await built.must_apply(table({"v2": 10_000}, [v1, v2]))
        assert (await get(client, listen))[1].startswith("v2")


@pytest.mark.fault("a file of Envoy is edited")
async def test_a_foreign_file_that_envoy_takes_is_taken_back(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (built, listen, _), aiohttp.ClientSession() as client:
        path = tmp_path / LOCAL / "lds.json"
        before = path.read_bytes()
        take_everything_out(path)
        await until_restored(built, {path: before})

        async def answers() -> bool:
            try:
                return (await get(client, listen))[0] == 200
            except aiohttp.ClientError:
                return False

        await until(answers)


@pytest.mark.fault("a file of Envoy is damaged or deleted")
async def test_envoy_starts_from_what_was_written_though_its_files_are_damaged(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (built, listen, _), aiohttp.ClientSession() as client:
        await built.router.ensure_running()
        for name in FILES:
            write_garbage(tmp_path / LOCAL / name)
        await kill_and_await(built)
        assert await get(client, listen) == (200, "v1 v1-0")


@pytest.mark.fault("a file of Envoy is damaged or deleted")
@pytest.mark.parametrize("folder", ["rds", "eds", "sds", "sources", "tables", "logs", "kept"])
async def test_a_folder_that_was_deleted_comes_back_with_what_was_in_it(tmp_path: Path, folder: str) -> None:
    async with serving(tmp_path, "v1") as (built, listen, _), aiohttp.ClientSession() as client:
        await built.router.ensure_running()
        path = tmp_path / LOCAL / folder
        before = {one: one.read_bytes() for one in path.glob("*.json") if one.name != "envoy.json"}
        shutil.rmtree(path)
        await kill_and_await(built)
        assert await get(client, listen) == (200, "v1 v1-0")
        assert {one: one.read_bytes() for one in before} == before


async def test_envoy_is_looked_after_though_its_files_cannot_be_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: Damage) -> tuple[str, ...]:
        raise OSError(errno.EIO, "Input/output error")

    async with serving(tmp_path, "v1") as (built, listen, _), aiohttp.ClientSession() as client:
        monkeypatch.setattr(Damage, "restore", fail)
        with pytest.raises(OSError, match="Input/output error"):
            await kill_and_await(built)
        assert built.router.state.status == "running"
        assert await get(client, listen) == (200, "v1 v1-0")


def test_a_file_that_cannot_be_read_is_never_taken_for_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for content in ("", "[", '{"resources": []}', '{"version_info": "1"}', '{"version_info": "1", "resources": [1]}'):
        path.write_text(content)
        with pytest.raises(FileDamaged):
            read_resources(path)
    path.write_text("")
    with pytest.raises(FileDamaged):
        read_ledger(path)


async def test_files_of_an_earlier_release_have_no_copies_and_get_them(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (built, listen, _), aiohttp.ClientSession() as client:
        shutil.rmtree(tmp_path / LOCAL / "kept")
        await built.router.close()
        later = built.another_router()
        await later.start()
        try:
            assert (tmp_path / LOCAL / "kept/lds.json").read_bytes() == (tmp_path / LOCAL / "lds.json").read_bytes()
            assert await get(client, listen) == (200, "v1 v1-0")
        finally:
            await later.close()
