"""What users met, read from a real Envoy's log: every way in which a request may end, and the log may be lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import aiohttp
import pytest
from envoy_stage import Stage, service, table, until
from metrics_support import ask, asked_until, failed, moody, watching

from hitless.adapters.clock import SystemClock
from hitless.adapters.envoy import resources
from hitless.adapters.envoy.admin import Admin
from hitless.adapters.envoy.layout import Layout
from hitless.adapters.envoy.logs import rotate
from hitless.adapters.envoy.traffic import EnvoyTraffic
from hitless.adapters.metrics.local import LocalMetrics
from hitless.adapters.metrics.scrape import Target
from hitless.analysis.counts import LAST_BUCKET, Fates, Second, Transfer, Usage, bucket_of
from hitless.rollout.spec import LOCAL, MetricsSpec, OverrideSpec, PoolSpec, RatioSpec

GRPC = {"content-type": "application/grpc", "te": "trailers"}


async def runs_again(built: Stage, killed: int) -> bool:
    return (await built.router.ensure_running()).pid not in {None, killed}


async def test_every_version_and_instance_has_its_own_outcomes(tmp_path: Path) -> None:
    async with (
        moody(tmp_path, "v1", "v2/β", shares={"v2/β": 5_000, "v1": 5_000}) as (built, listen, _),
        aiohttp.ClientSession() as client,
        watching(built) as seen,
    ):
        for _ in range(60):
            assert await ask(client, f"http://{listen}/cart/17") == 200
        await seen.until(lambda: seen.outcomes()[0] >= 60)
        one, other = seen.outcomes("v1"), seen.outcomes("v2/β")
        assert one[0] + other[0] == 60
        assert min(one[0], other[0]) > 10
        assert one[1] == other[1] == 0
        assert {name for cell in seen.cells() for name in cell.instances} == {"v1-a", "v2/β-a"}
        assert {cell.route for cell in seen.cells()} <= {"other", "GET /cart"}
        assert sum(seen.durations().values()) == 60
        assert max(seen.durations()) < bucket_of(1_000)


async def test_errors_resets_and_broken_answers_fail_and_who_goes_away_is_in_neither_number(tmp_path: Path) -> None:
    async with (
        moody(tmp_path, "v1") as (built, listen, _),
        aiohttp.ClientSession() as client,
        watching(built) as seen,
    ):
        url = f"http://{listen}"
        assert await ask(client, f"{url}/fail") == 500
        assert await ask(client, f"{url}/reset") == 503
        assert await ask(client, f"{url}/cut") is None
        assert await ask(client, f"{url}/slow?s=3", timeout=aiohttp.ClientTimeout(total=0.2)) is None
        assert await ask(client, f"{url}/nothing") == 200
        await seen.until_now()
        assert seen.outcomes() == (4, 3)
        assert sum(seen.durations().values()) == 1
        assert seen.instances() == {"v1-a": Fates(total=4, failed=3)}


async def test_who_waited_a_second_in_vain_counts_as_slow_though_not_as_failed(tmp_path: Path) -> None:
    async with (
        moody(tmp_path, "v1") as (built, listen, _),
        aiohttp.ClientSession() as client,
        watching(built) as seen,
    ):
        await ask(client, f"http://{listen}/slow?s=3", timeout=aiohttp.ClientTimeout(total=1.2))
        await seen.until(lambda: bool(seen.durations()))
        assert seen.outcomes() == (0, 0)
        (bucket,) = seen.durations()
        assert bucket_of(1_100) <= bucket <= bucket_of(2_000)


async def test_grpc_fails_by_its_own_status(tmp_path: Path) -> None:
    async with (
        moody(tmp_path, "v1") as (built, listen, _),
        aiohttp.ClientSession() as client,
        watching(built) as seen,
    ):
        for status in (0, 5, 13, 14):  # OK, NOT_FOUND, INTERNAL, UNAVAILABLE
            url = f"http://{listen}/shop.Cart/Add?status={status}"
            assert await ask(client, url, method="POST", headers=GRPC) == 200
        await seen.until_now()
        assert seen.outcomes() == (4, 2)


async def test_what_a_tester_asks_is_nobodys_traffic_but_only_with_the_right_token(tmp_path: Path) -> None:
    override = OverrideSpec(header="x-version", token="secret-of-testers")
    async with (
        moody(tmp_path, "v1", "v2", override=override) as (built, listen, _),
        aiohttp.ClientSession() as client,
        watching(built) as seen,
    ):
        for token in ("secret-of-testers", "a guess"):
            headers = {"x-version": "v2", "x-version-token": token}
            assert await ask(client, f"http://{listen}/fail", headers=headers) == 500
        await seen.until_now()
        assert (seen.outcomes("v1"), seen.outcomes("v2")) == ((1, 1), (0, 0))
        assert "secret-of-testers" not in (tmp_path / LOCAL / "logs/shop.jsonl").read_text()


async def test_a_request_sent_again_is_told_as_retried(tmp_path: Path) -> None:
    async with (
        moody(tmp_path, "v1") as (built, listen, (v1,)),
        aiohttp.ClientSession() as client,
        watching(built) as seen,
    ):
        stays, dies = await built.serve("v2", 2)  # of one age: slow start gives a newcomer little beside an old one
        await built.must_apply(table({"v2": 10_000}, [v1, stays, dies]))

        async def all_pass() -> bool:
            await built.router.look()
            return list(built.router.verdicts().values()) == [True] * 3

        await until(all_pass)
        await dies.stop()
        statuses = [await ask(client, f"http://{listen}/") for _ in range(20)]
        assert set(statuses) == {200}
        await seen.until_now()
        assert seen.outcomes() == (20, 0)
        assert sum(cell.retried for cell in seen.cells()) > 0


async def test_what_is_open_for_long_is_told_after_five_seconds_and_never_twice(tmp_path: Path) -> None:
    """A hanging request is slower than everything, once; streams are as fast as their first byte; uploads may last."""
    async with (
        moody(tmp_path, "v1") as (built, listen, _),
        aiohttp.ClientSession() as client,
        watching(built) as seen,
    ):
        url = f"http://{listen}"

        async def trickle() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b"x"
                await asyncio.sleep(0.5)

        async def talk() -> None:
            async with client.ws_connect(f"{url}/ws") as connection:
                await connection.send_str("a")
                await asyncio.sleep(10)

        under_way = [
            asyncio.ensure_future(ask(client, f"{url}/slow?s=10")),  # hangs, then answers
            asyncio.ensure_future(ask(client, f"{url}/slow?s=20", timeout=aiohttp.ClientTimeout(total=9))),
            asyncio.ensure_future(ask(client, f"{url}/events?s=10")),
            asyncio.ensure_future(ask(client, f"{url}/events?s=10&breaks=1")),
            asyncio.ensure_future(ask(client, f"{url}/upload", method="POST", data=trickle())),
            asyncio.ensure_future(talk()),
        ]
        await seen.until(lambda: seen.outcomes()[0] + seen.durations().get(LAST_BUCKET, 0) >= 5)
        assert not any(one.done() for one in under_way)
        assert seen.outcomes() == (3, 0)  # two event streams and a WebSocket have been answered
        assert seen.durations()[LAST_BUCKET] == 2
        assert sum(count for bucket, count in seen.durations().items() if bucket < bucket_of(500)) == 3
        statuses = await asyncio.gather(*under_way)
        assert statuses == [200, None, 200, None, 200, None]
        await seen.until_now()
        # the answer that hung, the upload, and the stream that broke have outcomes now; who gave up never will
        assert seen.outcomes() == (6, 1)
        assert sum(seen.durations().values()) == 6  # the upload took its time
        assert seen.durations()[LAST_BUCKET] == 2


async def test_bytes_are_those_of_bodies_and_a_stream_tells_them_at_its_end(tmp_path: Path) -> None:
    async with (
        moody(tmp_path, "v1") as (built, listen, _),
        aiohttp.ClientSession() as client,
        watching(built) as seen,
    ):
        url = f"http://{listen}"
        stream = asyncio.ensure_future(ask(client, f"{url}/events?s=6.5"))
        assert await ask(client, f"{url}/page?bytes=300000") == 200
        assert await ask(client, f"{url}/page?bytes=0") == 200
        assert await ask(client, f"{url}/upload", method="POST", data=b"x" * 50_000) == 200
        bodies = Transfer(answers=3, received_bytes=50_000, sent_bytes=300_000 + len("50000"))
        await seen.until(lambda: seen.outcomes() == (4, 0))
        assert not stream.done()
        assert seen.transfer() == bodies
        assert await stream == 200
        await seen.until_now()
        told = seen.transfer()
        assert told is not None
        assert (told.answers, told.received_bytes) == (4, 50_000)
        events, rest = divmod(told.sent_bytes - bodies.sent_bytes, len("data: x\n\n"))
        assert (rest, events > 20) == (0, True)


async def test_a_websocket_tells_the_bytes_of_its_messages(tmp_path: Path) -> None:
    async with (
        moody(tmp_path, "v1") as (built, listen, _),
        aiohttp.ClientSession() as client,
        watching(built) as seen,
    ):
        async with client.ws_connect(f"http://{listen}/ws") as connection:
            await connection.send_str("x" * 1_000)
            await connection.receive()
        await seen.until(lambda: seen.transfer() is not None)
        told = seen.transfer()
        assert told is not None
        assert told.answers == 1
        assert told.received_bytes > 1_000
        assert told.sent_bytes > 1_000


async def test_a_websocket_may_be_closed_by_the_server(tmp_path: Path) -> None:
    async with (
        moody(tmp_path, "v1") as (built, listen, _),
        aiohttp.ClientSession() as client,
        watching(built) as seen,
    ):
        async with client.ws_connect(f"http://{listen}/ws") as connection:
            await connection.send_str("a")
            await connection.receive()
        await seen.until_now()
        assert seen.outcomes() == (1, 0)


async def test_no_line_is_lost_or_doubled_when_the_log_is_set_aside(tmp_path: Path) -> None:
    async with (
        moody(tmp_path, "v1") as (built, listen, _),
        aiohttp.ClientSession() as client,
        watching(built) as seen,
    ):
        layout = Layout(tmp_path / LOCAL)
        admin = Admin(layout.admin_socket)

        async def set_aside_three_times() -> None:
            for _ in range(3):
                await rotate(layout, admin, limit=0)
                await seen.until_now()

        statuses = await asked_until(client, f"http://{listen}/", set_aside_three_times())
        await admin.close()
        await seen.until_now()
        assert set(statuses) == {200}
        assert seen.outcomes() == (len(statuses), 0)
        assert not seen.gaps()


async def test_an_exchange_of_envoy_loses_nothing_and_is_no_gap(tmp_path: Path) -> None:
    async with (
        moody(tmp_path, "v1") as (built, listen, _),
        aiohttp.ClientSession() as client,
        watching(built) as seen,
    ):

        async def exchange() -> None:
            await seen.until_now()
            await built.router.restart(cut=False, streams_s=2.0)
            await seen.until_now()

        stream = asyncio.ensure_future(ask(client, f"http://{listen}/events?s=3"))
        statuses = await asked_until(client, f"http://{listen}/", exchange())
        assert await stream == 200
        await seen.until_now()
        assert failed(statuses) == 0
        assert seen.outcomes() == (len(statuses) + 1, 0)
        assert not seen.gaps()


async def test_what_a_killed_envoy_had_not_written_makes_a_gap_and_nothing_else(tmp_path: Path) -> None:
    async with (
        moody(tmp_path, "v1") as (built, listen, _),
        aiohttp.ClientSession() as client,
        watching(built) as seen,
    ):
        await ask(client, f"http://{listen}/")
        await seen.until(lambda: seen.outcomes()[0] == 1)
        pid = built.router.state.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await seen.until(lambda: "Envoy does not run" in seen.gaps())
        await until(lambda: runs_again(built, pid))
        await seen.until(lambda: bool(seen.seconds) and seen.seconds[-1].gap is None)
        assert await ask(client, f"http://{listen}/") == 200
        await seen.until_now()
        assert seen.outcomes() == (2, 0)
        assert all(not one.cells for one in seen.seconds if one.gap is not None)


async def test_a_crash_between_two_looks_is_a_gap_too(tmp_path: Path) -> None:
    async with moody(tmp_path, "v1") as (built, _, _), watching(built) as seen:
        await seen.until_now()
        pid = built.router.state.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: runs_again(built, pid))
        await seen.until_now()
        assert seen.gaps()
        await seen.until(lambda: seen.seconds[-1].gap is None)


async def test_an_envoy_that_does_not_answer_makes_gaps_until_it_does(tmp_path: Path) -> None:
    async with (
        moody(tmp_path, "v1") as (built, listen, _),
        aiohttp.ClientSession() as client,
        watching(built) as seen,
    ):
        await seen.until_now()
        pid = built.router.state.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            await seen.until(lambda: seen.gaps() == {"Envoy does not answer"})
        finally:
            os.kill(pid, signal.SIGCONT)
        await seen.until(lambda: seen.seconds[-1].gap is None)
        assert await ask(client, f"http://{listen}/") == 200
        await seen.until_now()
        assert seen.outcomes() == (1, 0)


async def test_a_disk_without_space_makes_gaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with moody(tmp_path, "v1") as (built, _, _), watching(built) as seen:
        await seen.until_now()
        with monkeypatch.context() as patched:
            patched.setattr("hitless.adapters.envoy.traffic._DISK_MUST_HAVE_BYTES", 1 << 62)
            await seen.until(lambda: seen.gaps() == {"the disk is full; Envoy cannot write its log"})
        await seen.until(lambda: seen.seconds[-1].gap is None)


async def test_a_line_that_cannot_be_read_is_a_gap_of_that_moment_alone(tmp_path: Path) -> None:
    async with (
        moody(tmp_path, "v1") as (built, listen, _),
        aiohttp.ClientSession() as client,
        watching(built) as seen,
    ):
        await seen.until_now()
        with (tmp_path / LOCAL / "logs/shop.jsonl").open("a") as log:
            log.write('{"cluster": "shop@v1", "ti\n')
        await seen.until(lambda: seen.gaps() == {"a line of its log cannot be read"})
        await seen.until(lambda: seen.seconds[-1].gap is None)
        await ask(client, f"http://{listen}/")
        await seen.until_now()
        assert seen.outcomes() == (1, 0)


async def test_a_service_that_is_opened_later_is_read_from_its_first_request(tmp_path: Path) -> None:
    async with moody(tmp_path, "v1") as (built, _, _), aiohttp.ClientSession() as client, watching(built) as seen:
        await seen.until_now()
        seen._service = "other"
        seen.seconds.clear()
        spec = service("other")
        await built.router.define(spec)
        await built.must_apply(table({"v1": 10_000}, built.upstreams), service="other")
        assert await ask(client, f"http://{spec.traffic.listen}/") == 200
        await seen.until_now()
        assert seen.outcomes() == (1, 0)


async def test_the_log_of_an_earlier_release_is_read_and_replaced_without_cutting_anybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("time", "method", "path", "status", "flags", "cluster", "host", "duration_us", "attempts", "request_id")
    now = resources.ACCESS_LOG_FORMAT
    monkeypatch.setattr(resources, "ACCESS_LOG_FORMAT", {name: now[name] for name in names})
    async with (
        moody(tmp_path, "v1") as (built, listen, _),
        aiohttp.ClientSession() as client,
        watching(built) as seen,
    ):
        stream = asyncio.ensure_future(ask(client, f"http://{listen}/events?s=3"))
        assert await ask(client, f"http://{listen}/fail") == 500
        await seen.until(lambda: seen.outcomes() == (1, 1))
        monkeypatch.undo()
        spec = built.router._specs["shop"]
        statuses = await asked_until(client, f"http://{listen}/", built.router.define(spec))
        statuses += await asked_until(client, f"http://{listen}/", seen.until_now())
        assert failed(statuses) == 0
        assert await stream == 200
        await seen.until_now()
        assert seen.outcomes() == (len(statuses) + 2, 1)
        assert not seen.gaps()
        assert '"told"' in (tmp_path / LOCAL / "logs/shop.jsonl").read_text()


async def test_requests_calls_ratios_pools_and_usage_of_one_second_are_told_together(tmp_path: Path) -> None:
    async with moody(tmp_path, "v1") as (built, listen, (v1,)), aiohttp.ClientSession() as client:
        target = Target(
            service="shop",
            instance=v1.name,
            region=LOCAL,
            version=v1.version,
            address=v1.address,
            path="/metrics",
            wanted=MetricsSpec(
                ratios=(RatioSpec(name="orders", bad="orders_failed_total", total="orders_total"),),
                pools=(PoolSpec(name="workers", used="pool_in_use", size=4.0),),
            ),
        )

        async def usage() -> Mapping[str, Sequence[Usage]]:
            return {"shop": (Usage(instance=v1.name, region=LOCAL, version=v1.version, age_s=1.0),)}

        async def targets() -> Sequence[Target]:
            return (target,)

        traffic = EnvoyTraffic(
            built.directory, SystemClock(), state=lambda: built.router.state, names=built.router.names
        )
        metrics = LocalMetrics(SystemClock(), traffic, usage=usage, targets=targets)
        await metrics.start()
        seen: list[Second] = []

        async def has_seen(count: int) -> bool:
            await ask(client, f"http://{listen}/")
            seen.extend(await metrics.seconds("shop", after=seen[-1].at if seen else 0))
            return len(seen) >= count

        await until(lambda: has_seen(7))
        await metrics.close()
        requests = sum(cell.requests.total for one in seen for cell in one.cells)
        told = {"db": Fates(), "ratios:orders": Fates()}
        for call in (call for one in seen for call in one.calls):
            told[call.dependency] += call.fates
        assert told["db"].total > requests / 2 > 10
        assert told["ratios:orders"].total == told["db"].total
        assert told["ratios:orders"].failed == pytest.approx(told["db"].total / 3, abs=1)
        assert {(pool.pool, pool.used, pool.size) for one in seen for pool in one.pools} == {("workers", 3.0, 4.0)}
        assert any(one.usage and one.usage[0].requests for one in seen)
        assert [one.at for one in seen] == list(range(seen[0].at, seen[0].at + len(seen)))
