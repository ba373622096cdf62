"""Judging what has happened: requests one by one, or a recording, taken by a judge second by second as if it were now.

Requests become seconds by the rules of `counts`: one belongs to the second in which its fate was known (`t + ms`), and
one that takes longer than `HANGS_AFTER_S` counts as hanging when it has waited so long. A second without a line is a
second without traffic; of a recording, a second that is missing is a gap.

Shares. Where nobody says what the weights were, they are measured: each region's seconds are cut where the canary's
part of the requests changes for good (binary segmentation by likelihood, Scott and Knott 1974), because a judge
compares only while a share stays. Only which arm a request went to is looked at, never how it ended. What is measured
so cannot show that a version did not get the traffic that was meant for it; say `--share` for that.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hitless.analysis.counts import HANGS_AFTER_S, LAST_BUCKET, Cell, Fates, Second, bucket_of
from hitless.analysis.ruling import Call, Judgement
from hitless.rollout.spec import ALL_TRAFFIC_BP, InstanceId, Region, Version

CANARY, BASELINE = Version("canary"), Version("baseline")
ARMS: Mapping[str, Version] = {"canary": CANARY, "baseline": BASELINE}
LATEST_S = 5.0
"""Lines may be so much out of order."""

LONGEST_S = 7 * 86_400
"""From the first second to the last; more is another unit."""

_Floats = NDArray[np.float64]
_LEAST_SEGMENT_S = 20
_LEAST_GAIN = 12.0
"""Nats of likelihood for one more change: about one invented change in a thousand files of an hour."""


class BadRequestError(ValueError):
    """A line says no request; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request: when it began (s), how long it took (ms), and what became of it."""

    t: float
    version: Version
    is_ok: bool
    ms: float
    region: Region = Region("local")
    route: str = "/"
    instance: InstanceId | None = None


def read_request(line: str) -> Request:
    """Read one line.

    Raises:
        BadRequestError: it is none.
    """
    try:
        said = json.loads(line)
    except ValueError as error:
        raise BadRequestError(f"no JSON: {error}") from None
    if not isinstance(said, dict):
        raise BadRequestError("no JSON object")
    arm, is_ok = said.get("arm"), said.get("ok")
    if not isinstance(arm, str) or arm not in ARMS:
        raise BadRequestError(f"`arm` is {json.dumps(arm)}, not one of canary and baseline")
    if not isinstance(is_ok, bool):
        raise BadRequestError(f"`ok` is {json.dumps(is_ok)}, not true or false")
    return Request(
        t=_number(said, "t"),
        version=ARMS[arm],
        is_ok=is_ok,
        ms=_number(said, "ms"),
        region=Region(_text(said, "region", "local")),
        route=_text(said, "route", "/"),
        instance=InstanceId(_text(said, "instance", "")) or None,
    )


def _number(said: Mapping[str, Any], key: str) -> float:
    value = said.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise BadRequestError(f"`{key}` is {json.dumps(value)}, not a number of at least 0")
    return float(value)


def _text(said: Mapping[str, Any], key: str, usual: str) -> str:
    value = said.get(key, usual)
    if not isinstance(value, str):
        raise BadRequestError(f"`{key}` is {json.dumps(value)}, not a text")
    return value


_Place = tuple[Region, str, Version]


@dataclass(slots=True)
class _Counted:
    total: int = 0
    failed: int = 0
    durations: dict[int, int] = field(default_factory=dict)
    instances: dict[InstanceId, Fates] = field(default_factory=dict)

    def cell(self, place: _Place) -> Cell:
        region, route, version = place
        return Cell(
            region=region,
            route=route,
            version=version,
            requests=Fates(total=self.total, failed=self.failed),
            durations=self.durations,
            instances=self.instances,
        )


class Counting:
    """Counts requests into seconds. Give each line to `take`, then ask `seconds` once."""

    def __init__(self) -> None:
        self._seconds: dict[int, dict[_Place, _Counted]] = {}
        self._newest = 0.0
        self.taken = 0

    def take(self, request: Request) -> None:
        """Count one request.

        Raises:
            BadRequestError: it comes too late, or too far away from the others.
        """
        if request.t < self._newest - LATEST_S:
            late_s = self._newest - request.t
            raise BadRequestError(f"it began {late_s:.3f} s before one above it, more than {LATEST_S:g} s")
        if self.taken and request.t > self._newest + LONGEST_S:
            raise BadRequestError("`t` is more than a week after the one before; it is in seconds from the start")
        self._newest = max(self._newest, request.t)
        self.taken += 1
        took_s = request.ms / 1000
        hangs = took_s > HANGS_AFTER_S
        self._note_end(self._counted(request, math.floor(request.t + took_s)), request)
        waited = self._counted(request, math.floor(request.t + min(took_s, HANGS_AFTER_S)))
        bucket = LAST_BUCKET if hangs else bucket_of(request.ms)
        waited.durations[bucket] = waited.durations.get(bucket, 0) + 1

    def seconds(self) -> tuple[Second, ...]:
        """Return all seconds from the first to the last, those without traffic too."""
        if not self._seconds:
            return ()
        return tuple(self._second(at) for at in range(min(self._seconds), max(self._seconds) + 1))

    def _counted(self, request: Request, at: int) -> _Counted:
        place = (request.region, request.route, request.version)
        return self._seconds.setdefault(at, {}).setdefault(place, _Counted())

    def _note_end(self, counted: _Counted, request: Request) -> None:
        failed = int(not request.is_ok)
        counted.total += 1
        counted.failed += failed
        if request.instance is not None:
            before = counted.instances.get(request.instance, Fates())
            counted.instances[request.instance] = before + Fates(total=1, failed=failed)

    def _second(self, at: int) -> Second:
        counted = self._seconds.get(at, {})
        return Second(at=at, cells=tuple(one.cell(place) for place, one in counted.items()))


def without_holes(seconds: Sequence[Second]) -> Iterator[Second]:
    """Yield a recording's seconds, and a gap for every one that is missing."""
    last: int | None = None
    for second in seconds:
        yield from (
            Second(at=at, gap="not recorded") for at in range(second.at if last is None else last + 1, second.at)
        )
        yield second
        last = second.at


