from __future__ import annotations

import asyncio
import time

import pytest
from load_servers import Behaviour, Exchange, http_server

from hitless.adapters.clock import SystemClock
from hitless.rollout.spec import Address
from hitless.testing.load import Kind, KindReport, Load, LoadPlan, PostSpec, Report, RequestSpec, UploadSpec, Verdict

A_HUNDRED = RequestSpec(rate_rps=200, connections=4, timeout_s=5)


async def load_for(
    target: Address, *, kind: Kind = Kind.KEEPALIVE, spec: RequestSpec = A_HUNDRED, duration_s: float = 0.5
) -> Report:
    plan = LoadPlan(target=target, kinds={kind: spec}, duration_s=duration_s, drain_s=20)
    async with Load(plan, clock=SystemClock()) as load:
        await load.run_out()
        return await load.finish()


async def load_against(
    behaviour: Behaviour, *, kind: Kind = Kind.KEEPALIVE, spec: RequestSpec = A_HUNDRED
) -> KindReport:
    async with http_server(behaviour) as target:
        return (await load_for(target, kind=kind, spec=spec)).kinds[kind]


class Planted:
    """Answers well, but for every tenth request does what was planted."""

    def __init__(self, fault: Behaviour) -> None:
        self._fault = fault
        self.count = 0

    async def __call__(self, exchange: Exchange) -> None:
        if exchange.number % 10 == 0:
            self.count += 1
            await self._fault(exchange)
        else:
            exchange.answer()


async def reset(exchange: Exchange) -> None:
    exchange.reset()


async def say_500(exchange: Exchange) -> None:
    exchange.answer(status=500)


async def truncate(exchange: Exchange) -> None:
    exchange.answer(length=1000)
    exchange.close()


async def hang_up(exchange: Exchange) -> None:
    exchange.close()


async def answer_another_request(exchange: Exchange) -> None:
    exchange.answer({"id": "somebody else's"})


async def speak_no_http(exchange: Exchange) -> None:
    exchange.writer.write(b"220 smtp.example ESMTP\r\n\r\n")


@pytest.mark.parametrize("kind", [Kind.KEEPALIVE, Kind.CLOSE])
@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (reset, "reset"),
        (say_500, "http_500"),
        (truncate, "truncated_body"),
        (hang_up, "closed_before_response"),
        (answer_another_request, "wrong_body"),
        (speak_no_http, "protocol_error"),
    ],
)
async def test_every_planted_fault_is_counted_under_its_cause_and_nothing_else(
    fault: Behaviour, cause: str, kind: Kind
) -> None:
    planted = Planted(fault)
    found = await load_against(planted, kind=kind)
    assert planted.count == 10
    assert found.failed == {cause: 10}
    assert (found.sent, found.answered) == (100, 90)
    assert found.versions == {"v1": 90}


async def test_a_failure_comes_with_its_moment_cause_connection_age_and_port() -> None:
    async with http_server(Planted(reset)) as target:
        report = await load_for(target)
    example = report.examples[0]
    assert (example.kind, example.cause) == (Kind.KEEPALIVE, "reset")
    assert example.connection_age_s is not None
    assert example.connection_age_s >= 0
    assert example.local_port
    assert report.started_at <= example.at


async def test_a_healthy_server_gives_no_failure_and_every_due_request_is_sent() -> None:
    async def be_healthy(exchange: Exchange) -> None:
        exchange.answer()

    async with http_server(be_healthy) as target:
        report = await load_for(target)
    assert report.verdict is Verdict.CLEAN
    assert (report.sent, report.failed) == (100, 0)


async def test_a_connection_that_the_server_announced_to_close_is_not_used_again() -> None:
    async def close_politely(exchange: Exchange) -> None:
        exchange.answer(headers=("connection: close",))
        exchange.close()

    found = await load_against(close_politely)
    assert (found.answered, found.failures) == (100, 0)


async def test_a_connection_that_is_closed_while_idle_fails_nobody() -> None:
    async def close_without_a_word(exchange: Exchange) -> None:
        exchange.answer()
        exchange.close()

    found = await load_against(close_without_a_word, spec=RequestSpec(rate_rps=20, connections=1))
    assert (found.answered, found.failures) == (10, 0)


async def test_answers_in_chunks_and_answers_that_end_with_their_connection_are_whole() -> None:
    async def use_other_framings(exchange: Exchange) -> None:
        name = exchange.id.encode()
        if exchange.number % 2:
            chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(name), name)
            exchange.writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunk)
        else:
            exchange.writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + name)
            exchange.close()

    found = await load_against(use_other_framings)
    assert (found.answered, found.failures) == (100, 0)
    assert found.versions == {"": 100}


