"""Ratios read from a real Prometheus that scrapes two versions every second; it dies, and comes back."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from envoy_stage import free_address

from hitless.adapters.clock import SystemClock
from hitless.adapters.metrics import lumps, prometheus
from hitless.adapters.metrics.prometheus import Asked, PrometheusReader
from hitless.analysis.counts import Fates
from hitless.rollout.spec import Address, PrometheusSpec, RatioSpec, Version

PROGRAM = shutil.which("prometheus")
V1, V2 = Version("v1"), Version("v2")
ORDERS = RatioSpec(name="orders", bad='orders_total{outcome="failed"}', total="orders_total", is_query=True)
TOKEN = "s3cret-of-this-test"

pytestmark = pytest.mark.skipif(
    PROGRAM is None and os.environ.get("CI") != "true",
    reason="prometheus is not installed; with CI=true this is a failure",
)


@dataclass(slots=True)
class Shop:
    """One instance of each version: an order every 50 ms, and of the new version's each second one fails."""

    addresses: dict[Version, Address] = field(default_factory=lambda: {one: free_address() for one in (V1, V2)})
    orders: int = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        runners = []
        for version, address in self.addresses.items():
            app = web.Application()
            app.router.add_get("/metrics", self._teller(version))
            runners.append(web.AppRunner(app, shutdown_timeout=0.1))
            await runners[-1].setup()
            await web.TCPSite(runners[-1], address.host, address.port).start()
        serving = asyncio.create_task(self._serve())
        try:
            yield
        finally:
            serving.cancel()
            for one in runners:
                await one.cleanup()

    async def _serve(self) -> None:
        while True:
            self.orders += 1
            await asyncio.sleep(0.05)

    def _teller(self, version: Version) -> Callable[[web.Request], object]:
        async def tell(_request: web.Request) -> web.Response:
            failed = self.orders // 2 if version == V2 else 0
            paid = self.orders - failed
            return web.Response(
                text="# TYPE orders_total counter\n"
                f'orders_total{{outcome="paid"}} {paid}\norders_total{{outcome="failed"}} {failed}\n'
            )

        return tell


