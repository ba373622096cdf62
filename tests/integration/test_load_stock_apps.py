"""The stock applications of the examples answer the generator as they are."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

import pytest

from hitless.adapters.clock import SystemClock
from hitless.rollout.spec import Address
from hitless.testing.load import Kind, Load, LoadPlan, RequestSpec, Verdict, usual_mix

EXAMPLES = Path(__file__).parents[2] / "examples"
GUNICORN = (sys.executable, "-m", "gunicorn", "shop:application", "--bind", "127.0.0.1:{port}")
KINDS = (Kind.KEEPALIVE, Kind.CLOSE, Kind.POST, Kind.STICKY)


@pytest.mark.parametrize(
    ("directory", "command"),
    [
        pytest.param("node", ("node", "server.js", "{port}"), id="node"),
        pytest.param("django_app", (*GUNICORN, "--workers", "1"), id="gunicorn-sync"),
        pytest.param("django_app", (*GUNICORN, "--worker-class", "gthread", "--threads", "8"), id="gunicorn-gthread"),
    ],
)
async def test_a_stock_application_answers_every_plain_request(directory: str, command: tuple[str, ...]) -> None:
    if shutil.which(command[0]) is None and os.environ.get("CI") != "true":
        pytest.skip(f"{command[0]} is not installed; with CI=true this is a failure")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        target = Address(host="127.0.0.1", port=probe.getsockname()[1])
    process = await asyncio.create_subprocess_exec(
        *(part.format(port=target.port) for part in command),
        cwd=EXAMPLES / directory,
        env={**os.environ, "HITLESS_VERSION": "v5"},
        start_new_session=True,
    )
    try:
        await wait_until_open(target)
        mix = usual_mix(80, kinds=KINDS, executions=False)
        mix[Kind.SLOW] = RequestSpec(rate_rps=1, path="/slow?seconds=0.2&id={id}")
        async with Load(LoadPlan(target=target, kinds=mix, duration_s=1), clock=SystemClock()) as load:
            await load.run_out()
            report = await load.finish()
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        async with asyncio.timeout(20):
            await process.wait()
    assert report.verdict is Verdict.CLEAN, report.examples
    assert set(report.total.versions) == {"v5"}
    assert report.total.changes == {}


async def wait_until_open(target: Address) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection(target.host, target.port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
