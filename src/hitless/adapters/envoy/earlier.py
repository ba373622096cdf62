"""Envoys that were replaced and still live for their streams.

Their admin interface is closed, so what they have open is asked of the kernel: every connection from one of them to an
instance is taken for an open request. That is at most too many: an idle connection counts until it is closed, which
takes as long as `traffic.keep_alive` at most.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil

from hitless.adapters.envoy.files import read_document, read_resources
from hitless.adapters.envoy.identity import Identity
from hitless.adapters.envoy.layout import Layout
from hitless.adapters.envoy.resources import listened_address
from hitless.rollout.spec import Address

_TRY_AGAIN_AFTER = (psutil.AccessDenied, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """One that was replaced; it is ended at `until`, whatever is open then."""

    identity: Identity
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Which processes are this directory's, the newest apart."""

    current: Identity | None = None
    earlier: tuple[Earlier, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """What replaced Envoys have open to instances.

    Attributes:
        read_at: monotonic seconds before it was asked.
        by_address: None = not known, never taken for nothing.
    """

    read_at: float
    by_address: Mapping[Address, int] | None

    @property
    def count(self) -> int | None:
        """All of them; None = not known."""
        return None if self.by_address is None else sum(self.by_address.values())


def connections_of(processes: Iterable[Identity], *, listened: Collection[Address]) -> Connections:
    """Count connections by the address they lead to; those that users have to `listened` are none of them."""
    read_at, found = time.monotonic(), Counter[Address]()
    for one in processes:
        counted = _outgoing(one, listened)
        if counted is None:
            return Connections(read_at=read_at, by_address=None)
        found += counted
    return Connections(read_at=read_at, by_address=found)


def listened_addresses(layout: Layout) -> frozenset[Address]:
    """Read every address that users connect to.

    Raises:
        FileDamaged: the file of listeners cannot be read.
    """
    return frozenset(listened_address(one) for one in read_resources(layout.listeners)[1].values())


def is_accepting(process: Identity) -> bool:
    """Tell whether a process listens on a TCP port; one that was replaced does not any more."""
    return any(one.status == psutil.CONN_LISTEN for one in _sockets(process) or ())


def has_connections(process: Identity) -> bool | None:
    """Tell whether a process has any TCP connection, users' included; None = not known."""
    sockets = _sockets(process)
    return None if sockets is None else any(one.raddr for one in sockets)


def _outgoing(process: Identity, listened: Collection[Address]) -> Counter[Address] | None:
    sockets = _sockets(process)
    if sockets is None:
        return None
    return Counter(
        Address(host=one.raddr.ip, port=one.raddr.port)
        for one in sockets
        if one.raddr and not any(_accepts(address, one.laddr) for address in listened)
    )


def _accepts(address: Address, local: Any) -> bool:
    return address.port == local.port and (address.host == local.ip or ip_address(address.host).is_unspecified)


def _sockets(process: Identity) -> list[Any] | None:
    try:
        found: list[Any] = psutil.Process(process.pid).net_connections(kind="tcp")
    except psutil.NoSuchProcess:
        return []
    except _TRY_AGAIN_AFTER:
        return None
    return found if process.is_alive() else []


def read_record(path: Path) -> Record:
    """Read who is who; written by an earlier release, it knows one process only.

    Raises:
        FileDamaged: it cannot be read.
    """
    if not path.exists():
        return Record()
    found = read_document(path)
    return Record(
        current=Identity(pid=found["pid"], started_ticks=found["started_ticks"]),
        earlier=tuple(
            Earlier(
                identity=Identity(pid=one["pid"], started_ticks=one["started_ticks"]),
                until=datetime.fromisoformat(one["until"]),
            )
            for one in found.get("before", ())
        ),
    )


def record_document(record: Record) -> dict[str, Any]:
    """Render who is who as JSON values."""
    assert record.current is not None
    return {
        **_identity_document(record.current),
        "before": [{**_identity_document(one.identity), "until": one.until.isoformat()} for one in record.earlier],
    }


def _identity_document(identity: Identity) -> dict[str, int]:
    return {"pid": identity.pid, "started_ticks": identity.started_ticks}
