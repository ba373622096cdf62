"""Envoy's admin interface over its Unix socket: what it has confirmed, and what each endpoint has open."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from hitless.adapters.envoy.answers import Counted, Counts
from hitless.adapters.envoy.refusals import EnvoySilent
from hitless.rollout.spec import Address

_CERTIFICATE = re.compile(r"\.ssl\.certificate\.(.+)\.expiration_unix_time_seconds$")
_ANSWER_WITHIN_S = 1.0
_COMPLETED, _FAILED = ".upstream_rq_completed", ".upstream_rq_5xx"
_ANSWERED = quote(r"^cluster\..*\.upstream_rq_(completed|5xx)$", safe="")
_OUT_OF_USE = ("failed_active_health_check", "pending_active_hc", "pending_dynamic_removal", "failed_outlier_check")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One endpoint as Envoy's clusters list it.

    Attributes:
        open_requests: requests and streams under way; a WebSocket is one.
        is_usable: gets new requests.
        passes: what Envoy's health check says of it; None before the first.
    """

    open_requests: int
    is_usable: bool
    passes: bool | None


Hosts = Mapping[str, Mapping[Address, Host]]
"""Endpoints by cluster; a cluster that is still warming is not listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What Envoy said at one moment.

    Attributes:
        taken_at: monotonic seconds before anything of it was asked.
        versions: the version that is in force, by the name of its text readout.
        hosts: endpoints by cluster.
        elsewhere: what Envoys that were replaced have open to endpoints; None = not known.
    """

    taken_at: float
    versions: Mapping[str, str]
    hosts: Hosts = field(default_factory=dict)
    elsewhere: Mapping[Address, int] | None = field(default_factory=dict)

    def open_requests(self, cluster: str, address: Address) -> int | None:
        """Count what is open to an endpoint, whichever Envoy it goes through; None = not known."""
        host = self.hosts.get(cluster, {}).get(address)
        if host is None or self.elsewhere is None:
            return None
        return host.open_requests + self.elsewhere.get(address, 0)


class Admin:
    """A client of the admin socket."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._session: aiohttp.ClientSession | None = None
        self._listing: frozenset[bytes] = frozenset()
        self._hosts: Hosts = {}

    async def is_ready(self) -> bool:
        """Tell whether Envoy has everything it was given and serves."""
        try:
            return (await self._request("GET", "/ready")).startswith(b"LIVE")
        except EnvoySilent:
            return False

    async def versions(self) -> dict[str, str]:
        """Read the versions in force.

        Raises:
            EnvoySilent: no answer.
        """
        stats = await self._json("/stats?format=json&type=TextReadouts&filter=version_text")
        return {one["name"]: one["value"] for one in stats["stats"] if "name" in one}

    async def hosts(self) -> Hosts:
        """Read all endpoints; a listing that says what the last one said is not parsed again.

        Raises:
            EnvoySilent: no answer.
        """
        listing = await self._request("GET", "/clusters?format=json")
        pieces = _pieces(listing)
        if pieces != self._listing:
            clusters = json.loads(listing).get("cluster_statuses", ())
            self._listing, self._hosts = pieces, {one["name"]: _hosts(one) for one in clusters}
        return self._hosts

    async def snapshot(self, *, hosts: bool = True) -> Snapshot:
        """Read the versions in force and, if wanted, all endpoints.

        Raises:
            EnvoySilent: no answer.
        """
        taken_at = time.monotonic()
        if not hosts:
            return Snapshot(taken_at=taken_at, versions=await self.versions())
        versions, found = await asyncio.gather(self.versions(), self.hosts())
        return Snapshot(taken_at=taken_at, versions=versions, hosts=found)

    async def answered(self) -> Counts:
        """Read how many requests each version of every service has answered, and how many of them with a 5xx.

        Raises:
            EnvoySilent: no answer.
        """
        stats = await self._json(f"/stats?format=json&type=Counters&filter={_ANSWERED}")
        values = {one["name"]: int(one.get("value", 0)) for one in stats["stats"] if "name" in one}
        completed = {
            name.removesuffix(_COMPLETED): value for name, value in values.items() if name.endswith(_COMPLETED)
        }
        return {
            name.removeprefix("cluster."): Counted(completed=value, failed=values.get(f"{name}{_FAILED}", 0))
            for name, value in completed.items()
        }

    async def warming_listeners(self) -> int:
        """Count listeners that wait for their routes or certificates.

        Raises:
            EnvoySilent: no answer.
        """
        stats = await self._json("/stats?format=json&type=Gauges&filter=^listener_manager.total_listeners_warming$")
        return sum(int(one.get("value", 0)) for one in stats["stats"])

    async def certificate_ends(self) -> dict[str, datetime]:
        """Read when the certificates that are served end, by the name they were given.

        Raises:
            EnvoySilent: no answer.
        """
        stats = await self._json("/stats?format=json&type=Gauges&filter=expiration_unix_time_seconds$")
        found: dict[str, datetime] = {}
        for one in stats["stats"]:
            if name := _CERTIFICATE.search(one.get("name", "")):
                ends_at = datetime.fromtimestamp(int(one.get("value", 0)), UTC)
                found[name[1]] = min(ends_at, found.get(name[1], ends_at))
        return found

    async def reopen_logs(self) -> None:
        """Make Envoy open its access logs again, by name.

        Raises:
            EnvoySilent: no answer.
        """
        await self._request("POST", "/reopen_logs")

    async def close(self) -> None:
        """Close the client's connections."""
        session, self._session = self._session, None  # who asks meanwhile gets a new one
        if session is not None:
            await session.close()

    async def _json(self, path: str) -> Any:
        return json.loads(await self._request("GET", path))

    async def _request(self, method: str, path: str) -> bytes:
        try:
            async with self._client().request(method, path) as response:
                return await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise EnvoySilent(self.socket, str(error) or type(error).__name__) from error

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                base_url="http://envoy",
                connector=aiohttp.UnixConnector(path=str(self.socket)),
                timeout=aiohttp.ClientTimeout(total=_ANSWER_WITHIN_S),
            )
        return self._session


def _pieces(listing: bytes) -> frozenset[bytes]:
    """Cut a listing into its clusters: Envoy lists them in another order every time."""
    return frozenset(piece.rstrip(b",]} \n") for piece in listing.split(b"\n  {\n"))


def _hosts(cluster: Mapping[str, Any]) -> dict[Address, Host]:
    return {_address(host): _host(host) for host in cluster.get("host_statuses", ())}


def _address(host: Mapping[str, Any]) -> Address:
    found = host["address"]["socket_address"]
    return Address(host=found["address"], port=found["port_value"])


def _host(host: Mapping[str, Any]) -> Host:
    active = next(one for one in host["stats"] if one["name"] == "rq_active")
    health = host["health_status"]
    is_in_use = not any(health.get(flag) for flag in _OUT_OF_USE)
    is_asked = not health.get("pending_active_hc")  # one that was not asked yet counts as failed for Envoy
    return Host(
        open_requests=int(active.get("value", 0)),  # JSON of protobuf leaves zeros out
        is_usable=is_in_use and health.get("eds_health_status") == "HEALTHY",
        passes=not health.get("failed_active_health_check") if is_asked else None,
    )
