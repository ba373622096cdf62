"""Waiting for Envoy to confirm what was written.

Envoy echoes the version of every file that it has taken as a text readout; a rejection it only writes to its log. So:
poll the readouts, read the log's end for the reason, give up at the deadline.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hitless.adapters.envoy.admin import Admin, Snapshot
from hitless.adapters.envoy.files import read_version
from hitless.adapters.envoy.refusals import EnvoySilent
from hitless.rollout.spec import Address

_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.02
_REJECTION_GRACE_S = 0.05  # the rejection may be another service's: ours is confirmed meanwhile
_REASONS = ("update rejected: ", "update failure: ")

REJECTED = "Envoy rejected it: "
LISTENERS_VERSION = "listener_manager.lds.version_text"
CLUSTERS_VERSION = "cluster_manager.cds.version_text"


def routes_version(name: str) -> str:
    """Name the readout of a route file."""
    return f"http.{name}.rds.{name}.version_text"


def endpoints_version(cluster: str) -> str:
    """Name the readout of an endpoint file."""
    return f"cluster.{cluster}.version_text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What Envoy is to confirm.

    Attributes:
        versions: by readout.
        shared: files that other services' changes write too: a version that is newer than ours contains ours.
        usable: endpoints that must get requests, by cluster.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    shared: Mapping[str, Path] = field(default_factory=dict)
    usable: Mapping[str, frozenset[Address]] = field(default_factory=dict)

    def missing(self, snapshot: Snapshot) -> str | None:
        """Say what is not confirmed yet, None when everything is."""
        return self._missing_version(snapshot) or self._missing_endpoint(snapshot)

    def _missing_version(self, snapshot: Snapshot) -> str | None:
        for readout, wanted in self.versions.items():
            seen = snapshot.versions.get(readout)
            if seen != wanted and not self._is_newer(readout, seen):
                return (
                    f"Envoy has not confirmed {readout.removesuffix('.version_text')} {wanted}; it has {seen or 'none'}"
                )
        return None

    def _is_newer(self, readout: str, seen: str | None) -> bool:
        return readout in self.shared and seen == read_version(self.shared[readout])

    def _missing_endpoint(self, snapshot: Snapshot) -> str | None:
        for cluster, addresses in self.usable.items():
            hosts = snapshot.hosts.get(cluster, {})
            for address in addresses:
                if address not in hosts or not hosts[address].is_usable:
                    return f"{address} of {cluster} does not answer Envoy's health check"
        return None


class Acknowledgements:
    """Polls one Envoy."""

    def __init__(self, admin: Admin, log: Path) -> None:
        self._admin = admin
        self._log = log

    def log_end(self) -> int:
        """Return the log's length: rejections after it concern what is written from now on."""
        return self._log.stat().st_size if self._log.exists() else 0

    async def wait(
        self, expected: Expected, *, deadline: float, log_from: int, hurry: asyncio.Event | None = None
    ) -> str | None:
        """Wait until Envoy confirms `expected`, at most until `deadline` (monotonic seconds) or until `hurry` is set.

        Returns:
            None when it does, else why not, for people.
        """
        pause_s, give_up_at, rejection = _FIRST_PAUSE_S, deadline, None
        while True:
            missing = await self._missing(expected)
            if missing is None:
                return None
            if rejection is None and (rejection := self._rejection(log_from)) is not None:
                give_up_at = min(deadline, time.monotonic() + _REJECTION_GRACE_S)
            if time.monotonic() >= give_up_at or (hurry is not None and hurry.is_set()):
                return f"{REJECTED}{rejection}" if rejection else missing
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _missing(self, expected: Expected) -> str | None:
        try:
            return expected.missing(await self._admin.snapshot(hosts=bool(expected.usable)))
        except EnvoySilent as silence:
            return silence.message

    def _rejection(self, log_from: int) -> str | None:
        if not self._log.exists():
            return None
        with self._log.open("rb") as stream:
            stream.seek(log_from)
            lines = stream.read().decode(errors="replace").splitlines()
        reasons = [line.partition(mark)[2] for line in lines for mark in _REASONS if mark in line]
        return reasons[-1] if reasons else None
