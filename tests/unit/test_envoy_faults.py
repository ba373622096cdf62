"""Faults of Envoy's files and processes that need no Envoy to be shown."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from hitless import bootstrap
from hitless.adapters.clock import SystemClock
from hitless.adapters.envoy.admin import Admin, Snapshot
from hitless.adapters.envoy.files import FileDamaged
from hitless.adapters.envoy.layout import Layout
from hitless.adapters.envoy.router import EnvoyRouter
from hitless.bootstrap import LocalControlPlane
from hitless.rollout.spec import LOCAL


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.of(tmp_path, LOCAL)


@pytest.mark.parametrize("content", [b"", b"\x00", b'{"version_info": "1"}'])
async def test_a_damaged_file_of_listeners_is_told_by_every_look_and_ends_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    async def snapshot(_self: Admin) -> Snapshot:
        return Snapshot(taken_at=0.0, versions={})

    monkeypatch.setattr(Admin, "snapshot", snapshot)
    router = EnvoyRouter(tmp_path, SystemClock())
    monkeypatch.setattr(type(router._life.process), "pid", 1)
    path = tmp_path / LOCAL / "lds.json"
    path.write_bytes(content)
    assert await router.look()
    assert f"{path} is damaged" in (router._silence or "")
    path.unlink()
    await asyncio.sleep(0.25)
    assert await router.look()
    assert router._silence is None


async def test_no_fault_of_a_look_ends_the_control_plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = iter([FileDamaged(tmp_path, "empty"), OSError("disk"), asyncio.CancelledError()])

    async def look() -> bool:
        raise next(faults)

    monkeypatch.setattr(bootstrap, "LOOK_EVERY_S", 0.0)
    control = SimpleNamespace(router=SimpleNamespace(look=look))
    with pytest.raises(asyncio.CancelledError):
        await LocalControlPlane.watch_routing(cast("LocalControlPlane", control))
    assert not list(faults)
