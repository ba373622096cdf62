"""Requests one by one, read from lines and counted into seconds by the rules of `counts`.

One belongs to the second in which its fate was known (`t + ms`); one that takes longer than `HANGS_AFTER_S` counts as
hanging when it has waited so long. A second without a line is a second without traffic.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hitless.analysis.counts import HANGS_AFTER_S, LAST_BUCKET, Cell, Fates, Second, bucket_of
from hitless.rollout.spec import InstanceId, Region, Version

CANARY, BASELINE = Version("canary"), Version("baseline")
ARMS: Mapping[str, Version] = {"canary": CANARY, "baseline": BASELINE}
LATEST_S = 5.0
"""Lines may be so much out of order."""

LONGEST_S = 7 * 86_400
"""From the first request to the last; more is another unit, and every second of it would be judged."""

LATEST_T_S = 1e11
"""Seconds since 1970 are far below it, milliseconds far above."""

SLOWEST_MS = 86_400_000.0
"""A day; what takes longer was measured in another unit."""


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
    except RecursionError:
        raise BadRequestError("no JSON object, but hundreds of brackets in each other") from None
    if not isinstance(said, dict):
        raise BadRequestError("no JSON object")
    arm, is_ok = said.get("arm"), said.get("ok")
    if not isinstance(arm, str) or arm not in ARMS:
        raise BadRequestError(f"`arm` is {json.dumps(arm)}, not one of canary and baseline")
    if not isinstance(is_ok, bool):
        raise BadRequestError(f"`ok` is {json.dumps(is_ok)}, not true or false")
    return Request(
        t=_number(said, "t", most=LATEST_T_S),
        version=ARMS[arm],
        is_ok=is_ok,
        ms=_number(said, "ms", most=SLOWEST_MS),
        region=Region(_text(said, "region", "local")),
        route=_text(said, "route", "/"),
        instance=InstanceId(_text(said, "instance", "")) or None,
    )


def _number(said: Mapping[str, Any], key: str, *, most: float) -> float:
    value = said.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise BadRequestError(f"`{key}` is {json.dumps(value)}, not a number of at least 0")
    if value > most:
        raise BadRequestError(f"`{key}` is more than {most:g}; `t` is in seconds, `ms` in milliseconds")
    return float(value)


def _text(said: Mapping[str, Any], key: str, usual: str) -> str:
    value = said.get(key, usual)
    if not isinstance(value, str) or (not value.isascii() and _has_half_a_character(value)):
        raise BadRequestError(f"`{key}` is {json.dumps(value)}, not a text")
    return value


def _has_half_a_character(text: str) -> bool:
    """Tell whether it has a lone surrogate, which JSON can escape and nobody can write."""
    return any("\ud800" <= character <= "\udfff" for character in text)


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
        self._first = self._newest = 0.0
        self.taken = 0

    def take(self, request: Request) -> None:
        """Count one request.

        Raises:
            BadRequestError: it comes too late, or too far away from the others.
        """
        if request.t < self._newest - LATEST_S:
            late_s = self._newest - request.t
            raise BadRequestError(f"it began {late_s:.3f} s before one above it, more than {LATEST_S:g} s")
        if not self.taken:
            self._first = request.t
        if request.t > self._first + LONGEST_S:
            raise BadRequestError("`t` is more than a week after the first one; it is in seconds from the start")
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
