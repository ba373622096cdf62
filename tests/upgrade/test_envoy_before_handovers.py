"""What the release before handovers left running and on disk is adopted, told, and exchanged without an outage.

`before_handovers` is its directory as it was recorded, with names in braces for paths and ports.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from hitless.adapters.clock import SystemClock
from hitless.adapters.envoy.binary import envoy_binary
from hitless.adapters.envoy.identity import spawn_orphan
from hitless.adapters.envoy.router import EnvoyRouter
from hitless.rollout.spec import LOCAL, Address, InstanceId, ServiceSpec, TlsSpec, Version
from hitless.testing.certificate import self_signed
from integration.certificates import trusting
from integration.envoy_stage import SERVICE, Upstream, free_address, open_requests, service, table, until

RECORDED = Path(__file__).parent / "before_handovers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What was left: an Envoy that serves, its directory, and the instances behind it."""

    directory: Path
    spec: ServiceSpec
    upstreams: tuple[Upstream, Upstream]
    pid: int

    @property
    def listen(self) -> Address:
        return self.spec.traffic.listen


def lay_out(root: Path, names: Mapping[str, str]) -> None:
    for recorded in RECORDED.rglob("*"):
        if recorded.is_file():
            text = recorded.read_text()
            for name, value in names.items():
                text = text.replace(f"{{{name}}}", value)
            path = root / recorded.relative_to(RECORDED)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


@pytest.fixture
async def left(tmp_path: Path) -> AsyncIterator[Left]:
    root, tls = tmp_path / "envoy" / LOCAL, tmp_path / "tls"
    for folder in (root, root / "logs", tls):
        folder.mkdir(parents=True)
    cert, key = self_signed(tls)
    v1, v2 = Upstream(Version("v1"), InstanceId("v1-0")), Upstream(Version("v2"), InstanceId("v2-1"))
    spec = service(tls=TlsSpec(cert=str(cert), key=str(key)), sticky_cookie="uid", listen=free_address())
    for one in (v1, v2):
        await one.start()
    ports = {"listen": spec.traffic.listen, "v1": v1.address, "v2": v2.address}
    names = {"root": str(root), "tls": str(tls), **{name: str(one.port) for name, one in ports.items()}}
    lay_out(root, {**names, "pid": "0", "base_id": str(secrets.randbelow(200_000_000) + 1)})
    argv = json.loads((root / "command_line.json").read_text())
    pid = spawn_orphan([str(envoy_binary()), *argv[1:]], root / "envoy.log")
    yield Left(directory=tmp_path / "envoy", spec=spec, upstreams=(v1, v2), pid=pid)
    await EnvoyRouter(tmp_path / "envoy", SystemClock()).stop()
    for one in (v1, v2):
        await one.stop()


@asynccontextmanager
async def adopting(left: Left) -> AsyncIterator[EnvoyRouter]:
    router = EnvoyRouter(left.directory, SystemClock())
    try:
        await until(lambda: _is_serving(left.listen))
        await router.start()
        yield router
    finally:
        await router.stop()


async def _is_serving(address: Address) -> bool:
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting("http/1.1"))) as client:
            return (await _get(client, address))[0] == 200
    except aiohttp.ClientError:
        return False


async def _get(client: aiohttp.ClientSession, address: Address) -> tuple[int, str]:
    async with client.get(f"https://{address}/") as response:
        return response.status, await response.text()


async def test_its_envoy_and_its_ledger_are_understood_and_it_is_exchanged_without_cutting(left: Left) -> None:
    connector = aiohttp.TCPConnector(ssl=trusting("http/1.1"))
    v1, v2 = left.upstreams
    async with adopting(left) as router, aiohttp.ClientSession(connector=connector) as client:
        assert router.state.pid == left.pid
        await router.define(left.spec)
        view = (await router.observe(SERVICE))[LOCAL]
        assert view.acknowledged == table({"v2": 2_500, "v1": 7_500}, [v2, v1], salt="shop-r2")
        assert (view.pending, view.problem) == (None, None)
        await router.ensure_running()
        assert any("--drain-strategy" in one for one in router.state.differences)
        async with client.ws_connect(f"wss://{left.listen}/ws") as stream:
            state = await router.restart(cut=False, streams_s=600)
            assert (state.status, state.epoch, state.differences) == ("running", 1, ())
            wanted = table({"v2": 10_000}, [v2, v1], draining=[v1], salt="shop-r2")
            await router.apply(SERVICE, region=LOCAL, table=wanted, specs={}, fence=2, revision=3)
            assert (await router.observe(SERVICE))[LOCAL].acknowledged == wanted
            await stream.send_str("x")
            carrier = v1 if (await stream.receive_str(timeout=5)).startswith("v1") else v2
            assert (open_requests((await router.observe(SERVICE))[LOCAL], carrier).count or 0) >= 1
        assert (await _get(client, left.listen))[0] == 200


async def test_its_files_alone_bring_the_service_back(left: Left) -> None:
    """As after the machine's restart: nothing runs, a newer hitless finds the directory."""
    first = EnvoyRouter(left.directory, SystemClock())
    await until(lambda: _is_serving(left.listen))
    await first.stop()
    connector = aiohttp.TCPConnector(ssl=trusting("http/1.1"))
    async with aiohttp.ClientSession(connector=connector) as client:
        router = EnvoyRouter(left.directory, SystemClock())
        try:
            await router.start()
            await router.define(left.spec)
            await until(lambda: _is_serving(left.listen))
            assert (await _get(client, left.listen))[0] == 200

            async def is_taken_over() -> bool:
                await router.ensure_running()
                return "inline_string" in (left.directory / LOCAL / "sds/shop.json").read_text()

            await until(is_taken_over)
            assert (await router.observe(SERVICE))[LOCAL].problem is None
        finally:
            await router.stop()
