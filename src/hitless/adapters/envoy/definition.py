"""Opening and closing a service's addresses.

Order: certificate and routes first, then the listener that needs them; the listener first out, then what it named. What
Envoy does not take is taken back, so that a service that cannot be opened harms no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, SO_REUSEADDR, SOL_SOCKET, socket

import psutil

from hitless.adapters.envoy.acknowledge import CLUSTERS_VERSION, LISTENERS_VERSION, Expected, routes_version
from hitless.adapters.envoy.admin import Admin
from hitless.adapters.envoy.certificates import Certificates
from hitless.adapters.envoy.change import Plane, Versions, replacing, route_resources
from hitless.adapters.envoy.files import Resources, Stamp, read_resources
from hitless.adapters.envoy.layout import belongs_to, preview_name
from hitless.adapters.envoy.ledger import Ledger
from hitless.adapters.envoy.refusals import AddressUnusable, EnvoyRejected
from hitless.adapters.envoy.resources import addresses, listened_address, listeners
from hitless.adapters.envoy.watches import PER_TLS_SERVICE, check_budget
from hitless.rollout.spec import Address, ServiceSpec
from hitless.rollout.world import EMPTY_TABLE

_WARM_WITHIN_S = 5.0
_WARM_POLL_S = 0.005
_UNBOUND = Stamp(None, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One service's addresses on one Envoy."""

    plane: Plane
    admin: Admin
    certificates: Certificates

    async def open(
        self, spec: ServiceSpec, ledger: Ledger, *, timeout_s: float, hurry: asyncio.Event | None = None
    ) -> Versions:
        """Open the service's addresses with the routes of its acknowledged table; write nothing that is there already.

        Returns:
            Versions of its route files by readout.

        Raises:
            AddressUnusable: taken, or no IP address.
            CertificateUnusable: cannot be read, or key and certificate do not match.
            EnvoyRejected: Envoy did not take it; the service's listeners are as before.
        """
        wanted = listeners(spec, self.plane.layout)
        await asyncio.to_thread(self._check, spec)
        log_from = self.plane.acknowledgements.log_end()
        before = read_resources(self.plane.layout.listeners)[1]
        routes, listening = await asyncio.to_thread(self._write, spec, ledger, wanted)
        expected = Expected(
            versions={**routes, LISTENERS_VERSION: listening}, shared={LISTENERS_VERSION: self.plane.layout.listeners}
        )
        deadline = time.monotonic() + timeout_s
        problem = await self.plane.acknowledgements.wait(expected, deadline=deadline, log_from=log_from, hurry=hurry)
        if problem is not None:
            await asyncio.to_thread(self._update_listeners, spec.name, before)
            if spec.name not in before:
                self.certificates.forget(spec.name)
            raise EnvoyRejected(spec.name, problem)
        await self._until_warm(spec.name, hurry)
        await asyncio.to_thread(self._delete_left, spec)
        return routes

    async def close(self, service: str, *, timeout_s: float) -> None:
        """Close the service's addresses, then drop its versions and files.

        Raises:
            EnvoyRejected: Envoy did not confirm; nothing that may still be named was dropped.
        """
        deadline = time.monotonic() + timeout_s
        log_from = self.plane.acknowledgements.log_end()
        for readout, update in ((LISTENERS_VERSION, self._drop_listeners), (CLUSTERS_VERSION, self._drop_clusters)):
            expected = await asyncio.to_thread(update, service, readout)
            problem = await self.plane.acknowledgements.wait(expected, deadline=deadline, log_from=log_from)
            if problem is not None:
                raise EnvoyRejected(service, problem)
        await asyncio.to_thread(self._delete_all, service)

    def _check(self, spec: ServiceSpec) -> None:
        _, current = read_resources(self.plane.layout.listeners)
        opening = 0
        for name, address in addresses(spec).items():
            if name in current and listened_address(current[name]) == address:
                continue
            _check_not_ours(address, current)
            check_free(address)
            opening += 1
        check_budget(opening * (1 + (PER_TLS_SERVICE if spec.traffic.tls else 0)))

    def _write(self, spec: ServiceSpec, ledger: Ledger, wanted: Resources) -> tuple[Versions, str]:
        self.certificates.take(spec)
        routes = self._write_routes(spec, ledger)
        return routes, self._update_listeners(spec.name, wanted)

    def _write_routes(self, spec: ServiceSpec, ledger: Ledger) -> Versions:
        table = ledger.acknowledged or EMPTY_TABLE
        # While a table is unsettled, routes of the acknowledged one may name versions that have left.
        keep = bool(ledger.unsettled)
        return {
            routes_version(name): self.plane.files.update(
                self.plane.layout.routes(name),
                (lambda current: current) if keep and self.plane.layout.routes(name).exists() else replacing(name, one),
                Stamp(None, ledger.revision),
            )
            for name, one in route_resources(spec, table).items()
        }

    def _update_listeners(self, service: str, wanted: Resources) -> str:
        def change(current: Resources) -> Resources:
            others = {name: one for name, one in current.items() if not belongs_to(name, service)}
            return {**others, **{name: one for name, one in wanted.items() if belongs_to(name, service)}}

        return self.plane.files.update(self.plane.layout.listeners, change, _UNBOUND)

    async def _until_warm(self, service: str, hurry: asyncio.Event | None) -> None:
        deadline = time.monotonic() + _WARM_WITHIN_S
        while await self.admin.warming_listeners():
            if time.monotonic() > deadline or (hurry is not None and hurry.is_set()):
                raise EnvoyRejected(service, "its listener waits for its routes or its certificate")
            await asyncio.sleep(_WARM_POLL_S)

    def _drop_listeners(self, service: str, readout: str) -> Expected:
        version = self._update_listeners(service, {})
        return Expected(versions={readout: version}, shared={readout: self.plane.layout.listeners})

    def _drop_clusters(self, service: str, readout: str) -> Expected:
        path = self.plane.layout.clusters
        version = self.plane.files.update(
            path,
            lambda current: {name: one for name, one in current.items() if not belongs_to(name, service)},
            _UNBOUND,
        )
        return Expected(versions={readout: version}, shared={readout: path})

    def _delete_left(self, spec: ServiceSpec) -> None:
        if spec.strategy.blue_green.preview is None:
            self.plane.files.delete(self.plane.layout.routes(preview_name(spec.name)), fence=None)
        if spec.traffic.tls is None:
            self._delete_certificate(spec.name)

    def _delete_all(self, service: str) -> None:
        layout = self.plane.layout
        pools = [path for path in layout.endpoint_files() if belongs_to(path.stem, service)]
        routes = [layout.routes(service), layout.routes(preview_name(service))]
        for path in [*pools, *routes, layout.record(service)]:
            self.plane.files.delete(path, fence=None)
        self._delete_certificate(service)

    def _delete_certificate(self, service: str) -> None:
        self.certificates.forget(service)
        for path in (self.plane.layout.secret(service), self.plane.layout.source(service)):
            self.plane.files.delete(path, fence=None)


def check_free(address: Address) -> None:
    """Refuse an address that someone else listens on.

    Without SO_REUSEPORT, unlike Envoy: two Envoys of one user would share a port without a word, and half of the
    traffic be lost.

    Raises:
        AddressUnusable: with the process that holds it, where the kernel tells.
    """
    with socket(AF_INET6 if ":" in address.host else AF_INET) as probe:
        probe.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise AddressUnusable(address, reason, evidence=tuple(_holders(address.port))) from error


def is_free(address: Address) -> bool:
    """Tell whether nobody listens on an address."""
    try:
        check_free(address)
    except AddressUnusable:
        return False
    return True


def _holders(port: int) -> Iterator[str]:
    with contextlib.suppress(psutil.Error, OSError):  # evidence is a courtesy; the kernel hides other users' processes
        for one in psutil.net_connections(kind="tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port and one.pid:
                yield f"{one.laddr.ip}:{port} is held by {psutil.Process(one.pid).name()} (pid {one.pid})"


def _check_not_ours(address: Address, current: Resources) -> None:
    for name, listener in current.items():
        if listened_address(listener) == address:
            raise AddressUnusable(address, f"{name} listens there already")