async def test_the_version_is_read_from_the_json_body_when_no_header_names_it() -> None:
    async def name_it_in_the_body(exchange: Exchange) -> None:
        content = b'{"version": "v9", "id": "%s"}' % exchange.id.encode()
        exchange.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(content), content))

    assert (await load_against(name_it_in_the_body)).versions == {"v9": 100}


async def test_an_answer_that_does_not_come_is_a_timeout() -> None:
    async def stay_silent(_exchange: Exchange) -> None:
        return

    spec = RequestSpec(rate_rps=40, connections=20, timeout_s=0.3)
    found = await load_against(stay_silent, spec=spec)
    assert found.failed == {"timeout": 20}


async def test_a_closed_port_is_refused_connections() -> None:
    async with http_server(reset) as target:
        pass
    report = await load_for(target)
    assert report.kinds[Kind.KEEPALIVE].failed == {"connect_refused": 100}
    assert report.verdict is Verdict.FAILED


async def test_a_stall_of_the_server_is_felt_by_all_who_come_meanwhile() -> None:
    """A closed loop with one connection would see a single slow request among hundreds (coordinated omission)."""
    stall_s, stalled = 0.5, False

    async def stall_once(exchange: Exchange) -> None:
        nonlocal stalled
        if exchange.number == 50 and not stalled:
            stalled = True
            await asyncio.sleep(stall_s)
        exchange.answer()

    spec = RequestSpec(rate_rps=200, connections=1, timeout_s=5)
    async with http_server(stall_once) as target:
        found = (await load_for(target, spec=spec, duration_s=1.0)).kinds[Kind.KEEPALIVE]
    p95_ms, p99_ms = found.latency.quantile_ms(0.95), found.latency.quantile_ms(0.99)
    assert p95_ms is not None
    assert p99_ms is not None
    # 100 of 200 requests come during the stall, their waits spread evenly over it
    assert p95_ms >= 350
    assert p99_ms >= 450
    assert found.queued >= 50
    assert (found.sent, found.failures) == (200, 0)


async def test_a_generator_that_cannot_keep_up_says_so_and_asks_no_less() -> None:
    async def be_healthy(exchange: Exchange) -> None:
        exchange.answer()

    async with http_server(be_healthy) as target:
        plan = LoadPlan(target=target, kinds={Kind.KEEPALIVE: RequestSpec(rate_rps=100)}, duration_s=1.0)
        async with Load(plan, clock=SystemClock()) as load:
            await asyncio.sleep(0.2)
            time.sleep(0.4)  # noqa: ASYNC251 - the generator's own loop stands still, as on a core that is taken away
            await load.run_out()
            found = (await load.finish()).kinds[Kind.KEEPALIVE]
    assert found.late >= 30
    assert found.sent == 100


async def test_requests_that_never_left_are_reported_and_prove_nothing() -> None:
    async def answer_once(exchange: Exchange) -> None:
        await asyncio.sleep(0 if exchange.number == 1 else 60)
        exchange.answer()

    async with http_server(answer_once) as target:
        spec = RequestSpec(rate_rps=20, connections=1, timeout_s=60)
        plan = LoadPlan(target=target, kinds={Kind.KEEPALIVE: spec}, duration_s=0.5, drain_s=0.2)
        async with Load(plan, clock=SystemClock()) as load:
            await load.run_out()
            report = await load.finish()
    found = report.kinds[Kind.KEEPALIVE]
    assert (found.answered, found.failed, found.unsent) == (1, {"timeout": 1}, 8)


async def test_what_waits_for_a_connection_at_the_end_is_not_sent_when_its_answer_would_come_too_late() -> None:
    async def answer_slowly(exchange: Exchange) -> None:
        await asyncio.sleep(0.2)
        exchange.answer()

    async with http_server(answer_slowly) as target:
        spec = RequestSpec(rate_rps=100, connections=1, timeout_s=5)
        plan = LoadPlan(target=target, kinds={Kind.KEEPALIVE: spec}, duration_s=0.5, drain_s=5)
        async with Load(plan, clock=SystemClock()) as load:
            await load.run_out()
            report = await load.finish()
    found = report.kinds[Kind.KEEPALIVE]
    assert found.failed == {}
    assert (found.answered + found.unsent, report.verdict) == (50, Verdict.INCOMPLETE)


async def test_without_a_request_there_is_no_success() -> None:
    async def be_healthy(exchange: Exchange) -> None:
        exchange.answer()

    async with http_server(be_healthy) as target:
        plan = LoadPlan(target=target, kinds={Kind.KEEPALIVE: RequestSpec(rate_rps=1)}, duration_s=5)
        async with Load(plan, clock=SystemClock()) as load:
            report = await load.finish()
    assert (report.sent, report.failed) == (0, 0)
    assert report.verdict is Verdict.NO_EVIDENCE


