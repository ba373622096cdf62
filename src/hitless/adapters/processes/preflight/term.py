"""What follows SIGTERM under load.

Theory. A request counts as being in the application's hands only when it had been sent a while before the signal: one
that is still in a socket's buffer has reached nobody, and a server that closes that connection has cut nothing. So a
server that answers quickly has few or none, and a page that takes its time is the one that shows something.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hitless.adapters.processes.identity import ProcessIdentity
from hitless.adapters.processes.preflight.client import Connection, Reply, get
from hitless.adapters.processes.preflight.subject import Subject
from hitless.preflight.seen import Answer, CutRequest, Ending
from hitless.rollout.spec import PreflightSpec, ServiceSpec

IN_HANDS_S = 0.1
"""A request that was sent so long ago is in the application's hands."""

LOAD_S = 0.5
LONGEST_LOAD_S = 1.0
LEAST_WAIT_S, LONGEST_WAIT_S = 5.0, 10.0
"""Whoever says so long after SIGTERM that it is ready has not heard it, however short or long `drain.requests` is."""

CHILDREN_S = 1.0
"""So long children may take to follow their parent."""

_CLIENTS = 4
_PAUSE_S = 0.01
_LOOK_S = 0.05


@dataclass(slots=True, kw_only=True)
class _Client:
    """Asks one page after another on a connection that it keeps."""

    subject: Subject
    paths: Sequence[str]
    is_over: bool = False
    connection: Connection | None = None
    last: Reply | None = None

    async def run(self) -> None:
        """Ask until told that the present request is the last."""
        try:
            for path in itertools.cycle(self.paths):
                if self.is_over:
                    return
                await self._ask(path)
                await asyncio.sleep(_PAUSE_S)
        finally:
            self._drop()

    def under_way(self) -> CutRequest | None:
        """Return the present request, if it has been in the application's hands for a while, as if it were cut now."""
        path = self.connection.path if self.connection is not None else None
        if self.connection is None or path is None:
            return None
        age_s = time.monotonic() - self.connection.sent_s
        return CutRequest(path=path, age_s=age_s, problem="no answer") if age_s >= IN_HANDS_S else None

    async def _ask(self, path: str) -> None:
        try:
            self.connection = self.connection or await Connection.open(self.subject.address)
        except OSError:
            return  # what was never accepted is in nobody's hands
        self.last = await self.connection.get(path)
        if not self.last.keeps_open:
            self._drop()

    def _drop(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


async def watch_ending(subject: Subject, spec: ServiceSpec) -> Ending:
    """Tell an instance to end while it is busy, and look until it has, or has had its time."""
    paths = (spec.preflight or PreflightSpec()).paths
    turns = [number % len(paths) for number in range(_CLIENTS)]
    clients = [_Client(subject=subject, paths=(*paths[turn:], *paths[:turn])) for turn in turns]
    tasks = [asyncio.create_task(client.run()) for client in clients]
    try:
        await _until_busy(clients)
        return await _terminate(subject, spec, clients, tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until_busy(clients: list[_Client]) -> None:
    since_s = time.monotonic()
    while (passed_s := time.monotonic() - since_s) < LONGEST_LOAD_S:
        if passed_s >= LOAD_S and any(client.under_way() for client in clients):
            return
        await asyncio.sleep(_PAUSE_S)


async def _terminate(
    subject: Subject, spec: ServiceSpec, clients: list[_Client], tasks: list[asyncio.Task[None]]
) -> Ending:
    assert subject.watch is not None  # it was ready
    waited_s = max(min(spec.drain.requests_s, LONGEST_WAIT_S), LEAST_WAIT_S)
    for client in clients:
        client.is_over = True
    busy = [(client, request) for client in clients if (request := client.under_way()) is not None]
    since_s = time.monotonic()
    subject.terminate()
    await asyncio.wait({subject.watch.ended}, timeout=waited_s)
    exited_after_s = time.monotonic() - since_s if subject.watch.ended.done() else None
    if exited_after_s is None:
        return Ending(
            in_flight=len(busy), waited_s=waited_s, still_ready=await _readiness(subject, spec), cut=_cut(busy)
        )
    await asyncio.wait(tasks, timeout=CHILDREN_S)
    status = subject.watch.ended.result()
    return Ending(
        in_flight=len(busy),
        cut=_cut(busy),
        waited_s=waited_s,
        exited_after_s=exited_after_s,
        code=status.code,
        signal=status.signal,
        children=await _left_behind(subject),
        log=subject.log,
    )


def _cut(busy: list[tuple[_Client, CutRequest]]) -> tuple[CutRequest, ...]:
    """Name the requests that were answered by nothing but an end; what is still under way may be answered yet."""
    return tuple(
        replace(request, problem=client.last.problem or "")
        for client, request in busy
        if client.under_way() is None and client.last is not None and client.last.status is None
    )


async def _readiness(subject: Subject, spec: ServiceSpec) -> Answer:
    at_s = subject.seconds()
    reply = await get(subject.address, spec.health.ready, timeout_s=spec.health.timeout_s)
    return Answer(at_s=at_s, status=reply.status, problem=reply.problem)


async def _left_behind(subject: Subject) -> tuple[str, ...]:
    deadline_s = time.monotonic() + CHILDREN_S
    while (left := await subject.left()) and time.monotonic() < deadline_s:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(_LOOK_S)
    return tuple(f"{_command(process)} (process {process.pid})" for process in left)


def _command(process: ProcessIdentity) -> str:
    try:
        words = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return "gone by now"
    return " ".join(word.decode(errors="replace") for word in words if word) or "a process without a command line"
