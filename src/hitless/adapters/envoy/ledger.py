"""What was written and what was acknowledged, per service, on disk: a new controller goes on from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hitless.adapters.envoy.files import read_document
from hitless.rollout.spec import Address, InstanceId, Version
from hitless.rollout.world import Endpoint, EndpointState, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The routing of one service as far as it is known.

    Attributes:
        fence: of the controller that wrote last.
        revision: of the last table.
        acknowledged: the last table that Envoy confirmed.
        unsettled: tables written since, oldest first; parts of any of them may be in force.
        draining_since: when Envoy confirmed that an endpoint gets no new request.
        versions: file versions that make up `acknowledged`, by the name of Envoy's text readout.
    """

    fence: int = 0
    revision: int = 0
    acknowledged: Table | None = None
    unsettled: tuple[Table, ...] = ()
    draining_since: Mapping[InstanceId, datetime] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def in_force(self) -> tuple[Table, ...]:
        """Every table of which parts may be in force."""
        return (*((self.acknowledged,) if self.acknowledged else ()), *self.unsettled)

    def pending(self) -> Table | None:
        """The newest unsettled table, with endpoints of older ones that may still be routed to."""
        if not self.unsettled:
            return None
        *older, newest = self.unsettled
        endpoints = {version: dict(members) for version, members in newest.endpoints.items()}
        for table in older:
            for version, members in table.endpoints.items():
                endpoints[version] = {**members, **endpoints.get(version, {})}
        return replace(newest, endpoints=endpoints)

    def begun(self, table: Table, *, fence: int, revision: int) -> Ledger:
        """Note that `table` is about to be written; what it puts back into rotation drains no more."""
        is_known = (self.unsettled[-1] if self.unsettled else self.acknowledged) == table
        still = draining(table)
        return replace(
            self,
            fence=fence,
            revision=revision,
            unsettled=self.unsettled if is_known else (*self.unsettled, table),
            draining_since={name: since for name, since in self.draining_since.items() if name in still},
        )

    def settled(self, table: Table, *, versions: Mapping[str, str], now: datetime) -> Ledger:
        """Note that Envoy has confirmed `table`, and nothing else is in force."""
        since = {name: self.draining_since.get(name, now) for name in draining(table)}
        return replace(self, acknowledged=table, unsettled=(), draining_since=since, versions=versions)


def draining(table: Table) -> set[InstanceId]:
    """Instances that get no new request and may have open ones."""
    return {
        name
        for members in table.endpoints.values()
        for name, member in members.items()
        if member.state is EndpointState.DRAINING
    }


def read_ledger(path: Path) -> Ledger:
    """Read a service's ledger; a fresh one when there is none."""
    if not path.exists():
        return Ledger()
    found = read_document(path)
    return Ledger(
        fence=found["fence"],
        revision=found["revision"],
        acknowledged=_table(found["acknowledged"]) if found["acknowledged"] else None,
        unsettled=tuple(_table(one) for one in found["unsettled"]),
        draining_since={
            InstanceId(name): datetime.fromisoformat(since) for name, since in found["draining_since"].items()
        },
        versions=found["versions"],
    )


def ledger_document(ledger: Ledger) -> dict[str, Any]:
    """Render a ledger as JSON values; weights keep their order, sticky users depend on it."""
    return {
        "fence": ledger.fence,
        "revision": ledger.revision,
        "acknowledged": _table_document(ledger.acknowledged) if ledger.acknowledged else None,
        "unsettled": [_table_document(table) for table in ledger.unsettled],
        "draining_since": {name: since.isoformat() for name, since in ledger.draining_since.items()},
        "versions": dict(ledger.versions),
    }


def _table_document(table: Table) -> dict[str, Any]:
    return {
        "weights": dict(table.weights),
        "endpoints": {
            version: {
                name: {"host": end.address.host, "port": end.address.port, "state": end.state.value}
                for name, end in members.items()
            }
            for version, members in table.endpoints.items()
        },
        "preview": table.preview,
        "salt": table.salt,
    }


def _table(found: Mapping[str, Any]) -> Table:
    return Table(
        weights={Version(version): weight for version, weight in found["weights"].items()},
        endpoints={
            Version(version): {InstanceId(name): _endpoint(member) for name, member in members.items()}
            for version, members in found["endpoints"].items()
        },
        preview=Version(found["preview"]) if found["preview"] is not None else None,
        salt=found["salt"],
    )


def _endpoint(found: Mapping[str, Any]) -> Endpoint:
    return Endpoint(address=Address(host=found["host"], port=found["port"]), state=EndpointState(found["state"]))
