"""The generator as its own process, against the sample shop as its own process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from hitless.adapters.clock import SystemClock
from hitless.rollout.spec import Address
from hitless.testing.load import (
    ClientTls,
    Kind,
    Load,
    LoadPlan,
    RequestSpec,
    StreamSpec,
    UploadSpec,
    Verdict,
    from_json,
    usual_mix,
)
from hitless.testing.load.plan import USUAL

SHOP = Path(__file__).parents[2] / "examples" / "shop"


def free_address() -> Address:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Address(host="127.0.0.1", port=probe.getsockname()[1])


@asynccontextmanager
async def shop(data: Path, *command: str, **environment: str) -> AsyncIterator[Address]:
    async with shop_process(data, *command, **environment) as (address, _):
        yield address


@asynccontextmanager
async def shop_process(
    data: Path, *command: str, **environment: str
) -> AsyncIterator[tuple[Address, asyncio.subprocess.Process]]:
    address = free_address()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(command or ("-m", "shop")),
        *("--port", str(address.port)),
        cwd=SHOP,
        env={**os.environ, "HITLESS_VERSION": "v1", "SHOP_DATA": str(data), "SHOP_WARMUP": "0", **environment},
        start_new_session=True,
    )
    try:
        yield address, process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGTERM)
        async with asyncio.timeout(20):
            await process.wait()


async def status_of(address: Address, path: str = "/health/ready", *, scheme: str = "http") -> int | None:
    """Ask once; None = nobody answered."""
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{scheme}://{address}{path}", ssl=False) as response,
        ):
            return response.status
    except (aiohttp.ClientError, OSError):
        return None


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - counts are looked at, nobody announces them
            await asyncio.sleep(0.02)


async def wait_for(address: Address, status: int, path: str = "/health/ready", *, scheme: str = "http") -> None:
    async with asyncio.timeout(30):
        while await status_of(address, path, scheme=scheme) != status:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("server", ["granian", "uvicorn"])
async def test_a_healthy_shop_answers_every_kind_of_client_without_a_failure(tmp_path: Path, server: str) -> None:
    kinds = tuple(kind for kind in USUAL if server == "granian" or kind not in {Kind.H2, Kind.WEBSOCKET})
    async with shop(tmp_path, "-m", "shop", "--server", server) as target:
        await wait_for(target, 200)
        mix = usual_mix(150, kinds=kinds, streams=3)
        mix[Kind.SLOW] = RequestSpec(rate_rps=4, path="/slow?seconds=1&id={id}")
        mix[Kind.UPLOAD] = UploadSpec(rate_rps=4, upload_s=0.5)
        plan = LoadPlan(target=target, kinds=mix, duration_s=1.5)
        async with Load(plan, clock=SystemClock()) as load:
            await load.run_out()
            report = await load.finish()
    assert report.failed == 0, report.examples
    assert report.verdict is Verdict.CLEAN
    assert report.posts is not None
    assert (report.posts.duplicates, report.posts.lost) == (0, 0)
    assert report.posts.acknowledged == report.posts.executed == report.kinds[Kind.POST].sent
    for kind in set(kinds) - {Kind.WEBSOCKET}:
        assert set(report.kinds[kind].versions) == {"v1"}


async def test_http2_is_chosen_by_alpn_over_tls_and_a_server_without_it_is_told(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    await asyncio.to_thread(
        subprocess.run,
        [*make.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    tls = ("--ssl-certificate", str(certificate), "--ssl-keyfile", str(key))
    app = ("-m", "granian", "--interface", "asgi", "--no-log", "shop.app:app")
    found = {}
    for http in ("auto", "1"):
        async with shop(tmp_path, *app, *tls, "--http", http) as target:
            await wait_for(target, 200, scheme="https")
            kinds = usual_mix(50, kinds=(Kind.H2, Kind.KEEPALIVE, Kind.WEBSOCKET, Kind.SSE), streams=1)
            client = ClientTls(ca_file=str(certificate))
            async with Load(
                LoadPlan(target=target, kinds=kinds, duration_s=0.5, tls=client), clock=SystemClock()
            ) as load:
                await load.run_out()
                found[http] = await load.finish()
    assert found["auto"].verdict is Verdict.CLEAN, found["auto"].examples
    assert set(found["1"].kinds[Kind.H2].failed) == {"connect_failed"}
    assert found["1"].kinds[Kind.KEEPALIVE].failures == 0


async def test_a_version_made_to_err_answers_every_fifth_request_with_500(tmp_path: Path) -> None:
    async with shop(tmp_path, HITLESS_VERSION="v2-errors") as target:
        await wait_for(target, 200)
        kinds = {Kind.KEEPALIVE: RequestSpec(rate_rps=100, connections=2)}
        async with Load(LoadPlan(target=target, kinds=kinds, duration_s=1), clock=SystemClock()) as load:
            await load.run_out()
            found = (await load.finish()).kinds[Kind.KEEPALIVE]
    assert found.failed == {"http_500": 20}
    assert found.failed_versions == {"v2-errors": 20}


async def test_a_version_made_never_to_get_ready_lives_and_is_not_ready(tmp_path: Path) -> None:
    async with shop(tmp_path, HITLESS_VERSION="v3-never-ready") as target:
        await wait_for(target, 200, "/health/live")
        assert await status_of(target) == 503


@pytest.mark.parametrize("server", ["granian", "uvicorn"])
async def test_a_version_made_to_crash_ends_with_code_1(server: str) -> None:
    environment = {**os.environ, "HITLESS_VERSION": "v4-crash"}
    command = ("-m", "shop", "--server", server, "--port", str(free_address().port))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=SHOP, env=environment, start_new_session=True
    )
    async with asyncio.timeout(20):
        assert await process.wait() == 1


@asynccontextmanager
async def generator(target: Address, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hitless.testing.load", "--target", str(target), "--json", *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def events_of(process: asyncio.subprocess.Process) -> AsyncIterator[dict[str, object]]:
    assert process.stdout is not None
    async for line in process.stdout:
        yield json.loads(line)


async def test_the_command_prints_snapshots_reads_marks_and_still_reports_after_sigterm(tmp_path: Path) -> None:
    async with (
        shop(tmp_path) as target,
        generator(target, "--rate", "50", "--duration", "60", "--kinds", "keepalive", "--marks-from-stdin") as process,
    ):
        assert process.stdin is not None
        events = events_of(process)
        await wait_for(target, 200)
        process.stdin.write(b"rolling\n")
        async for event in events:
            if event["type"] == "snapshot" and "rolling" in event["by_mark"]:
                break
        process.send_signal(signal.SIGTERM)
        final = [event async for event in events][-1]
        code = await process.wait()
    report = from_json(final)
    assert final["type"] == "report"
    assert report.by_mark["rolling"][Kind.KEEPALIVE].answered > 0
    assert report.failed_in("rolling") == 0
    assert report.duration_s < 60
    assert code == (0 if report.failed == 0 else 1)


async def test_the_command_refuses_a_target_elsewhere() -> None:
    async with generator(Address(host="192.0.2.1", port=80)) as process:
        async with asyncio.timeout(20):
            assert await process.wait() == 4


async def test_streams_that_a_dying_shop_takes_with_it_are_counted_as_cut(tmp_path: Path) -> None:
    kinds = {
        Kind.WEBSOCKET: StreamSpec(streams=3, path="/ws", interval_s=0.05),
        Kind.SSE: StreamSpec(streams=2, path="/events?interval=0.05"),
    }
    async with shop_process(tmp_path) as (target, process):
        await wait_for(target, 200)
        plan = LoadPlan(target=target, kinds=kinds, duration_s=60)
        async with Load(plan, clock=SystemClock()) as load:
            await until(lambda: load.snapshot().total.opened == 5)
            os.killpg(process.pid, signal.SIGKILL)
            await until(lambda: load.snapshot().total.failed.keys() >= {"cut_stream", "connect_refused"})
            await until(lambda: load.snapshot().total.cut == 5)
            report = await load.finish()
    assert report.total.kept == 0
    assert {kind: one.cut for kind, one in report.kinds.items()} == {Kind.WEBSOCKET: 3, Kind.SSE: 2}
    assert set(report.total.failed) == {"cut_stream", "connect_refused"}  # opened again, in vain
