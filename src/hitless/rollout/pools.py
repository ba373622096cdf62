"""Who stays and who goes: the instances of one region sorted against the wish for it.

`kept` are the best instances of each wanted version, at most as many as wanted; everything else is `surplus`. Whether
an instance is in or out of rotation is said for *every* table that may be in force (`RoutingView.live`), so a table
on its way counts as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from hitless.rollout.spec import InstanceId, Region, Version
from hitless.rollout.world import (
    EndpointState,
    Instance,
    Limits,
    Observation,
    OpenRequests,
    Phase,
    RegionWorld,
    RoutingView,
    Table,
)

_UNKNOWN = OpenRequests()
_IN, _OUT, _NOWHERE = ({EndpointState.ACTIVE}, {EndpointState.DRAINING}, {None})
_ALIVE = {Phase.READY: 0, Phase.STARTING: 2, Phase.UNREADY: 3}  # best first; 1: ready, but on its way out


@dataclass(frozen=True, slots=True, kw_only=True)
class Pools:
    """One region's instances, sorted.

    Attributes:
        all: every instance of the region, kept ones first.
        states: what the tables that may be in force say of each instance; None = not listed.
        in_rotation: who is ready and gets new requests for certain, by version.
        tables: every table that may be in force.
        view: None when nothing is known of the region's routing.
    """

    kept: Mapping[Version, tuple[Instance, ...]]
    surplus: tuple[Instance, ...]
    all: tuple[Instance, ...]
    states: Mapping[InstanceId, frozenset[EndpointState | None]]
    in_rotation: Mapping[Version, list[Instance]]
    tables: tuple[Table, ...]
    view: RoutingView | None
    observed: Observation

    def is_active(self, instance: Instance) -> bool:
        """Tell whether it gets new requests, whichever table is in force."""
        return self.states[instance.id] == _IN

    def is_draining(self, instance: Instance) -> bool:
        """Tell whether it gets no new request but is still listed, whichever table is in force."""
        return self.states[instance.id] == _OUT

    def is_out(self, instance: Instance) -> bool:
        """Tell whether no table that may be in force lists it."""
        return self.view is not None and self.states[instance.id] <= _NOWHERE

    def serving(self, version: Version) -> list[Instance]:
        """Return the instances of a version that are ready and get new requests for certain."""
        return self.in_rotation.get(version, [])

    def serves(self, instance: Instance) -> bool:
        """Tell whether it is ready and gets new requests for certain."""
        return instance.phase is Phase.READY and self.is_active(instance)

    def open_requests(self, name: InstanceId) -> OpenRequests:
        """Return what is still open at an endpoint."""
        return self.view.open_requests.get(name, _UNKNOWN) if self.view else _UNKNOWN

    def has_drained_for(self, instance: Instance, seconds: float) -> bool:
        """Tell whether it has had no new request for so long."""
        since = self.open_requests(instance.id).draining_since
        return since is not None and self.observed.now - since >= timedelta(seconds=seconds)

    def is_held_by_streams(self, instance: Instance, limits: Limits) -> bool:
        """Tell whether it lives on for long streams alone: ordinary requests had their time."""
        return self.is_draining(instance) and self.has_drained_for(
            instance, limits.drain_for(instance.version).requests_s
        )


def split_pools(wanted: RegionWorld, *, observed: Observation, region: Region) -> Pools:
    """Sort the region's instances into kept and surplus, once for every wish."""
    wish, pools = observed.sorted_by.get(region, (None, None))
    if wish is not wanted:
        pools = _sort(wanted, observed, region)
        observed.sorted_by[region] = (wanted, pools)
    return cast("Pools", pools)


def _sort(wanted: RegionWorld, observed: Observation, region: Region) -> Pools:
    here = [one for one in observed.instances if one.region == region]
    view = observed.routing.get(region)
    tables = view.live() if view else ()
    states = {one.id: _states(one, tables) for one in here}
    kept = {version: _best(here, states, version)[:count] for version, count in wanted.pools.items()}
    chosen = [one for some in kept.values() for one in some]
    names = {one.id for one in chosen}
    surplus = tuple(one for one in here if one.id not in names)
    everyone = (*chosen, *surplus)
    in_rotation: dict[Version, list[Instance]] = {}
    for one in everyone:
        if one.phase is Phase.READY and states[one.id] == _IN:
            in_rotation.setdefault(one.version, []).append(one)
    return Pools(
        kept=kept,
        surplus=surplus,
        all=everyone,
        states=states,
        in_rotation=in_rotation,
        tables=tables,
        view=view,
        observed=observed,
    )


def _states(instance: Instance, tables: tuple[Table, ...]) -> frozenset[EndpointState | None]:
    ends = [table.endpoint(instance.version, instance.id) for table in tables]
    return frozenset([end.state if end else None for end in ends])


def _best(
    here: list[Instance], states: Mapping[InstanceId, frozenset[EndpointState | None]], version: Version
) -> tuple[Instance, ...]:
    def rank(one: Instance) -> tuple[int, datetime, str]:
        on_its_way_out = one.phase is Phase.READY and EndpointState.DRAINING in states[one.id]
        return (1 if on_its_way_out else _ALIVE[one.phase], one.started_at, one.id)

    return tuple(sorted((one for one in here if one.version == version and one.phase in _ALIVE), key=rank))