@dataclass(slots=True)
class Server:
    """A Prometheus with a storage of its own."""

    directory: Path
    shop: Shop
    address: Address = field(default_factory=free_address)
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    async def start(self) -> None:
        targets = "".join(
            f"      - {{targets: ['{address}'], labels: {{version: {version}}}}}\n"
            for version, address in self.shop.addresses.items()
        )
        (self.directory / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n  - job_name: shop\n"
            f"    static_configs:\n{targets}"
        )
        assert PROGRAM is not None, "prometheus is not installed"
        self.process = await asyncio.create_subprocess_exec(
            PROGRAM,
            f"--config.file={self.directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address={self.address}",
            "--log.level=error",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()

    async def until_it_has_both(self) -> None:
        async with aiohttp.ClientSession() as client:
            for _ in range(300):
                try:
                    async with client.get(f"{self.url}/api/v1/query", params={"query": "count(orders_total)"}) as found:
                        told = await found.json()
                except (aiohttp.ClientError, ValueError):
                    told = {}
                if told.get("data", {}).get("result") and told["data"]["result"][0]["value"][1] == "4":
                    return
                await asyncio.sleep(0.1)
        raise AssertionError("Prometheus never had both versions")


@asynccontextmanager
async def stage(directory: Path) -> AsyncIterator[Server]:
    shop = Shop()
    server = Server(directory, shop)
    async with shop.open():
        await server.start()
        try:
            await server.until_it_has_both()
            yield server
        finally:
            await server.kill()


@asynccontextmanager
async def reading(server: Server, *ratios: RatioSpec, version: str = "version") -> AsyncIterator[PrometheusReader]:
    async def asked() -> list[Asked]:
        spec = PrometheusSpec(url=server.url, version=version)
        return [Asked(service="shop", prometheus=spec, ratios=ratios, versions=frozenset({V1, V2}))]

    reader = PrometheusReader(SystemClock(), asked)
    try:
        yield reader
    finally:
        await reader.close()


async def told_by(reader: PrometheusReader, *, within_s: float = 20.0) -> dict[str, Fates]:
    """Wait for the next window; return what it holds, by version."""
    for _ in range(round(within_s / 0.1)):
        calls = reader.tell(at=int(SystemClock().now().timestamp())).get("shop", ())
        if calls:
            assert {one.dependency for one in calls} == {"ratios:orders"}
            return {one.version: one.fates for one in calls}
        await asyncio.sleep(0.1)
    raise AssertionError("nothing was told in time")


async def silence_of(reader: PrometheusReader) -> None:
    """Wait until nothing is told any more; what was read before may still be."""
    while True:
        try:
            await told_by(reader, within_s=5.0)
        except AssertionError:
            return


async def logged(caplog: pytest.LogCaptureFixture, text: str) -> None:
    for _ in range(150):
        if text in caplog.text:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{text!r} was never logged: {caplog.text}")


async def test_ratios_of_both_versions_are_read_missing_while_it_is_dead_and_read_on_once_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lumps, "WINDOW_S", 3)
    monkeypatch.setattr(lumps, "SILENT_S", 3)
    monkeypatch.setattr(prometheus, "EVERY_S", 1)
    async with stage(tmp_path) as server, reading(server, ORDERS) as reader:
        reader.start()
        for _ in range(2):
            found = await told_by(reader)
            assert found[V1].failed == 0
            assert found[V1].total >= 5
            assert found[V2].failed == pytest.approx(found[V2].total / 2, abs=1)
        await server.kill()
        await logged(caplog, "ratio orders cannot be read")
        await silence_of(reader)
        assert caplog.text.count("cannot be read") <= 4  # two queries, and connections that end in more than one way
        before = server.shop.orders
        await server.start()
        await server.until_it_has_both()
        found = await told_by(reader)
        assert found[V1].failed == 0
        assert found[V2].failed == pytest.approx(found[V2].total / 2, abs=1)
        assert found[V1].total < server.shop.orders - before + 60  # not what was ordered while nobody looked


NO_COUNTERS = {
    "rate(orders_total[": "bad_data",
    "42": "the answer is a scalar",
    "sum(orders_total)": "no series has the label `version`",
    "orders_totl": "no series matches",
    "orders_total / 0 * 0": "a value is NaN",
}


async def test_queries_that_tell_no_counters_by_version_are_told_once_in_prometheus_own_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ratios = [
        RatioSpec(name=f"r{number}", bad=query, total="orders_total", is_query=True)
        for number, query in enumerate(NO_COUNTERS)
    ]
    async with stage(tmp_path) as server, reading(server, *ratios) as reader:
        sentences = [f"`{query}` at {server.url}: {why}" for query, why in NO_COUNTERS.items()]
        for _ in range(100):  # what was scraped in this very second is not there yet
            await reader.ask()
            if all(one in caplog.text for one in sentences):
                break
            await asyncio.sleep(0.1)
        for _ in range(3):
            await reader.ask()
        assert reader.tell(at=10**10) == {}
    assert [caplog.text.count(one) for one in sentences] == [1] * len(sentences)


async def test_a_token_is_sent_and_never_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str | None] = []

    async def refuse(request: web.Request) -> web.Response:
        seen.append(request.headers.get("authorization"))
        return web.Response(status=401, text="no")

    app, address = web.Application(), free_address()
    app.router.add_get("/api/v1/query", refuse)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, address.host, address.port).start()
    (tmp_path / "token").write_text(f"{TOKEN}\n")

    async def asked() -> list[Asked]:
        spec = PrometheusSpec(url=f"http://{address}", token_file=str(tmp_path / "token"))
        return [Asked(service="shop", prometheus=spec, ratios=(ORDERS,), versions=frozenset({V1}))]

    reader = PrometheusReader(SystemClock(), asked)
    await reader.ask()
    (tmp_path / "token").unlink()
    await reader.ask()
    await reader.close()
    await runner.cleanup()
    assert set(seen) == {f"Bearer {TOKEN}"}
    assert "status 401" in caplog.text
    assert "token" in caplog.text
    assert TOKEN not in caplog.text
