"""What is looked at, one function a question. None of them judges; none of them asks anything but GET.

Moments in what they return are seconds after the start of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

from hitless.adapters.processes import health
from hitless.adapters.processes.preflight.client import Connection, Reply, get
from hitless.adapters.processes.preflight.subject import Subject
from hitless.preflight.seen import Answer, IdleConnection, LostSession, Start
from hitless.rollout.spec import PreflightSpec, ServiceSpec
from hitless.rollout.world import Phase

PAGE_TIMEOUT_S = 10.0
"""A page may take longer than a probe."""

WATCH_S = 4.0
"""So long pages may fail after readiness has said yes; longer makes no finding worse."""

LONGEST_IDLE_S = 6.0
"""Servers close idle connections after 2 to 5 s where nobody has told them otherwise (gunicorn 2, Node.js, uvicorn and
hypercorn 5). What is open longer than this is believed."""

_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 0.25
_PAUSE_GROWTH = 1.25
_IDLE_CONNECTIONS = 2


async def watch_start(subject: Subject, spec: ServiceSpec) -> Start:
    """Ask for readiness until it says yes, then for pages until they serve."""
    start = await _until_ready(subject, spec)
    if start.ready_at_s is None:
        return replace(start, log=subject.log)
    deadline_s = time.monotonic() + WATCH_S
    served = await asyncio.gather(*(_until_served(subject, path, deadline_s) for path in _pages(spec)))
    return replace(start, pages=dict(zip(_pages(spec), served, strict=True)), log=subject.log)


async def watch_stray(subject: Subject, start: Start, spec: ServiceSpec) -> Start:
    """Ask for a path that no application has, beside the readiness path, until it is refused."""
    path = f"{spec.health.ready.rpartition('/')[0]}/hitless-{uuid.uuid4().hex[:8]}"
    return replace(start, stray_path=path, stray=await _until_refused(subject, path, time.monotonic() + WATCH_S))


def check_alive(subject: Subject, start: Start) -> Start:
    """Say so if the instance has ended by itself meanwhile."""
    status = subject.exit_status()
    if status is None or subject.is_told or start.problem is not None:
        return start
    return replace(start, problem=f"it {status} by itself after it was ready", log=subject.log)


async def _until_ready(subject: Subject, spec: ServiceSpec) -> Start:
    seen = health.Health(phase=Phase.STARTING)
    answers: list[Answer] = []
    async for _ in _paces():
        if (problem := _why_ended(subject)) is not None:
            return Start(instance=subject.record.id, ready=tuple(answers), problem=problem)
        answers.append(await _ask(subject, spec.health.ready, spec.health.timeout_s))
        passed = health.Answer(passed=answers[-1].is_success, detail="")
        seen = seen.after(ready=passed, live=None, spec=spec.health)
        if seen.phase is Phase.READY:
            return Start(instance=subject.record.id, ready=tuple(answers), ready_at_s=subject.seconds())
        if subject.seconds() > spec.health.start_deadline_s:
            break
    problem = f"not ready within {spec.health.start_deadline_s:g} s: {spec.health.ready} {answers[-1].words}"
    return Start(instance=subject.record.id, ready=tuple(answers), problem=problem)


def _why_ended(subject: Subject) -> str | None:
    status = subject.exit_status()
    return subject.problem or (f"it {status} before it was ready" if status is not None else None)


async def _until_served(subject: Subject, path: str, deadline_s: float) -> tuple[Answer, ...]:
    answers: list[Answer] = []
    async for _ in _paces():
        answers.append(await _ask(subject, path, PAGE_TIMEOUT_S))
        if not answers[-1].is_failure or time.monotonic() > deadline_s:
            break
    return tuple(answers)


async def _until_refused(subject: Subject, path: str, deadline_s: float) -> tuple[Answer, ...]:
    answers: list[Answer] = []
    async for _ in _paces():
        answers.append(await _ask(subject, path, PAGE_TIMEOUT_S))
        if not answers[-1].is_success or time.monotonic() > deadline_s:
            break
    return tuple(answers)


async def _ask(subject: Subject, path: str, timeout_s: float) -> Answer:
    at_s = subject.seconds()
    reply = await get(subject.address, path, timeout_s=timeout_s)
    return Answer(at_s=at_s, status=reply.status, problem=reply.problem)


async def _paces() -> AsyncIterator[None]:
    pause_s = _PAUSE_S
    while True:
        yield
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * _PAUSE_GROWTH, _LONGEST_PAUSE_S)


async def watch_idle(subject: Subject, spec: ServiceSpec) -> IdleConnection:
    """Keep connections open without using them, as long as the settings say that the application does."""
    watched_s = min(spec.traffic.keep_alive_s, LONGEST_IDLE_S)
    lives = await asyncio.gather(*(_idle_life_s(subject, spec, watched_s) for _ in range(_IDLE_CONNECTIONS)))
    closed = [one for one in lives if one is not None]
    return IdleConnection(closed_after_s=min(closed) if closed else None, watched_s=watched_s)


async def _idle_life_s(subject: Subject, spec: ServiceSpec, watched_s: float) -> float | None:
    try:
        connection = await Connection.open(subject.address)
    except OSError:
        return None
    with contextlib.closing(connection), contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PAGE_TIMEOUT_S):
            reply = await connection.get(spec.health.ready)
        if not reply.keeps_open:
            return None  # it closes after every answer, and says so: no request meets that
        since_s = time.monotonic()
        async with asyncio.timeout(watched_s):
            await connection.wait_for_close()
        return time.monotonic() - since_s
    return None


async def look_for_sessions(one: Subject, other: Subject, spec: ServiceSpec) -> tuple[LostSession, ...]:
    """Begin a session with one instance and go on with another, as users do when theirs leaves."""
    found = await asyncio.gather(*(_lost_sessions(one, other, path) for path in _pages(spec)))
    return tuple(lost for of_page in found for lost in of_page)


async def _lost_sessions(one: Subject, other: Subject, path: str) -> list[LostSession]:
    begun = {name: value for name, value in (await _page(one, path, {})).cookies.items() if value}
    known = _kept(await _page(one, path, begun), begun) if begun else set()
    if not known:
        return []
    theirs = await _page(other, path, begun)
    lost = known - _kept(theirs, begun) if theirs.status is not None else set()
    if not lost:
        return []
    # controls: the first instance still knows it, and the other one knows its own
    lost &= _kept(await _page(one, path, begun), begun)
    fresh = {**begun, **{name: value for name, value in theirs.cookies.items() if value}}
    lost &= _kept(await _page(other, path, fresh), fresh)
    return [LostSession(path=path, cookie=name) for name in sorted(lost)]


def _kept(reply: Reply, cookies: dict[str, str]) -> set[str]:
    """Name the cookies that were sent and not set to something else; of no answer nothing is known."""
    if reply.status is None:
        return set()
    return {name for name, value in cookies.items() if reply.cookies.get(name, value) == value}


async def _page(subject: Subject, path: str, cookies: dict[str, str]) -> Reply:
    return await get(subject.address, path, timeout_s=PAGE_TIMEOUT_S, cookies=cookies)


def _pages(spec: ServiceSpec) -> tuple[str, ...]:
    return (spec.preflight or PreflightSpec()).paths
