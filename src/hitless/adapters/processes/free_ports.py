from __future__ import annotations

import os
import random
import re
import socket
from collections.abc import Iterable
from pathlib import Path

from hitless.errors import UserError

_USUAL = range(20_000, 30_000)
_UNPRIVILEGED = range(10_000, 65_536)


VARIABLE = "HITLESS_PORTS"
"""Environment variable of `hitless up`: ports that instances may get, `FIRST-LAST`."""

_RANGE = re.compile(r"(\d{1,5})-(\d{1,5})")


class PortsUnusable(UserError):
    """The range of ports for instances is none."""

    code = "HL2210"

    def __init__(self, text: str) -> None:
        super().__init__(
            f"{VARIABLE}={text!r} is no range of ports",
            evidence=("1 to 65535, the first not above the last",),
            hints=(f"for example: {VARIABLE}=20000-29999 hitless up",),
        )


def configured_ports(text: str | None, ephemeral: range) -> tuple[int, ...]:
    """Choose the ports that instances may get: those that were asked for, or else a usual range.

    Raises:
        PortsUnusable: what was asked for is no range.
    """
    if not text:
        return candidate_ports(ephemeral)
    found = _RANGE.fullmatch(text)
    ports = tuple(range(int(found[1]), int(found[2]) + 1)) if found else ()
    if not ports or ports[0] < 1 or ports[-1] > _UNPRIVILEGED[-1]:
        raise PortsUnusable(text)
    return ports


def candidate_ports(ephemeral: range) -> tuple[int, ...]:
    """Choose the ports that instances may get when nobody says.

    A port in the kernel's ephemeral range can be taken by any outgoing connection between the choice and the bind.

    Args:
        ephemeral: the kernel's range for outgoing connections.
    """
    for wanted in (_USUAL, _UNPRIVILEGED):
        free = tuple(port for port in wanted if port not in ephemeral)
        if free:
            return free
    return tuple(_USUAL)


def ephemeral_ports() -> range:
    """Read the kernel's range for outgoing connections."""
    low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()
    return range(int(low), int(high) + 1)


class FreePorts:
    """Hands out ports on 127.0.0.1, each to one instance at a time.

    The choice goes round from a random place, so that a port that has just become free is used last: late requests
    and the old owner's closing sockets meet nobody.
    """

    def __init__(self, candidates: tuple[int, ...]) -> None:
        self._candidates = candidates
        self._next = random.randrange(len(candidates))  # noqa: S311 - spread, not a secret
        self._taken: set[int] = set()

    @property
    def words(self) -> str:
        """Name the range for people."""
        return f"{min(self._candidates)}-{max(self._candidates)}"

    def take(self) -> int | None:
        """Take a free port; None: there is none."""
        for _ in self._candidates:
            port = self._candidates[self._next]
            self._next = (self._next + 1) % len(self._candidates)
            if port not in self._taken and _is_free(port):
                self._taken.add(port)
                return port
        return None

    def reserve(self, ports: Iterable[int]) -> None:
        """Take ports that are in use by instances already."""
        self._taken.update(ports)

    def release(self, port: int) -> None:
        """Give a port back."""
        self._taken.discard(port)


def usual_ports() -> FreePorts:
    """Hand out the ports that this machine has for instances, or those that were asked for.

    Raises:
        PortsUnusable: what was asked for is no range.
    """
    return FreePorts(configured_ports(os.environ.get(VARIABLE), ephemeral_ports()))


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