async def test_the_bound_on_requests_ends_the_load_and_is_reported() -> None:
    async def be_healthy(exchange: Exchange) -> None:
        exchange.answer()

    async with http_server(be_healthy) as target:
        plan = LoadPlan(target=target, kinds={Kind.KEEPALIVE: A_HUNDRED}, duration_s=60, max_requests=30)
        async with Load(plan, clock=SystemClock()) as load:
            await load.run_out()
            report = await load.finish()
    assert (report.sent, report.is_capped) == (30, True)
    assert report.duration_s < 30


async def test_marks_break_the_counts_down_and_add_up() -> None:
    faulty = False

    async def fail_when_told(exchange: Exchange) -> None:
        exchange.answer(status=503 if faulty else 200)

    async with http_server(fail_when_told) as target:
        plan = LoadPlan(target=target, kinds={Kind.KEEPALIVE: A_HUNDRED}, duration_s=60)
        async with Load(plan, clock=SystemClock()) as load:
            load.mark("calm")
            await sent_in(load, "calm")
            faulty = True
            load.mark("storm")
            await sent_in(load, "storm")
            report = await load.finish()
    storm = report.by_mark["storm"][Kind.KEEPALIVE]
    assert report.failed_in("calm") == 0
    assert storm.failed == {"http_503": storm.failures}
    assert storm.failed_versions == {"v1": storm.failures}
    assert sum(window[Kind.KEEPALIVE].sent for window in report.by_mark.values()) == report.sent


async def sent_in(load: Load, mark: str, *, at_least: int = 20) -> None:
    async with asyncio.timeout(20):
        while load.snapshot().by_mark.get(mark, {}).get(Kind.KEEPALIVE, KindReport()).sent < at_least:  # noqa: ASYNC110 - polled
            await asyncio.sleep(0.02)


class OrderDesk:
    """Executes every tenth order as planted, and tells what it executed."""

    def __init__(self, times: int) -> None:
        self._times = times
        self.executions: dict[str, int] = {}
        self.planted = 0

    async def __call__(self, exchange: Exchange) -> None:
        if exchange.method == "GET":
            exchange.answer({"executions": self.executions})
            return
        is_planted = exchange.number % 10 == 0
        self.planted += is_planted
        times = self._times if is_planted else 1
        if times:
            self.executions[exchange.id] = times
        exchange.answer(status=201)


@pytest.mark.parametrize(("times", "duplicates", "lost"), [(1, 0, 0), (2, 10, 0), (3, 20, 0), (0, 0, 10)])
async def test_posts_that_were_executed_twice_or_never_are_found_by_asking(
    times: int, duplicates: int, lost: int
) -> None:
    desk = OrderDesk(times)
    async with http_server(desk) as target:
        report = await load_for(target, kind=Kind.POST, spec=PostSpec(rate_rps=200, connections=4))
    assert report.posts is not None
    assert desk.planted == 10
    assert (report.posts.duplicates, report.posts.lost) == (duplicates, lost)
    assert (report.posts.acknowledged, report.failed) == (100, duplicates + lost)
    assert (report.verdict is Verdict.CLEAN) == (duplicates + lost == 0)


async def test_an_application_that_does_not_tell_its_executions_is_no_success() -> None:
    async def tell_nothing(exchange: Exchange) -> None:
        exchange.answer(status=404 if exchange.method == "GET" else 201)

    async with http_server(tell_nothing) as target:
        report = await load_for(target, kind=Kind.POST, spec=PostSpec(rate_rps=20))
    assert report.failed == 0
    assert report.posts is not None
    assert "http_404" in str(report.posts.problem)
    assert report.verdict is Verdict.INCOMPLETE


async def test_a_slow_upload_arrives_whole_and_an_upload_that_is_cut_is_a_failure() -> None:
    sizes = []

    async def receive(exchange: Exchange) -> None:
        sizes.append(len(exchange.body))
        exchange.answer({"id": exchange.path.rpartition("=")[2]}) if exchange.number > 1 else exchange.reset()

    spec = UploadSpec(rate_rps=20, size_bytes=10_000, upload_s=0.5)
    found = await load_against(receive, kind=Kind.UPLOAD, spec=spec)
    assert sizes == [10_000] * 10
    assert (found.answered, found.failed) == (9, {"reset": 1})
    p50_ms = found.latency.quantile_ms(0.5)
    assert p50_ms is not None
    assert p50_ms >= 450
