"""Runs a load: starts the clients, ends them, asks about the POSTs, reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from hitless.ports import Clock
from hitless.testing.load.context import Context
from hitless.testing.load.flights import Flights
from hitless.testing.load.ledger import Ledger
from hitless.testing.load.plan import Kind, KindSpec, LoadPlan
from hitless.testing.load.posts import check_posts
from hitless.testing.load.records import RecordClient
from hitless.testing.load.report import PostCheck, Report
from hitless.testing.load.requests import Http1Client, Http2Client, PostClient, UploadClient
from hitless.testing.load.sticky import StickyClient


class Client(Protocol):
    """One kind of client."""

    async def run(self, flights: Flights) -> None:
        """Launch what is due until the load is over."""
        ...

    def close(self) -> None:
        """Close idle connections."""
        ...


class Load:
    """A load under way: `async with Load(plan, clock=clock) as load: ...; report = await load.finish()`."""

    def __init__(self, plan: LoadPlan, *, clock: Clock) -> None:
        self.plan = plan
        self._clock = clock
        self._posts: PostCheck | None = None
        self._duration_s: float | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._started_at = self._clock.now()
        self._context = Context(self.plan, self._new_ledger(loop))
        self._flights = Flights(on_fault=self._context.over.set)
        self._clients = [_client_for(kind, spec, self._context) for kind, spec in self.plan.kinds.items()]
        self._context.start()
        self._timer = loop.call_at(self._context.until, self._context.over.set)
        self._launching = [self._flights.launch(client.run(self._flights)) for client in self._clients]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._context.over.set()
        await self._flights.abandon()
        for client in self._clients:
            client.close()
        await asyncio.sleep(0)  # transports close their sockets in the loop's next turn

    def mark(self, name: str) -> None:
        """Begin a window: fates that become known from now on are counted under `name` too."""
        self._context.ledger.mark(name)

    def snapshot(self) -> Report:
        """Return what is known now."""
        ledger = self._context.ledger
        return Report(
            started_at=self._started_at,
            duration_s=self._duration_s or asyncio.get_running_loop().time() - self._context.started_at,
            kinds=ledger.kinds(),
            by_mark=ledger.by_mark(),
            posts=self._posts,
            is_capped=self._context.is_capped,
            examples=tuple(ledger.examples),
        )

    async def run_out(self) -> None:
        """Wait until the plan's duration has passed, or its bound on requests was met."""
        await self._context.over.wait()

    async def finish(self) -> Report:
        """End the load: no new requests, those under way may end, POSTs are checked, then the report."""
        loop = asyncio.get_running_loop()
        if not self._context.over.is_set():
            self._context.over.set()
            for task in self._launching:
                task.cancel()
        self._duration_s = self._duration_s or loop.time() - self._context.started_at
        await asyncio.wait(self._launching)  # what is due before the end is launched, however late
        await self._flights.wait(within_s=self.plan.drain_s - self.plan.longest_answer_s)
        self._context.is_closed = True  # what is sent now could not be answered in time: that would be our fault
        await self._flights.land(within_s=self.plan.longest_answer_s)
        await self._check_posts()
        self._save_logs()
        return self.snapshot()

    async def _check_posts(self) -> None:
        for client in self._clients:
            if isinstance(client, PostClient) and client.executions_path is not None:
                acknowledged = frozenset(client.acknowledged)
                self._posts = await check_posts(self._context, path=client.executions_path, acknowledged=acknowledged)

    def _save_logs(self) -> None:
        for client in self._clients:
            if isinstance(client, RecordClient):
                client.save()

    def _new_ledger(self, loop: asyncio.AbstractEventLoop) -> Ledger:
        plan = self.plan
        return Ledger(
            plan.kinds,
            version_header=plan.version_header,
            version_field=plan.version_field,
            now=self._clock.now,
            monotonic=loop.time,
        )


def _websocket(context: Context, kind: Kind, spec: Any) -> Client:
    from hitless.testing.load.streams import WebSocketClient  # noqa: PLC0415 - aiohttp costs 0.4 s of import; most loads need none

    return WebSocketClient(context, kind, spec)


def _events(context: Context, kind: Kind, spec: Any) -> Client:
    from hitless.testing.load.streams import EventClient  # noqa: PLC0415 - as above

    return EventClient(context, kind, spec)


# The plan has checked that each kind comes with its own spec.
_CLIENTS: Mapping[Kind, Callable[[Context, Kind, Any], Client]] = {
    Kind.KEEPALIVE: Http1Client,
    Kind.CLOSE: Http1Client,
    Kind.H2: Http2Client,
    Kind.POST: PostClient,
    Kind.SLOW: Http1Client,
    Kind.UPLOAD: UploadClient,
    Kind.WEBSOCKET: _websocket,
    Kind.SSE: _events,
    Kind.STICKY: StickyClient,
    Kind.RECORDS: RecordClient,
}


def _client_for(kind: Kind, spec: KindSpec, context: Context) -> Client:
    return _CLIENTS[kind](context, kind, spec)
