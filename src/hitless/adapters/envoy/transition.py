"""From the tables that may be in force to the next one, so that no moment in between fails a request. Pure.

Rule: make before break. First every endpoint of the next table is added and nobody is taken out of rotation; when Envoy
has that and finds the new endpoints healthy, the weights move; when it has those, endpoints start to drain and versions
leave.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from hitless.rollout.spec import Address, InstanceId, Version
from hitless.rollout.world import Endpoint, EndpointState, Table


def bridge(version: Version, table: Table, in_force: Iterable[Table]) -> Mapping[InstanceId, Endpoint]:
    """Return a version's endpoints for the time in which both old and new weights may be in force.

    An endpoint that serves goes on serving. One that the next table leaves out although it serves is dead or given up:
    it stays only if without it nothing would serve.
    """
    serving = _serving(version, in_force)
    members = {
        name: replace(member, state=EndpointState.ACTIVE) if name in serving else member
        for name, member in table.endpoints[version].items()
    }
    if any(name in serving for name in members):
        return members
    taken = {member.address for member in members.values()}
    return {**{name: member for name, member in serving.items() if member.address not in taken}, **members}


def newcomers(version: Version, table: Table, acknowledged: Table | None) -> frozenset[Address]:
    """Return addresses that the table puts into rotation and that Envoy has not confirmed there yet."""
    before = set(acknowledged.active(version)) if acknowledged else set()
    return frozenset(table.endpoints[version][name].address for name in table.active(version) if name not in before)


def _serving(version: Version, in_force: Iterable[Table]) -> dict[InstanceId, Endpoint]:
    return {name: current.endpoints[version][name] for current in in_force for name in current.active(version)}
