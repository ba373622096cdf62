"""A client that asks as fast as it is answered: HTTP/1.1 over kept connections, on epoll and nothing else.

Not `hitless.testing.load`: that one is an open loop, right for "did anyone notice?" and wrong for "how many a second?",
it keeps no time line, and its thorough HTTP parser would take the cores that the proxy is to be measured on. This one
counts everything that is no whole answer with status 200 as failed, and asks nothing twice.

`python client.py --address 127.0.0.1:8080 --connections 8` is a load in a process of its own until SIGTERM; it imports
the standard library alone and so starts at once.
"""

from __future__ import annotations

import argparse
import heapq
import json
import select
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Address = tuple[str, int]
Request = tuple[int, bytes]  # a key of the caller's own, and the bytes to send

ANSWER_WITHIN_S = 10.0
_READ_BYTES = 65_536
_AFTER_FAILURE_S = 0.05  # nobody asks a dead proxy ten thousand times a second
_NAME_END = len(b": ")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer; `cause` says why it failed."""

    key: int
    started_at: float
    ended_at: float
    head: bytes
    cause: str | None


class Wire:
    """One connection with at most one request under way; opened when it is needed."""

    def __init__(self, address: Address, poll: select.epoll) -> None:
        self.key: int | None = None
        self.started_at = 0.0
        self._address, self._poll = address, poll
        self._socket: socket.socket | None = None
        self._received = b""

    def ask(self, key: int, request: bytes) -> Exchange | None:
        """Send a request; return the exchange if it ended at once because no connection opened."""
        self.key, self._received = key, b""
        self.started_at = time.monotonic()
        try:
            self.open().send(request)
        except OSError as problem:
            return self.fail(type(problem).__name__)
        return None

    def open(self) -> socket.socket:
        """Return the connection; it is registered for reading.

        Raises:
            OSError: it did not open.
        """
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=ANSWER_WITHIN_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.settimeout(0)
            self._poll.register(self._socket, select.EPOLLIN)
        return self._socket

    @property
    def descriptor(self) -> int:
        """The connection's; -1 while there is none."""
        return -1 if self._socket is None else self._socket.fileno()

    def read(self) -> Exchange | None:
        """Read what is there; return the exchange once it is over."""
        try:
            data = self.open().recv(_READ_BYTES)
        except OSError as problem:
            return self.fail(type(problem).__name__)
        if not data:
            return self.fail("closed before the answer was whole")
        self._received += data
        head, mark, body = self._received.partition(b"\r\n\r\n")
        if not mark or len(body) < int(header(head, b"content-length") or 0):
            return None
        if header(head, b"connection") == b"close":
            self.close()
        status = head[9:12]
        return self._end(head, None if status == b"200" else f"status {status.decode()}")

    def fail(self, cause: str) -> Exchange | None:
        """Give the connection up; return the exchange that this ended, if one was under way."""
        self.close()
        return self._end(b"", cause)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._poll.unregister(self._socket)
            self._socket.close()
            self._socket = None

    def _end(self, head: bytes, cause: str | None) -> Exchange | None:
        key, self.key = self.key, None
        return None if key is None else Exchange(key, self.started_at, time.monotonic(), head, cause)


class Client:
    """Sends all `requests`, each as soon as a connection is free and has rested; hands every exchange to `settle`."""

    def __init__(
        self,
        address: Address,
        requests: Iterator[Request],
        settle: Callable[[Exchange], None],
        *,
        connections: int,
        rest_s: float = 0.0,
    ) -> None:
        self._requests, self._settle, self._rest_s = requests, settle, rest_s
        self._poll = select.epoll()
        self._wires = [Wire(address, self._poll) for _ in range(connections)]
        for wire in self._wires:
            wire.open()
        self._by_descriptor = {wire.descriptor: number for number, wire in enumerate(self._wires)}
        now = time.monotonic()
        self._resting = [(now + number * rest_s / connections, number) for number in range(connections)]

    def run(self) -> None:
        """Return when every request has its fate."""
        self._wake()
        while self._resting or any(wire.key is not None for wire in self._wires):
            ready = self._poll.poll(self._patience_s())
            for descriptor, _ in ready:
                number = self._by_descriptor[descriptor]
                self._settle_one(number, self._wires[number].read())
            if not ready:
                self._give_up()
            if self._resting:
                self._wake()
        for wire in self._wires:
            wire.close()
        self._poll.close()

    def _settle_one(self, number: int, exchange: Exchange | None) -> None:
        if exchange is not None:
            self._settle(exchange)
            rest_s = self._rest_s if exchange.cause is None else max(self._rest_s, _AFTER_FAILURE_S)
            heapq.heappush(self._resting, (exchange.started_at + rest_s, number))

    def _wake(self) -> None:
        """Send the next request on every connection that has rested; one that gets none rests no more."""
        now = time.monotonic()
        while self._resting and self._resting[0][0] <= now:
            _, number = heapq.heappop(self._resting)
            following = next(self._requests, None)
            if following is not None:
                wire = self._wires[number]
                self._settle_one(number, wire.ask(*following))
                self._by_descriptor[wire.descriptor] = number

    def _patience_s(self) -> float:
        return max(self._resting[0][0] - time.monotonic(), 0.0) if self._resting else ANSWER_WITHIN_S

    def _give_up(self) -> None:
        overdue = time.monotonic() - ANSWER_WITHIN_S
        for number, wire in enumerate(self._wires):
            if wire.key is not None and wire.started_at <= overdue:
                self._settle_one(number, wire.fail("no answer"))


def header(head: bytes, name: bytes) -> bytes | None:
    """Return the value of a header; `name` in lower case, as granian, Envoy and HAProxy send it."""
    start = head.find(b"\r\n" + name + b": ")
    if start < 0:
        return None
    end = head.find(b"\r\n", start + 2)
    return head[start + 2 + len(name) + _NAME_END : end if end >= 0 else len(head)]


def get(path: str = "/", *lines: str) -> bytes:
    """Write a GET request."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "host: bench", *lines, "", ""]).encode()


@dataclass(slots=True)
class TimeLine:
    """Every good answer: when it was asked, how long it took, which version gave it (an index of `versions`)."""

    started_at: list[float] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    version: list[int] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)

    def note(self, exchange: Exchange) -> None:
        if exchange.cause is not None:
            self.failed[exchange.cause] += 1
            return
        name = (header(exchange.head, b"x-version") or b"").decode()
        self.started_at.append(exchange.started_at)
        self.took_s.append(exchange.ended_at - exchange.started_at)
        self.version.append(self.versions.setdefault(name, len(self.versions)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--path", default="/")
    parser.add_argument("--rate", type=float, default=0.0, help="at most so many requests a second; 0 = no limit")
    asked = parser.parse_args()
    host, _, port = asked.address.rpartition(":")
    is_over = False

    def end(*_: object) -> None:
        nonlocal is_over
        is_over = True

    def requests() -> Iterator[Request]:
        request = get(asked.path)
        while not is_over:
            yield 0, request

    signal.signal(signal.SIGTERM, end)
    line, rest_s = TimeLine(), asked.connections / asked.rate if asked.rate else 0.0
    client = Client((host, int(port)), requests(), line.note, connections=asked.connections, rest_s=rest_s)
    print("connected", flush=True)
    client.run()
    found = {name: getattr(line, name) for name in TimeLine.__slots__}
    json.dump({**found, "cpu_s": time.process_time()}, sys.stdout)


if __name__ == "__main__":
    main()
