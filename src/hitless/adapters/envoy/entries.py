"""One line of the access log, and what it says became of a request. Pure.

Rules, each seen with a real Envoy (`tests/integration/test_metrics_envoy.py`):

* Without an answer, a request has failed, unless its user went away first (flags DC, DR): then nobody can tell.
* An answer fails by its status, from 500 on, and by a reset after its headers: status 200 with UC, UR, UPE ...
* gRPC says in `grpc-status` what HTTP's status does not. Which of them are the server's fault: OpenTelemetry's semantic
  conventions for RPC, server spans. Envoy puts 2 (UNKNOWN) where a call ended without one. Of a call that its client
  cancelled it says nothing.
* A stream that changed protocols (WebSocket) has been answered. How it ends is no sign: RFC 6455 lets the server close
  the connection first, and Envoy writes UC then, as it does when the server crashes.
* A stream (event stream, gRPC, WebSocket) is as fast as its first byte.
* `DownstreamPeriodic` is a line about a request that is open still, `HANGS_AFTER_S` after it began.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any

from hitless.adapters.envoy.routes import OVERRIDE_ROUTE

Entry = Mapping[str, Any]
"""A line, by the names of `resources.ACCESS_LOG_FORMAT`; what is empty is missing."""

_PERIODIC = "DownstreamPeriodic"
_FAILS_FROM = 500
_US_PER_MS, _US_PER_S = 1_000, 1_000_000

# https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage, %RESPONSE_FLAGS%
_GONE_FLAGS = frozenset({"DC", "DR", "DPE"})
_RESET_FLAGS = frozenset({"UF", "UH", "UC", "UR", "UT", "URX", "UPE", "UMSDR", "LR", "NR", "NC", "UO", "DF", "OM"})

# UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS
_FAILED_GRPC = frozenset({2, 4, 12, 13, 14, 15})
_STREAMS = ("text/event-stream", "application/grpc", "application/x-ndjson", "multipart/x-mixed")


class Fate(Enum):
    """What became of a request."""

    ANSWERED = "answered"
    FAILED = "failed"
    GONE = "gone"  # its user went away before the answer


def parse(line: bytes) -> dict[str, Any]:
    """Read a line; bytes that are no UTF-8 are replaced.

    Raises:
        ValueError: no JSON object, or without what every line has.
    """
    found = json.loads(line.decode("utf-8", errors="replace"))
    if not isinstance(found, dict) or "time" not in found:
        raise ValueError("no line of an access log")
    return found


def is_open(entry: Entry) -> bool:
    """Tell whether the request is still under way."""
    return entry.get("type") == _PERIODIC


def is_testers(entry: Entry) -> bool:
    """Tell whether a tester chose the version, with the right token."""
    return entry.get("route") == OVERRIDE_ROUTE


def is_answered(entry: Entry) -> bool:
    """Tell whether headers of an answer were sent."""
    return bool(entry.get("status"))


def is_whole(entry: Entry) -> bool:
    """Tell whether the request is there with its body, or never will be because it changes protocols."""
    return "received_us" in entry or "upgrade" in entry


def is_stream(entry: Entry) -> bool:
    """Tell whether the answer has no end of its own."""
    return "upgrade" in entry or str(entry.get("content", "")).startswith(_STREAMS)


def told_s(entry: Entry) -> float:
    """Return when its fate was known, seconds since 1970 by Envoy's clock; of an earlier release's line: computed.

    Raises:
        ValueError: not a number.
    """
    told = entry.get("told")
    if told is None:
        return began_s(entry) + (entry.get("duration_us") or 0) / _US_PER_S
    return float(told)


def began_s(entry: Entry) -> float:
    """Return when it began, seconds since 1970 by Envoy's clock.

    Raises:
        ValueError: not a number.
    """
    return float(entry["time"])


def first_byte_s(entry: Entry) -> float | None:
    """Return how long the first byte of the answer took; None = there is none."""
    found = entry.get("first_byte_us")
    return None if found is None else float(found) / _US_PER_S


def answer_ms(entry: Entry) -> float | None:
    """Return how long the answer took; None = it did not come to its end."""
    found = entry.get("first_byte_us" if is_stream(entry) else "duration_us")
    return None if found is None else float(found) / _US_PER_MS


def body_bytes(entry: Entry) -> tuple[int, int] | None:
    """Return the bytes of the bodies that were received and sent; None = an earlier release's line, which tells none.

    Raises:
        TypeError: not numbers.
        ValueError: not numbers.
    """
    received, sent = entry.get("received_bytes"), entry.get("sent_bytes")
    return None if received is None or sent is None else (int(received), int(sent))


def fate_of(entry: Entry) -> Fate:
    """Say what became of a request; of one that is open still: what is known."""
    status = entry.get("status") or 0
    flags = _flags(entry)
    if not status:
        return Fate.GONE if flags & _GONE_FLAGS else Fate.FAILED
    if status >= _FAILS_FROM:
        return Fate.FAILED
    if "upgrade" in entry or flags & _GONE_FLAGS:
        return Fate.ANSWERED
    if flags & _RESET_FLAGS or (not is_open(entry) and entry.get("grpc") in _FAILED_GRPC):
        return Fate.FAILED
    return Fate.ANSWERED


def _flags(entry: Entry) -> frozenset[str]:
    found = entry.get("flags", "-")
    return _NONE if found == "-" else frozenset(str(found).split(","))


_NONE: frozenset[str] = frozenset()