Shares = Callable[[int], Mapping[Region, int]]
"""The canary's share by region, basis points, in a second."""


def constant_share(seconds: Iterable[Second], share_bp: int) -> Shares:
    """Return a share that somebody said, the same in every region and second."""
    shares = {cell.region: share_bp for second in seconds for cell in second.cells}
    return lambda _: shares


def measured_shares(seconds: Sequence[Second], *, canary: Version = CANARY) -> Shares:
    """Measure the canary's share of each region, cut where it changes for good."""
    if not seconds:
        return lambda _: {}
    first = seconds[0].at
    found = {region: _steps(*counts) for region, counts in _by_region(seconds, canary).items()}

    def shares(at: int) -> Mapping[Region, int]:
        return {region: int(steps[at - first]) for region, steps in found.items() if 0 <= at - first < len(steps)}

    return shares


def _by_region(seconds: Sequence[Second], canary: Version) -> dict[Region, tuple[_Floats, _Floats]]:
    counts: dict[Region, tuple[_Floats, _Floats]] = {}
    for number, second in enumerate(seconds):
        for cell in second.cells:
            if cell.region not in counts:
                counts[cell.region] = np.zeros(len(seconds)), np.zeros(len(seconds))
            mine, everybodys = counts[cell.region]
            everybodys[number] += cell.requests.total
            if cell.version == canary:
                mine[number] += cell.requests.total
    return counts


def _steps(mine: _Floats, everybodys: _Floats) -> _Floats:
    """Return the share of every second, basis points, constant between changes."""
    sums = np.concatenate([[0.0], np.cumsum(mine)]), np.concatenate([[0.0], np.cumsum(everybodys)])
    steps = np.zeros(len(mine))
    waiting = [(0, len(mine))]
    while waiting:
        start, end = waiting.pop()
        cut = _best_cut(sums, start, end)
        if cut is None:
            steps[start:end] = _share_bp(sums[0][end] - sums[0][start], sums[1][end] - sums[1][start])
        else:
            waiting += [(start, cut), (cut, end)]
    return steps


def _share_bp(mine: float, everybodys: float) -> int:
    """Round to basis points, but some is never none, nor all."""
    if mine in (0, everybodys):
        return ALL_TRAFFIC_BP if mine else 0
    return min(max(round(ALL_TRAFFIC_BP * mine / everybodys), 1), ALL_TRAFFIC_BP - 1)


def _best_cut(sums: tuple[_Floats, _Floats], start: int, end: int) -> int | None:
    cuts = np.arange(start + _LEAST_SEGMENT_S, end - _LEAST_SEGMENT_S + 1)
    if not len(cuts):
        return None
    mine, everybodys = sums
    both = _log_likelihood(mine[end] - mine[start], everybodys[end] - everybodys[start])
    left = _log_likelihood(mine[cuts] - mine[start], everybodys[cuts] - everybodys[start])
    right = _log_likelihood(mine[end] - mine[cuts], everybodys[end] - everybodys[cuts])
    gains = left + right - both
    best = int(np.argmax(gains))
    return int(cuts[best]) if gains[best] > _LEAST_GAIN else None


def _log_likelihood(mine: Any, everybodys: Any) -> Any:
    """Return the binomial likelihood at its maximum, without what all cuts have in common."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(everybodys > 0, mine / everybodys, 0.0)
        found = mine * np.log(share) + (everybodys - mine) * np.log1p(-share)
    return np.where((share > 0) & (share < 1), found, 0.0)


class TakesSeconds(Protocol):
    """What a replay needs of a judge."""

    def take(self, second: Second, share_bp: Mapping[Region, int]) -> None:
        """Take one second."""
        ...

    def judgement(self, *, next_share_bp: int) -> Judgement:
        """Say what is known."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a replay ended.

    Attributes:
        judgement: the last one; after a ROLLBACK nothing more is taken.
        fell_at: the second after which it stood, and stood to the end; None = a HOLD.
        seconds: that were taken.
    """

    judgement: Judgement
    fell_at: int | None
    seconds: int


def replay(seconds: Iterable[Second], judge: TakesSeconds, *, shares: Shares, next_share_bp: int) -> Verdict:
    """Let a judge take seconds one by one, and say how it ended."""
    fell_at: int | None = None
    taken = 0
    judgement = judge.judgement(next_share_bp=next_share_bp)
    for second in seconds:
        judge.take(second, shares(second.at))
        taken += 1
        before, judgement = judgement.ruling.call, judge.judgement(next_share_bp=next_share_bp)
        call = judgement.ruling.call
        if call is not before or fell_at is None:
            fell_at = None if call is Call.HOLD else second.at
        if call is Call.ROLLBACK:
            break
    return Verdict(judgement=judgement, fell_at=fell_at, seconds=taken)
