"""Applications' own figures asked over HTTP, and what real processes use."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from envoy_stage import free_address
from processes_support import WEB_1, fleet_at, settled, start, web_spec

from hitless.adapters.metrics.scrape import MISSING_AFTER, MOST_BYTES, Scraper, Target
from hitless.adapters.processes.identity import MARK, read_stat
from hitless.adapters.processes.usage import Subject, read_usage
from hitless.rollout.spec import LOCAL, Address, InstanceId, MetricsSpec, RatioSpec, Version
from hitless.rollout.world import Phase

FIGURES = '# TYPE x_total counter\nx_total{dependency="db",outcome="ok"} 5\n'


@asynccontextmanager
async def telling(handler: web.RequestHandler | object) -> AsyncIterator[Address]:
    app = web.Application()
    app.router.add_get("/metrics", handler)  # type: ignore[arg-type]
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    address = free_address()
    await web.TCPSite(runner, address.host, address.port).start()
    try:
        yield address
    finally:
        await runner.cleanup()


def target(address: Address, name: str = "a") -> Target:
    return Target(
        service="shop",
        instance=InstanceId(name),
        region=LOCAL,
        version=Version("v1"),
        address=address,
        path="/metrics",
    )


async def test_figures_are_read_and_what_cannot_be_read_is_missing_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def good(_request: web.Request) -> web.Response:
        return web.Response(text=FIGURES)

    scraper = Scraper()
    async with telling(good) as address:
        targets = [target(address), target(free_address(), "nobody listens")]
        for _ in range(2):
            read, silent = await scraper.read(targets)
    await scraper.close()
    assert read.counters is not None
    assert [one.value for one in read.counters.values()] == [5.0]
    assert silent.counters is None
    assert caplog.text.count("nobody listens") == 1


async def test_a_ratio_that_no_instance_of_a_version_tells_is_logged_once_after_some_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def good(_request: web.Request) -> web.Response:
        return web.Response(text=FIGURES)

    wanted = MetricsSpec(ratios=(RatioSpec(name="cache", bad="cache_mises_total", total="x_total"),))
    sentence = "figures of shop v1 at /metrics: ratio cache: there is no metric `cache_mises_total`"
    scraper = Scraper()
    async with telling(good) as address:
        for number in range(3 * MISSING_AFTER):
            (found,) = await scraper.read([replace(target(address), wanted=wanted)])
            assert (sentence in caplog.text) is (number + 1 >= MISSING_AFTER)
    await scraper.close()
    assert caplog.text.count(sentence) == 1
    assert [one.dependency for one in (found.counters or {}).values()] == ["db"]


async def test_slow_huge_wrong_and_refusing_instances_are_missing() -> None:
    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response(text=FIGURES)

    async def huge(_request: web.Request) -> web.Response:
        return web.Response(text="#" * (MOST_BYTES + 1))

    async def wrong(_request: web.Request) -> web.Response:
        return web.Response(text='x_total{dependency="db",outcome="ok"} many\n')

    async def binary(_request: web.Request) -> web.Response:
        return web.Response(body=b"\xff\xfe")

    async def refusing(_request: web.Request) -> web.Response:
        return web.Response(status=404)

    scraper = Scraper()
    for handler in (slow, huge, wrong, binary, refusing):
        async with telling(handler) as address:
            (found,) = await asyncio.wait_for(scraper.read([target(address)]), 3)
            assert found.counters is None
    await scraper.close()


async def test_many_that_hang_keep_nobody_else_from_being_read_and_are_read_when_they_answer_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hitless.adapters.metrics.scrape.ANSWER_WITHIN_S", 1.5)  # what answers has time on any machine
    awake: set[str] = set()

    async def moody(request: web.Request) -> web.Response:
        if request.query["name"] not in awake:
            await asyncio.Event().wait()
        return web.Response(text=FIGURES)

    scraper = Scraper()
    async with telling(moody) as address:
        hanging, honest = [f"hangs {number}" for number in range(80)], [f"answers {number}" for number in range(10)]
        awake.update(honest)
        targets = [
            replace(target(address, name), path=f"/metrics?name={name.replace(' ', '%20')}")
            for name in (*hanging, *honest)
        ]

        async def names_read() -> set[str]:
            found = await scraper.read(targets)
            assert [one.instance for one in found] == [one.instance for one in targets]
            return {str(one.instance) for one in found if one.counters is not None}

        await names_read()  # nobody is known yet, and whoever is named first has the first turn
        assert await names_read() == set(honest)
        awake.add("hangs 79")
        read = [await names_read(), await names_read()]
        assert all(set(honest) <= one for one in read)
        assert "hangs 79" in read[0] | read[1]
    await scraper.close()
    assert "answers 9 cannot be read at /metrics?name=answers%209: not asked within" in caplog.text
    assert caplog.text.count("instance hangs 0 cannot be read") == 1


CHILD = "import time; data = bytearray(30_000_000); open('/dev/null'); time.sleep(60)"
PARENT = (
    "import subprocess, sys, time\n"
    f"child = subprocess.Popen([sys.executable, '-c', {CHILD!r}])\n"
    "while time.process_time() < 0.3: pass\n"
    "print('ready', flush=True); time.sleep(60)"
)


async def test_usage_is_that_of_all_processes_of_an_instance() -> None:
    environment = {**os.environ, MARK: "mark-of-this-test"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, env=environment, start_new_session=True, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        stat = read_stat(process.pid)
        assert stat is not None
        subject = Subject(
            instance=InstanceId("a"),
            region=LOCAL,
            version=Version("v1"),
            main=stat.identity,
            mark="mark-of-this-test",
        )
        for _ in range(100):
            (found,) = await asyncio.to_thread(read_usage, [subject])
            assert found.memory_bytes is not None
            if found.memory_bytes > 40_000_000:
                break
            await asyncio.sleep(0.05)
        assert 40_000_000 < found.memory_bytes < 200_000_000
        assert found.cpu_s is not None
        assert 0.2 < found.cpu_s < 10
        assert found.descriptors is not None
        assert found.descriptors >= 6
        assert 0 < found.age_s < 30
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    assert await asyncio.to_thread(read_usage, [subject]) == ()


async def test_a_fleet_knows_what_its_instances_use_by_service(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        assert await fleet.usage() == {}
        await start(fleet, web_spec())
        await settled(fleet, WEB_1, Phase.READY)
        (found,) = (await fleet.usage())["web"]
        assert (found.instance, found.version, found.region) == (WEB_1, "v1", LOCAL)
        assert found.memory_bytes is not None
        assert found.memory_bytes > 1_000_000
        assert 0 < found.age_s < 60
    assert await fleet.usage() == {}
