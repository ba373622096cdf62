"""From ledger and Envoy's answers to what the engine sees. Pure, but for the meter that it feeds."""

from __future__ import annotations

from collections.abc import Iterator

from hitless.adapters.envoy.admin import Snapshot
from hitless.adapters.envoy.drain import QuietMeter
from hitless.adapters.envoy.layout import cluster_name
from hitless.adapters.envoy.ledger import Ledger
from hitless.rollout.spec import Address, InstanceId, Version
from hitless.rollout.world import EndpointState, OpenRequests, RoutingView, Table


def unconfirmed(ledger: Ledger, snapshot: Snapshot) -> str | None:
    """Say which file of the acknowledged table Envoy does not have in force, None when it has them all."""
    for readout, wanted in ledger.versions.items():
        seen = snapshot.versions.get(readout)
        if seen != wanted:
            return f"Envoy has {readout.removesuffix('.version_text')} {seen or 'none'}, not {wanted}"
    return None


def routing_view(
    service: str,
    ledger: Ledger,
    snapshot: Snapshot | None,
    meter: QuietMeter,
    *,
    problem: str | None,
) -> RoutingView:
    """Assemble the view of one service.

    Without a snapshot (Envoy is silent) tables are those last written and confirmed, since they are what an Envoy that
    comes back serves; open requests are unknown.
    """
    mismatch = unconfirmed(ledger, snapshot) if snapshot and not ledger.unsettled else None
    pending = ledger.acknowledged if mismatch else ledger.pending()
    return RoutingView(
        acknowledged=ledger.acknowledged,
        pending=pending,
        open_requests=_open_requests(service, ledger, snapshot, meter),
        problem=problem or mismatch,
    )


def _open_requests(
    service: str, ledger: Ledger, snapshot: Snapshot | None, meter: QuietMeter
) -> dict[InstanceId, OpenRequests]:
    found: dict[InstanceId, OpenRequests] = {}
    kept_busy = _active(ledger.in_force())
    for version, name, address in _endpoints(ledger.in_force()):
        since = ledger.draining_since.get(name)
        if snapshot is None:
            found[name] = OpenRequests(draining_since=since)
            continue
        count = snapshot.open_requests(cluster_name(service, version), address)
        is_quiet = meter.read(service, name, count, at=snapshot.taken_at) and name not in kept_busy
        found[name] = OpenRequests(count=count, is_quiet=is_quiet, draining_since=since)
    return found


def _endpoints(tables: tuple[Table, ...]) -> Iterator[tuple[Version, InstanceId, Address]]:
    seen: set[InstanceId] = set()
    for table in reversed(tables):
        for version, members in table.endpoints.items():
            for name, member in members.items():
                if name not in seen:
                    seen.add(name)
                    yield version, name, member.address


def _active(tables: tuple[Table, ...]) -> set[InstanceId]:
    return {
        name
        for table in tables
        for members in table.endpoints.values()
        for name, member in members.items()
        if member.state is EndpointState.ACTIVE
    }
