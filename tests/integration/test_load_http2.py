from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import RequestReceived
from hyperframe.frame import GoAwayFrame
from load_servers import listening

from hitless.adapters.clock import SystemClock
from hitless.rollout.spec import Address
from hitless.testing.load import Http2Spec, Kind, KindReport, Load, LoadPlan

GRACEFULLY_ALL = 2**31 - 1


class Conversation:
    """One connection of a server with planted faults."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.machine = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.machine.initiate_connection()
        self.asked = 0

    def answer(self, request: RequestReceived, *, status: int = 200) -> None:
        path = dict(request.headers)[":path"]
        self.machine.send_headers(request.stream_id, [(":status", str(status)), ("x-version", "v2")])
        self.machine.send_data(request.stream_id, path.rpartition("/")[2].encode(), end_stream=True)

    def refuse(self, request: RequestReceived) -> None:
        self.machine.reset_stream(request.stream_id, ErrorCodes.REFUSED_STREAM)

    def go_away(self, last_stream: int) -> None:
        """Write GOAWAY past the state machine, so that the streams below it can go on."""
        self.flush()
        self.writer.write(GoAwayFrame(last_stream_id=last_stream).serialize())

    def flush(self) -> None:
        self.writer.write(self.machine.data_to_send())


class Behaviour(Protocol):
    async def __call__(self, conversation: Conversation, request: RequestReceived) -> None: ...


@asynccontextmanager
async def http2_server(behaviour: Behaviour) -> AsyncIterator[Address]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = Conversation(writer)
        conversation.flush()
        while (data := await reader.read(65_536)) and not writer.is_closing():
            for event in conversation.machine.receive_data(data):
                if isinstance(event, RequestReceived):
                    conversation.asked += 1
                    await behaviour(conversation, event)
            conversation.flush()
        writer.close()

    async with listening(serve) as address:
        yield address


async def load_against(behaviour: Behaviour, *, rate_rps: float = 200, timeout_s: float = 5) -> KindReport:
    async with http2_server(behaviour) as target:
        spec = Http2Spec(rate_rps=rate_rps, connections=2, timeout_s=timeout_s)
        plan = LoadPlan(target=target, kinds={Kind.H2: spec}, duration_s=0.5)
        async with Load(plan, clock=SystemClock()) as load:
            await load.run_out()
            return (await load.finish()).kinds[Kind.H2]


async def test_a_healthy_server_answers_every_request() -> None:
    async def be_healthy(conversation: Conversation, request: RequestReceived) -> None:
        conversation.answer(request)

    found = await load_against(be_healthy)
    assert (found.sent, found.answered, found.failures, found.moved) == (100, 100, 0, 0)
    assert found.versions == {"v2": 100}


async def test_requests_above_the_last_stream_of_a_goaway_move_and_do_not_fail() -> None:
    moved = 0

    async def leave_at_the_tenth(conversation: Conversation, request: RequestReceived) -> None:
        nonlocal moved
        if conversation.asked < 10:
            conversation.answer(request)
        elif conversation.asked == 10:
            conversation.go_away(request.stream_id - 2)
            moved += 1

    found = await load_against(leave_at_the_tenth)
    assert moved >= 8
    assert (found.answered, found.failures) == (100, 0)
    assert found.moved >= moved


async def test_requests_below_the_last_stream_of_a_goaway_are_answered_where_they_are() -> None:
    async def leave_and_answer(conversation: Conversation, request: RequestReceived) -> None:
        if conversation.asked == 5:
            conversation.go_away(GRACEFULLY_ALL)
            await asyncio.sleep(0.01)
        conversation.answer(request)

    found = await load_against(leave_and_answer)
    assert (found.answered, found.failures) == (100, 0)


async def test_a_processed_request_that_a_leaving_server_does_not_answer_is_a_failure() -> None:
    planted = 0

    async def leave_without_an_answer(conversation: Conversation, request: RequestReceived) -> None:
        nonlocal planted
        if conversation.asked % 10:
            conversation.answer(request)
        else:
            planted += 1
            conversation.go_away(request.stream_id)
            await conversation.writer.drain()
            conversation.writer.close()

    found = await load_against(leave_without_an_answer, rate_rps=50)
    assert found.failed == ({"goaway": planted} if planted else {})
    assert planted >= 1


async def test_refused_streams_move_and_fail_when_nobody_takes_them() -> None:
    async def refuse_every_second(conversation: Conversation, request: RequestReceived) -> None:
        conversation.refuse(request) if conversation.asked % 10 == 0 else conversation.answer(request)

    async def refuse_all(conversation: Conversation, request: RequestReceived) -> None:
        conversation.refuse(request)

    taken = await load_against(refuse_every_second)
    assert (taken.answered, taken.failures) == (100, 0)
    assert taken.moved >= 8
    nobody = await load_against(refuse_all)
    assert nobody.failed == {"goaway": 100}


async def test_errors_resets_and_silence_are_counted_by_cause() -> None:
    planted = {"http_503": 0, "reset": 0, "timeout": 0}

    async def fail_in_turn(conversation: Conversation, request: RequestReceived) -> None:
        cause = ("http_503", "reset", "timeout", None)[conversation.asked % 4]
        if cause is None:
            conversation.answer(request)
            return
        planted[cause] += 1
        if cause == "http_503":
            conversation.answer(request, status=503)
        elif cause == "reset":
            conversation.machine.reset_stream(request.stream_id, ErrorCodes.INTERNAL_ERROR)

    found = await load_against(fail_in_turn, timeout_s=0.5)
    assert all(planted.values())
    assert found.failed == planted
    assert found.sent == 100
