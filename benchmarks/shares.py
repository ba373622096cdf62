"""Does a canary get its share, and do users keep their version while it widens?"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.client import Client, Exchange, Request, get, header
from benchmarks.figures import z_score
from benchmarks.results import Cell, Goal, Result, Table
from benchmarks.stage import Plane, envoy, upstream

STEPS_BP = (1, 100, 500, 2_500)
CONNECTIONS = 8
COOKIE = "hitless"
ALL_BP = 10_000
OLD, NEW = "v1", "v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many brand-new users ask at every step, and how many of them come back."""

    requests: int
    users: int


FULL, QUICK = Size(requests=50_000, users=10_000), Size(requests=300, users=100)


@dataclass(slots=True)
class Answers:
    """What each request got, by its key: a version, and perhaps a cookie."""

    versions: dict[int, str] = field(default_factory=dict)
    cookies: dict[int, str] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)

    def note(self, exchange: Exchange) -> None:
        """Take in one answer."""
        if exchange.cause is not None:
            self.failed[exchange.cause] += 1
            return
        self.versions[exchange.key] = (header(exchange.head, b"x-version") or b"").decode()
        given = header(exchange.head, b"set-cookie")
        if given is not None:
            self.cookies[exchange.key] = given.partition(b";")[0].decode()


@dataclass(slots=True, kw_only=True)
class Findings:
    """What one canary from 0.01 to 100 % showed.

    Attributes:
        hits: requests that met the new version, by step.
        newcomers: brand-new users that asked twice; `newcomer_changes`: of them, those that met both versions.
        users: how many were followed from the first step to the last; `asked` is how often in all.
        changes: of a user's version while the share stood still; `back`: from new to old as it grew; `forth`: from old
            to new, as it should be.
    """

    sticky: bool
    hits: dict[int, int] = field(default_factory=dict)
    newcomers: int = 0
    newcomer_changes: int = 0
    users: int = 0
    asked: int = 0
    changes: int = 0
    back: int = 0
    forth: int = 0
    failed: Counter[str] = field(default_factory=Counter)


def run(*, quick: bool) -> Result:
    """Ask at every step, without and with sticky users."""
    size = QUICK if quick else FULL
    loose = asyncio.run(_measure(size, sticky=False))
    sticky = asyncio.run(_measure(size, sticky=True))
    rows = tuple(_row(found, step_bp, size) for found in (loose, sticky) for step_bp in STEPS_BP)
    worst = max(abs(_z(found, step_bp, size)) for found in (loose, sticky) for step_bp in STEPS_BP)
    columns = ("sticky", "weight", "requests", "expected", "met the canary", "z")
    strays = sticky.newcomer_changes + sticky.changes + sticky.back
    return Result(
        tables=(Table(title="Shares", columns=columns, rows=rows), _users(sticky)),
        goals=(
            Goal(name="a canary's share, worst |z|", measured=worst, limit=4.0),
            Goal(name="users that changed version, but for old to new while it widened", measured=strays, limit=0),
        ),
        broken=tuple(f"{count} requests failed: {cause}" for cause, count in (loose.failed + sticky.failed).items()),
    )


async def _measure(size: Size, *, sticky: bool) -> Findings:
    with tempfile.TemporaryDirectory() as folder, upstream(OLD) as one, upstream(NEW) as two:
        async with envoy(Path(folder), sticky_cookie=COOKIE if sticky else None) as plane:
            found, crowd = Findings(sticky=sticky), Crowd()
            for step_bp in (*STEPS_BP, ALL_BP):
                weights = {NEW: step_bp, OLD: ALL_BP - step_bp}
                await plane.route(weights, [two, one])
                await asyncio.to_thread(_ask_step, plane, found, crowd, step_bp, size)
            return found


class Crowd:
    """Cookies of the users that are followed, and the version that each met last."""

    def __init__(self) -> None:
        self.cookies: dict[int, str] = {}
        self.met: Mapping[int, str] = {}


def _ask_step(plane: Plane, found: Findings, crowd: Crowd, step_bp: int, size: Size) -> None:
    strangers = _ask(plane, found, ((number, get()) for number in range(size.requests)))
    found.hits[step_bp] = list(strangers.versions.values()).count(NEW)
    if not found.sticky:
        return
    newcomers = dict(list(strangers.cookies.items())[: size.users])
    again = _ask(plane, found, _with_cookies(newcomers))
    found.newcomers += len(newcomers)
    found.newcomer_changes += _count_moves(strangers.versions, again.versions)
    _follow(plane, found, crowd, newcomers)


def _follow(plane: Plane, found: Findings, crowd: Crowd, newcomers: dict[int, str]) -> None:
    """Let the first step's newcomers ask twice more."""
    crowd.cookies = crowd.cookies or newcomers
    first, second = (_ask(plane, found, _with_cookies(crowd.cookies)).versions for _ in range(2))
    found.users = len(crowd.cookies)
    found.asked += len(first) + len(second)
    found.changes += _count_moves(first, second)
    found.back += _count_moves(crowd.met, first, to=OLD)
    found.forth += _count_moves(crowd.met, first, to=NEW)
    crowd.met = second


def _ask(plane: Plane, found: Findings, requests: Iterator[Request]) -> Answers:
    answers = Answers()
    Client((plane.listen.host, plane.listen.port), requests, answers.note, connections=CONNECTIONS).run()
    found.failed += answers.failed
    return answers


def _with_cookies(cookies: Mapping[int, str]) -> Iterator[Request]:
    return ((user, get("/", f"cookie: {cookie}")) for user, cookie in cookies.items())


def _count_moves(before: Mapping[int, str], after: Mapping[int, str], *, to: str | None = None) -> int:
    pairs = ((before[user], version) for user, version in after.items() if user in before)
    return sum(old != new and to in {None, new} for old, new in pairs)


def _z(found: Findings, step_bp: int, size: Size) -> float:
    return z_score(found.hits[step_bp], of=size.requests, share=step_bp / ALL_BP)


def _row(found: Findings, step_bp: int, size: Size) -> tuple[Cell, ...]:
    hits, expected = found.hits[step_bp], f"{size.requests * step_bp / ALL_BP:,.0f}"
    sticky = "on" if found.sticky else "off"
    return sticky, f"{step_bp / 100:g} %", size.requests, expected, hits, f"{_z(found, step_bp, size):+.2f}"


def _users(found: Findings) -> Table:
    rows = (
        ("brand-new users that asked twice", found.newcomers),
        ("of them met both versions", found.newcomer_changes),
        ("users followed from 0.01 % to 100 %", found.users),
        ("their requests", found.asked),
        ("changes of version while the share stood still", found.changes),
        ("moves from new to old while it widened", found.back),
        ("moves from old to new while it widened (wanted)", found.forth),
    )
    return Table(title="Sticky users", columns=("what", "count"), rows=rows)
