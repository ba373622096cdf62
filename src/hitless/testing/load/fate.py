"""What can become of a request, by cause.

Rules:

* One request, one fate. A request is never asked again in silence, not even where a browser would: the user's first try
  counts.
* Two exceptions, both the protocol's own word that nothing was processed: a connection whose last answer said
  `Connection: close` is not used again (RFC 9112, 9.6), and an HTTP/2 request above the last stream of a GOAWAY, or
  refused with REFUSED_STREAM, moves to a new connection (RFC 9113, 6.8 and 8.7). Moves are counted.
* A connection that the server closes while it is idle fails nobody; one that it closes under a request does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

OK = "ok"
CONNECT_REFUSED = "connect_refused"
CONNECT_TIMEOUT = "connect_timeout"
CONNECT_FAILED = "connect_failed"  # any other reason; the example's detail names it
RESET = "reset"
CLOSED_BEFORE_RESPONSE = "closed_before_response"
TRUNCATED_BODY = "truncated_body"
TIMEOUT = "timeout"
WRONG_BODY = "wrong_body"
WRONG_VALUE = "wrong_value"  # a record shows what nobody wrote, or no longer what somebody wrote
PROTOCOL_ERROR = "protocol_error"  # bytes that are no HTTP
GOAWAY = "goaway"  # HTTP/2: processed and not answered, or moved too often
UNPROCESSED = "unprocessed"  # HTTP/2: provably not processed; never a fate, only a reason to move
CUT_STREAM = "cut_stream"
GAP = "gap"  # events missing in a stream that lives
DUPLICATE = "duplicate"  # a POST that was executed more than once
LOST = "lost"  # a POST that was acknowledged and never executed


class Wire(Protocol):
    """A connection, as far as evidence needs it."""

    @property
    def opened_at(self) -> float:
        """Moment on the event loop's clock."""
        ...

    @property
    def local_port(self) -> int | None:
        """The client's own port, which also stands in the server's logs."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back for one request; `cause` is OK when a whole answer came, whatever its status."""

    cause: str
    status: int | None = None
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""
    wire: Wire | None = None
    detail: str = ""

    def header(self, name: bytes) -> bytes | None:
        """Return the first header of this lower-case name."""
        return next((value for key, value in self.headers if key == name), None)


def cause_of(answer: Answer, *, expected: bytes | None) -> str:
    """Judge an answer; its body must contain `expected`."""
    if answer.cause != OK:
        return answer.cause
    if answer.status is None or answer.status >= HTTPStatus.BAD_REQUEST:
        return f"http_{answer.status}"
    return OK if expected is None or expected in answer.body else WRONG_BODY


def cause_of_lost_connection(problem: Exception | None, *, has_begun: bool) -> str:
    """Judge the end of a connection under a request; `has_begun` when a part of its answer had come."""
    if problem is not None:
        return RESET
    return TRUNCATED_BODY if has_begun else CLOSED_BEFORE_RESPONSE
