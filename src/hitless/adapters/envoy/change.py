"""Carrying out one table.

Order, and why (each step waits for Envoy's confirmation of the step before):

1. endpoint files, then the cluster file with new versions added: a cluster without its endpoint file is rejected whole.
   Nobody is taken out of rotation.
   A version that gets weight and has nobody yet who is known to serve must be found healthy first.
2. route files: now every cluster that they name exists and serves.
3. endpoints that drain or leave, then the cluster file without versions that have left: no route names them any more.
4. nothing is written any more; new endpoints must be found healthy, or a later table would move weight to them too
   early. Last, so that a newcomer that Envoy dislikes never stands in the way of taking weight from somebody else.

A version's cluster keeps the settings it was created with: a changed cluster gets new connection pools, and the count
of streams that are open in the old ones would be lost. New settings come with the next version.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from hitless.adapters.envoy.acknowledge import (
    CLUSTERS_VERSION,
    Acknowledgements,
    Expected,
    endpoints_version,
    routes_version,
)
from hitless.adapters.envoy.files import FencedFiles, Resource, Resources, Stamp, read_resources
from hitless.adapters.envoy.layout import Layout, belongs_to, cluster_name, preview_name
from hitless.adapters.envoy.resources import cluster, endpoints
from hitless.adapters.envoy.routes import preview_routes, routes
from hitless.adapters.envoy.transition import bridge, newcomers
from hitless.rollout.spec import Address, InstanceId, ServiceSpec, Version
from hitless.rollout.world import EMPTY_TABLE, Endpoint, Table

Versions = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """What a change works with: the files of one Envoy, and its answers."""

    layout: Layout
    files: FencedFiles
    acknowledgements: Acknowledgements


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One table on its way into one Envoy.

    Attributes:
        spec: the settings in force for the service as a whole: its addresses, its routes.
        specs: those that a version was deployed with, for its health checks and connections.
        in_force: every table of which parts may be in force now.
        acknowledged: the one of them that Envoy has confirmed.
    """

    plane: Plane
    spec: ServiceSpec
    specs: Mapping[Version, ServiceSpec]
    table: Table
    in_force: tuple[Table, ...]
    acknowledged: Table | None
    stamp: Stamp

    def clusters_to_add(self) -> int:
        """Count versions that Envoy does not know yet."""
        _, current = read_resources(self.plane.layout.clusters)
        return sum(cluster_name(self.spec.name, version) not in current for version in self.table.endpoints)

    async def carry_out(self, *, timeout_s: float, hurry: asyncio.Event | None = None) -> tuple[Versions, str | None]:
        """Write and wait, once `hurry` is set no longer; what is already confirmed then needs no waiting.

        Returns:
            Versions of the service's own files by readout, as confirmed; and why Envoy did not, None when it did.

        Raises:
            Fenced: a newer controller took over meanwhile; nothing was written since.
        """
        deadline = time.monotonic() + timeout_s
        confirmed: Versions = {}
        for write in (self._write_bridge, self._write_routes, self._write_final):
            log_from = self.plane.acknowledgements.log_end()
            expected = await asyncio.to_thread(write)
            if expected.versions.items() <= confirmed.items():
                continue  # nothing was left to write
            problem = await self.plane.acknowledgements.wait(
                expected, deadline=deadline, log_from=log_from, hurry=hurry
            )
            if problem is not None:
                return {}, problem
            confirmed.update(expected.versions)
        await asyncio.to_thread(self._delete_left)
        log_from = self.plane.acknowledgements.log_end()
        welcome = Expected(versions={}, usable=self._newcomers(self.table.endpoints))
        problem = await self.plane.acknowledgements.wait(welcome, deadline=deadline, log_from=log_from, hurry=hurry)
        if problem is not None:
            return {}, problem
        return {readout: version for readout, version in confirmed.items() if readout != CLUSTERS_VERSION}, None

    def _write_bridge(self) -> Expected:
        versions = {
            readout: version
            for pool in self.table.endpoints
            for readout, version in self._write_pool(pool, bridge(pool, self.table, self.in_force))
        }
        return self._expect(versions, self._with_new, self._newcomers(self._untried()))

    def _untried(self) -> list[Version]:
        """Versions that get weight and have nobody yet who is known to serve."""
        before = self.acknowledged or EMPTY_TABLE
        return [pool for pool, weight in self.table.weights.items() if weight and not any(before.active(pool))]

    def _newcomers(self, pools: Iterable[Version]) -> dict[str, frozenset[Address]]:
        return {
            cluster_name(self.spec.name, pool): addresses
            for pool in pools
            if (addresses := newcomers(pool, self.table, self.acknowledged))
        }

    def _write_routes(self) -> Expected:
        return Expected(versions=write_routes(self.plane, self.spec, self.table, self.stamp))

    def _write_final(self) -> Expected:
        versions = {
            readout: version
            for pool, members in self.table.endpoints.items()
            for readout, version in self._write_pool(pool, members)
        }
        return self._expect(versions, self._without_left, {})

    def _expect(
        self,
        versions: Versions,
        change: Callable[[Resources], Resources],
        usable: Mapping[str, frozenset[Address]],
    ) -> Expected:
        path = self.plane.layout.clusters
        versions[CLUSTERS_VERSION] = self.plane.files.update(path, change, self.stamp)
        return Expected(versions=versions, shared={CLUSTERS_VERSION: path}, usable=usable)

    def _write_pool(self, pool: Version, members: Mapping[InstanceId, Endpoint]) -> Iterator[tuple[str, str]]:
        name = cluster_name(self.spec.name, pool)
        resource = endpoints(name, members)
        path = self.plane.layout.endpoints(name)
        yield endpoints_version(name), self.plane.files.update(path, replacing(name, resource), self.stamp)

    def _with_new(self, current: Resources) -> Resources:
        wanted: dict[str, Resource] = {
            cluster_name(self.spec.name, pool): cluster(self.specs.get(pool, self.spec), pool, self.plane.layout)
            for pool in self.table.endpoints
        }
        return {**wanted, **current}

    def _without_left(self, current: Resources) -> Resources:
        kept = self._kept()
        return {name: one for name, one in current.items() if name in kept or not belongs_to(name, self.spec.name)}

    def _delete_left(self) -> None:
        kept = self._kept()
        for path in self.plane.layout.endpoint_files():
            if path.stem not in kept and belongs_to(path.stem, self.spec.name):
                self.plane.files.delete(path, fence=self.stamp.fence)

    def _kept(self) -> set[str]:
        return {cluster_name(self.spec.name, pool) for pool in self.table.endpoints}


def write_routes(plane: Plane, spec: ServiceSpec, table: Table, stamp: Stamp) -> Versions:
    """Write the service's route files and return their versions by readout."""
    return {
        routes_version(name): plane.files.update(plane.layout.routes(name), replacing(name, resource), stamp)
        for name, resource in route_resources(spec, table).items()
    }


def route_resources(spec: ServiceSpec, table: Table) -> dict[str, Resource]:
    """Render the routes of each of the service's listeners."""
    found: dict[str, Resource] = {spec.name: routes(spec, table)}
    if spec.strategy.blue_green.preview is not None:
        found[preview_name(spec.name)] = preview_routes(spec, table)
    return found


def replacing(name: str, resource: Resource) -> Callable[[Resources], Resources]:
    """Make a change that leaves `resource` alone in its file."""
    return lambda _: {name: resource}
